//! Requests of ours that wait for their answers, and what both legs print alike.

use super::action::{Action, Authorization, Event, Seq};
use super::identity::{Names, Serial};
use super::retry::{Again, Retry};
use crate::gateway::GatewayName;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_sip::dialog::Dialog;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::time::Mono;
use tandem_sip::transaction::{ClientNonInvite, ClientTimer, ResendSchedule};
use tandem_sip::{Builder, Message, Method, MethodSet, Name, StatusCode, Via, sdp};

/// The methods that every leg takes.
macro_rules! methods {
    () => {
        "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE"
    };
}

/// The methods that every leg takes.
pub(super) const ALLOW: &str = methods!();

/// The methods that a leg takes whose policy passes these on.
pub(super) fn allow(passed: MethodSet) -> &'static str {
    match (passed.contains(Method::Info), passed.contains(Method::Message)) {
        (false, false) => ALLOW,
        (true, false) => concat!(methods!(), ", INFO"),
        (false, true) => concat!(methods!(), ", MESSAGE"),
        (true, true) => concat!(methods!(), ", INFO, MESSAGE"),
    }
}

/// A message body with its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    content_type: Bytes,
    content: Bytes,
}

impl Body {
    /// The body of a message, if it has one whose type is named.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let content_type = message.first(Name::ContentType)?;
        let content = message.body();
        // Copies, since they are kept as long as the call, and a slice would keep the whole datagram.
        let copy = Bytes::copy_from_slice;
        (!content.is_empty()).then(|| Self { content_type: copy(content_type), content: copy(content) })
    }

    /// The session description of a message, alone or as a part of its body.
    pub(super) fn sdp_of(message: &Message) -> Option<Self> {
        message.has_sdp().then(|| Self::of(message)).flatten()
    }

    /// The bytes, shared.
    pub(super) fn bytes(&self) -> Bytes {
        self.content.clone()
    }

    /// The bytes.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// The answer that declines every stream of this offer (RFC 3264 §6: port 0).
    pub(super) fn refusal(&self) -> Self {
        Self {
            content_type: Bytes::from_static(b"application/sdp"),
            content: sdp::refusal(&self.content).into(),
        }
    }

    /// Ends a message with this body, or with none.
    pub(super) fn close(body: Option<&Self>, builder: Builder) -> Bytes {
        match body {
            Some(body) => builder.body(&body.content_type, &body.content),
            None => builder.finish(),
        }
    }
}

/// A request other than INVITE and ACK that waits for its final response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outstanding {
    pub(super) serial: Serial,
    method: Method,
    flow: Flow,
    /// The commit that it follows, also when it is sent again.
    after: Option<Seq>,
    transaction: ClientNonInvite,
    /// Where an account answers its challenges.
    retry: Option<Box<Retry>>,
}

impl Outstanding {
    /// Sends `request`, whose branch carries `serial`, after a commit if there is one to wait for.
    pub(super) fn send(
        out: &mut Vec<Action>,
        (serial, method): (Serial, Method),
        (flow, after): (Flow, Option<Seq>),
        request: Bytes,
        resend: ResendSchedule,
        now: Mono,
    ) -> Self {
        out.push(Action::Send { flow, message: request.clone(), after });
        let transaction = ClientNonInvite::start(request, flow.transport.is_reliable(), resend, now);
        Self { serial, method, flow, after, transaction, retry: None }
    }

    /// [Sends](Self::send) `request`, whose challenges are answered by the account at that gateway if there is one.
    pub(super) fn send_with_account(
        (out, account): (&mut Vec<Action>, Option<GatewayName>),
        kind: (Serial, Method),
        to: (Flow, Option<Seq>),
        request: Bytes,
        resend: ResendSchedule,
        now: Mono,
    ) -> Self {
        let retry = account.map(|gateway| Retry::new(gateway, request.clone()));
        Self { retry, ..Self::send(out, kind, to, request, resend, now) }
    }

    /// Takes a response as [`on_response`](Self::on_response) does; a challenge that is to be answered is none.
    pub(super) fn hear(
        &mut self,
        asks: (&mut Vec<Action>, &mut Names),
        serial: Serial,
        response: &Message,
        now: Mono,
    ) -> Option<StatusCode> {
        let status = self.on_response(serial, response, now)?;
        if self.retry.as_ref().is_some_and(|retry| retry.is_awaited()) {
            // A copy of the challenge.
            return None;
        }
        let is_followed = self.retry.as_mut().is_some_and(|retry| retry.ask(asks, response, now));
        (!is_followed).then_some(status)
    }

    /// Whether these are the credentials that it waits for.
    pub(super) fn awaits(&self, serial: Serial) -> bool {
        self.retry.as_ref().is_some_and(|retry| retry.awaits(serial))
    }

    /// Sends it again in `dialog` with the credentials that it waits for, or gives it up without.
    pub(super) fn on_authorized(
        &mut self,
        (out, names): (&mut Vec<Action>, &Names),
        dialog: &mut Dialog,
        authorization: Option<&Authorization>,
        resend: ResendSchedule,
        now: Mono,
    ) {
        let again = self.retry.take().and_then(|retry| retry.again(names, dialog, authorization));
        if let Some(Again { serial, message, retry, .. }) = again {
            let to = (dialog.flow(), self.after);
            let sent = Self::send(out, (serial, self.method), to, message, resend, now);
            *self = Self { retry: Some(retry), ..sent };
        }
    }

    /// Takes a response if it answers this request. `Some(status)` is its final one.
    pub(super) fn on_response(
        &mut self,
        serial: Serial,
        response: &Message,
        now: Mono,
    ) -> Option<StatusCode> {
        let status = response.status()?;
        if serial != self.serial || response.method() != Some(self.method) {
            return None;
        }
        self.transaction.on_response(status, now);
        status.is_final().then_some(status)
    }

    /// Resends or gives up.
    pub(super) fn on_timer(&mut self, out: &mut Vec<Action>, now: Mono) {
        if self.retry.as_ref().and_then(|retry| retry.deadline()).is_some_and(|until| until <= now) {
            self.retry = None;
        }
        if let ClientTimer::Resend(message) = self.transaction.on_timer(now) {
            out.push(Action::Send { flow: self.flow, message, after: self.after });
            out.push(Action::Emit(Event::Resent));
        }
    }

    /// The transport cannot deliver it.
    pub(super) fn undeliverable(&mut self) {
        self.transaction.terminate();
        self.retry = None;
    }

    /// Whether its final response is still to come.
    pub(super) fn is_open(&self) -> bool {
        self.transaction.is_open() || self.retry.as_ref().is_some_and(|retry| retry.is_awaited())
    }

    /// When it wants to be woken; an answered request does not.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let awaited = self.retry.as_ref().and_then(|retry| retry.deadline());
        awaited.or_else(|| self.transaction.deadline().filter(|_| self.transaction.is_open()))
    }
}

/// The value of a Via of ours.
pub(super) fn via(transport: Transport, local: &str, branch: &str) -> String {
    ["SIP/2.0/", transport.via_name(), " ", local, ";branch=", branch, ";rport"].concat()
}

/// The value of our Contact. Under TLS it asks for TLS without promising it for every hop, as `sips:` would (RFC 5630
/// §5.1.1.1): that is for calls to `sips:` URIs, and many peers do not know the scheme.
pub(super) fn contact(names: &Names, transport: Transport, local: &str) -> String {
    match transport {
        Transport::Udp => ["<sip:", names.token(), "@", local, ">"].concat(),
        Transport::Tcp => ["<sip:", names.token(), "@", local, ";transport=tcp>"].concat(),
        Transport::Tls => ["<sip:", names.token(), "@", local, ";transport=tls>"].concat(),
    }
}

/// Our Contact for a peer whose request was to a `sips:` URI (RFC 3261 §12.1.1).
pub(super) fn secure_contact(names: &Names, local: &str) -> String {
    ["<sips:", names.token(), "@", local, ">"].concat()
}

/// Where the responses to a request go (RFC 3261 §18.2.2): back on its connection, or where its Via says.
pub(super) fn response_flow(via: &Via<'_>, source: Flow) -> Flow {
    if source.transport.is_reliable() {
        return source;
    }
    Flow { remote: via.response_address(source.remote), ..source }
}

/// Adds header lines as they were received, each on a line of its own.
pub(super) fn with_lines(mut builder: Builder, lines: &[u8]) -> Builder {
    for line in header_lines(lines) {
        builder = builder.line(line);
    }
    builder
}

/// Each of the header lines, with its folds and its line end.
pub(super) fn header_lines(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let (line, after) = rest.split_at(line_end(rest));
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// Where the first line ends, with the folds that belong to it (RFC 3261 §7.3.1).
fn line_end(lines: &[u8]) -> usize {
    let ends = |pair: &[u8]| pair[0] == b'\n' && !matches!(pair[1], b' ' | b'\t');
    lines.windows(2).position(ends).map_or(lines.len(), |at| at + 1)
}

/// Sends BYE in a dialog, after a commit if there is one to wait for. `reason` is its Reason header lines; `account`
/// answers its challenges.
pub(super) fn bye(
    (out, account): (&mut Vec<Action>, Option<GatewayName>),
    names: &mut Names,
    dialog: &mut Dialog,
    (local, reason): (&str, &[u8]),
    after: Option<Seq>,
    resend: ResendSchedule,
    now: Mono,
) -> Outstanding {
    let serial = names.next();
    let flow = dialog.flow();
    let request = dialog.request(Method::Bye, &via(flow.transport, local, &names.branch(serial)));
    let request = with_lines(request, reason).finish();
    let kind = (serial, Method::Bye);
    Outstanding::send_with_account((out, account), kind, (flow, after), request, resend, now)
}

/// A Reason header line (RFC 3326) with a SIP status.
pub(super) fn reason_line(status: StatusCode, text: &str) -> Bytes {
    Bytes::from(format!("Reason: SIP;cause={};text=\"{text}\"\r\n", status.code()))
}

/// The user part of a URI from a number of any characters (RFC 3261 §25.1, `user`).
pub(super) fn escape_user(number: &str) -> String {
    let mut user = String::with_capacity(number.len());
    for byte in number.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => user.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => user.push(char::from(byte)),
            b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' => user.push(char::from(byte)),
            _ => user.push_str(&format!("%{byte:02X}")),
        }
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_becomes_a_user_part_that_a_uri_can_hold() {
        assert_eq!(escape_user("+44(20)1"), "+44(20)1");
        assert_eq!(escape_user("12#3@x"), "12%233%40x");
        assert_eq!(escape_user("é"), "%C3%A9");
    }
}
