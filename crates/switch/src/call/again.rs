//! What stays inside an attempt (the failover table's first row): its INVITE goes out again, and that is no switch.

use super::State;
use super::action::{Action, Again, Authorization, Event, MAX_TARGETS, Sought, Target};
use super::attempt::{Attempt, Wait};
use super::calling::Calling;
use super::challenge::AUTHORIZATION_LIMIT;
use super::context::Context;
use super::invite::Head;
use super::redirect::Hop;
use super::requests::Body;
use super::retry::Authorized;
use super::session::callee_policy;
use crate::failover::{Failure, Verdict, judge};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::session_timer::TimerLines;
use tandem_sip::time::Now;
use tandem_sip::{Message, Method, Name, StatusCode};

/// How long finding out where a redirection leads may take; then it leads nowhere.
pub(super) const RESOLVE_LIMIT: Duration = Duration::from_secs(4);

/// What an attempt waits for before its next INVITE can go out.
#[derive(Debug)]
pub(super) struct Pending {
    what: Missing,
    /// How the INVITE before has failed: so has the attempt if nothing comes.
    pub(super) because: Failure,
}

#[derive(Debug)]
enum Missing {
    /// Credentials, for the INVITE under this head.
    Credentials(Head, Again),
    /// Where this contact is reached.
    Targets(Hop),
}

impl Calling {
    /// Goes on inside the attempt after its INVITE has failed, with `response` if there is one.
    ///
    /// # Errors
    /// Gives itself back where nothing is left to be tried: the attempt has failed.
    pub(super) fn go_on(
        mut self: Box<Self>,
        context: &mut Context,
        failure: Failure,
        response: Option<&Message>,
        now: Now,
    ) -> Result<Box<Self>, Box<Self>> {
        let stays = match failure {
            Failure::InviteTimeout | Failure::TransportError => {
                self.report_target(context);
                self.try_next_target(context, failure, now)
            }
            Failure::Status(StatusCode::SERVICE_UNAVAILABLE) => self.try_next_target(context, failure, now),
            Failure::Status(StatusCode::SESSION_INTERVAL_TOO_SMALL) => {
                let min_se = response.and_then(|response| response.number(Name::MinSe)?.ok());
                self.lengthen_session(context, min_se.unwrap_or_default(), now)
            }
            Failure::Status(status) => {
                response.is_some_and(|response| self.answer(context, (status, response), now))
            }
            Failure::TryingTimeout
            | Failure::RingingTimeout
            | Failure::SessionProgressTimeout
            | Failure::UnusableAnswer => false,
        };
        let stays = stays || self.try_next_contact(context, failure, now);
        if stays { Ok(self) } else { Err(self) }
    }

    /// Does what a final response asks for, if that is allowed.
    fn answer(
        &mut self,
        context: &mut Context,
        (status, response): (StatusCode, &Message),
        now: Now,
    ) -> bool {
        match status.code() {
            401 | 407 => {
                let attempt = &mut self.attempt;
                if attempt.account().is_none() || !attempt.course.challenges.take(response) {
                    return false;
                }
                let head = attempt.current.head.next(&mut context.names);
                self.invite_again(context, head, (Again::Challenge, Failure::Status(status)), now)
            }
            300..=399 => {
                self.attempt.commitment.is_none() && self.attempt.take_contacts(status, response) && {
                    self.seek(context, Failure::Status(status), now)
                }
            }
            _ => false,
        }
    }

    /// Sends the INVITE under `head` in place of the current one, which has failed as said: in the same attempt, dialog
    /// identifiers, slot and record, with its own INVITE timeout, once that is committed. A gateway that has challenged
    /// gets credentials in it. `false` if the attempt has sent enough of them.
    pub(super) fn invite_again(
        &mut self,
        context: &mut Context,
        head: Head,
        (why, because): (Again, Failure),
        now: Now,
    ) -> bool {
        let course = &mut self.attempt.course;
        if !course.allow() {
            return false;
        }
        if why != Again::Challenge {
            course.challenges.renew();
        }
        if course.needs_authorization() {
            self.attempt.leave_current(&mut context.sender(), now.mono);
            ask_for_credentials(&mut self.attempt, context, (head, why, because), now);
        } else {
            self.send_again(context, head, why, now);
        }
        true
    }

    fn send_again(&mut self, context: &mut Context, head: Head, why: Again, now: Now) {
        let message = self.attempt.invite_again(&mut context.sender(), head, now.mono);
        context.emit(Event::InvitedAgain { gateway: self.attempt.candidate.gateway.clone(), why });
        let after = Some(self.commit(context, now));
        self.attempt.current.after = after;
        let flow = self.attempt.current.head.target.flow;
        context.out.push(Action::Send { flow, message, after });
    }

    /// Takes the credentials that were asked for, or goes without them: then the attempt has failed.
    pub(super) fn on_authorized(
        mut self: Box<Self>,
        context: &mut Context,
        (serial, authorization): Authorized,
        now: Now,
    ) -> State {
        let (mut head, why, because) = match self.attempt.pending.take().map(|pending| *pending) {
            Some(Pending { what: Missing::Credentials(head, why), because }) if head.serial == serial => {
                (head, why, because)
            }
            other => {
                self.attempt.pending = other.map(Box::new);
                let authorized = (serial, authorization);
                self = match self.on_offer_authorized(context, &authorized, now) {
                    Ok(state) => return state,
                    Err(calling) => calling,
                };
                self.turn_to(|branch| branch.awaits(serial));
                if !self.attempt.on_authorized(&mut context.sender(), &authorized, now.mono) {
                    context.on_late_authorized(&authorized, now.mono);
                }
                return State::Calling(self);
            }
        };
        let Some(Authorization { lines, counts }) = authorization else {
            return self.fail(context, because, Bytes::new(), now);
        };
        head.authorization = lines;
        self.attempt.course.challenges.answered(&counts);
        if self.attempt.current.head.serial == serial {
            // An earlier owner has sent it.
            self.attempt.ask_again(&mut context.sender(), head, now.mono);
        } else {
            self.send_again(context, head, why, now);
        }
        State::Calling(self)
    }

    /// Takes where a contact is reached.
    pub(super) fn on_resolved(
        mut self: Box<Self>,
        context: &mut Context,
        (index, (of, mut targets)): (u16, (Sought, Vec<Target>)),
        now: Now,
    ) -> State {
        let is_of = |hop: &Hop| matches!(&of, Sought::Uri(uri) if *uri == hop.uri);
        let is_awaited = index == self.attempt.index;
        let (hop, because) = match self.attempt.pending.take().map(|pending| *pending) {
            Some(Pending { what: Missing::Targets(hop), because }) if is_awaited && is_of(&hop) => {
                (hop, because)
            }
            other => {
                self.attempt.pending = other.map(Box::new);
                return State::Calling(self);
            }
        };
        targets.truncate(MAX_TARGETS);
        let Some(target) = self.attempt.course.turn_to(targets) else {
            return match self.seek(context, because, now) {
                true => State::Calling(self),
                false => self.fail(context, because, Bytes::new(), now),
            };
        };
        self.attempt.course.foreign = hop.foreign;
        // The gateway's trust is not for others.
        self.attempt.candidate.trusted &= !hop.foreign;
        let next = self.attempt.current.head.next(&mut context.names);
        let head = Head { target, redirected: Some(hop.uri), route: Vec::new(), ..next };
        match self.invite_again(context, head, (Again::Redirect, because), now) {
            true => State::Calling(self),
            false => self.fail(context, because, Bytes::new(), now),
        }
    }

    /// Asks once more with the longer session that the gateway wants (RFC 4028 §7.3); once, and only if it is longer.
    fn lengthen_session(&mut self, context: &mut Context, min_se: u32, now: Now) -> bool {
        let policy = callee_policy(context.parameters(), &self.attempt.candidate.parameters);
        let (sent, longer) = (self.attempt.current.head.timer, policy.invite_lines(min_se));
        let is_first = sent == policy.invite_lines(0);
        let asked = |lines: TimerLines| lines.expires.map_or(0, |expires| expires.secs);
        if !is_first || asked(longer) <= asked(sent) {
            return false;
        }
        let head = Head { timer: longer, ..self.attempt.current.head.next(&mut context.names) };
        let because = Failure::Status(StatusCode::SESSION_INTERVAL_TOO_SMALL);
        self.invite_again(context, head, (Again::SessionInterval, because), now)
    }

    fn report_target(&self, context: &mut Context) {
        let gateway = self.attempt.candidate.gateway.clone();
        context.emit(Event::TargetFailed { gateway, flow: self.attempt.current.head.target.flow });
    }

    /// The next target of the gateway's name (RFC 3263 §4.3): the same request in another transaction. None once the
    /// call is committed to what the one before has sent.
    fn try_next_target(&mut self, context: &mut Context, failure: Failure, now: Now) -> bool {
        if self.attempt.commitment.is_some() {
            return false;
        }
        let Some(target) = self.attempt.course.next_target() else {
            return false;
        };
        let serial = context.names.next();
        let (head, candidate) = (&self.attempt.current.head, &self.attempt.candidate);
        let head = match self.attempt.course.redirections.has_any() {
            true => Head { serial, target, ..head.clone() },
            false => head.at_next(serial, candidate, target),
        };
        self.invite_again(context, head, (Again::NextTarget, failure), now)
    }

    /// The next contact of a redirection, unless the failure ends the hunt.
    fn try_next_contact(&mut self, context: &mut Context, failure: Failure, now: Now) -> bool {
        let attempt = &self.attempt;
        if attempt.course.redirections.is_empty() || attempt.commitment.is_some() {
            return false;
        }
        let verdict = judge(failure, None, &attempt.candidate.parameters, &context.profile.parameters);
        verdict == Verdict::Switch && self.seek(context, failure, now)
    }

    /// Asks where the next contact is reached.
    fn seek(&mut self, context: &mut Context, because: Failure, now: Now) -> bool {
        let Some(hop) = self.attempt.course.redirections.next() else {
            return false;
        };
        self.attempt.leave_current(&mut context.sender(), now.mono);
        let of = Sought::Uri(hop.uri.clone());
        context.out.push(Action::Resolve { attempt: self.attempt.index, of });
        self.attempt.wait = Some((Wait::Targets, now.mono + RESOLVE_LIMIT));
        self.attempt.pending = Some(Box::new(Pending { what: Missing::Targets(hop), because }));
        true
    }
}

/// Asks for the credentials of the INVITE under `head`.
fn ask_for_credentials(
    attempt: &mut Attempt,
    context: &mut Context,
    (head, why, because): (Head, Again, Failure),
    now: Now,
) {
    let body = context.caller.offer.as_ref().map_or_else(Bytes::new, Body::bytes);
    let uri: Arc<str> = attempt.uri_of(&head).into();
    let challenges = &attempt.course.challenges;
    let request = challenges.ask(&context.names, head.serial, (Method::Invite, uri, body));
    let gateway = attempt.candidate.gateway.clone();
    context.out.push(Action::Authorize { gateway, serial: head.serial, request });
    attempt.wait = Some((Wait::Credentials, now.mono + AUTHORIZATION_LIMIT));
    attempt.pending = Some(Box::new(Pending { what: Missing::Credentials(head, why), because }));
}

/// Asks a gateway again that an earlier owner of the call had asked, as nothing had come of it: the same INVITE, for
/// which its credentials have to be had anew.
pub(super) fn ask_again(attempt: &mut Attempt, context: &mut Context, now: Now) {
    let head = attempt.current.head.clone();
    if attempt.course.needs_authorization() {
        let because = Failure::InviteTimeout;
        ask_for_credentials(attempt, context, (head, Again::Challenge, because), now);
    } else {
        attempt.ask_again(&mut context.sender(), head, now.mono);
    }
}
