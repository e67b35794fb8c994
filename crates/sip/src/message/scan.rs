//! Finding lines: where the head of a message ends, and where each header in it stands.

use super::ParseError;
use crate::header::{skip_lws, token_len, trim_end};
use crate::limits::Limits;
use crate::name::{Name, NameSet};
use std::sync::Arc;

/// A range of the message, in bytes. Messages are at most 4 GB by [`Limits`]' type, 64 KB by its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// One header line with its continuation lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) name: Name,
    /// Whether there was a name and a colon at all.
    pub(crate) is_header: bool,
    pub(crate) name_end: u32,
    pub(crate) value: Span,
    /// The line with its line end.
    pub(crate) whole: Span,
}

/// The header lines of a message.
pub(crate) struct Table {
    pub(crate) lines: Arc<[Line]>,
    /// The names in them.
    pub(crate) names: NameSet,
    /// Whether there is a line that is no header.
    pub(crate) has_stray: bool,
    /// Where they end: the empty line, or the end of the text.
    pub(crate) headers_end: usize,
    /// Where the body starts.
    pub(crate) body_at: usize,
    /// Whether the empty line was there.
    pub(crate) is_terminated: bool,
}

/// The extent of header lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Where they end: the empty line, or the end of the text.
    pub(crate) headers_end: usize,
    /// Where the body starts.
    pub(crate) body_at: usize,
    /// Whether the empty line was there.
    pub(crate) is_terminated: bool,
    /// How many header lines there are.
    pub(crate) headers: usize,
}

impl Line {
    /// No header, and empty.
    const NONE: Line = {
        let nowhere = Span { start: 0, end: 0 };
        Line { name: Name::Other, is_header: false, name_end: 0, value: nowhere, whole: nowhere }
    };
}

impl Span {
    #[inline]
    pub(crate) fn of(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    /// Where a piece of the text stands in it; of an empty piece nobody can tell.
    pub(crate) fn within(text: &[u8], piece: &[u8]) -> Span {
        let start = (piece.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        if piece.is_empty() { Span::of(0, 0) } else { Span::of(start, start + piece.len()) }
    }

    #[inline]
    pub(crate) fn cut(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One physical line from `at` on: where its text ends, and where the next line starts. A line ends with CRLF, or with
/// a bare LF, which senders of test tools and old gateways produce.
#[inline]
pub(crate) fn physical_line(text: &[u8], at: usize) -> (usize, usize) {
    match memchr::memchr(b'\n', &text[at..]) {
        Some(length) => {
            let line_feed = at + length;
            let has_return = length > 0 && text[line_feed - 1] == b'\r';
            (line_feed - usize::from(has_return), line_feed + 1)
        }
        None => (text.len(), text.len()),
    }
}

/// A line with the lines that continue it (RFC 3261 §7.3.1).
#[inline]
fn logical_line(text: &[u8], at: usize) -> (usize, usize) {
    let (mut end, mut next) = physical_line(text, at);
    while end > at && matches!(text.get(next), Some(b' ' | b'\t')) {
        (end, next) = physical_line(text, next);
    }
    (end, next)
}

/// Whether the text has an empty line at that place.
fn is_empty_line(text: &[u8], at: usize) -> bool {
    matches!(text.get(at..), Some([b'\n', ..] | [b'\r', b'\n', ..]))
}

/// The extent of the header lines that start at `headers_at`.
pub(crate) fn head(text: &[u8], headers_at: usize) -> Head {
    let mut at = headers_at;
    let mut headers = 0;
    while at < text.len() {
        let (end, next) = logical_line(text, at);
        if end == at {
            return Head { headers_end: at, body_at: next, is_terminated: true, headers };
        }
        headers += 1;
        at = next;
    }
    Head { headers_end: at, body_at: at, is_terminated: false, headers }
}

/// Lines that are read before they are counted.
const COMMON_LINES: usize = 32;

/// The header lines that start at `headers_at`, in one pass and one allocation: only where there are more than
/// [`COMMON_LINES`], the others are counted before they are read.
///
/// # Errors
/// [`ParseError::TooManyHeaders`] and [`ParseError::LineTooLong`].
pub(crate) fn table(text: &[u8], headers_at: usize, limits: &Limits) -> Result<Table, ParseError> {
    let mut tally = Tally { at: headers_at, names: NameSet::default(), has_stray: false, longest: 0 };
    let mut common = [Line::NONE; COMMON_LINES];
    let mut count = 0;
    while count < COMMON_LINES && tally.at < text.len() && !is_empty_line(text, tally.at) {
        common[count] = tally.take(text);
        count += 1;
    }
    let rest = head(text, tally.at);
    let headers = count + rest.headers;
    if headers > limits.max_headers {
        return Err(ParseError::TooManyHeaders(headers));
    }
    let common = &common[..count];
    let lines: Arc<[Line]> = if rest.headers == 0 {
        Arc::from(common)
    } else {
        common.iter().copied().chain((0..rest.headers).map(|_| tally.take(text))).collect()
    };
    if tally.longest > limits.max_header_line {
        return Err(ParseError::LineTooLong);
    }
    let Head { headers_end, body_at, is_terminated, .. } = rest;
    let Tally { names, has_stray, .. } = tally;
    Ok(Table { lines, names, has_stray, headers_end, body_at, is_terminated })
}

/// What is noted of the lines while they are read.
struct Tally {
    /// Where the next one starts.
    at: usize,
    names: NameSet,
    has_stray: bool,
    longest: usize,
}

impl Tally {
    #[inline]
    fn take(&mut self, text: &[u8]) -> Line {
        let line = line_at(text, self.at);
        let next = line.whole.end as usize;
        self.names.insert(line.name);
        self.has_stray |= !line.is_header;
        self.longest = self.longest.max(next - self.at);
        self.at = next;
        line
    }
}

/// The header line that starts at `start`.
#[inline]
pub(crate) fn line_at(text: &[u8], start: usize) -> Line {
    let (end, next) = logical_line(text, start);
    let whole = Span::of(start, next);
    let (name, rest) = text[start..end].split_at(token_len(&text[start..end]));
    // Before the colon a line cannot fold.
    let blanks = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
    let Some(value) = rest[blanks..].strip_prefix(b":").filter(|_| !name.is_empty()) else {
        return Line { name_end: start as u32, value: Span::of(start, end), whole, ..Line::NONE };
    };
    let value = skip_lws(value);
    let value_at = end - value.len();
    Line {
        name: Name::parse(name),
        is_header: true,
        name_end: (start + name.len()) as u32,
        value: Span::of(value_at, value_at + trim_end(value).len()),
        whole,
    }
}
