//! Finding lines: where the head of a message ends, and where each header in it stands.

use crate::header::{is_lws, token_len};
use crate::limits::Limits;
use crate::name::Name;
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

/// The extent of a message's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Where the header lines start.
    pub(crate) headers_at: usize,
    /// Where they end: the empty line, or the end of the text.
    pub(crate) headers_end: usize,
    /// Where the body starts.
    pub(crate) body_at: usize,
    /// Whether the empty line was there.
    pub(crate) is_terminated: bool,
    /// How many header lines there are.
    pub(crate) headers: usize,
}

impl Span {
    pub(crate) fn of(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    pub(crate) fn cut(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One physical line from `at` on: where its text ends, and where the next line starts. A line ends with CRLF, or with
/// a bare LF, which senders of test tools and old gateways produce.
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
fn logical_line(text: &[u8], at: usize) -> (usize, usize) {
    let (mut end, mut next) = physical_line(text, at);
    while end > at && matches!(text.get(next), Some(b' ' | b'\t')) {
        (end, next) = physical_line(text, next);
    }
    (end, next)
}

/// The extent of the header lines that start at `headers_at`.
pub(crate) fn head(text: &[u8], headers_at: usize) -> Head {
    let mut at = headers_at;
    let mut headers = 0;
    while at < text.len() {
        let (end, next) = logical_line(text, at);
        if end == at {
            return Head { headers_at, headers_end: at, body_at: next, is_terminated: true, headers };
        }
        headers += 1;
        at = next;
    }
    Head { headers_at, headers_end: at, body_at: at, is_terminated: false, headers }
}

/// The table of a head's header lines, in one allocation; the longest line is checked against the limit.
pub(crate) fn table(text: &[u8], head: &Head, limits: &Limits) -> Option<Arc<[Line]>> {
    let mut at = head.headers_at;
    let longest = u32::try_from(limits.max_header_line).unwrap_or(u32::MAX);
    let mut is_too_long = false;
    let lines = (0..head.headers).map(|_| {
        let line = line_at(text, at);
        at = line.whole.end as usize;
        is_too_long |= line.whole.end - line.whole.start > longest;
        line
    });
    let lines: Arc<[Line]> = lines.collect();
    (!is_too_long).then_some(lines)
}

/// The header line that starts at `start`.
pub(crate) fn line_at(text: &[u8], start: usize) -> Line {
    let (end, next) = logical_line(text, start);
    let content = &text[start..end];
    let name_len = token_len(content);
    let blanks = content[name_len..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let is_header = name_len > 0 && content.get(name_len + blanks) == Some(&b':');
    let whole = Span::of(start, next);
    if !is_header {
        return Line {
            name: Name::Other,
            is_header,
            name_end: start as u32,
            value: Span::of(start, end),
            whole,
        };
    }
    let value = &content[name_len + blanks + 1..];
    let leading = value.iter().take_while(|byte| is_lws(**byte)).count();
    let value_end = value.iter().rposition(|byte| !is_lws(*byte)).map_or(leading, |last| last + 1);
    let value_at = end - value.len();
    Line {
        name: Name::parse(&content[..name_len]),
        is_header,
        name_end: (start + name_len) as u32,
        value: Span::of(value_at + leading, value_at + value_end),
        whole,
    }
}
