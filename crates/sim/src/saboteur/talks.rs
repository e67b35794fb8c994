//! Bugs of calls that talk: what they send inside their dialogs, and what they are told before they are answered.

use super::{Saboteur, parse, with_status};
use crate::bugs::Bug;
use bytes::Bytes;
use tandem_cluster::Effect;
use tandem_sip::flow::Flow;
use tandem_sip::{Message, Method, Name, StatusCode};
use tandem_switch::call::Snapshot;

impl Saboteur {
    /// What is sent instead of a request.
    pub(super) fn sabotaged_request(&self, message: &Message, bytes: &Bytes) -> Option<Vec<Bytes>> {
        let is_inside = message.to_tag().is_some();
        let method = message.method().filter(|_| is_inside)?;
        let refreshes = message.first(Name::SessionExpires).is_some();
        if self.is(Bug::RefreshNotSent) && method == Method::Update && refreshes && message.body().is_empty()
        {
            return Some(Vec::new());
        }
        if self.is(Bug::RefreshSaysNothing) && refreshes {
            return Some(vec![without_line(bytes, "Session-Expires: ")]);
        }
        if self.is(Bug::PrackNotSent) && method == Method::PRack {
            return Some(Vec::new());
        }
        if self.is(Bug::PrackTwice) && method == Method::PRack {
            let number = message.cseq().ok()?.number;
            let text = String::from_utf8_lossy(bytes);
            let again = text.replacen("branch=z9hG4bK", "branch=z9hG4bKx", 1);
            let again = again.replacen(&format!("CSeq: {number} "), &format!("CSeq: {} ", number + 1), 1);
            return Some(vec![bytes.clone(), Bytes::from(again)]);
        }
        if self.is(Bug::AnswerLost) && method == Method::Ack && !message.body().is_empty() {
            let text = String::from_utf8_lossy(message.body()).replacen("o=- ", "o=- 9", 1);
            return Some(vec![with_body(bytes, &text)]);
        }
        None
    }

    /// What is sent instead of a response inside a dialog, or to an INVITE that begins one.
    pub(super) fn sabotaged_response(
        &mut self,
        life: usize,
        message: &Message,
        bytes: &Bytes,
    ) -> Option<Vec<Bytes>> {
        let status = message.status().map_or(0, StatusCode::code);
        if self.is(Bug::GlareAccepted) && status == 491 {
            return Some(vec![with_status(bytes, "200")]);
        }
        if self.is(Bug::OfferAnsweredTwice) && matches!(status, 488 | 491) {
            return Some(vec![bytes.clone(), with_status(bytes, "200")]);
        }
        if self.is(Bug::OfferToItsMaker) && status == 200 && !message.body().is_empty() {
            let cseq = message.first(Name::CSeq)?;
            let offered = self.offered.iter().rev().find(|(of, number, _)| *of == life && number == cseq);
            return Some(vec![with_body(bytes, &String::from_utf8_lossy(&offered?.2))]);
        }
        if self.is(Bug::RseqJumps) {
            let rseq = message.number(Name::RSeq)?.ok()?;
            let tag = Bytes::copy_from_slice(message.to_tag()?);
            let first = self
                .rung
                .iter()
                .find(|(of, known, _)| *of == life && *known == tag)
                .map(|(.., first)| *first);
            if first.is_none() {
                self.rung.push((life, tag, rseq));
            }
            let jumps = first.is_some_and(|first| rseq > first);
            let text = String::from_utf8_lossy(bytes);
            let jumped = text.replacen(&format!("RSeq: {rseq}"), &format!("RSeq: {}", rseq + 1), 1);
            return jumps.then(|| vec![Bytes::from(jumped)]);
        }
        None
    }

    /// Takes note of an offer inside a dialog.
    pub(super) fn note_offer(&mut self, life: usize, message: &Message) {
        if self.is(Bug::OfferToItsMaker) && message.to_tag().is_some() && !message.body().is_empty() {
            let cseq = message.first(Name::CSeq).unwrap_or_default().to_vec();
            self.offered.push((life, cseq, Bytes::copy_from_slice(message.body())));
        }
    }

    /// A PRACK that the caller has not sent, for the response that it was sent reliably last.
    pub(super) fn forged_prack(&self, life: usize) -> Option<(Flow, Message)> {
        let (_, flow, ringing) = self.ringing.iter().rev().find(|(of, ..)| *of == life)?;
        let ringing = parse(ringing)?;
        let rseq = ringing.number(Name::RSeq)?.ok()?;
        let text = |name: Name| String::from_utf8_lossy(ringing.first(name).unwrap_or_default()).into_owned();
        let number = ringing.cseq().ok()?.number;
        let prack = parse(&Bytes::from(format!(
            "PRACK sip:forged@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKforged\r\nFrom: {}\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: {} PRACK\r\nRAck: {rseq} {number} INVITE\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n",
            text(Name::From),
            text(Name::To),
            text(Name::CallId),
            number + 1,
        )))?;
        Some((*flow, prack))
    }
}

/// The effects that send these.
pub(super) fn sends(flow: Flow, messages: Vec<Bytes>) -> impl Iterator<Item = Effect> {
    messages.into_iter().map(move |bytes| Effect::Send(flow, bytes))
}

/// A challenge that says that the nonce was too old.
pub(super) fn stale(challenge: &Message) -> Bytes {
    Bytes::from(String::from_utf8_lossy(challenge.raw()).replace("qop=\"auth\"", "qop=\"auth\", stale=true"))
}

/// Credentials that claim to be the first for their nonce.
pub(super) fn first_count(lines: &str) -> String {
    let Some(at) = lines.find("nc=") else { return lines.to_owned() };
    format!("{}nc=00000001{}", &lines[..at], lines.get(at + 11..).unwrap_or_default())
}

/// A snapshot whose sessions nobody keeps.
pub(super) fn without_sessions(snapshot: Snapshot) -> Snapshot {
    let Ok(mut value) = serde_json::to_value(&snapshot) else { return snapshot };
    for leg in ["caller", "callee"] {
        let field = format!("/phase/Connected/sessions/{leg}/timer/session");
        if let Some(session) = value.pointer_mut(&field) {
            *session = serde_json::Value::Null;
        }
    }
    serde_json::from_value(value).unwrap_or(snapshot)
}

fn without_line(bytes: &Bytes, start: &str) -> Bytes {
    let text = String::from_utf8_lossy(bytes);
    let Some(at) = text.find(start) else { return bytes.clone() };
    let end = text[at..].find("\r\n").map_or(text.len(), |end| at + end + 2);
    Bytes::from(format!("{}{}", &text[..at], &text[end..]))
}

fn with_body(bytes: &Bytes, body: &str) -> Bytes {
    let text = String::from_utf8_lossy(bytes);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let length = "Content-Length: ";
    let lines = head.split("\r\n").map(|line| match line.starts_with(length) {
        true => format!("{length}{}", body.len()),
        false => line.to_owned(),
    });
    Bytes::from(format!("{}\r\n\r\n{body}", lines.collect::<Vec<_>>().join("\r\n")))
}
