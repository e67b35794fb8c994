//! Comma lists (RFC 3261 §7.3.1).

use crate::header::{quoted_end, trim};

/// The values of one comma list, trimmed; commas in quoted strings and in angle brackets do not separate, empty values
/// are skipped. A quote or bracket that never closes takes the rest of the text.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// The values in a text.
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = item_len(self.rest);
            let item = trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    }
}

fn item_len(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(offset) = memchr::memchr3(b',', b'"', b'<', &text[at..]) {
        at += offset;
        let skipped = match text[at] {
            b'"' => quoted_end(&text[at..]),
            b'<' => memchr::memchr(b'>', &text[at..]).map(|close| close + 1),
            _ => return at,
        };
        match skipped {
            Some(length) => at += length,
            None => break,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_separate() {
        let text = b"\"a,\\\"b\" <sip:x,y@h>;p=\"1,2\" , <sip:z@h>,\r\n\tsip:w@h";
        let items: Vec<_> = Items::new(text).collect();
        assert_eq!(items, [&b"\"a,\\\"b\" <sip:x,y@h>;p=\"1,2\""[..], b"<sip:z@h>", b"sip:w@h"]);
    }

    #[test]
    fn empty_values_are_skipped() {
        assert_eq!(Items::new(b" ,, a ,\t,b, ").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(Items::new(b"").count(), 0);
    }

    #[test]
    fn what_never_closes_takes_the_rest() {
        assert_eq!(Items::new(b"a,\"b,c").collect::<Vec<_>>(), [&b"a"[..], b"\"b,c"]);
        assert_eq!(Items::new(b"a,<b,c").collect::<Vec<_>>(), [&b"a"[..], b"<b,c"]);
    }
}
