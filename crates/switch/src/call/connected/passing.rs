//! INFO and MESSAGE, passed to the other party where both gateways' policies and that party allow it.

use super::super::caller::known_lines;
use super::super::clearing::Ending;
use super::super::context::Context;
use super::super::identity::Serial;
use super::super::inside::{Silence, Taken, passed_status};
use super::super::requests::Body;
use super::super::{State, caller::passed_lines};
use super::Connected;
use crate::cdr::EndReason;
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, Method, Name, StatusCode};

/// Header lines that say what a body is.
const BODY_LINES: [Name; 3] = [Name::ContentDisposition, Name::ContentEncoding, Name::ContentLanguage];

/// The header line that says what an INFO is about (RFC 6086 §7.2).
const INFO_PACKAGE: &str = "Info-Package";

/// A request of one party that the other has been asked.
#[derive(Debug)]
pub(super) struct Passed {
    taken: Taken,
    serial: Serial,
}

impl Passed {
    pub(super) fn is_copy(&self, request: &Message) -> bool {
        self.taken.is_copy(request)
    }

    /// The name of what the other party was sent.
    pub(super) fn serial(&mut self) -> &mut Serial {
        &mut self.serial
    }

    /// The call is over.
    pub(super) fn close(&self, context: &mut Context, now: Mono) {
        context.refuse(&self.taken, StatusCode::REQUEST_TERMINATED, b"", now);
    }

    /// The other party has not answered. By then the asker's transaction has timed out too: no late 408 (RFC 4320 §4.1).
    pub(super) fn on_silence(&self, context: &mut Context, silence: Silence, now: Mono) {
        match silence {
            Silence::TimedOut | Silence::OnlyProvisional => {}
            Silence::Undeliverable => {
                context.refuse(&self.taken, StatusCode::SERVER_INTERNAL_ERROR, b"", now);
            }
        }
    }
}

impl Connected {
    /// A party's INFO or MESSAGE.
    pub(super) fn pass(&mut self, context: &mut Context, taken: Taken, method: Method, now: Now) {
        let other = taken.party.other();
        let by_policy =
            [taken.party, other].into_iter().all(|party| self.passes(context, party).contains(method));
        if !by_policy || self.refuses(context, other, method) {
            return context.refuse_method(&taken, now.mono);
        }
        if !context.inside.has_room_for(method) {
            return context.refuse_for_now(&taken, now.mono);
        }
        let mut lines = known_lines(&taken.request, &BODY_LINES).to_vec();
        lines.extend_from_slice(&passed_lines(&taken.request, &[INFO_PACKAGE.to_owned()]));
        let body = Body::of(&taken.request);
        let serial = self.ask(context, (other, method), (&lines, body.as_ref()), now.mono);
        self.passing.push(Passed { taken, serial });
    }

    /// Forgets a passed request that something has come of.
    pub(super) fn take_passed(&mut self, serial: Serial) -> Option<Passed> {
        let place = self.passing.iter().position(|passed| passed.serial == serial)?;
        Some(self.passing.swap_remove(place))
    }

    /// The other party's final response goes back.
    pub(super) fn on_passed_response(
        self: Box<Self>,
        context: &mut Context,
        passed: Passed,
        response: &Message,
        now: Now,
    ) -> State {
        let Some(status) = response.status() else { return State::Connected(self) };
        let answer = passed.taken.respond(passed_status(status));
        let message = Body::close(Body::of(response).as_ref(), answer);
        context.finish(&passed.taken, (passed_status(status), message), now.mono);
        if status == StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST {
            let ending = Ending::by_server(EndReason::ProtocolError, "dialog is gone");
            return self.end(context, ending, now);
        }
        State::Connected(self)
    }
}
