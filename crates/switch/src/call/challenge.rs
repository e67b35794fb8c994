//! 401 and 407 (RFC 3261 §22): which challenges are answered, and how often.
//!
//! A challenge is answered once. If the same realm asks again, the credentials were wrong, unless it says that only the
//! nonce was too old (`stale`): then once more with the new one. Secrets never come here: the gateway's owner makes the
//! answer, which an heir asks for anew.

use super::action::Unauthorized;
use super::identity::{Names, Serial};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::digest::{Challenge, strongest};
use tandem_sip::{Message, Method};

/// How long making an answer may take; then there is none.
pub(super) const AUTHORIZATION_LIMIT: Duration = Duration::from_secs(2);

/// The most answers to one realm in a row: the first, and one to a new nonce.
const MAX_PER_REALM: u8 = 2;

/// The most challenged requests of one attempt.
const MAX_IN_ALL: u8 = 4;

/// The challenges that have been answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Challenges {
    realms: Vec<Realm>,
    in_all: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Realm {
    challenge: Challenge,
    /// How often in a row it has been answered.
    answers: u8,
    /// The nonce count of the last answer.
    count: Option<u32>,
}

impl Realm {
    /// The next challenge is as good as the first.
    fn renew(&mut self) {
        self.answers = 0;
        self.count = None;
    }
}

impl Challenges {
    /// Takes what a 401 or 407 asks for. `false` if it is not to be answered, or not again.
    pub(crate) fn take(&mut self, response: &Message) -> bool {
        let asked = strongest(response);
        if asked.is_empty() || self.in_all >= MAX_IN_ALL {
            return false;
        }
        self.in_all += 1;
        // A realm that does not ask again was content: it may want a new nonce next time.
        let content = |realm: &&mut Realm| !asked.iter().any(|asks| asks.is_of_realm_of(&realm.challenge));
        self.realms.iter_mut().filter(content).for_each(Realm::renew);
        asked.into_iter().all(|challenge| self.take_one(challenge))
    }

    fn take_one(&mut self, challenge: Challenge) -> bool {
        let Some(known) = self.realms.iter_mut().find(|realm| realm.challenge.is_of_realm_of(&challenge))
        else {
            self.realms.push(Realm { challenge, answers: 1, count: None });
            return true;
        };
        let is_new = known.answers == 0
            || challenge.stale && challenge.nonce != known.challenge.nonce && known.answers < MAX_PER_REALM;
        // Whoever asked for a strong hash first is not answered with a weaker one.
        let is_downgrade = challenge.algorithm().hash < known.challenge.algorithm().hash;
        if !is_new || is_downgrade {
            return false;
        }
        *known = Realm { challenge, answers: known.answers + 1, count: None };
        true
    }

    /// The request goes out again for another reason than a challenge: a server may want a new nonce for it.
    pub(crate) fn renew(&mut self) {
        self.realms.iter_mut().for_each(Realm::renew);
    }

    /// What was asked has been done: what is asked from now on is answered as if it were the first time.
    pub(crate) fn renew_all(&mut self) {
        self.renew();
        self.in_all = 0;
    }

    /// Whether a request has to carry answers.
    pub(crate) fn is_empty(&self) -> bool {
        self.realms.is_empty()
    }

    /// What is asked for a request that goes out under `serial`: the same again if it has been answered before.
    pub(crate) fn ask(
        &self,
        names: &Names,
        serial: Serial,
        (method, uri, body): (Method, Arc<str>, Bytes),
    ) -> Box<Unauthorized> {
        let challenges = self.realms.iter().map(|realm| (realm.challenge.clone(), realm.count)).collect();
        Box::new(Unauthorized { method, uri, body, challenges, cnonce: names.tag(serial) })
    }

    /// Notes under which counts that was answered.
    pub(super) fn answered(&mut self, counts: &[u32]) {
        for (realm, count) in self.realms.iter_mut().zip(counts) {
            realm.count = Some(*count);
        }
    }
}
