//! Requests that were sent by a connection and got no response yet: what is lost if it breaks.

use super::table::Outgoing;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;
use tandem_sip::{Limits, Message, Method};
use tokio::time::Instant;

/// The requests of one connection, oldest first.
#[derive(Debug)]
pub(super) struct Unanswered {
    waiting: VecDeque<Request>,
    life: Duration,
    max: usize,
}

#[derive(Debug)]
struct Request {
    sent_at: Instant,
    branch: Bytes,
    outgoing: Outgoing,
}

impl Unanswered {
    pub(super) fn new(life: Duration, max: usize) -> Unanswered {
        Unanswered { waiting: VecDeque::new(), life, max }
    }

    /// A message was sent. Only requests that are answered are kept, and of too many the latest.
    pub(super) fn sent(&mut self, outgoing: Outgoing, now: Instant) {
        while self.waiting.front().is_some_and(|oldest| now.duration_since(oldest.sent_at) >= self.life) {
            self.waiting.pop_front();
        }
        if outgoing.message.starts_with(b"SIP/") {
            return;
        }
        let Ok(message) = Message::parse(outgoing.message.clone(), &Limits::default()) else { return };
        if message.method() == Some(Method::Ack) {
            return;
        }
        let Some(branch) = branch_of(&message) else { return };
        if self.waiting.len() >= self.max {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Request { sent_at: now, branch, outgoing });
    }

    /// A message came in: if it is a response, whatever it answers has arrived.
    pub(super) fn received(&mut self, message: &Bytes) {
        if self.waiting.is_empty() || !message.starts_with(b"SIP/") {
            return;
        }
        let parsed = Message::parse(message.clone(), &Limits::default());
        let Some(branch) = parsed.ok().as_ref().and_then(branch_of) else { return };
        if let Some(place) = self.waiting.iter().position(|request| request.branch == branch) {
            self.waiting.remove(place);
        }
    }

    /// Those whose transactions may still wait.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Outgoing> {
        let life = self.life;
        self.waiting
            .drain(..)
            .filter(|request| now.duration_since(request.sent_at) < life)
            .map(|request| request.outgoing)
            .collect()
    }
}

fn branch_of(message: &Message) -> Option<Bytes> {
    message.top_via().ok()?.branch().map(Bytes::copy_from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(32);

    fn request(method: &str, branch: u32) -> Outgoing {
        Outgoing::new(
            format!(
                "{method} sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{branch}\r\nCall-ID: 1\r\n\
                 CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
            )
            .into(),
        )
    }

    fn response(branch: u32) -> Bytes {
        format!("SIP/2.0 100 Trying\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{branch}\r\nCSeq: 1 INVITE\r\n\r\n")
            .into()
    }

    #[test]
    fn a_request_is_lost_with_its_connection_until_any_response_comes() {
        let now = Instant::now();
        let mut unanswered = Unanswered::new(LIFE, 10);
        for branch in [1, 2, 3] {
            unanswered.sent(request("INVITE", branch), now);
        }
        unanswered.received(&response(2));
        unanswered.received(&request("BYE", 1).message);
        assert_eq!(unanswered.take(now), [request("INVITE", 1), request("INVITE", 3)]);
        assert_eq!(unanswered.take(now), []);
    }

    #[test]
    fn neither_ack_nor_responses_are_waited_for_and_old_requests_no_longer() {
        let now = Instant::now();
        let mut unanswered = Unanswered::new(LIFE, 2);
        unanswered.sent(request("INVITE", 1), now);
        unanswered.sent(request("ACK", 2), now);
        unanswered.sent(Outgoing::new(response(9)), now);
        unanswered.sent(request("BYE", 3), now + LIFE / 2);
        assert_eq!(unanswered.waiting.len(), 2);
        unanswered.sent(request("BYE", 4), now + LIFE / 2);
        assert_eq!(unanswered.waiting.len(), 2, "the oldest is forgotten");
        assert_eq!(unanswered.take(now + LIFE + LIFE / 2), []);
    }
}
