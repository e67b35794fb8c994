//! What holds for every reliable response to the caller, whatever happens (RFC 3262 §3).

use super::super::messages::Got;
use std::collections::BTreeMap;
use tandem_sip::{Message, Method, Name};

/// Watches the caller's leg and panics at the first response that breaks a rule.
#[derive(Default)]
pub(in super::super) struct Watch {
    /// The last reliable response under each To tag.
    sent: BTreeMap<Vec<u8>, Sent>,
}

struct Sent {
    rseq: u32,
    text: String,
    is_acknowledged: bool,
}

impl Watch {
    /// A request that the call is given.
    pub(in super::super) fn on_request(&mut self, request: &Message) {
        let Some(Ok(rack)) = request.rack().filter(|_| request.method() == Some(Method::PRack)) else {
            return;
        };
        let is_of_caller =
            request.call_id() == Some(b"caller-call-id") && request.from_tag() == Some(b"alice");
        let is_of_invite = (rack.cseq.number, rack.cseq.method) == (7, Some(Method::Invite));
        let sent = self.sent.get_mut(request.to_tag().unwrap_or_default());
        if let Some(sent) = sent.filter(|sent| is_of_caller && is_of_invite && sent.rseq == rack.rseq) {
            sent.is_acknowledged = true;
        }
    }

    /// A response to the caller's INVITE.
    pub(in super::super) fn check(&mut self, got: &Got) {
        let status = got.status().expect("a status");
        if status.is_success() {
            let waits =
                self.sent.values().find(|sent| !sent.is_acknowledged && sent.text.contains("m=audio"));
            assert!(waits.is_none(), "a 2xx before the PRACK\n{}", waits.map_or("", |sent| &sent.text));
        }
        let Some(rseq) = got.number(Name::RSeq) else {
            assert!(!got.has_token(Name::Require, "100rel") || status.is_final(), "no RSeq\n{}", got.text());
            return;
        };
        let rseq = rseq.expect("a number");
        assert!(status.is_provisional() && status.code() > 100 && rseq > 0, "{}", got.text());
        assert!(got.has_token(Name::Require, "100rel"), "{}", got.text());
        let sent = Sent { rseq, text: got.text(), is_acknowledged: false };
        let tag = got.to_tag().unwrap_or_default().to_vec();
        match self.sent.get_mut(&tag) {
            Some(last) if last.rseq == rseq => assert_eq!(last.text, sent.text, "another under RSeq {rseq}"),
            Some(last) => {
                assert_eq!(last.rseq + 1, rseq, "{}", got.text());
                assert!(last.is_acknowledged, "a second one before the PRACK\n{}", got.text());
                *last = sent;
            }
            None => {
                self.sent.insert(tag, sent);
            }
        }
    }
}
