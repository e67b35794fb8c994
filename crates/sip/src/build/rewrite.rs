//! Changing single lines of a message and leaving every other byte alone.

use super::{keep_on_one_line, put_uri};
use crate::message::Message;
use crate::name::Name;
use bytes::{BufMut, Bytes, BytesMut};

/// A message being changed: edits are collected, and [`Rewrite::finish`] copies the message once.
#[derive(Debug)]
pub struct Rewrite<'m> {
    message: &'m Message,
    start: Option<Vec<u8>>,
    edits: Vec<Edit>,
    /// Lines to go in, each before the header line of that index; those of equal index in order.
    inserts: Vec<(usize, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Edit {
    Keep,
    Replace(Vec<u8>),
    Remove,
}

impl<'m> Rewrite<'m> {
    /// Starts from a message.
    pub fn of(message: &'m Message) -> Rewrite<'m> {
        let edits = vec![Edit::Keep; message.lines().len()];
        Rewrite { message, start: None, edits, inserts: Vec::new(), body: None }
    }

    /// Replaces the Request-URI; of a response nothing.
    #[must_use]
    pub fn request_uri(mut self, uri: &[u8]) -> Self {
        if self.message.is_request() {
            let mut line = Vec::with_capacity(uri.len() + 32);
            line.extend_from_slice(self.message.method_name());
            line.push(b' ');
            put_uri(&mut line, uri);
            line.extend_from_slice(b" SIP/2.0\r\n");
            self.start = Some(line);
        }
        self
    }

    /// Replaces the value of the first header of that name; without one, adds the header at the end.
    #[must_use]
    pub fn replace_first(mut self, name: Name, value: impl AsRef<[u8]>) -> Self {
        let line = header_line(name, value.as_ref());
        match self.first_kept(name) {
            Some(index) => self.edits[index] = Edit::Replace(line),
            None => self.inserts.push((self.edits.len(), line)),
        }
        self
    }

    /// Removes every header of that name, those added here included.
    #[must_use]
    pub fn remove(mut self, name: Name) -> Self {
        self.replace_all(name, None);
        self
    }

    /// Adds a header above the others of its name; without any, at the top.
    #[must_use]
    pub fn insert_top(mut self, name: Name, value: impl AsRef<[u8]>) -> Self {
        let at =
            self.message.lines().iter().position(|line| line.is_header && line.name == name).unwrap_or(0);
        let order = self.inserts.iter().position(|(index, _)| *index >= at).unwrap_or(self.inserts.len());
        self.inserts.insert(order, (at, header_line(name, value.as_ref())));
        self
    }

    /// Adds a header below all others.
    #[must_use]
    pub fn append(mut self, name: Name, value: impl AsRef<[u8]>) -> Self {
        self.inserts.push((self.edits.len(), header_line(name, value.as_ref())));
        self
    }

    /// Adds a whole header line, with its line end, below all others.
    #[must_use]
    pub fn append_line(mut self, line: &[u8]) -> Self {
        self.inserts.push((self.edits.len(), line.to_vec()));
        self
    }

    /// Replaces the body, with Content-Type and Content-Length to match; an empty body has no Content-Type.
    #[must_use]
    pub fn replace_body(mut self, content_type: &[u8], body: &[u8]) -> Self {
        let content_type = (!body.is_empty()).then_some(content_type);
        self.replace_all(Name::ContentType, content_type);
        self.replace_all(Name::ContentLength, Some(body.len().to_string().as_bytes()));
        self.body = Some(body.to_vec());
        self
    }

    /// The changed message.
    pub fn finish(mut self) -> Bytes {
        let raw = self.message.raw();
        let lines = self.message.lines();
        let headers_end = self.message.headers_end();
        let body_at = self.message.body_span().start as usize;
        self.inserts.sort_by_key(|(index, _)| *index);
        let inserted: usize = self.inserts.iter().map(|(_, line)| line.len()).sum();
        let mut text = BytesMut::with_capacity(raw.len() + inserted + self.body.as_ref().map_or(0, Vec::len));
        let headers_at = lines.first().map_or(headers_end, |line| line.whole.start as usize);
        match &self.start {
            Some(start) => text.put_slice(start),
            None => put_complete(&mut text, &raw[..headers_at]),
        }
        let mut inserts = self.inserts.iter().peekable();
        for (index, (line, edit)) in lines.iter().zip(&self.edits).enumerate() {
            while let Some((_, new)) = inserts.next_if(|(at, _)| *at <= index) {
                text.put_slice(new);
            }
            match edit {
                Edit::Keep => put_complete(&mut text, line.whole.cut(raw)),
                Edit::Replace(new) => text.put_slice(new),
                Edit::Remove => {}
            }
        }
        inserts.for_each(|(_, new)| text.put_slice(new));
        put_complete(&mut text, &raw[headers_end..body_at]);
        match &self.body {
            Some(body) => text.put_slice(body),
            None => text.put_slice(&raw[body_at..]),
        }
        text.freeze()
    }

    /// One header of that name, or none.
    fn replace_all(&mut self, name: Name, value: Option<&[u8]>) {
        let first = self.first_kept(name);
        for (index, (edit, line)) in self.edits.iter_mut().zip(self.message.lines()).enumerate() {
            if line.is_header && line.name == name {
                *edit = match value.filter(|_| first == Some(index)) {
                    Some(value) => Edit::Replace(header_line(name, value)),
                    None => Edit::Remove,
                };
            }
        }
        self.inserts.retain(|(_, line)| name_of(line) != name);
        if let (Some(value), None) = (value, first) {
            self.inserts.push((self.edits.len(), header_line(name, value)));
        }
    }

    fn first_kept(&self, name: Name) -> Option<usize> {
        let lines = self.message.lines().iter().zip(&self.edits);
        lines
            .into_iter()
            .position(|(line, edit)| line.is_header && line.name == name && *edit != Edit::Remove)
    }
}

fn header_line(name: Name, value: &[u8]) -> Vec<u8> {
    let spelling = name.as_str().as_bytes();
    let mut line = Vec::with_capacity(spelling.len() + value.len() + 4);
    line.extend_from_slice(spelling);
    line.extend_from_slice(b": ");
    let value_at = line.len();
    line.extend_from_slice(value);
    keep_on_one_line(&mut line[value_at..]);
    line.extend_from_slice(b"\r\n");
    line
}

fn name_of(line: &[u8]) -> Name {
    Name::parse(&line[..memchr::memchr(b':', line).unwrap_or(line.len())])
}

/// A line as it was received; one that the end of the message cut off is completed.
fn put_complete(text: &mut BytesMut, line: &[u8]) {
    text.put_slice(line);
    if line.last() != Some(&b'\n') {
        text.put_slice(b"\r\n");
    }
}
