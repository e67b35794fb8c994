//! The lexical ground of RFC 3261 §25.1: white space, tokens, quoted strings, numbers.

use std::borrow::Cow;
use std::fmt;

/// Linear white space, line folds included.
pub(crate) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A character of a token.
fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// Whether the whole text is one token.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_char(*byte))
}

/// How many bytes of a token the text starts with.
pub(crate) fn token_len(text: &[u8]) -> usize {
    text.iter().position(|byte| !is_token_char(*byte)).unwrap_or(text.len())
}

/// The text without leading white space.
pub(crate) fn skip_lws(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_lws(*byte)).unwrap_or(text.len());
    &text[start..]
}

/// The text without white space at either end.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let text = skip_lws(text);
    let end = text.iter().rposition(|byte| !is_lws(*byte)).map_or(0, |last| last + 1);
    &text[..end]
}

/// The length of the quoted string that the text starts with, both quotes included; `None` if it never ends.
pub(crate) fn quoted_end(text: &[u8]) -> Option<usize> {
    debug_assert_eq!(text.first(), Some(&b'"'));
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// A decimal number of digits only; `None` for anything else and beyond 2^64 − 1.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// What a parameter value says: the inside of a quoted string with its escapes undone (RFC 3261 §25.1), or the value
/// as it stands. Allocates only where there is an escape.
pub fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = value else { return Cow::Borrowed(value) };
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    Cow::Owned(plain)
}

/// Prints a text as a quoted string, escaping what has to be.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for part in String::from_utf8_lossy(self.0).split_inclusive(['"', '\\']) {
            match part.strip_suffix(['"', '\\']) {
                Some(plain) => write!(f, "{plain}\\{}", &part[plain.len()..])?,
                None => f.write_str(part)?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_string_ends_at_the_first_quote_that_is_not_escaped() {
        assert_eq!(quoted_end(br#""plain" x"#), Some(7));
        assert_eq!(quoted_end(br#""a\"b" x"#), Some(6));
        assert_eq!(quoted_end(br#""a\\" x"#), Some(5));
        assert_eq!(quoted_end(br#""open"#), None);
        assert_eq!(quoted_end(br#""open\"#), None);
        assert_eq!(quoted_end(br#"""#), None);
    }

    #[test]
    fn numbers_are_digits_only_and_do_not_wrap() {
        assert_eq!(decimal(b"0068"), Some(68));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for none in [&b""[..], b"-1", b"+1", b"1 ", b"18446744073709551616", b"0x10"] {
            assert_eq!(decimal(none), None);
        }
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        for text in ["", "plain", r#"say "hi""#, r"back\slash", r#"\""#] {
            let quoted = Quoted(text.as_bytes()).to_string();
            assert_eq!(quoted_end(quoted.as_bytes()), Some(quoted.len()), "{quoted}");
            assert_eq!(unquote(quoted.as_bytes()), text.as_bytes());
        }
        assert_eq!(unquote(b"token"), &b"token"[..]);
    }

    #[test]
    fn folds_are_white_space() {
        assert_eq!(trim(b" \r\n\tx y\r\n "), b"x y");
        assert_eq!(trim(b" \r\n"), b"");
    }
}
