//! Answers of which nothing is kept (RFC 3261 §8.2.7).

use crate::shared::Shared;
use bytes::Bytes;
use tandem_sip::flow::Flow;
use tandem_sip::{Message, StatusCode};
use tandem_switch::call::{CallId, Refused};

impl Shared {
    /// A tag that is the same for each copy of a request, since nothing is kept of it.
    pub(crate) fn stateless_tag(&self, request: &Message) -> String {
        CallId::of(request, &self.keys.current).map_or_else(|| "0".to_owned(), |id| id.to_string())
    }

    /// Sends a response by the connection of its request, or to where the request's top Via says (RFC 3261 §18.2.2,
    /// RFC 3581). A peer that gets no answer asks again.
    pub(crate) fn answer(&self, flow: Flow, request: &Message, response: &Bytes) {
        let remote = match flow.transport.is_reliable() {
            true => flow.remote,
            false => request.top_via().map_or(flow.remote, |via| via.response_address(flow.remote)),
        };
        let _ = self.send(Flow { remote, ..flow }, response);
    }

    /// Answers that a request is refused.
    pub(crate) fn refuse(&self, flow: Flow, request: &Message, refused: &Refused) {
        let response = refused.response(request, flow.remote, &self.stateless_tag(request));
        self.answer(flow, request, &response);
    }

    /// Answers with a status alone.
    pub(crate) fn refuse_with(&self, flow: Flow, request: &Message, status: StatusCode) {
        self.refuse(flow, request, &Refused::with(status));
    }
}
