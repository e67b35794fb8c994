//! What stays inside an attempt (the failover table's first row): its INVITE goes out again, and that is no switch.

use super::action::{Action, Again, Event};
use super::calling::Calling;
use super::context::Context;
use super::invite::Head;
use super::session::callee_policy;
use super::snapshot::OpenAttempt;
use crate::failover::Failure;
use tandem_sip::session_timer::TimerLines;
use tandem_sip::time::Now;
use tandem_sip::{Message, Name, StatusCode};

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
                self.try_next_target(context, now)
            }
            Failure::Status(StatusCode::SESSION_INTERVAL_TOO_SMALL) => {
                let min_se = response.and_then(|response| response.number(Name::MinSe)?.ok());
                self.lengthen_session(context, min_se.unwrap_or_default(), now)
            }
            Failure::Status(StatusCode::SERVICE_UNAVAILABLE) => self.try_next_target(context, now),
            Failure::TryingTimeout
            | Failure::RingingTimeout
            | Failure::SessionProgressTimeout
            | Failure::Status(_)
            | Failure::UnusableAnswer => false,
        };
        if stays { Ok(self) } else { Err(self) }
    }

    /// Sends the INVITE under `head` in place of the current one: in the same attempt, dialog identifiers, slot and
    /// record, with its own INVITE timeout, once that is committed. `false` if the attempt has sent enough of them.
    pub(super) fn invite_again(&mut self, context: &mut Context, head: Head, why: Again, now: Now) -> bool {
        if !self.attempt.course.allow() {
            return false;
        }
        let message = self.attempt.invite_again(&mut context.sender(), head, now.mono);
        context.emit(Event::InvitedAgain { gateway: self.attempt.candidate.gateway.clone(), why });
        let phase = OpenAttempt::hunting(context, &self.attempt, now);
        let after = Some(context.commit(phase, now));
        self.attempt.current.after = after;
        let flow = self.attempt.current.head.target.flow;
        context.out.push(Action::Send { flow, message, after });
        true
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
        self.invite_again(context, head, Again::SessionInterval, now)
    }

    fn report_target(&self, context: &mut Context) {
        let gateway = self.attempt.candidate.gateway.clone();
        context.emit(Event::TargetFailed { gateway, flow: self.attempt.current.head.target.flow });
    }

    /// The next target of the gateway's name (RFC 3263 §4.3): the same request in another transaction. None once the
    /// call is committed to what the one before has sent.
    fn try_next_target(&mut self, context: &mut Context, now: Now) -> bool {
        if self.attempt.commitment.is_some() {
            return false;
        }
        let Some(target) = self.attempt.course.next_target() else {
            return false;
        };
        let current = &self.attempt.current.head;
        let head = Head { serial: context.names.next(), target, ..current.clone() };
        self.invite_again(context, head, Again::NextTarget, now)
    }
}
