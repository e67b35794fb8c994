//! Our account at a gateway that challenges (RFC 3261 §22), and how often its nonces have been used.

use crate::Secret;
use crate::call::{Authorization, Unauthorized};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt::Write;
use tandem_sip::digest::{Challenge, Issuer, Protected};

/// The most nonces of a gateway whose count is kept; the oldest is forgotten first, and a server that minds asks again
/// with a new one.
pub const MAX_NONCES: usize = 256;

/// By whose name and password the switch answers a gateway's challenges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// The only realm that it is for; `None` for any that the gateway names.
    pub realm: Option<String>,
}

/// How often each nonce of a gateway has been answered.
#[derive(Debug, Default)]
pub struct NonceCounts {
    counts: VecDeque<(Bytes, u32)>,
}

impl Account {
    /// The header lines that answer these challenges, all of them; `None` if one is of a realm that this account is not
    /// for. A count that is given is one of an earlier answer, which comes out the same again.
    pub fn authorize(&self, counts: &mut NonceCounts, request: &Unauthorized) -> Option<Authorization> {
        let ours = |challenge: &Challenge| match &self.realm {
            Some(realm) => challenge.realm == realm.as_bytes(),
            None => true,
        };
        if !request.challenges.iter().all(|(challenge, _)| ours(challenge)) {
            return None;
        }
        let method = tandem_sip::method::name(request.method);
        let protected = Protected { method, uri: &request.uri, body: &request.body };
        let mut authorization = Authorization { lines: Bytes::new(), counts: Vec::new() };
        let mut lines = String::new();
        for (challenge, used) in &request.challenges {
            let count = used.unwrap_or_else(|| counts.next(&challenge.nonce));
            let user = (self.username.as_str(), self.password.expose());
            let value = challenge.answer(user, protected, &request.cnonce, count);
            let header = match challenge.issuer {
                Issuer::UserAgent => "Authorization",
                Issuer::Proxy => "Proxy-Authorization",
            };
            write!(lines, "{header}: {value}\r\n").expect("a String grows");
            authorization.counts.push(count);
        }
        authorization.lines = lines.into();
        Some(authorization)
    }
}

impl NonceCounts {
    /// Counts one more use.
    fn next(&mut self, nonce: &Bytes) -> u32 {
        if let Some((_, count)) = self.counts.iter_mut().rev().find(|(known, _)| known == nonce) {
            *count = count.saturating_add(1);
            return *count;
        }
        if self.counts.len() >= MAX_NONCES {
            self.counts.pop_front();
        }
        self.counts.push_back((nonce.clone(), 1));
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_sip::Method;
    use tandem_sip::digest::Credentials;

    fn account(realm: Option<&str>) -> Account {
        Account {
            username: "tandem".into(),
            password: Secret::new("letmein".into()),
            realm: realm.map(ToOwned::to_owned),
        }
    }

    fn challenge(issuer: Issuer, nonce: &str) -> Challenge {
        let value = format!("Digest realm=\"vendor\", nonce=\"{nonce}\", qop=\"auth\"");
        Challenge::parse(issuer, value.as_bytes()).expect("a challenge")
    }

    fn request(challenges: Vec<(Challenge, Option<u32>)>) -> Unauthorized {
        Unauthorized {
            method: Method::Invite,
            uri: "sip:1@192.0.2.1".into(),
            body: Bytes::new(),
            challenges,
            cnonce: "c".into(),
        }
    }

    #[test]
    fn every_use_of_a_nonce_counts_one_more() {
        let mut counts = NonceCounts::default();
        let mut counted = |nonce: &str| {
            let request = request(vec![(challenge(Issuer::Proxy, nonce), None)]);
            account(None).authorize(&mut counts, &request).expect("an answer").counts
        };
        assert_eq!([counted("a"), counted("a"), counted("b"), counted("a")], [[1], [2], [1], [3]]);
    }

    #[test]
    fn the_answer_to_an_earlier_count_comes_out_the_same() {
        let mut counts = NonceCounts::default();
        let first = request(vec![(challenge(Issuer::Proxy, "a"), None)]);
        let lines = account(None).authorize(&mut counts, &first).expect("an answer").lines;
        account(None).authorize(&mut counts, &first).expect("an answer");
        let again = request(vec![(challenge(Issuer::Proxy, "a"), Some(1))]);
        assert_eq!(account(None).authorize(&mut counts, &again).expect("an answer").lines, lines);
    }

    #[test]
    fn each_kind_of_server_gets_its_own_header() {
        let both = vec![(challenge(Issuer::UserAgent, "a"), None), (challenge(Issuer::Proxy, "b"), None)];
        let answer = account(None).authorize(&mut NonceCounts::default(), &request(both)).expect("an answer");
        let text = String::from_utf8(answer.lines.to_vec()).expect("text");
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        let [user_agent, proxy] = lines[..] else { panic!("{lines:?}") };
        let value = user_agent.strip_prefix("Authorization: ").expect("a line");
        let credentials = Credentials::parse(value.as_bytes()).expect("credentials");
        let ha1 = credentials.algorithm.ha1("tandem", b"vendor", "letmein");
        assert!(credentials.are_of(&ha1, "INVITE", b""));
        assert!(proxy.starts_with("Proxy-Authorization: Digest "));
    }

    #[test]
    fn another_realm_than_the_accounts_gets_no_answer() {
        let asked = request(vec![(challenge(Issuer::Proxy, "a"), None)]);
        assert!(account(Some("vendor")).authorize(&mut NonceCounts::default(), &asked).is_some());
        assert!(account(Some("other")).authorize(&mut NonceCounts::default(), &asked).is_none());
    }

    #[test]
    fn the_counts_that_are_kept_are_bounded() {
        let mut counts = NonceCounts::default();
        for nonce in 0..2 * MAX_NONCES {
            counts.next(&nonce.to_string().into());
        }
        assert_eq!(counts.counts.len(), MAX_NONCES);
    }

    #[test]
    fn the_password_does_not_show() {
        assert!(!format!("{:?}", account(None)).contains("letmein"));
    }
}
