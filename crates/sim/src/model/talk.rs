//! The model of the caller's requests, of the conversation and of its end.

use super::belief::{AttemptEnd, Client, Ended, Facts, Failed, Outgoing, Server, Stage};
use super::call::CallModel;
use super::expect::{AckBody, Leg, What};
use super::hear::Request;
use crate::coverage::Row;
use tandem_sip::Method;

/// Whose request it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Party {
    Caller,
    Callee,
    Nobody,
}

impl CallModel {
    pub(super) fn on_request(&mut self, request: &Request) {
        match request.method {
            Some(Method::Ack) => self.on_ack(request),
            Some(Method::Invite) if request.to_tag.is_none() => self.on_invite_again(request),
            Some(Method::Cancel) => self.on_cancel(request),
            Some(_) | None => {
                let now = self.now;
                let answered = &mut self.b.caller.answered;
                answered.retain(|copy| copy.until > now);
                let copy = answered.iter().find(|copy| {
                    copy.branch == request.branch
                        && copy.cseq == request.cseq_text
                        && copy.call_id == request.call_id
                });
                match copy.map(|copy| copy.status) {
                    Some(status) => self.reply(request, status),
                    None => self.on_dialog_request(request),
                }
            }
        }
    }

    fn is_of_invite(&self, request: &Request) -> bool {
        request.call_id == self.facts.request.call_id && request.cseq == self.facts.request.cseq
    }

    fn on_invite_again(&mut self, request: &Request) {
        let answers = match self.b.caller.server {
            Server::Proceeding | Server::Completed { .. } => true,
            Server::Confirmed | Server::Accepted { .. } | Server::Acknowledged | Server::Over => false,
        };
        if answers && request.cseq == self.facts.request.cseq {
            self.response_again();
        }
    }

    /// A copy follows what the response itself follows.
    fn response_again(&mut self) {
        self.expect_behind(What::ResponseAgain, self.b.caller.after);
    }

    fn on_cancel(&mut self, request: &Request) {
        if !self.is_of_invite(request) {
            return self.reply(request, 481);
        }
        self.reply(request, 200);
        if matches!(self.b.caller.server, Server::Proceeding) {
            self.cancelled();
        }
    }

    /// The caller has given up before an answer.
    fn cancelled(&mut self) {
        self.row(Row::CallerCancels);
        self.abandon(Facts { by: "caller", reason: "cancelled", stop: None, status: 487 });
    }

    /// Ends a call that is not answered.
    fn abandon(&mut self, release: Facts) {
        match self.b.stage {
            Stage::Calling(place) => {
                self.b.attempts[place].outcome = AttemptEnd::Cancelled;
                self.b.attempts[place].ended = Some(self.now);
                self.leave(place);
            }
            Stage::Routing { .. } | Stage::Admitting { .. } => {}
            Stage::Talking(_) | Stage::Ended(_) => return,
        }
        self.reject(release);
    }

    pub(super) fn hang_up(&mut self, reason: &'static str, status: u16) {
        if matches!(self.b.stage, Stage::Talking(_)) {
            self.end_talk("server", reason, None);
        } else {
            self.abandon(Facts { by: "server", reason, stop: None, status });
        }
    }

    /// Whose dialog a request is in, under the tags that it has now.
    fn party(&self, request: &Request) -> Party {
        let Some(to_tag) = &request.to_tag else { return Party::Nobody };
        if request.call_id == self.facts.request.call_id {
            let is_ours = self.wire.tag_of(self.b.caller.tag).is_some_and(|tag| tag == to_tag);
            let is_theirs = request.from_tag == self.facts.request.from_tag;
            return if is_ours && is_theirs { Party::Caller } else { Party::Nobody };
        }
        if matches!(&self.b.stage, Stage::Ended(ended) if ended.callee_gone) {
            return Party::Nobody;
        }
        let own = self.own_dialog().and_then(|(place, tag)| Some((self.wire.invite_of(place)?, tag)));
        let is_callee = own.is_some_and(|(invite, tag)| {
            request.call_id == invite.call_id && *to_tag == invite.from_tag && request.from_tag == tag
        });
        if is_callee { Party::Callee } else { Party::Nobody }
    }

    fn on_dialog_request(&mut self, request: &Request) {
        let party = self.party(request);
        let is_bye = request.method == Some(Method::Bye);
        match (&self.b.stage, party) {
            (Stage::Talking(_), Party::Caller | Party::Callee) => self.on_talk(request, party),
            (Stage::Ended(_), Party::Caller | Party::Callee) if is_bye => {
                self.answer(request, 200);
                if party == Party::Caller {
                    self.caller_hung_up();
                }
            }
            (Stage::Ended(_), _) | (_, Party::Callee | Party::Nobody) => self.answer(request, 481),
            (Stage::Routing { .. } | Stage::Admitting { .. } | Stage::Calling(_), Party::Caller) => {
                let status = match request.method {
                    Some(Method::Bye) => 200,
                    Some(Method::Update) if request.cseq <= self.b.caller.cseq => 500,
                    Some(Method::Update) => {
                        self.b.caller.cseq = request.cseq;
                        200
                    }
                    Some(_) | None => 405,
                };
                self.answer(request, status);
                if is_bye {
                    self.cancelled();
                }
            }
        }
    }

    /// BYE of the caller after the end: nothing more is to be told to it.
    fn caller_hung_up(&mut self) {
        if let Stage::Ended(ended) = &mut self.b.stage {
            ended.bye_waits = false;
        }
        if matches!(self.b.caller.server, Server::Accepted { .. }) {
            self.b.caller.server = Server::Acknowledged;
        }
    }

    fn on_talk(&mut self, request: &Request, party: Party) {
        let Stage::Talking(talk) = &mut self.b.stage else { return };
        let last = match party {
            Party::Caller => Some(self.b.caller.cseq),
            Party::Callee | Party::Nobody => talk.callee_cseq,
        };
        if last.is_some_and(|last| request.cseq <= last) {
            return self.answer(request, 500);
        }
        match party {
            Party::Caller => self.b.caller.cseq = request.cseq,
            Party::Callee | Party::Nobody => talk.callee_cseq = Some(request.cseq),
        }
        let status = match request.method {
            // Of those with an offer the peers send none.
            Some(Method::Bye | Method::Options | Method::Update) => 200,
            Some(Method::Refer) => 603,
            Some(_) => 405,
            None => 501,
        };
        self.answer(request, status);
        if request.method == Some(Method::Update) {
            self.commit();
        }
        if request.method == Some(Method::Bye) {
            let by = if party == Party::Caller { "caller" } else { "callee" };
            self.end_talk(by, "normal", Some(party));
        }
    }

    fn on_ack(&mut self, request: &Request) {
        let is_ours = self.party(request) == Party::Caller;
        if !self.is_of_invite(request) {
            return;
        }
        match &mut self.b.stage {
            Stage::Talking(talk) => {
                if !is_ours || !matches!(self.b.caller.server, Server::Accepted { .. }) {
                    return;
                }
                self.b.caller.server = Server::Acknowledged;
                if !talk.offer_open {
                    return;
                }
                let Some(answer) = request.sdp else {
                    return self.end_talk("server", "protocol error", None);
                };
                talk.offer_open = false;
                talk.answered_in_ack = Some(answer);
                talk.after = None;
                let (attempt, tag) = (talk.attempt, talk.tag.clone());
                self.expect(What::Ack { attempt, tag, body: AckBody::Answer(answer) });
                self.commit();
            }
            Stage::Ended(ended) => match self.b.caller.server {
                Server::Accepted { .. } => {
                    self.b.caller.server = Server::Acknowledged;
                    if std::mem::take(&mut ended.bye_waits) {
                        self.bye_caller();
                    }
                }
                Server::Completed { .. } => self.b.caller.server = Server::Confirmed,
                Server::Proceeding | Server::Confirmed | Server::Acknowledged | Server::Over => {}
            },
            Stage::Routing { .. } | Stage::Admitting { .. } | Stage::Calling(_) => {}
        }
    }

    fn bye_caller(&mut self) {
        self.expect(What::Bye(Leg::Caller));
        self.b.caller_bye = Some(self.outgoing());
    }

    /// Ends the conversation. Whoever hung up is not told.
    fn end_talk(&mut self, by: &'static str, reason: &'static str, hung_up: Option<Party>) {
        let Stage::Talking(talk) = self.b.stage.clone() else { return };
        let (place, tag) = (talk.attempt, talk.tag);
        let after = talk.after.filter(|_| !talk.offer_open);
        if talk.offer_open {
            self.expect(What::Ack { attempt: place, tag: tag.clone(), body: AckBody::Refusal });
        }
        if hung_up != Some(Party::Callee) {
            // Not before the ACK.
            self.expect_behind(What::Bye(Leg::Callee { attempt: place, tag: tag.clone() }), after);
            self.b.callee_bye = Some(Outgoing { after, ..self.outgoing() });
        }
        let awaits_ack = matches!(self.b.caller.server, Server::Accepted { .. });
        let mut bye_waits = false;
        match (hung_up, awaits_ack) {
            (Some(Party::Caller), true) => self.b.caller.server = Server::Acknowledged,
            (Some(Party::Caller), false) => {}
            (Some(Party::Callee | Party::Nobody) | None, true) => bye_waits = true,
            (Some(Party::Callee | Party::Nobody) | None, false) => self.bye_caller(),
        }
        let release = Facts { by, reason, stop: None, status: 200 };
        let answered = Some((place, tag));
        self.b.stage =
            Stage::Ended(Ended { release: release.clone(), answered, bye_waits, callee_gone: false, after });
        let seq = self.finish(release);
        self.release_after_end(place, seq);
    }

    /// Does what is due.
    pub(super) fn on_timer(&mut self) {
        let now = self.now;
        self.patience_ends();
        let current = match &self.b.stage {
            Stage::Calling(place) => Some(*place),
            Stage::Talking(talk) => Some(talk.attempt),
            Stage::Ended(ended) => ended.answered.as_ref().map(|(place, _)| *place),
            Stage::Routing { .. } | Stage::Admitting { .. } => None,
        };
        for place in 0..self.b.attempts.len() {
            if Some(place) != current && !self.b.attempts[place].is_forgotten {
                self.late_timer(place);
            }
        }
        let unacknowledged = self.server_timer();
        if self.b.setup_until.is_some_and(|until| until <= now) {
            self.b.setup_until = None;
            self.row(Row::SetupTimeout);
            self.hang_up("set-up timeout", 408);
        }
        self.stage_timer(unacknowledged);
    }

    fn stage_timer(&mut self, unacknowledged: bool) {
        let now = self.now;
        match &self.b.stage {
            Stage::Routing { until } if *until <= now => self.give_up(super::table::EXHAUSTED),
            Stage::Admitting { until, .. } if *until <= now => {
                self.row(Row::AdmissionTimeout);
                self.next_gateway();
            }
            Stage::Calling(place) => self.attempt_timer(*place),
            Stage::Talking(talk) => {
                if unacknowledged && !talk.ack_unknown {
                    self.end_talk("server", "protocol error", None);
                } else if talk.ends_at.is_some_and(|at| at <= now) {
                    self.row(Row::MaxDuration);
                    self.end_talk("server", "max duration", None);
                } else {
                    self.late_timer(talk.attempt);
                }
            }
            Stage::Ended(_) => self.end_timer(unacknowledged),
            Stage::Routing { .. } | Stage::Admitting { .. } => {}
        }
    }

    fn attempt_timer(&mut self, place: usize) {
        let (now, waits) = (self.now, self.waits());
        let attempt = &mut self.b.attempts[place];
        if let Some((wait, _)) = attempt.wait.filter(|(_, until)| *until <= now) {
            return self.fail_attempt(place, Self::failure_of(wait));
        }
        let Client::Calling(resend) = &mut attempt.client else { return };
        if resend.give_up <= now {
            attempt.client = Client::Over;
            return self.fail_attempt(place, Failed::Invite);
        }
        if resend.fires(&waits, false, now) {
            let after = self.b.attempts[place].after;
            self.expect_behind(What::InviteAgain(place), after);
        }
    }

    /// What is due in an attempt that was left or answered.
    fn late_timer(&mut self, place: usize) {
        let (now, waits) = (self.now, self.waits());
        let attempt = &mut self.b.attempts[place];
        let over = match &attempt.client {
            Client::Calling(resend) => resend.give_up <= now,
            Client::Completed { until } | Client::Accepted { until } => *until <= now,
            Client::Proceeding | Client::Over => false,
        };
        let was_open = attempt.is_open();
        if over || (was_open && attempt.left_until.is_some_and(|until| until <= now)) {
            attempt.client = Client::Over;
        }
        let ran_out = was_open && !attempt.is_open();
        let cancels = attempt.cancel.as_mut().is_some_and(|cancel| cancel.fires(&waits, now));
        let again: Vec<_> = attempt
            .unwanted
            .iter_mut()
            .filter_map(|unwanted| unwanted.bye.fires(&waits, now).then(|| unwanted.tag.clone()))
            .collect();
        if ran_out {
            self.row(Row::LeftRunsOut);
        }
        if cancels {
            self.expect(What::CancelAgain(place));
        }
        for tag in again {
            self.expect(What::ByeAgain(Leg::Callee { attempt: place, tag }));
        }
        self.settle(place);
    }

    /// Resends the final response. Whether the ACK of a 2xx has been waited for long enough.
    fn server_timer(&mut self) -> bool {
        let (now, waits) = (self.now, self.waits());
        let mut resent = false;
        let mut ran_out = false;
        match &mut self.b.caller.server {
            Server::Completed { resend } if resend.give_up <= now => self.b.caller.server = Server::Over,
            Server::Accepted { resend } if resend.give_up <= now => {
                self.b.caller.server = Server::Over;
                ran_out = true;
            }
            Server::Completed { resend } | Server::Accepted { resend } => {
                resent = resend.fires(&waits, false, now)
            }
            Server::Proceeding | Server::Confirmed | Server::Acknowledged | Server::Over => {}
        }
        if resent {
            self.response_again();
        }
        ran_out
    }

    fn end_timer(&mut self, unacknowledged: bool) {
        let (now, waits) = (self.now, self.waits());
        if let Stage::Ended(ended) = &mut self.b.stage
            && unacknowledged
            && std::mem::take(&mut ended.bye_waits)
        {
            self.bye_caller();
        }
        if self.b.caller_bye.as_mut().is_some_and(|bye| bye.fires(&waits, now)) {
            self.expect(What::ByeAgain(Leg::Caller));
        }
        if self.b.callee_bye.as_mut().is_some_and(|bye| bye.fires(&waits, now))
            && let Some((attempt, tag)) = self.own_dialog()
        {
            let after = self.b.callee_bye.as_ref().and_then(|bye| bye.after);
            self.expect_behind(What::ByeAgain(Leg::Callee { attempt, tag }), after);
        }
        if let Some((place, _)) = self.own_dialog() {
            self.late_timer(place);
        }
        self.forget_callee();
    }

    /// The callee's dialog is remembered as long as a BYE may cross one of ours, or a copy of its 2xx may come.
    fn forget_callee(&mut self) {
        let byes_open = [&self.b.caller_bye, &self.b.callee_bye].into_iter().flatten().any(|bye| bye.is_open);
        let Some((place, _)) = self.own_dialog() else { return };
        let attempt = &self.b.attempts[place];
        let is_over = matches!(attempt.client, Client::Over) && attempt.is_free();
        if let Stage::Ended(ended) = &mut self.b.stage {
            ended.callee_gone |= is_over && !byes_open;
        }
    }
}
