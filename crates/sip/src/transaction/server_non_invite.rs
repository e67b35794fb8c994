//! The non-INVITE server transaction (RFC 3261 §17.2.2).

use super::T1_64;
use crate::time::Mono;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One request other than INVITE and ACK that was answered at once, until its copies can arrive no more (timer J).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNonInvite {
    branch: Bytes,
    response: Bytes,
    until: Mono,
}

impl ServerNonInvite {
    /// A transaction whose final `response` its user sends now; `branch` is that of the request's top Via.
    pub fn completed(branch: Bytes, response: Bytes, reliable: bool, now: Mono) -> Self {
        let until = if reliable { now } else { now + T1_64 };
        Self { branch, response, until }
    }

    /// The response, if a request with this branch is a copy of this transaction's.
    pub fn answer_to(&self, branch: &[u8]) -> Option<Bytes> {
        (self.branch == branch).then(|| self.response.clone())
    }

    /// When the transaction is over.
    pub fn deadline(&self) -> Mono {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_get_the_same_response_until_timer_j() {
        let branch = Bytes::from_static(b"z9hG4bK1");
        let ok = Bytes::from_static(b"200");
        let transaction = ServerNonInvite::completed(branch.clone(), ok.clone(), false, Mono(5));
        assert_eq!(transaction.answer_to(&branch), Some(ok));
        assert_eq!(transaction.answer_to(b"z9hG4bK2"), None);
        assert_eq!(transaction.deadline(), Mono(32_005));
    }
}
