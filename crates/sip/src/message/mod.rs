//! A SIP message: the bytes it came in, and a table of where its headers stand.

mod access;
mod body;
pub(crate) mod keys;
mod list;
pub(crate) mod scan;
mod validate;

pub use list::Items;
pub use validate::Rejection;

use crate::header::{decimal, is_token, kind, kinds_of, trim};
use crate::limits::Limits;
use crate::method;
use crate::name::{Name, NameSet};
use crate::status::StatusCode;
use bytes::{Buf, Bytes};
use keys::Keys;
use rsip::Method;
use scan::{Line, Span, Table, physical_line};
use std::fmt;
use std::sync::Arc;

/// Why bytes are not a message that could be answered: counted and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing but line ends: a keep-alive (RFC 5626 §3.5.1).
    #[error("no message, only line ends")]
    Empty,
    /// The first line is neither a request line nor a status line.
    #[error("not a SIP message")]
    NotSip,
    /// A status line whose status is not 100 to 699.
    #[error("status line without a valid status")]
    Status,
    /// A request without a Via: there is nobody to answer.
    #[error("request without Via")]
    NoVia,
    /// Beyond [`Limits::max_message`].
    #[error("message of {0} bytes")]
    TooLarge(usize),
    /// The start line is beyond [`Limits::max_start_line`], or a header beyond [`Limits::max_header_line`].
    #[error("line too long")]
    LineTooLong,
    /// Beyond [`Limits::max_headers`].
    #[error("{0} header lines")]
    TooManyHeaders(usize),
}

/// Something wrong with a message as a whole that did not keep us from reading it. [`Message::validate`] says what
/// it means for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Defect {
    /// Extra white space, or characters that do not belong there, in the start line.
    StartLine = 1,
    /// A version other than `SIP/2.0`.
    Version = 1 << 1,
    /// No empty line after the headers.
    NoEmptyLine = 1 << 2,
    /// A line among the headers that is none.
    HeaderLine = 1 << 3,
    /// A Content-Length that is not a number, or several of them.
    ContentLength = 1 << 4,
    /// Fewer bytes of body than Content-Length promises.
    ShortBody = 1 << 5,
}

/// A SIP request or response, parsed as far as finding its lines. Cloning it copies nothing.
#[derive(Clone)]
pub struct Message {
    raw: Bytes,
    start: Start,
    lines: Arc<[Line]>,
    /// Which headers there are: most of those that are asked for are not.
    names: NameSet,
    headers_end: u32,
    body: Span,
    max_list_items: usize,
    defects: u8,
    keys: Keys,
}

#[derive(Clone, Copy, PartialEq)]
enum Start {
    Request { method: Option<Method>, name_end: u32, uri: Span },
    Response { status: StatusCode, reason: Span },
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which header it is.
    pub name: Name,
    /// Its name as written.
    pub raw_name: &'a [u8],
    /// Its value, trimmed; it may still hold line folds.
    pub value: &'a [u8],
    /// The line as received, with its line end.
    pub line: &'a [u8],
}

impl Message {
    /// Reads one message: a datagram, or a frame of [`StreamFramer`](crate::StreamFramer). Line ends before it are
    /// skipped (RFC 3261 §7.5). The body is as long as Content-Length says and what follows is cut off (§18.3);
    /// without Content-Length it is the rest.
    ///
    /// Costs one allocation, for the table of lines. Of the values only those are read that identify the message: the
    /// topmost Via, From, To and CSeq.
    ///
    /// # Errors
    /// [`ParseError`], only where no response could be built or a limit is exceeded. What else is wrong shows in
    /// [`Message::validate`], and with a single header when that header is asked for.
    pub fn parse(mut raw: Bytes, limits: &Limits) -> Result<Message, ParseError> {
        if raw.len() > limits.max_message.min(u32::MAX as usize) {
            return Err(ParseError::TooLarge(raw.len()));
        }
        let line_ends = raw.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        raw.advance(line_ends);
        if raw.is_empty() {
            return Err(ParseError::Empty);
        }
        let (start_end, headers_at) = physical_line(&raw, 0);
        if start_end > limits.max_start_line {
            return Err(ParseError::LineTooLong);
        }
        let (start, mut defects) = parse_start(&raw[..start_end])?;
        let table = scan::table(&raw, headers_at, limits)?;
        if matches!(start, Start::Request { .. }) && !table.names.contains(Name::Via) {
            return Err(ParseError::NoVia);
        }
        let (length, body_defects) = body_length(&raw, &table);
        defects |= body_defects;
        let body = Span::of(table.body_at, table.body_at + length);
        if body.end as usize != raw.len() {
            raw.truncate(body.end as usize);
        }
        let mut message = Message {
            raw,
            start,
            lines: table.lines,
            names: table.names,
            headers_end: table.headers_end as u32,
            body,
            max_list_items: limits.max_list_items,
            defects,
            keys: Keys::UNREAD,
        };
        message.keys = Keys::of(&message);
        Ok(message)
    }

    /// The message's bytes, without line ends before it and without what followed its body.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The method: of a request that of its start line, of a response that of its CSeq. `None` if we do not know it.
    pub fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.cseq().ok()?.method,
        }
    }

    /// The method as written; empty for a response without a valid CSeq.
    pub fn method_name(&self) -> &[u8] {
        match self.start {
            Start::Request { name_end, .. } => Span { start: 0, end: name_end }.cut(&self.raw),
            Start::Response { .. } => self.cseq().map(|cseq| cseq.name).unwrap_or_default(),
        }
    }

    /// The Request-URI as written; empty for a response.
    pub fn request_uri(&self) -> &[u8] {
        match self.start {
            Start::Request { uri, .. } => uri.cut(&self.raw),
            Start::Response { .. } => b"",
        }
    }

    /// The status; `None` for a request.
    pub fn status(&self) -> Option<StatusCode> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase as written; empty for a request.
    pub fn reason_phrase(&self) -> &[u8] {
        match self.start {
            Start::Request { .. } => b"",
            Start::Response { reason, .. } => reason.cut(&self.raw),
        }
    }

    /// Whether the message has that defect.
    pub fn has_defect(&self, defect: Defect) -> bool {
        self.defects & defect as u8 != 0
    }

    /// The header lines in their order. Lines that are no headers are left out (RFC 3261 §8.2: ignored).
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().filter(|line| line.is_header).map(|line| self.field(line))
    }

    /// The value of the first header of that name. For [`Name::Other`] use [`Message::named`].
    pub fn first(&self, name: Name) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The header lines of that name in any case and form: what a pass-list names.
    pub fn named<'a>(&'a self, raw_name: &[u8]) -> impl Iterator<Item = Field<'a>> {
        let name = Name::parse(raw_name);
        self.fields().filter(move |field| match name {
            Name::Other => field.name == Name::Other && field.raw_name.eq_ignore_ascii_case(raw_name),
            known => field.name == known,
        })
    }

    /// The values of a list header over all its lines (RFC 3261 §7.3.1), trimmed.
    pub fn items(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.values(name).flat_map(Items::new)
    }

    /// Whether a list header holds that token, in any case: `has_token(Name::Supported, "100rel")`.
    pub fn has_token(&self, name: Name, token: &str) -> bool {
        self.items(name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The values of all lines of that name.
    pub(crate) fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let lines = if self.names.contains(name) { &self.lines[..] } else { &[] };
        lines
            .iter()
            .filter(move |line| line.name == name && line.is_header)
            .map(|line| line.value.cut(&self.raw))
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn headers_end(&self) -> usize {
        self.headers_end as usize
    }

    pub(crate) fn body_span(&self) -> Span {
        self.body
    }

    fn field(&self, line: &Line) -> Field<'_> {
        Field {
            name: line.name,
            raw_name: Span { start: line.whole.start, end: line.name_end }.cut(&self.raw),
            value: line.value.cut(&self.raw),
            line: line.whole.cut(&self.raw),
        }
    }
}

impl fmt::Debug for Message {
    /// The start line only: headers carry numbers, addresses and credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start {
            Start::Request { .. } => write!(f, "Message({})", String::from_utf8_lossy(self.method_name())),
            Start::Response { status, .. } => write!(f, "Message({status})"),
        }
    }
}

/// Whether the line is a request or status line, be it a bad one.
pub(crate) fn is_start_line(line: &[u8]) -> bool {
    parse_start(line) != Err(ParseError::NotSip)
}

fn parse_start(line: &[u8]) -> Result<(Start, u8), ParseError> {
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
        parse_status_line(line)
    } else {
        parse_request_line(line)
    }
}

/// `Method SP Request-URI SP SIP-Version` (RFC 3261 §7.1). Anything between the first and the last space counts as the
/// URI, so that a malformed request can still be answered.
fn parse_request_line(line: &[u8]) -> Result<(Start, u8), ParseError> {
    let trimmed = trim(line);
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let name_end = line.iter().position(blank).ok_or(ParseError::NotSip)?;
    let version_at = trimmed.iter().rposition(blank).ok_or(ParseError::NotSip)? + 1;
    let version = &trimmed[version_at..];
    let is_sip = version.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"));
    if !is_sip || !is_token(&line[..name_end]) || version_at <= name_end {
        return Err(ParseError::NotSip);
    }
    let uri = trim(&line[name_end..version_at]);
    let uri_at = name_end + line[name_end..].iter().take_while(|byte| blank(byte)).count();
    let is_tidy = uri_at == name_end + 1
        && uri_at + uri.len() + 1 == version_at
        && trimmed.len() == line.len()
        && !uri.is_empty()
        && kinds_of(uri) & (kind::UNPRINTABLE | kind::ANGLE) == 0;
    let mut defects = if is_tidy { 0 } else { Defect::StartLine as u8 };
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        defects |= Defect::Version as u8;
    }
    let method = method::known(&line[..name_end]);
    Ok((
        Start::Request { method, name_end: name_end as u32, uri: Span::of(uri_at, uri_at + uri.len()) },
        defects,
    ))
}

/// `SIP-Version SP Status-Code SP Reason-Phrase` (RFC 3261 §7.2); the second space is not insisted on.
fn parse_status_line(line: &[u8]) -> Result<(Start, u8), ParseError> {
    let version_end = memchr::memchr(b' ', line).ok_or(ParseError::Status)?;
    let rest = &line[version_end + 1..];
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(digits);
    if digits.len() != 3 || !matches!(after, [] | [b' ', ..]) {
        return Err(ParseError::Status);
    }
    let code = decimal(digits).and_then(|code| u16::try_from(code).ok());
    let status = code.and_then(StatusCode::new).ok_or(ParseError::Status)?;
    let reason_at = line.len() - after.len() + usize::from(!after.is_empty());
    let is_ours = line[..version_end].eq_ignore_ascii_case(b"SIP/2.0");
    let defects = if is_ours { 0 } else { Defect::Version as u8 };
    Ok((Start::Response { status, reason: Span::of(reason_at, line.len()) }, defects))
}

/// How long the body is, and what is wrong with it.
fn body_length(raw: &[u8], table: &Table) -> (usize, u8) {
    let available = raw.len() - table.body_at;
    let mut defects = if table.is_terminated { 0 } else { Defect::NoEmptyLine as u8 };
    if table.has_stray {
        defects |= Defect::HeaderLine as u8;
    }
    let mut lengths = table.lines.iter().filter(|line| line.name == Name::ContentLength);
    let Some(line) = lengths.next() else { return (available, defects) };
    match decimal(line.value.cut(raw)).and_then(|length| usize::try_from(length).ok()) {
        Some(_) | None if lengths.next().is_some() => (available, defects | Defect::ContentLength as u8),
        Some(length) if length <= available => (length, defects),
        Some(_) => (available, defects | Defect::ShortBody as u8),
        None => (available, defects | Defect::ContentLength as u8),
    }
}
