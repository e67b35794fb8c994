//! A server's realm: the challenges it issues, and its judgement of what answers them.

use super::{Algorithm, Credentials, Ha1, Hash, Nonce, NonceKeys, Qop, Use};
use crate::header::AuthPrinter;
use crate::time::Wall;
use crate::{Message, Name, Uri};
use std::sync::Arc;
use std::time::Duration;

/// Stands in for the hash of a user that there is not, so that it costs the same to refuse one. An answer that fits it is
/// refused as well.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The most Authorization headers of a request that are looked at for those of our realm.
const MAX_CREDENTIALS: usize = 8;

/// Challenges for a realm, and checks their answers.
#[derive(Clone)]
pub struct Server {
    /// The realm.
    pub realm: Arc<str>,
    /// The hash functions that are offered, in the order of preference (RFC 8760 §2.3).
    pub hashes: Vec<Hash>,
    /// The keys of all nodes of the realm.
    pub keys: NonceKeys,
    /// The short name of this node.
    pub node: u16,
    /// Since when this node has counted the uses of its nonces.
    pub since: Wall,
    /// How long a nonce is good.
    pub nonce_life: Duration,
}

/// What credentials are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Judgement {
    /// They are the user's.
    Right,
    /// They are the user's, in a request that its transaction has sent again.
    Repeated,
    /// They are the user's, for a nonce that is too old, used up, another node's or nobody's: the client may answer another
    /// one without asking its user (`stale`, RFC 7616 §3.3).
    Stale,
    /// They are not, or not for this request.
    Wrong,
}

impl Server {
    /// The values of WWW-Authenticate: one for each hash function, each with a nonce of its own. `serial` counts up on this
    /// node.
    pub fn challenges(&self, serial: u64, now: Wall, stale: bool) -> impl Iterator<Item = String> + '_ {
        let nonce = Nonce { issued: now, node: self.node, serial };
        self.hashes.iter().map(move |hash| {
            let algorithm = Algorithm { hash: *hash, session: false };
            let printer = AuthPrinter::new("Digest")
                .quoted("realm", &*self.realm)
                .quoted("nonce", nonce.print(&self.keys, &self.realm, *hash));
            let printer = if stale { printer.token("stale", "true") } else { printer };
            printer.token("algorithm", algorithm.name()).quoted("qop", Qop::Auth.name()).finish()
        })
    }

    /// The credentials of a request for this realm.
    pub fn credentials<'a>(&self, request: &'a Message) -> Option<Credentials<'a>> {
        let all = request.values(Name::Authorization).take(MAX_CREDENTIALS);
        let ours = |credentials: &Credentials<'_>| credentials.realm == self.realm.as_bytes();
        all.filter_map(Credentials::parse).find(ours)
    }

    /// Judges the credentials of a request of the user with these hashes, or of nobody. Unknown users and wrong passwords
    /// take the same work. `uses` is asked for the use of a nonce only when all else is right.
    pub fn judge(
        &self,
        (credentials, ha1): (&Credentials<'_>, Option<&Ha1>),
        request: &Message,
        now: Wall,
        uses: impl FnOnce(&Nonce, u32) -> Use,
    ) -> Judgement {
        let Algorithm { hash, session } = credentials.algorithm;
        let is_offered = self.hashes.contains(&hash) && !session && credentials.qop == Some(Qop::Auth);
        if !is_offered || !is_for(credentials, request) {
            return Judgement::Wrong;
        }
        let ha1 = ha1.and_then(|ha1| ha1.of(hash));
        let method = std::str::from_utf8(request.method_name()).unwrap_or_default();
        let is_right = credentials.are_of(ha1.unwrap_or(nobody(hash)), method, b"");
        if !is_right || ha1.is_none() {
            return Judgement::Wrong;
        }
        let Some(nonce) = Nonce::parse(&credentials.nonce, &self.keys, &self.realm, hash) else {
            return Judgement::Stale;
        };
        let has_lapsed = now.since(nonce.issued) >= self.nonce_life;
        if has_lapsed || nonce.node != self.node || nonce.issued < self.since {
            return Judgement::Stale;
        }
        match uses(&nonce, credentials.count) {
            Use::New => Judgement::Right,
            Use::Again => Judgement::Repeated,
            Use::Used | Use::Forgotten => Judgement::Stale,
        }
    }
}

/// Stands in for the hash of a user that there is not, as long as a true one.
fn nobody(hash: Hash) -> &'static str {
    match hash {
        Hash::Md5 => &NOBODY[..32],
        Hash::Sha256 | Hash::Sha512_256 => NOBODY,
    }
}

/// Whether the credentials are for what is requested (RFC 7616 §3.4.6).
fn is_for(credentials: &Credentials<'_>, request: &Message) -> bool {
    let requested = request.request_uri();
    *credentials.uri == *requested
        || match (Uri::parse(&credentials.uri), Uri::parse(requested)) {
            (Ok(protected), Ok(requested)) => protected.is_equivalent(&requested),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        }
}
