//! The body, and the session description in it.

use super::Message;
use super::scan::{head, physical_line};
use crate::header::{MediaType, trim, unquote};
use crate::name::Name;
use bytes::Bytes;

/// How deep multipart bodies may nest before we stop looking.
const MAX_MULTIPART_DEPTH: usize = 3;

impl Message {
    /// The body.
    pub fn body(&self) -> &[u8] {
        self.body_span().cut(self.raw())
    }

    /// The body, sharing the message's bytes.
    pub fn body_bytes(&self) -> Bytes {
        let span = self.body_span();
        self.raw().slice(span.start as usize..span.end as usize)
    }

    /// Whether there is a session description that is not empty.
    pub fn has_sdp(&self) -> bool {
        self.sdp().is_some()
    }

    /// The session description: the body if its type is `application/sdp`, or the first such part of a multipart body
    /// (RFC 5621). `None` if there is none, or an empty one.
    pub fn sdp(&self) -> Option<&[u8]> {
        let body = self.body();
        if body.is_empty() {
            return None;
        }
        find_sdp(self.first(Name::ContentType)?, body, MAX_MULTIPART_DEPTH).filter(|sdp| !sdp.is_empty())
    }
}

fn find_sdp<'a>(content_type: &[u8], body: &'a [u8], depth: usize) -> Option<&'a [u8]> {
    let media = MediaType::parse(content_type).ok()?;
    if media.is("application", "sdp") {
        return Some(body);
    }
    if depth == 0 || !media.kind.eq_ignore_ascii_case(b"multipart") {
        return None;
    }
    let boundary = unquote(media.param("boundary").flatten()?);
    if boundary.is_empty() {
        return None;
    }
    let parts = Parts { rest: after_first_delimiter(body, &boundary)?, boundary: &boundary };
    parts.into_iter().find_map(|(content_type, part)| find_sdp(content_type, part, depth - 1))
}

/// The parts of a multipart body (RFC 2046 §5.1): content type and content.
struct Parts<'a, 'b> {
    rest: Option<&'a [u8]>,
    boundary: &'b [u8],
}

impl<'a> Iterator for Parts<'a, '_> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest?;
        let (part, rest) = match next_delimiter(text, 0, self.boundary) {
            Some((part_end, after)) => (&text[..part_end], after.map(|at| &text[at..])),
            None => (text, None),
        };
        self.rest = rest;
        let part_head = head(part, 0);
        Some((content_type_of(part, part_head.headers_end), &part[part_head.body_at..]))
    }
}

/// `text/plain` is what a part without a type has (RFC 2046 §5.1).
fn content_type_of(part: &[u8], headers_end: usize) -> &[u8] {
    let mut at = 0;
    while at < headers_end {
        let (end, next) = physical_line(part, at);
        if let Some(colon) = memchr::memchr(b':', &part[at..end])
            && Name::parse(trim(&part[at..at + colon])) == Name::ContentType
        {
            return folded_value(part, at + colon + 1, headers_end);
        }
        at = next;
    }
    b"text/plain"
}

fn folded_value(part: &[u8], value_at: usize, headers_end: usize) -> &[u8] {
    let (mut end, mut next) = physical_line(part, value_at);
    while next < headers_end && matches!(part[next], b' ' | b'\t') {
        (end, next) = physical_line(part, next);
    }
    trim(&part[value_at..end])
}

fn after_first_delimiter<'a>(body: &'a [u8], boundary: &[u8]) -> Option<Option<&'a [u8]>> {
    next_delimiter(body, 0, boundary).map(|(_, after)| after.map(|at| &body[at..]))
}

/// The next delimiter line: where the text before it ends (its line end belongs to the delimiter), and where the text
/// after it starts, `None` after the closing one.
fn next_delimiter(text: &[u8], from: usize, boundary: &[u8]) -> Option<(usize, Option<usize>)> {
    let mut at = from;
    let mut before = from;
    while at < text.len() {
        let (end, next) = physical_line(text, at);
        let line = &text[at..end];
        if let Some(tail) = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary)) {
            if trim(tail).is_empty() {
                return Some((before, Some(next)));
            }
            if tail.starts_with(b"--") {
                return Some((before, None));
            }
        }
        (before, at) = (end, next);
    }
    None
}
