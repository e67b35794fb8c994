//! Requests inside the early dialogs, before the call is answered.

use super::calling::Calling;
use super::connected::Party;
use super::context::Context;
use super::inside::Taken;
use super::requests::allow;
use super::{Call, State};
use tandem_sip::dialog::Order;
use tandem_sip::flow::Flow;
use tandem_sip::time::Now;
use tandem_sip::{Message, Method, Name, StatusCode};

impl Call {
    /// A request inside an early dialog, or inside none of ours. BYE in an early dialog ends the set-up (§15.1.2).
    pub(super) fn on_early_request(
        &mut self,
        request: &Message,
        (source, of_caller): (Flow, bool),
        now: Now,
    ) {
        let is_bye = request.method() == Some(Method::Bye);
        if is_bye && self.on_bye_before_connecting(request, source, now) {
            return;
        }
        if let State::Calling(calling) = &mut self.state
            && calling.on_gateways_update(&mut self.context, (request, source), now)
        {
            return;
        }
        let status = match (of_caller, request.method()) {
            (true, Some(Method::Bye)) => StatusCode::OK,
            (true, Some(Method::Invite | Method::Update)) => {
                return self.on_early_offer(Taken::new(request, source, Party::Caller), now);
            }
            (true, _) => StatusCode::METHOD_NOT_ALLOWED,
            (false, _) => StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST,
        };
        self.context.answer(request, source, status, now.mono);
        if of_caller && is_bye {
            self.cancelled(request, now);
        }
    }

    /// The caller's INVITE has no final response yet, so another one cannot be taken (RFC 3261 §14.2), nor an UPDATE with
    /// an offer while there is nobody to ask. One without refreshes the target.
    fn on_early_offer(&mut self, taken: Taken, now: Now) {
        let context = &mut self.context;
        let number = taken.request.cseq().map_or(0, |cseq| cseq.number);
        if context.caller.dialog.receive(number) == Order::OutOfOrder {
            return context.refuse(&taken, StatusCode::SERVER_INTERNAL_ERROR, b"", now.mono);
        }
        if let (State::Calling(calling), false) = (&mut self.state, taken.is_invite()) {
            return calling.on_update(context, &taken, now);
        }
        if taken.is_invite() || taken.request.has_sdp() {
            return context.refuse_for_now(&taken, now.mono);
        }
        context.caller.dialog.refresh_target(&taken.request);
        let response = taken
            .respond(StatusCode::OK)
            .header(Name::Contact, context.caller.contact(&context.names))
            .header(Name::Allow, allow(context.caller.pass_methods));
        context.finish(&taken, (StatusCode::OK, response.finish()), now.mono);
    }
}

impl Calling {
    /// A gateway's UPDATE in an early dialog of its, which a reliable provisional response made (RFC 3311 §5.1). `false` if
    /// it is none.
    fn on_gateways_update(
        &mut self,
        context: &mut Context,
        (request, source): (&Message, Flow),
        now: Now,
    ) -> bool {
        self.turn_to(|branch| branch.early_dialogs.owns(request));
        let tag = request.from_tag().unwrap_or_default();
        let dialog = self.attempt.early_dialogs.dialog_mut(tag).filter(|dialog| dialog.owns(request));
        let (Some(dialog), Some(Method::Update)) = (dialog, request.method()) else { return false };
        let taken = Taken::new(request, source, Party::Callee);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        if dialog.receive(number) == Order::OutOfOrder {
            context.refuse(&taken, StatusCode::SERVER_INTERNAL_ERROR, b"", now.mono);
        } else {
            self.on_update(context, &taken, now);
        }
        true
    }
}
