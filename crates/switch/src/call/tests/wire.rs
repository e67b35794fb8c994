//! What holds for everything that a call sends, whatever happens to it.

use super::messages::{Got, branch, what};
use super::plan::{CALLER, CALLER_MOVED, GATEWAY_SIDE, address};
use super::reliable::watch::Watch;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use tandem_sip::time::Mono;
use tandem_sip::transaction::T1_64;
use tandem_sip::{Message, Method, Name, StatusCode};

/// Watches the wire and panics at the first message that breaks a rule.
#[derive(Default)]
pub(super) struct Wire {
    caller: Option<Message>,
    caller_address: Option<SocketAddr>,
    epoch: u32,
    /// INVITEs of ours by branch.
    invites: BTreeMap<Vec<u8>, Got>,
    /// Branches of INVITEs that a provisional response answered.
    proceeding: BTreeSet<Vec<u8>>,
    /// Every other request by branch and method: its epoch and its bytes.
    requests: BTreeMap<(Vec<u8>, String), (u32, String)>,
    /// The highest sequence number of ours in each dialog.
    sequence: BTreeMap<(String, String, String), u32>,
    /// The final response that the caller's INVITE got.
    answered: Option<String>,
    /// INVITEs of ours that a provisional response answered in time.
    rang: BTreeSet<Vec<u8>>,
    /// Those that a final response answered, by what, and whether in time.
    completed: BTreeMap<Vec<u8>, (StatusCode, bool)>,
    undeliverable: BTreeSet<Vec<u8>>,
    /// Dialogs that stand, as (Call-ID, the peer's tag): a 2xx was acknowledged, or sent to the caller.
    opened: BTreeSet<(String, String)>,
    /// Dialogs that a BYE of either side has ended.
    ended: BTreeSet<(String, String)>,
    reliable: Watch,
}

impl Wire {
    pub(super) fn new(caller: &Message, caller_address: SocketAddr) -> Self {
        Self { caller: Some(caller.clone()), caller_address: Some(caller_address), ..Self::default() }
    }

    pub(super) fn next_epoch(&mut self) {
        self.epoch += 1;
    }

    /// A request that the call is given.
    pub(super) fn on_request(&mut self, request: &Message) {
        self.reliable.on_request(request);
    }

    /// A response that the call is given.
    pub(super) fn on_response(&mut self, response: &Message, now: Mono) {
        let Some(status) = response.status().filter(|_| response.method() == Some(Method::Invite)) else {
            return;
        };
        let branch = branch(response);
        // An INVITE that was left is forgotten 64·T1 later.
        let in_time = self.invites.get(&branch).is_some_and(|invite| now.since(invite.at) < T1_64);
        if status.is_final() {
            self.completed.entry(branch).or_insert((status, in_time));
            return;
        }
        self.proceeding.insert(branch.clone());
        if in_time {
            self.rang.insert(branch);
        }
    }

    /// A request of ours that the call is told cannot be delivered.
    pub(super) fn on_undeliverable(&mut self, branch: Vec<u8>) {
        self.undeliverable.insert(branch);
    }

    /// Once the call has stopped: nobody is left waiting.
    pub(super) fn check_end(&self) {
        assert!(self.answered.is_some(), "the caller's INVITE is not answered");
        let open: Vec<_> = self.opened.difference(&self.ended).collect();
        assert!(open.is_empty(), "dialogs left standing: {open:?}");
        // What an owner heard between its last commit and its loss, its heir does not know.
        let certain =
            self.invites.keys().filter(|branch| self.epoch == 0 && !self.undeliverable.contains(*branch));
        for branch in certain {
            let sent = |method: &str| self.requests.contains_key(&(branch.clone(), method.to_owned()));
            // One inside a dialog ends with the dialog, or when its own time is over.
            if self.invites[branch].to_tag().is_some() {
                continue;
            }
            match self.completed.get(branch) {
                Some((status, true)) if status.is_failure() => assert!(sent("ACK"), "no ACK for {status}"),
                Some(_) => {}
                None => {
                    let rang = self.rang.contains(branch);
                    // One inside a dialog ends with the dialog.
                    let ended = self.invites[branch].to_tag().is_some();
                    assert!(
                        !rang || ended || sent("CANCEL"),
                        "left ringing\n{}",
                        self.invites[branch].text()
                    );
                }
            }
        }
    }

    /// A message that the call sends.
    pub(super) fn check(&mut self, got: &Got) {
        if let Err(rejection) = got.validate() {
            panic!("{} does not validate: {rejection}\n{}", got.what(), got.text());
        }
        assert!(
            got.fields().all(|field| !field.value.is_empty() || field.name == Name::Supported),
            "an empty header\n{}",
            got.text()
        );
        assert!(
            got.reasons().iter().all(|reason| !reason.contains("Reason:")),
            "two lines in one\n{}",
            got.text()
        );
        let of_caller = [Some(address(CALLER).ip()), self.caller_address.map(|address| address.ip())];
        let to_caller =
            of_caller.contains(&Some(got.flow.remote.ip())) || got.flow.remote == address(CALLER_MOVED);
        self.check_topology(got, to_caller);
        if !got.is_request() {
            if got.what() == "200" && got.method() == Some(Method::Bye) {
                self.ended.insert((text(got.call_id()), text(got.from_tag())));
            }
            if to_caller {
                self.check_response_to_caller(got);
            }
            return;
        }
        let has_max_forwards = got.max_forwards().expect("a number").is_some();
        assert!(has_max_forwards, "no Max-Forwards\n{}", got.text());
        match got.method() {
            Some(Method::Invite) => self.check_invite(got),
            Some(Method::Cancel) => self.check_cancel(got),
            Some(Method::Ack) => self.check_ack(got),
            _ => self.check_request(got),
        }
    }

    /// Nothing of one leg shows on the other.
    fn check_topology(&self, got: &Got, to_caller: bool) {
        let text = got.text();
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let foreign: &[&str] = if to_caller {
            &["198.51.100.", GATEWAY_SIDE]
        } else {
            &[CALLER, "customer.example", "caller-call-id", "z9hG4bKcaller", "tag=alice"]
        };
        for word in foreign {
            assert!(!head.contains(word), "{word} shows on the other leg\n{text}");
        }
    }

    fn check_response_to_caller(&mut self, got: &Got) {
        let caller = self.caller.as_ref().expect("a caller");
        if got.what() != "100" {
            assert!(got.to_tag().is_some(), "no To tag\n{}", got.text());
        }
        let is_of_invite = got.method() == Some(Method::Invite) && got.branch() == branch(caller);
        if !is_of_invite {
            return;
        }
        self.reliable.check(got);
        let status = got.status().expect("a status");
        if status.is_success() {
            self.opened.insert((text(got.call_id()), text(got.from_tag())));
        }
        match &self.answered {
            Some(answered) => {
                assert_eq!(answered, &got.what(), "another response after the final one\n{}", got.text())
            }
            None if status.is_final() => self.answered = Some(got.what()),
            None => {}
        }
        if status.is_success() || status > StatusCode::TRYING && !status.is_final() {
            assert!(got.contact().is_some(), "no Contact in {status}\n{}", got.text());
        }
    }

    fn check_invite(&mut self, got: &Got) {
        let is_new = !self.invites.contains_key(&got.branch());
        if is_new && got.to_tag().is_some() {
            self.check_sequence(got);
        }
        let first = self.invites.entry(got.branch()).or_insert_with(|| got.clone());
        assert_eq!(first.text(), got.text(), "another INVITE under the same branch");
        assert!(got.contact().is_some(), "no Contact\n{}", got.text());
    }

    /// RFC 3261 §9.1.
    fn check_cancel(&mut self, got: &Got) {
        let invite =
            self.invites.get(&got.branch()).unwrap_or_else(|| panic!("CANCEL of nothing\n{}", got.text()));
        assert!(
            self.proceeding.contains(&got.branch()),
            "CANCEL before a provisional response\n{}",
            got.text()
        );
        assert_eq!(got.to_tag(), invite.to_tag(), "CANCEL with another To tag\n{}", got.text());
        same_request(invite, got);
        self.once(got);
    }

    fn check_ack(&mut self, got: &Got) {
        match self.invites.get(&got.branch()) {
            // Of a failure (RFC 3261 §17.1.1.3).
            Some(invite) => {
                same_request(invite, got);
                assert!(got.to_tag().is_some(), "the To tag is the response's\n{}", got.text());
            }
            // Of a 2xx: a transaction of its own (§13.2.2.4).
            None => {
                let own = |invite: &&Got| {
                    invite.call_id() == got.call_id()
                        && invite.from_tag() == got.from_tag()
                        && invite.cseq_number() == got.cseq_number()
                };
                let invite = self
                    .invites
                    .values()
                    .find(own)
                    .unwrap_or_else(|| panic!("ACK of nothing\n{}", got.text()));
                assert!(invite.to_tag().is_none_or(|tag| Some(tag) == got.to_tag()), "{}", got.text());
                assert!(got.to_tag().is_some(), "{}", got.text());
                self.opened.insert((text(got.call_id()), text(got.to_tag())));
            }
        }
        self.once(got);
    }

    /// A request in a dialog: its sequence number is above the last one's (§12.2.1.1), unless it is sent again.
    fn check_request(&mut self, got: &Got) {
        assert!(!self.invites.contains_key(&got.branch()), "an INVITE's branch\n{}", got.text());
        assert!(got.to_tag().is_some(), "outside any dialog\n{}", got.text());
        if self.once(got) {
            if got.method() == Some(Method::Bye) {
                self.ended.insert((text(got.call_id()), text(got.to_tag())));
            }
            self.check_sequence(got);
        }
    }

    fn check_sequence(&mut self, got: &Got) {
        let dialog = (text(got.call_id()), text(got.from_tag()), text(got.to_tag()));
        let number = got.cseq_number();
        let invite_number = self
            .invites
            .values()
            .find(|invite| invite.call_id() == got.call_id() && invite.to_tag().is_none())
            .map_or(0, |invite| invite.cseq_number());
        let last = self.sequence.entry(dialog).or_insert(invite_number);
        assert!(*last < number, "CSeq {number} after {last}\n{}", got.text());
        *last = number;
    }

    /// Whether the request is new; a copy must be one to the letter, and none but a CANCEL or an ACK of the same
    /// transaction may carry a branch of an earlier owner's.
    fn once(&mut self, got: &Got) -> bool {
        let (key, epoch, text) = ((got.branch(), got.what()), self.epoch, got.text());
        let shared = self.invites.contains_key(&got.branch());
        match self.requests.insert(key, (epoch, text.clone())) {
            Some((earlier, _)) if earlier != epoch && shared => false,
            Some((_, first)) => {
                assert_eq!(first, text, "another request under the same branch");
                false
            }
            None => {
                let others = ["ACK", "BYE"].iter().filter(|method| **method != got.what());
                for other in others {
                    let used = self.requests.contains_key(&(got.branch(), (*other).to_owned()));
                    assert!(shared || !used, "a branch used twice\n{text}");
                }
                true
            }
        }
    }
}

/// What a CANCEL and the ACK of a failure share with their INVITE.
fn same_request(invite: &Got, got: &Got) {
    let text = got.text();
    assert_eq!(invite.request_uri(), got.request_uri(), "{text}");
    assert_eq!(invite.first(Name::Via), got.first(Name::Via), "{text}");
    assert_eq!(invite.first(Name::From), got.first(Name::From), "{text}");
    assert_eq!(invite.call_id(), got.call_id(), "{text}");
    assert_eq!(invite.cseq_number(), got.cseq_number(), "{text}");
    assert_eq!(invite.flow, got.flow, "{} goes elsewhere than its INVITE", what(&got.message));
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}
