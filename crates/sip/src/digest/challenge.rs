//! The client's half: challenges, and the answers to them.

use super::{Algorithm, Protected, Qop, Terms, printed};
use crate::header::{AuthParams, AuthPrinter};
use crate::{Message, Name};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most challenges of one response that are read.
pub const MAX_CHALLENGES: usize = 16;

/// The most realms that one response may ask for.
pub const MAX_REALMS: usize = 4;

/// The longest challenge that is answered, in bytes: it is kept as long as its answer may have to be given again.
pub const MAX_CHALLENGE_LEN: usize = 1024;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Issuer {
    /// The peer itself: WWW-Authenticate, answered by Authorization (RFC 3261 §22.2).
    UserAgent,
    /// A proxy: Proxy-Authenticate, answered by Proxy-Authorization (§22.3).
    Proxy,
}

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Who asks.
    pub issuer: Issuer,
    /// For what.
    pub realm: Bytes,
    /// The server's nonce.
    pub nonce: Bytes,
    /// What the server wants to have back.
    opaque: Option<Bytes>,
    /// `None` where none is named: then it is MD5, and the answer names none either.
    algorithm: Option<Algorithm>,
    /// What is protected; `None` for a server of RFC 2069.
    pub qop: Option<Qop>,
    /// Whether only the nonce of the answer before was too old.
    pub stale: bool,
}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChallengeError {
    /// It cannot be read, or says no realm or nonce.
    #[error("a challenge without realm or nonce")]
    Incomplete,
    /// Another scheme than Digest.
    #[error("another scheme than Digest")]
    Scheme,
    /// An algorithm that is not known.
    #[error("an unknown algorithm")]
    Algorithm,
    /// Only protections that are not known.
    #[error("an unknown qop")]
    Qop,
    /// A value with control characters, line folds included, or bytes that are no UTF-8: it could not be given back as
    /// it is.
    #[error("control characters or bytes that are no UTF-8")]
    Unprintable,
    /// Longer than [`MAX_CHALLENGE_LEN`].
    #[error("longer than {MAX_CHALLENGE_LEN} bytes")]
    TooLong,
}

impl Issuer {
    /// The header that asks.
    pub fn challenge_header(self) -> Name {
        match self {
            Issuer::UserAgent => Name::WwwAuthenticate,
            Issuer::Proxy => Name::ProxyAuthenticate,
        }
    }

    /// The header that answers.
    pub fn credentials_header(self) -> Name {
        match self {
            Issuer::UserAgent => Name::Authorization,
            Issuer::Proxy => Name::ProxyAuthorization,
        }
    }
}

impl Challenge {
    /// Reads the value of WWW-Authenticate or Proxy-Authenticate.
    ///
    /// # Errors
    /// Says why it cannot be answered.
    pub fn parse(issuer: Issuer, value: &[u8]) -> Result<Self, ChallengeError> {
        if value.len() > MAX_CHALLENGE_LEN {
            return Err(ChallengeError::TooLong);
        }
        let params = AuthParams::parse(value).map_err(|_| ChallengeError::Incomplete)?;
        if !params.is_digest() {
            return Err(ChallengeError::Scheme);
        }
        let algorithm = match params.param("algorithm") {
            Some(name) => Some(Algorithm::parse(&name).ok_or(ChallengeError::Algorithm)?),
            None => None,
        };
        Ok(Self {
            issuer,
            realm: given_back(&params, "realm")?.ok_or(ChallengeError::Incomplete)?,
            nonce: given_back(&params, "nonce")?.ok_or(ChallengeError::Incomplete)?,
            opaque: given_back(&params, "opaque")?,
            algorithm,
            qop: match params.param("qop") {
                Some(offered) => chosen_qop(&offered)?,
                None => None,
            },
            stale: params.param("stale").is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
        })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm.unwrap_or(Algorithm::MD5)
    }

    /// Whether both are of the same realm of the same kind of server.
    pub fn is_of_realm_of(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.realm == other.realm
    }

    /// The value of Authorization or Proxy-Authorization for `request`. `count` is how often the nonce has been used,
    /// this time included; `cnonce` should not repeat (RFC 7616 §3.4).
    pub fn answer(
        &self,
        (username, password): (&str, &str),
        request: Protected<'_>,
        cnonce: &str,
        count: u32,
    ) -> String {
        let algorithm = self.algorithm();
        let terms = Terms { algorithm, qop: self.qop, nonce: &self.nonce, cnonce: cnonce.as_bytes(), count };
        let response = terms.response(&algorithm.ha1(username, &self.realm, password), request);
        let mut printer = AuthPrinter::new("Digest")
            .quoted("username", username)
            .quoted("realm", &self.realm)
            .quoted("nonce", &self.nonce)
            .quoted("uri", request.uri)
            .quoted("response", response);
        if let Some(algorithm) = self.algorithm {
            printer = printer.token("algorithm", algorithm.name());
        }
        if self.qop.is_some() || algorithm.session {
            printer = printer.quoted("cnonce", cnonce);
        }
        if let Some(opaque) = &self.opaque {
            printer = printer.quoted("opaque", opaque);
        }
        if let Some(qop) = self.qop {
            printer = printer.token("qop", qop.name()).token("nc", printed(count));
        }
        printer.finish()
    }
}

/// A value that the answer gives back as it is.
fn given_back(params: &AuthParams<'_>, name: &str) -> Result<Option<Bytes>, ChallengeError> {
    let Some(value) = params.param(name) else {
        return Ok(None);
    };
    if value.iter().any(u8::is_ascii_control) || std::str::from_utf8(&value).is_err() {
        return Err(ChallengeError::Unprintable);
    }
    Ok(Some(Bytes::copy_from_slice(&value)))
}

/// `auth` where it is offered, since bodies change on their way; else `auth-int`.
fn chosen_qop(offered: &[u8]) -> Result<Option<Qop>, ChallengeError> {
    if offered.trim_ascii().is_empty() {
        return Ok(None);
    }
    let mut known: Vec<Qop> =
        offered.split(|byte| *byte == b',').filter_map(|name| Qop::parse(name.trim_ascii())).collect();
    known.sort_by_key(|qop| *qop != Qop::Auth);
    known.first().copied().map(Some).ok_or(ChallengeError::Qop)
}

/// Of each realm that `response` asks for, the challenge with the strongest hash that can be answered; of equals the
/// first, which the server prefers (RFC 8760 §2.4).
pub fn strongest(response: &Message) -> Vec<Challenge> {
    let mut chosen: Vec<Challenge> = Vec::new();
    let issuers = [Issuer::UserAgent, Issuer::Proxy];
    let values = issuers
        .into_iter()
        .flat_map(|issuer| response.values(issuer.challenge_header()).map(move |value| (issuer, value)));
    for (issuer, value) in values.take(MAX_CHALLENGES) {
        let Ok(challenge) = Challenge::parse(issuer, value) else {
            continue;
        };
        match chosen.iter().position(|known| known.is_of_realm_of(&challenge)) {
            Some(known) if challenge.algorithm().hash > chosen[known].algorithm().hash => {
                chosen[known] = challenge;
            }
            None if chosen.len() < MAX_REALMS => chosen.push(challenge),
            Some(_) | None => {}
        }
    }
    chosen
}
