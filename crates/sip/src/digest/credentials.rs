//! The server's half: what a client answers, and whether it is right.

use super::{Algorithm, Protected, Qop, Terms};
use crate::header::AuthParams;
use std::borrow::Cow;

/// The value of Authorization or Proxy-Authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who the client says it is.
    pub username: Cow<'a, [u8]>,
    /// For what.
    pub realm: Cow<'a, [u8]>,
    /// The nonce that is answered.
    pub nonce: Cow<'a, [u8]>,
    /// The Request-URI that the client has protected.
    pub uri: Cow<'a, [u8]>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What is protected; `None` for a client of RFC 2069.
    pub qop: Option<Qop>,
    /// How often the nonce has been used, this time included; 0 without a qop.
    pub count: u32,
    cnonce: Cow<'a, [u8]>,
    response: Cow<'a, [u8]>,
}

impl<'a> Credentials<'a> {
    /// Reads the header's value. `None` if it is no Digest, lacks something, or names what is not known.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let params = AuthParams::parse(value).ok().filter(AuthParams::is_digest)?;
        let qop = match params.param("qop") {
            Some(name) => Some(Qop::parse(&name)?),
            None => None,
        };
        let algorithm = match params.param("algorithm") {
            Some(name) => Algorithm::parse(&name)?,
            None => Algorithm::MD5,
        };
        let cnonce = params.param("cnonce");
        let count = params.param("nc").and_then(|count| {
            let digits = std::str::from_utf8(&count).ok()?;
            u32::from_str_radix(digits, 16).ok()
        });
        let needs_cnonce = qop.is_some() || algorithm.session;
        if needs_cnonce && cnonce.is_none() || qop.is_some() && count.is_none() {
            return None;
        }
        Some(Self {
            username: params.param("username")?,
            realm: params.param("realm")?,
            nonce: params.param("nonce")?,
            uri: params.param("uri")?,
            algorithm,
            qop,
            count: count.unwrap_or_default(),
            cnonce: cnonce.unwrap_or_default(),
            response: params.param("response")?,
        })
    }

    /// Whether they are those of the user with this [hash](Algorithm::ha1) for a request with this method and body.
    /// The caller compares [`uri`](Self::uri) with what was requested, and judges the nonce and its count.
    pub fn are_of(&self, ha1: &str, method: &str, body: &[u8]) -> bool {
        let Ok(uri) = std::str::from_utf8(&self.uri) else {
            return false;
        };
        let terms = Terms {
            algorithm: self.algorithm,
            qop: self.qop,
            nonce: &self.nonce,
            cnonce: &self.cnonce,
            count: self.count,
        };
        let expected = terms.response(ha1, Protected { method, uri, body });
        same(expected.as_bytes(), &self.response)
    }
}

/// Compares in a time that does not tell where they differ.
fn same(expected: &[u8], given: &[u8]) -> bool {
    let differences = expected.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b.to_ascii_lowercase()));
    expected.len() == given.len() && differences == 0
}
