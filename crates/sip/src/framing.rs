//! Messages out of a byte stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

use crate::header::decimal;
use crate::limits::Limits;
use crate::message::{
    self,
    scan::{self, physical_line},
};
use crate::name::Name;
use bytes::{Buf, Bytes, BytesMut};

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message, whole, for [`Message::parse`](crate::Message::parse).
    Message(Bytes),
    /// A double CRLF between messages: a keep-alive to be answered with one CRLF.
    Ping,
    /// A single CRLF between messages: the answer to a keep-alive. One may also precede a ping that arrived in halves.
    Pong,
}

/// Why a stream cannot be read on: where the next message starts is unknown, so the connection has to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than [`Limits::max_message`] without a complete message, or announced by Content-Length.
    #[error("message beyond {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// The message up to and with its empty line, to answer 513 before closing; empty unless the head is complete.
        head: Bytes,
    },
    /// No Content-Length, one that is no number, or several (RFC 3261 §18.3, §20.14). The head can still be parsed, to
    /// answer 400 before closing.
    #[error("message without a valid Content-Length")]
    ContentLength {
        /// The message up to and with its empty line.
        head: Bytes,
    },
    /// What arrived is no SIP.
    #[error("not a SIP message")]
    NotSip,
}

/// Cuts a stream into messages and keep-alives. Feed it what was read, then take frames until there are none.
#[derive(Debug)]
pub struct StreamFramer {
    buffer: BytesMut,
    limits: Limits,
    /// Where the line at hand starts; 0 between messages.
    line_at: usize,
    /// No line end before this.
    searched: usize,
    /// How long the message at the front is, once its head is complete.
    message_len: Option<usize>,
    /// Whether the last frame was a pong that may turn out to be half a ping.
    is_half_ping: bool,
    is_broken: bool,
}

/// What the front of the buffer is, between messages.
enum Front {
    KeepAlive { length: usize, frame: Frame },
    Undecided,
    Message,
}

impl StreamFramer {
    /// A framer for one connection. It holds at most [`Limits::max_message`] bytes of an incomplete message, besides
    /// what one push brings.
    pub fn new(limits: &Limits) -> StreamFramer {
        StreamFramer {
            buffer: BytesMut::new(),
            limits: *limits,
            line_at: 0,
            searched: 0,
            message_len: None,
            is_half_ping: false,
            is_broken: false,
        }
    }

    /// Takes what was read from the connection. After an error it is thrown away.
    pub fn push(&mut self, data: &[u8]) {
        if !self.is_broken {
            self.buffer.extend_from_slice(data);
        }
    }

    /// The next complete frame; `None` until more has been read. After an error there is nothing more.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: None means not yet")]
    pub fn next(&mut self) -> Option<Result<Frame, FrameError>> {
        if self.is_broken {
            return None;
        }
        let frame = self.next_frame().transpose();
        if matches!(frame, Some(Err(_))) {
            self.is_broken = true;
            self.buffer = BytesMut::new();
        }
        frame
    }

    /// How many bytes wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.line_at == 0 {
            match self.front() {
                Front::KeepAlive { length, frame } => {
                    self.buffer.advance(length);
                    self.searched = 0;
                    self.is_half_ping = frame == Frame::Pong && self.buffer.is_empty();
                    return Ok(Some(frame));
                }
                Front::Undecided => return Ok(None),
                Front::Message => self.is_half_ping = false,
            }
        }
        if self.message_len.is_none() {
            self.message_len = self.find_length()?;
        }
        let Some(length) = self.message_len.filter(|length| *length <= self.buffer.len()) else {
            return Ok(None);
        };
        self.message_len = None;
        self.line_at = 0;
        self.searched = 0;
        Ok(Some(Frame::Message(self.buffer.split_to(length).freeze())))
    }

    fn front(&self) -> Front {
        let keep_alive = |length, frame| Front::KeepAlive { length, frame };
        match &self.buffer[..] {
            [b'\r', b'\n', ..] if self.is_half_ping => keep_alive(2, Frame::Ping),
            [b'\r', b'\n', b'\r', b'\n', ..] => keep_alive(4, Frame::Ping),
            [] | [b'\r'] | [b'\r', b'\n', b'\r'] => Front::Undecided,
            [b'\r', b'\n', ..] => keep_alive(2, Frame::Pong),
            [_, ..] => Front::Message,
        }
    }

    /// The length of the message at the front, once its head is complete.
    fn find_length(&mut self) -> Result<Option<usize>, FrameError> {
        let limit = self.limits.max_message;
        loop {
            let Some(offset) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                let is_too_large = self.searched > limit;
                return if is_too_large { Err(too_large(limit)) } else { Ok(None) };
            };
            let (start, next) = (self.line_at, self.searched + offset + 1);
            if next > limit {
                return Err(too_large(limit));
            }
            if start == 0 && !message::is_start_line(&self.buffer[..physical_line(&self.buffer, 0).0]) {
                return Err(FrameError::NotSip);
            }
            self.line_at = next;
            self.searched = next;
            if matches!(&self.buffer[start..next], b"\r\n" | b"\n") {
                return self.length_of_message(next).map(Some);
            }
        }
    }

    fn length_of_message(&mut self, body_at: usize) -> Result<usize, FrameError> {
        let limit = self.limits.max_message;
        let Some(body) = content_length(&self.buffer[..body_at]) else {
            return Err(FrameError::ContentLength { head: self.buffer.split_to(body_at).freeze() });
        };
        let length = usize::try_from(body).ok().and_then(|body| body.checked_add(body_at));
        match length.filter(|length| *length <= limit) {
            Some(length) => Ok(length),
            None => Err(FrameError::TooLarge { limit, head: self.buffer.split_to(body_at).freeze() }),
        }
    }
}

/// A message that is too large before its head is complete.
fn too_large(limit: usize) -> FrameError {
    FrameError::TooLarge { limit, head: Bytes::new() }
}

/// The one Content-Length of a head.
fn content_length(head: &[u8]) -> Option<u64> {
    let (_, mut at) = physical_line(head, 0);
    let end = scan::head(head, at).headers_end;
    let mut length = None;
    while at < end {
        let line = scan::line_at(head, at);
        if line.name == Name::ContentLength && length.replace(decimal(line.value.cut(head))?).is_some() {
            return None;
        }
        at = line.whole.end as usize;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nl: 3\r\n\r\nabc";

    fn frames(pieces: &[&str]) -> Vec<Result<Frame, FrameError>> {
        let mut framer = StreamFramer::new(&Limits { max_message: 300, ..Limits::default() });
        let mut frames = Vec::new();
        for piece in pieces {
            framer.push(piece.as_bytes());
            while let Some(frame) = framer.next() {
                frames.push(frame);
            }
        }
        frames
    }

    fn message(text: &'static str) -> Result<Frame, FrameError> {
        Ok(Frame::Message(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn a_message_is_as_long_as_content_length_says() {
        assert_eq!(frames(&[OPTIONS]), [message(OPTIONS)]);
        assert_eq!(frames(&[OPTIONS, OPTIONS]), [message(OPTIONS), message(OPTIONS)]);
        let (front, back) = OPTIONS.split_at(50);
        assert_eq!(frames(&[front, back]), [message(OPTIONS)]);
        assert_eq!(frames(&[front]), []);
    }

    #[test]
    fn byte_by_byte_makes_no_difference() {
        let bytes: Vec<&str> = (0..OPTIONS.len()).map(|at| &OPTIONS[at..=at]).collect();
        assert_eq!(frames(&bytes), [message(OPTIONS)]);
    }

    #[test]
    fn a_double_line_end_is_a_ping_and_a_single_one_a_pong() {
        assert_eq!(frames(&["\r\n\r\n"]), [Ok(Frame::Ping)]);
        assert_eq!(frames(&["\r\n"]), [Ok(Frame::Pong)]);
        assert_eq!(frames(&["\r\n\r\n\r\n"]), [Ok(Frame::Ping), Ok(Frame::Pong)]);
        assert_eq!(frames(&["\r\n\r", "\n"]), [Ok(Frame::Ping)]);
        assert_eq!(frames(&["\r"]), []);
        assert_eq!(
            frames(&["\r\n\r\n", OPTIONS, "\r\n"]),
            [Ok(Frame::Ping), message(OPTIONS), Ok(Frame::Pong)]
        );
    }

    #[test]
    fn a_ping_in_halves_is_still_a_ping() {
        assert_eq!(frames(&["\r\n", "\r\n"]), [Ok(Frame::Pong), Ok(Frame::Ping)]);
        assert_eq!(frames(&["\r\n", OPTIONS, "\r\n"]), [Ok(Frame::Pong), message(OPTIONS), Ok(Frame::Pong)]);
    }

    #[test]
    fn content_length_is_required_once_and_a_number() {
        for length in ["", "l: x\r\n", "l: -1\r\n", "l: 3\r\nContent-Length: 3\r\n", "l:\r\n"] {
            let head = format!("BYE sip:h SIP/2.0\r\n{length}\r\n");
            let expected = FrameError::ContentLength { head: head.clone().into() };
            assert_eq!(frames(&[&head, OPTIONS]), [Err(expected)], "{length}");
        }
    }

    #[test]
    fn a_folded_content_length_counts_and_one_in_the_body_does_not() {
        let folded = "BYE sip:h SIP/2.0\r\nContent-Length \t:\r\n 6\r\nX: 1\r\n \r\n y\r\n\r\nl: 9\r\n";
        assert_eq!(frames(&[folded]), [message(folded)]);
    }

    #[test]
    fn what_exceeds_the_limit_ends_the_stream() {
        let too_large = || vec![Err(too_large(300))];
        let announced = "BYE sip:h SIP/2.0\r\nl: 299\r\n\r\n";
        let with_head = FrameError::TooLarge { limit: 300, head: announced.into() };
        assert_eq!(frames(&[announced]), [Err(with_head)]);
        assert_eq!(frames(&["BYE sip:h SIP/2.0\r\nl: 99999999999999999999\r\n\r\n"]).len(), 1);
        assert_eq!(frames(&["BYE sip:h SIP/2.0\r\n", &"X: 1\r\n".repeat(60)]), too_large());
        assert_eq!(frames(&[&"x".repeat(301), OPTIONS]), too_large());
    }

    #[test]
    fn what_is_no_sip_ends_the_stream() {
        assert_eq!(frames(&["GET / HTTP/1.1\r\n\r\n", OPTIONS]), [Err(FrameError::NotSip)]);
    }
}
