//! Printing messages.

mod decimal;
mod response;
mod rewrite;

pub use decimal::address_text;
pub use response::ResponseHead;
pub use rewrite::Rewrite;

use crate::header::{is_token, kind, kinds_of, skip_lws, token_len};
use crate::method;
use crate::name::Name;
use crate::status::StatusCode;
use bytes::Bytes;
use decimal::put_decimal;
use rsip::Method;
use std::cell::Cell;
use std::fmt;
use std::io::Write;

/// Room for a message that is not unusually long.
const CAPACITY: usize = 2048;

/// The longest buffer that is kept for the next message.
const MAX_KEPT: usize = 64 * 1024;

thread_local! {
    /// What the last message was printed into. A message is copied out of it at its length: a buffer of its own, cut to
    /// length when it is done, costs the allocator several times as much.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Prints a message, header by header, in the order of the calls.
///
/// Whatever a value holds, it stays one line: carriage returns and line feeds become spaces, so text that came from a
/// peer cannot add a header. Content-Length is the builder's own: one given to it is left out.
#[derive(Clone, Debug)]
pub struct Builder {
    text: Vec<u8>,
}

impl Builder {
    /// A request. Characters that cannot stand in a start line are escaped in the URI.
    pub fn request(method: Method, uri: &[u8]) -> Builder {
        Self::request_named(method::name(method).as_bytes(), uri)
    }

    /// A request of any method, which must be a token.
    pub fn request_named(method: &[u8], uri: &[u8]) -> Builder {
        let mut builder = Builder::empty();
        builder.put_line_safe(method);
        builder.text.push(b' ');
        put_uri(&mut builder.text, uri);
        builder.text.extend_from_slice(b" SIP/2.0\r\n");
        builder
    }

    /// A response with the registered reason phrase.
    pub fn response(status: StatusCode) -> Builder {
        Self::response_with_reason(status, status.reason().as_bytes())
    }

    /// A response with a reason phrase of its own.
    pub fn response_with_reason(status: StatusCode, reason: &[u8]) -> Builder {
        let mut builder = Builder::empty();
        builder.text.extend_from_slice(b"SIP/2.0 ");
        put_decimal(&mut builder.text, status.code().into());
        builder.text.push(b' ');
        builder.put_line_safe(reason);
        builder.text.extend_from_slice(b"\r\n");
        builder
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: Name, value: impl AsRef<[u8]>) -> Builder {
        if self.start_header(name) {
            self.put_line_safe(value.as_ref());
            self.text.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Adds a header, formatting its value in place: `header_fmt(Name::RSeq, format_args!("{rseq}"))`.
    #[must_use]
    pub fn header_fmt(mut self, name: Name, value: fmt::Arguments<'_>) -> Builder {
        if self.start_header(name) {
            let start = self.text.len();
            self.put_fmt(value);
            keep_on_one_line(&mut self.text[start..]);
            self.text.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Adds a header whose value is a number.
    #[must_use]
    pub fn number(mut self, name: Name, value: u64) -> Builder {
        if self.start_header(name) {
            put_decimal(&mut self.text, value);
            self.text.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Adds the CSeq (RFC 3261 §20.16).
    #[must_use]
    pub fn cseq(mut self, number: u32, method: Method) -> Builder {
        self.text.extend_from_slice(b"CSeq: ");
        put_decimal(&mut self.text, number.into());
        self.text.push(b' ');
        self.text.extend_from_slice(method::name(method).as_bytes());
        self.text.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header of any name. One whose name is not a token is left out: it could not be read back.
    #[must_use]
    pub fn raw_header(mut self, name: &[u8], value: &[u8]) -> Builder {
        if is_token(name) && Name::parse(name) != Name::ContentLength {
            self.text.extend_from_slice(name);
            self.text.extend_from_slice(b": ");
            self.put_line_safe(value);
            self.text.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Adds a header line as it was received ([`Field::line`](crate::Field::line)), folds included. What is no header
    /// line is left out; line ends that are no folds become spaces.
    #[must_use]
    pub fn line(mut self, line: &[u8]) -> Builder {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (name, rest) = line.split_at(token_len(line));
        if name.is_empty() || !skip_lws(rest).starts_with(b":") || Name::parse(name) == Name::ContentLength {
            return self;
        }
        if has_only_folds(line) {
            self.text.extend_from_slice(line);
        } else {
            self.put_line_safe(line);
        }
        self.text.extend_from_slice(b"\r\n");
        self
    }

    /// Ends a message without a body.
    pub fn finish(mut self) -> Bytes {
        self.text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        self.fitted()
    }

    /// Ends a message with a body of that type.
    pub fn body(self, content_type: &[u8], body: &[u8]) -> Bytes {
        let mut builder = self.header(Name::ContentType, content_type);
        builder.text.reserve(body.len() + 40);
        builder.text.extend_from_slice(b"Content-Length: ");
        put_decimal(&mut builder.text, body.len() as u64);
        builder.text.extend_from_slice(b"\r\n\r\n");
        builder.text.extend_from_slice(body);
        builder.fitted()
    }

    fn empty() -> Builder {
        let mut text = BUFFER.take();
        text.clear();
        text.reserve(CAPACITY);
        Builder { text }
    }

    /// The message without the room that is left: transactions keep it for half a minute, calls for hours.
    fn fitted(self) -> Bytes {
        let message = Bytes::copy_from_slice(&self.text);
        if self.text.capacity() <= MAX_KEPT {
            BUFFER.set(self.text);
        }
        message
    }

    /// Prints the name, unless it is one that the builder prints itself or has no spelling.
    fn start_header(&mut self, name: Name) -> bool {
        if matches!(name, Name::ContentLength | Name::Other) {
            return false;
        }
        self.text.extend_from_slice(name.as_str().as_bytes());
        self.text.extend_from_slice(b": ");
        true
    }

    /// Header lines that are ours already.
    fn put_lines(&mut self, lines: &[u8]) {
        self.text.extend_from_slice(lines);
    }

    fn put_line_safe(&mut self, value: &[u8]) {
        put_line_safe(&mut self.text, value);
    }

    fn put_fmt(&mut self, text: fmt::Arguments<'_>) {
        put_fmt(&mut self.text, text);
    }
}

fn put_fmt(text: &mut Vec<u8>, args: fmt::Arguments<'_>) {
    text.write_fmt(args).expect("a Vec grows as needed");
}

/// Appends a text, line ends turned into spaces.
fn put_line_safe(text: &mut Vec<u8>, value: &[u8]) {
    let start = text.len();
    text.extend_from_slice(value);
    keep_on_one_line(&mut text[start..]);
}

fn keep_on_one_line(text: &mut [u8]) {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        rest[at] = b' ';
        rest = &mut rest[at + 1..];
    }
}

/// Whether every line end in the text is a CRLF with white space after it.
fn has_only_folds(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        match &rest[at..] {
            [b'\r', b'\n', b' ' | b'\t', after @ ..] => rest = after,
            _ => return false,
        }
    }
    true
}

fn put_uri(text: &mut Vec<u8>, uri: &[u8]) {
    if kinds_of(uri) & kind::UNPRINTABLE == 0 {
        return text.extend_from_slice(uri);
    }
    for byte in uri {
        if *byte <= b' ' || *byte == 0x7f {
            put_fmt(text, format_args!("%{byte:02X}"));
        } else {
            text.push(*byte);
        }
    }
}
