//! What it takes to send strange messages over a transport.

use bytes::Bytes;
use std::net::SocketAddrV4;
use std::time::Duration;
use tandem_sip::{Builder, Message, Method, Name};

/// No answer to an OPTIONS is waited for longer.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// One who sends them, and hears the answers.
pub(super) trait Line {
    fn send(&mut self, text: &[u8]);

    /// The final response to that request, or any that could be one where the request cannot be read.
    fn take_answer(&mut self, request: Option<&Message>) -> Option<Message>;

    /// ACK for the failure of an INVITE.
    fn acknowledge(&mut self, request: &Message, response: &Message);

    /// Sends an OPTIONS and says how long its answer took; [`PATIENCE`] and more if none came.
    fn probe(&mut self) -> Duration;

    /// Forgets what has come.
    fn forget(&mut self);
}

pub(super) fn take_answer(heard: &mut Vec<Message>, request: Option<&Message>) -> Option<Message> {
    let is_answer = |response: &Message| {
        response.status().is_some_and(|status| status.is_final())
            && request.is_none_or(|request| {
                response.call_id() == request.call_id() && is_same_cseq(response, request)
            })
    };
    let at = heard.iter().position(is_answer)?;
    Some(heard.remove(at))
}

/// Whether both have the same CSeq, be it folded otherwise.
fn is_same_cseq(response: &Message, request: &Message) -> bool {
    match (response.cseq(), request.cseq()) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => response.first(Name::CSeq) == request.first(Name::CSeq),
    }
}

/// The ACK of an INVITE's failure (RFC 3261 §17.1.1.3).
pub(super) fn ack(request: &Message, response: &Message) -> Option<Bytes> {
    let is_invite = request.is_request() && request.method() == Some(Method::Invite);
    let via = request.items(Name::Via).next().filter(|_| is_invite)?;
    let part = |message: &Message, name| message.first(name).map(<[u8]>::to_vec).unwrap_or_default();
    let number = request.cseq().map_or(0, |cseq| cseq.number);
    let ack = Builder::request(Method::Ack, request.request_uri())
        .header(Name::Via, via)
        .header(Name::From, part(request, Name::From))
        .header(Name::To, part(response, Name::To))
        .header(Name::CallId, part(request, Name::CallId))
        .header(Name::CSeq, format!("{number} ACK"))
        .finish();
    Some(ack)
}

/// An OPTIONS.
pub(super) fn options(transport: &str, from: SocketAddrV4, switch: SocketAddrV4, call_id: &str) -> Bytes {
    Builder::request(Method::Options, format!("sip:{switch}").as_bytes())
        .header(Name::Via, format!("SIP/2.0/{transport} {from};branch=z9hG4bK-{call_id}"))
        .header(Name::MaxForwards, "70")
        .header(Name::From, format!("<sip:probe@{from}>;tag=p"))
        .header(Name::To, format!("<sip:{switch}>"))
        .header(Name::CallId, call_id)
        .header(Name::CSeq, "1 OPTIONS")
        .finish()
}
