//! What the switch sends for a call, matched against what it was to send.

use super::belief::{Stage, T1_64};
use super::call::{COMMIT_PATIENCE, CallModel, Mode, Void};
use super::expect::{AckBody, Due, Expectation, Leg, What};
use super::hear::{branch_of, slice};
use super::wire::Invite;
use crate::peers::sdp_id;
use crate::violation::Rule;
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{Message, Method, Name};

impl CallModel {
    /// Takes a message that the call sends.
    pub(crate) fn sent(&mut self, to: SocketAddr, message: &Message) {
        if let Err(rejection) = message.validate() {
            return self
                .fail(Rule::Readable, format!("{rejection}:\n{}", String::from_utf8_lossy(message.raw())));
        }
        match &self.mode {
            Mode::Live | Mode::Finishing => {}
            // What was on its way when it was told so.
            Mode::Void(Void::Fenced) if self.given_over_at == self.now => return,
            Mode::Restoring(_) | Mode::Void(Void::Abandoned) | Mode::Stopped | Mode::Void(Void::Fenced) => {
                return self
                    .fail(Rule::Takeover, format!("{message:?} sent by a call that is not the node's"));
            }
            Mode::Void(Void::Unstored | Void::Ghost | Void::Watched) => return,
        }
        match message.method() {
            Some(Method::Invite) if message.is_request() => self.invite_sent(to, message),
            Some(Method::Cancel) if message.is_request() => self.cancel_sent(to, message),
            Some(Method::Ack) if message.is_request() => self.ack_sent(to, message),
            Some(Method::Bye) if message.is_request() => self.bye_sent(to, message),
            _ if message.is_request() => self.fail(Rule::Unexpected, format!("{message:?}")),
            Some(Method::Invite) if self.is_to_invite(message) => self.response_sent(message),
            _ => self.reply_sent(message),
        }
    }

    /// Takes the first expectation that fits, and checks that what it waits for has been written.
    pub(super) fn take_first(&mut self, fits: impl Fn(&What) -> bool) -> Option<What> {
        let place = self.expected.iter().position(|expectation| fits(&expectation.what))?;
        let Expectation { what, after, .. } = self.expected.remove(place);
        if let Some((seq, asked)) = after {
            let stored = self.store.made >= seq;
            let patience = self.now >= asked + COMMIT_PATIENCE;
            let failed = self.store.failed_at.is_some_and(|at| at >= asked);
            if !stored && !patience && !failed {
                self.fail(
                    Rule::BeforeCommit,
                    format!("{what:?} before commit {seq}, {} ms early", asked + 250 - self.now),
                );
            }
        }
        Some(what)
    }

    /// Takes something that was done and that is not a message.
    pub(super) fn done(&mut self, done: &What) {
        if self.take_first(|what| what == done).is_none() {
            let waiting: Vec<_> = self.expected.iter().map(|expectation| &expectation.what).collect();
            self.fail(Rule::Unexpected, format!("{done:?}; called for: {waiting:?}"));
        }
    }

    pub(super) fn done_if_live(&mut self, done: &What) {
        if self.is_followed() {
            self.done(done);
        }
    }

    fn unexpected(&mut self, message: &Message) {
        let waiting: Vec<_> = self.expected.iter().map(|expectation| &expectation.what).collect();
        let text = String::from_utf8_lossy(message.raw()).into_owned();
        self.fail(Rule::Unexpected, format!("{message:?}; called for: {waiting:?}\n{text}"));
    }

    fn check(&mut self, holds: bool, rule: Rule, what: &str, message: &Message) {
        if !holds {
            let text = String::from_utf8_lossy(message.raw()).into_owned();
            self.fail(rule, format!("{what}\n{text}"));
        }
    }

    fn invite_sent(&mut self, to: SocketAddr, message: &Message) {
        let branch = branch_of(message);
        if let Some(place) = self.wire.attempt_of(&branch) {
            let same = self.wire.invite_of(place).is_some_and(|invite| invite.raw == *message.raw());
            self.check(same, Rule::Content, "an INVITE sent again is not the same", message);
            if self.take_first(|what| *what == What::InviteAgain(place)).is_none() {
                self.unexpected(message);
            }
            return;
        }
        let Some(What::Invite(place)) = self.take_first(|what| matches!(what, What::Invite(_))) else {
            return self.unexpected(message);
        };
        let plan = self.plan.clone();
        let gateway = &plan.gateways[self.b.attempts[place].gateway];
        self.check(to == gateway.address, Rule::Destination, "an INVITE goes elsewhere", message);
        let invite = Invite {
            branch: branch.clone(),
            call_id: slice(message, message.call_id()),
            from_tag: slice(message, message.from_tag()),
            uri: slice(message, Some(message.request_uri())),
            cseq: message.cseq().map_or(0, |cseq| cseq.number),
            raw: message.raw().clone(),
            to,
        };
        let fresh = self.wire.invites.iter().all(|known| {
            known.branch != branch && known.call_id != invite.call_id && known.from_tag != invite.from_tag
        });
        self.check(fresh, Rule::Names, "an INVITE repeats a name of an earlier one", message);
        let called = format!("{}{}", gateway.prepend, self.b.called.get(gateway.strip..).unwrap_or_default());
        let uri = format!("sip:{called}@{}", gateway.address);
        self.check(invite.uri == uri.as_bytes(), Rule::Content, "an INVITE asks for another number", message);
        let hops = message.max_forwards().ok().flatten();
        self.check(hops == Some(69), Rule::Content, "Max-Forwards is not the caller's minus one", message);
        self.check_hides(message, b"192.0.2.");
        let offer = sdp_id(message.body());
        self.check(
            offer == self.facts.request.sdp,
            Rule::Content,
            "another offer than the caller's",
            message,
        );
        let place_on_wire = self.wire.invites.len();
        self.wire.invites.push(invite);
        self.wire.links.resize(self.wire.links.len().max(place + 1), None);
        self.wire.links[place] = Some(place_on_wire);
    }

    fn cancel_sent(&mut self, to: SocketAddr, message: &Message) {
        let Some(place) = self.wire.attempt_of(&branch_of(message)) else { return self.unexpected(message) };
        let repeated = self.repeats(message);
        let expected = if repeated { What::CancelAgain(place) } else { What::Cancel(place) };
        let taken = self.take_first(|what| *what == expected);
        // Whoever takes a call over may cancel again in the same words.
        if taken.is_none() && self.take_first(|what| *what == What::Cancel(place)).is_none() {
            return self.unexpected(message);
        }
        self.check_like_invite(place, to, message);
        self.check(message.to_tag().is_none(), Rule::Content, "a CANCEL with a To tag", message);
        let gives_reason = message.first(Name::Reason).is_some();
        self.check(gives_reason, Rule::Content, "a CANCEL without Reason", message);
    }

    /// What CANCEL and the ACK of a failure share with their INVITE (RFC 3261 §9.1, §17.1.1.3).
    fn check_like_invite(&mut self, place: usize, to: SocketAddr, message: &Message) {
        let Some(invite) = self.wire.invite_of(place) else { return };
        let fits = invite.uri == message.request_uri()
            && Some(&invite.call_id[..]) == message.call_id()
            && Some(&invite.from_tag[..]) == message.from_tag()
            && message.cseq().is_ok_and(|cseq| cseq.number == invite.cseq);
        let arrives = invite.to == to;
        self.check(fits, Rule::Content, "does not repeat what its INVITE says", message);
        self.check(arrives, Rule::Destination, "goes elsewhere than its INVITE", message);
    }

    /// Nothing of one leg shows on the other, apart from session descriptions.
    fn check_hides(&mut self, message: &Message, network: &[u8]) {
        let head = &message.raw()[..message.raw().len() - message.body().len()];
        let shows = head.windows(network.len()).any(|window| window == network);
        self.check(!shows, Rule::Topology, "it shows an address of the other leg", message);
    }

    /// Whether these very bytes were sent before. Takes note of them.
    fn repeats(&mut self, message: &Message) -> bool {
        let branch = branch_of(message);
        let method = message.method().unwrap_or(Method::Ack);
        let mut of_branch =
            self.wire.requests.iter().filter(|(known, kind, _)| *known == branch && *kind == method);
        if of_branch.any(|(_, _, raw)| raw == message.raw()) {
            return true;
        }
        self.wire.requests.push((branch, method, message.raw().clone()));
        false
    }

    fn ack_sent(&mut self, to: SocketAddr, message: &Message) {
        if let Some(place) = self.wire.attempt_of(&branch_of(message)) {
            if self.take_first(|what| *what == What::AckFailure(place)).is_none() {
                return self.unexpected(message);
            }
            return self.check_like_invite(place, to, message);
        }
        let call_id = message.call_id().unwrap_or_default();
        let Some(place) = self.wire.attempt_by_call_id(call_id) else { return self.unexpected(message) };
        let tag = slice(message, message.to_tag());
        if self.repeats(message) {
            let again = What::AckAgain { attempt: place, tag };
            if self.take_first(|what| *what == again).is_none() {
                self.unexpected(message);
            }
            return;
        }
        let fits = |what: &What| matches!(what, What::Ack { attempt, tag: of, .. } if *attempt == place && *of == tag);
        let Some(What::Ack { body, .. }) = self.take_first(fits) else {
            // Whoever takes a call over writes an ACK of its own.
            let again = What::AckAgain { attempt: place, tag };
            if self.store.panics == 0 || self.take_first(|what| *what == again).is_none() {
                self.unexpected(message);
            }
            return;
        };
        let sdp = sdp_id(message.body());
        let is_right = match body {
            AckBody::None => sdp.is_none(),
            AckBody::Answer(answer) => sdp == Some(answer),
            AckBody::Refusal => sdp == Some(0),
        };
        self.check(is_right, Rule::Content, "an ACK with another answer than the caller's", message);
        let Some(invite) = self.wire.invite_of(place) else { return };
        let numbered = message.cseq().is_ok_and(|cseq| cseq.number == invite.cseq);
        self.check(numbered, Rule::Content, "an ACK whose CSeq is not its INVITE's", message);
        let known = self.wire.links[place].unwrap_or_default();
        self.wire.dialog(known, &tag).acks.push(message.raw().clone());
    }

    fn bye_sent(&mut self, to: SocketAddr, message: &Message) {
        let call_id = slice(message, message.call_id());
        let tag = slice(message, message.to_tag());
        let leg = if call_id == self.facts.request.call_id {
            Leg::Caller
        } else {
            let Some(place) = self.wire.attempt_by_call_id(&call_id) else { return self.unexpected(message) };
            Leg::Callee { attempt: place, tag: tag.clone() }
        };
        if self.repeats(message) {
            let again = What::ByeAgain(leg);
            if self.take_first(|what| *what == again).is_none() {
                self.unexpected(message);
            }
            return;
        }
        if leg == Leg::Caller {
            let acknowledged = self.wire.acknowledged;
            // 64·T1 count from the answer, not from when the 2xx went out behind its commit.
            let margin = COMMIT_PATIENCE + self.plan.lateness_ms;
            let waited = self.wire.answered_at.is_some_and(|at| self.now + margin >= at + T1_64);
            self.check(
                acknowledged || waited,
                Rule::ByeBeforeAck,
                "a BYE to the caller before its ACK",
                message,
            );
        }
        let bye = What::Bye(leg.clone());
        if self.take_first(|what| *what == bye).is_none() {
            return self.unexpected(message);
        }
        let acks_to_come = self.expected.iter().any(|expectation| expectation.what.acknowledges(&leg));
        self.check(!acks_to_come, Rule::NoOrphans, "a BYE before the ACK", message);
        self.bye_noted(leg, to, branch_of(message), message);
    }

    fn bye_noted(&mut self, leg: Leg, to: SocketAddr, branch: Bytes, message: &Message) {
        match leg {
            Leg::Caller => {
                let to_tag_fits = message.to_tag().unwrap_or_default() == self.facts.request.from_tag;
                self.check(to_tag_fits, Rule::Content, "a BYE to another dialog", message);
                self.check(
                    to == self.facts.contact,
                    Rule::Destination,
                    "a BYE to the caller goes elsewhere",
                    message,
                );
                if let Some(bye) = &mut self.b.caller_bye {
                    bye.branch = Some(branch);
                }
            }
            Leg::Callee { attempt, tag } => {
                let own = self.own_dialog().is_some_and(|(own, of)| own == attempt && of == tag);
                let outgoing = if own {
                    self.b.callee_bye.as_mut()
                } else {
                    let unwanted = &mut self.b.attempts[attempt].unwanted;
                    unwanted.iter_mut().find(|unwanted| unwanted.tag == tag).map(|unwanted| &mut unwanted.bye)
                };
                if let Some(bye) = outgoing {
                    bye.branch = Some(branch);
                }
                let Some(known) = self.wire.links[attempt] else { return };
                let above = message.cseq().is_ok_and(|cseq| cseq.number > self.wire.invites[known].cseq);
                self.check(above, Rule::Names, "a BYE whose CSeq is not above its INVITE's", message);
                self.wire.dialog(known, &tag).ended = true;
            }
        }
    }

    fn is_to_invite(&self, message: &Message) -> bool {
        message.cseq().is_ok_and(|cseq| cseq.number == self.facts.request.cseq)
            && message.call_id() == Some(&self.facts.request.call_id[..])
            && branch_of(message) == self.facts.request.branch
    }

    fn reply_sent(&mut self, message: &Message) {
        let branch = branch_of(message);
        let cseq = slice(message, message.first(Name::CSeq));
        let status = message.status().map_or(0, |status| status.code());
        let fits = |what: &What| matches!(what, What::Reply { branch: of, cseq: number, .. } if *of == branch && *number == cseq);
        let Some(What::Reply { status: expected, .. }) = self.take_first(fits) else {
            return self.unexpected(message);
        };
        self.check(status == expected, Rule::Content, &format!("{expected} was called for"), message);
    }

    /// A response to the caller's INVITE.
    fn response_sent(&mut self, message: &Message) {
        let status = message.status().map_or(0, |status| status.code());
        let sdp = sdp_id(message.body());
        let tag = slice(message, message.to_tag());
        let raw = message.raw().clone();
        if status == 100 && self.take_first(|what| *what == What::Trying).is_some() {
            self.wire.trying = Some(raw.clone());
            self.wire.last_response = Some(raw);
            return;
        }
        let repeated = self.wire.last_response.as_ref() == Some(&raw);
        let number = self.wire.tags.iter().find(|(_, known)| *known == tag).map(|(number, _)| *number);
        let fits = |what: &What| {
            if let What::Ring { status: of, sdp: with, tag } | What::Final { status: of, sdp: with, tag } =
                what
            {
                *of == status && *with == sdp && number.is_none_or(|number| number == *tag)
            } else {
                *what == What::ResponseAgain && repeated
            }
        };
        match self.take_first(fits) {
            Some(What::Ring { tag: number, .. } | What::Final { tag: number, .. }) => {
                self.new_response(status, (number, tag), sdp, message);
            }
            Some(_) => {}
            None => self.wrong_response(status, message),
        }
    }

    /// Says what is wrong with a response that nothing called for.
    fn wrong_response(&mut self, status: u16, message: &Message) {
        let meant = self.expected.iter().find_map(|expectation| {
            let (What::Ring { status: of, .. } | What::Final { status: of, .. }) = &expectation.what else {
                return None;
            };
            ((*of < 200) == (status < 200)).then_some((*of, &expectation.what))
        });
        match meant {
            Some((of, what)) => {
                let rule = if of == status { Rule::ToTag } else { Rule::Content };
                let what = format!("{what:?} was called for");
                self.check(false, rule, &what, message);
            }
            None if self.wire.final_status.is_some() => {
                self.check(false, Rule::OneFinal, "the caller had its final response", message);
            }
            None => self.unexpected(message),
        }
    }

    fn new_response(
        &mut self,
        status: u16,
        (number, tag): (u32, Bytes),
        sdp: Option<u32>,
        message: &Message,
    ) {
        match self.wire.tag_of(number) {
            Some(known) => {
                let same = *known == tag;
                self.check(same, Rule::ToTag, "the To tag has changed", message);
            }
            None => {
                let fresh = !tag.is_empty() && self.wire.tags.iter().all(|(_, known)| *known != tag);
                self.check(fresh, Rule::ToTag, "another session description under the same To tag", message);
                self.wire.tags.push((number, tag.clone()));
            }
        }
        if let Some((_, writer)) = self.wire.writers.iter().rev().find(|(id, _)| Some(*id) == sdp).cloned() {
            let earlier =
                self.wire.described.iter().find(|(of, _)| *of == tag).map(|(_, writer)| writer.clone());
            let same = earlier.as_ref().is_none_or(|earlier| *earlier == writer) || self.store.panics > 0;
            self.check(same, Rule::ToTag, "two session descriptions under one To tag", message);
            self.wire.described.push((tag, writer));
        }
        self.check_hides(message, b"198.51.100.");
        let gives_reason = status < 300 || message.first(Name::Reason).is_some();
        self.check(gives_reason, Rule::Content, "a failure without Reason", message);
        self.wire.last_response = Some(message.raw().clone());
        if status >= 200 {
            let first = *self.wire.final_status.get_or_insert(status);
            self.check(first == status, Rule::OneFinal, &format!("the caller had {first} before"), message);
            if status < 300 {
                self.wire.answered_at.get_or_insert(self.now);
            }
        } else {
            let early = self.wire.final_status.is_none();
            self.check(early, Rule::OneFinal, "a provisional response behind the final one", message);
        }
    }

    /// The end of a step: everything called for is done, and the rules that hold at any time hold.
    pub(crate) fn settle_step(&mut self) {
        if !self.is_followed() {
            return;
        }
        let missing = self.expected.iter().find(|expectation| matches!(expectation.due, Due::Now));
        if let Some(missing) = missing {
            let (rule, detail) = (missing.what.rule(), format!("{:?} was called for", missing.what));
            return self.fail(rule, detail);
        }
        let standing = self.wire.standing();
        if standing > 1 && self.store.panics == 0 {
            self.fail(Rule::OneAnswer, format!("{standing} dialogs with gateways stand at once"));
        }
        if standing > 0 && matches!(&self.b.stage, Stage::Calling(_)) && self.store.panics == 0 {
            self.fail(Rule::OneAnswer, "the hunt goes on beside an answered dialog");
        }
    }
}
