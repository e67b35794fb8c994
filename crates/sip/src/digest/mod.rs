//! Digest authentication (RFC 7616, RFC 8760 for SIP): the answer to a challenge, and its check.
//!
//! What is random or counted is an argument: the client nonce and how often the server's nonce has been used.

mod challenge;
mod credentials;
mod ha1;
mod nonce;
mod server;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;
mod uses;

pub use challenge::{
    Challenge, ChallengeError, Issuer, MAX_CHALLENGE_LEN, MAX_CHALLENGES, MAX_REALMS, strongest,
};
pub use credentials::Credentials;
pub use ha1::Ha1;
pub use nonce::{Nonce, NonceKeys};
pub use server::{Judgement, Server};
pub use uses::{NonceUses, Use};

use data_encoding::HEXLOWER;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::digest::Digest;
use sha2::{Sha256, Sha512_256};

/// A hash function of RFC 8760, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hash {
    /// MD5.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

/// An algorithm: a hash function, and whether the password's hash is bound to the session (`-sess`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Algorithm {
    /// The hash function.
    pub hash: Hash,
    /// `-sess`.
    pub session: bool,
}

/// What is protected besides the method and the URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Qop {
    /// Nothing more: `auth`.
    Auth,
    /// The body: `auth-int`.
    AuthInt,
}

/// The request that is to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Protected<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its Request-URI.
    pub uri: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

impl Hash {
    /// The hash of these parts with colons between them, in hexadecimal.
    fn of(self, parts: &[&[u8]]) -> String {
        match self {
            Hash::Md5 => hex::<Md5>(parts),
            Hash::Sha256 => hex::<Sha256>(parts),
            Hash::Sha512_256 => hex::<Sha512_256>(parts),
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Bytes that this thread has hashed.
    static HASHED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
fn hashed() -> usize {
    HASHED.get()
}

fn hex<D: Digest>(parts: &[&[u8]]) -> String {
    #[cfg(test)]
    HASHED.set(HASHED.get() + parts.iter().map(|part| part.len() + 1).sum::<usize>());
    let mut digest = D::new();
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    HEXLOWER.encode(&digest.finalize())
}

impl Algorithm {
    /// MD5: what is meant where none is named.
    pub const MD5: Self = Self { hash: Hash::Md5, session: false };

    /// Reads a name, in any case of letters.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let all = [Hash::Md5, Hash::Sha256, Hash::Sha512_256];
        let mut known = all.into_iter().flat_map(|hash| [false, true].map(|session| Self { hash, session }));
        known.find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match (self.hash, self.session) {
            (Hash::Md5, false) => "MD5",
            (Hash::Md5, true) => "MD5-sess",
            (Hash::Sha256, false) => "SHA-256",
            (Hash::Sha256, true) => "SHA-256-sess",
            (Hash::Sha512_256, false) => "SHA-512-256",
            (Hash::Sha512_256, true) => "SHA-512-256-sess",
        }
    }

    /// The hash of a user's name, realm and password (`HA1`), by which a server can know a user without the password.
    pub fn ha1(self, username: &str, realm: &[u8], password: &str) -> String {
        self.hash.of(&[username.as_bytes(), realm, password.as_bytes()])
    }
}

impl Qop {
    fn parse(name: &[u8]) -> Option<Self> {
        [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| qop.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }
}

/// What a response is made of besides the request and the user.
struct Terms<'a> {
    algorithm: Algorithm,
    qop: Option<Qop>,
    nonce: &'a [u8],
    cnonce: &'a [u8],
    /// How often the nonce has been used, this time included.
    count: u32,
}

impl Terms<'_> {
    /// The response (RFC 7616 §3.4.1; without a qop that of RFC 2069).
    fn response(&self, ha1: &str, request: Protected<'_>) -> String {
        let hash = self.algorithm.hash;
        let a1 = match self.algorithm.session {
            true => hash.of(&[ha1.as_bytes(), self.nonce, self.cnonce]),
            false => ha1.to_owned(),
        };
        let (method, uri) = (request.method.as_bytes(), request.uri.as_bytes());
        let a2 = match self.qop {
            Some(Qop::AuthInt) => hash.of(&[method, uri, hash.of(&[request.body]).as_bytes()]),
            Some(Qop::Auth) | None => hash.of(&[method, uri]),
        };
        match self.qop {
            Some(qop) => {
                let count = printed(self.count);
                let parts = [
                    a1.as_bytes(),
                    self.nonce,
                    count.as_bytes(),
                    self.cnonce,
                    qop.name().as_bytes(),
                    a2.as_bytes(),
                ];
                hash.of(&parts)
            }
            None => hash.of(&[a1.as_bytes(), self.nonce, a2.as_bytes()]),
        }
    }
}

/// A nonce count as `nc` has it.
fn printed(count: u32) -> String {
    format!("{count:08x}")
}
