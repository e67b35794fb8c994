//! The lexical ground of RFC 3261 §25.1: white space, tokens, quoted strings, numbers.

use std::borrow::Cow;
use std::fmt;

/// Kinds of bytes, one bit each. Every byte is of one kind; the sets that the grammar speaks of are kinds together.
pub(crate) mod kind {
    pub(crate) const DIGIT: u16 = 1;
    pub(crate) const ALPHA: u16 = 1 << 1;
    pub(crate) const DOT: u16 = 1 << 2;
    /// `-` and `_`.
    pub(crate) const DASH: u16 = 1 << 3;
    /// What else a token may hold: `` !%*+`'~ ``.
    pub(crate) const MARK: u16 = 1 << 4;
    /// Linear white space, line folds included.
    pub(crate) const LWS: u16 = 1 << 5;
    pub(crate) const NUL: u16 = 1 << 6;
    /// The other control characters.
    pub(crate) const CONTROL: u16 = 1 << 7;
    pub(crate) const QUOTE: u16 = 1 << 8;
    /// `<` and `>`.
    pub(crate) const ANGLE: u16 = 1 << 9;
    pub(crate) const COMMA: u16 = 1 << 10;
    pub(crate) const SEMICOLON: u16 = 1 << 11;
    pub(crate) const QUESTION: u16 = 1 << 12;
    pub(crate) const OTHER: u16 = 1 << 13;

    /// A token.
    pub(crate) const TOKEN: u16 = DIGIT | ALPHA | DOT | DASH | MARK;
    /// A byte that a start line and a URI printed into one must escape.
    pub(crate) const UNPRINTABLE: u16 = LWS | NUL | CONTROL;
}

/// The kind of every byte.
const KINDS: [u16; 256] = {
    let mut kinds = [kind::OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'0'..=b'9' => kind::DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' => kind::ALPHA,
            b'.' => kind::DOT,
            b'-' | b'_' => kind::DASH,
            b'!' | b'%' | b'*' | b'+' | b'`' | b'\'' | b'~' => kind::MARK,
            b' ' | b'\t' | b'\r' | b'\n' => kind::LWS,
            0 => kind::NUL,
            0x01..=0x1f | 0x7f => kind::CONTROL,
            b'"' => kind::QUOTE,
            b'<' | b'>' => kind::ANGLE,
            b',' => kind::COMMA,
            b';' => kind::SEMICOLON,
            b'?' => kind::QUESTION,
            _ => kind::OTHER,
        };
        byte += 1;
    }
    kinds
};

/// The kinds of the text's bytes together.
#[inline]
pub(crate) fn kinds_of(text: &[u8]) -> u16 {
    text.iter().fold(0, |kinds, byte| kinds | KINDS[usize::from(*byte)])
}

/// How many bytes of these kinds the text starts with.
#[inline]
pub(crate) fn run_len(text: &[u8], kinds: u16) -> usize {
    // Eight at a time cost half of what eight times one do.
    let (eights, _) = text.as_chunks::<8>();
    let whole = eights.iter().take_while(|eight| kinds_of(&eight[..]) & !kinds == 0).count() * 8;
    let rest = &text[whole..];
    whole + rest.iter().position(|byte| !is(*byte, kinds)).unwrap_or(rest.len())
}

/// Linear white space, line folds included.
#[inline]
pub(crate) fn is_lws(byte: u8) -> bool {
    is(byte, kind::LWS)
}

/// Whether the byte is of one of these kinds.
#[inline]
fn is(byte: u8, kinds: u16) -> bool {
    KINDS[usize::from(byte)] & kinds != 0
}

/// Whether the whole text is one token.
#[inline]
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && kinds_of(text) & !kind::TOKEN == 0
}

/// How many bytes of a token the text starts with.
#[inline]
pub(crate) fn token_len(text: &[u8]) -> usize {
    // Tokens are short: no eights.
    text.iter().position(|byte| !is(*byte, kind::TOKEN)).unwrap_or(text.len())
}

/// The text without leading white space.
#[inline]
pub(crate) fn skip_lws(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [byte, after @ ..] = rest
        && is_lws(*byte)
    {
        rest = after;
    }
    rest
}

/// The text without white space at either end.
#[inline]
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(skip_lws(text))
}

/// The text without trailing white space.
#[inline]
pub(crate) fn trim_end(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [before @ .., byte] = rest
        && is_lws(*byte)
    {
        rest = before;
    }
    rest
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
    fn every_byte_is_of_one_kind_and_tokens_are_those_of_rfc_3261_25_1() {
        for byte in 0..=u8::MAX {
            assert_eq!(KINDS[usize::from(byte)].count_ones(), 1, "{byte}");
            let is_token = byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
            assert_eq!(is(byte, kind::TOKEN), is_token, "{byte}");
            assert_eq!(is(byte, kind::UNPRINTABLE), byte <= b' ' || byte == 0x7f, "{byte}");
        }
    }

    #[test]
    fn a_run_ends_at_the_first_byte_of_another_kind_wherever_it_stands() {
        for length in 0..40 {
            for end in 0..=length {
                let mut text = vec![b'a'; length];
                text[end..].fill(b'9');
                assert_eq!(run_len(&text, kind::ALPHA), end);
                assert_eq!(run_len(&text, !kind::DIGIT), end);
                assert_eq!(run_len(&text, kind::ALPHA | kind::DIGIT), length);
            }
        }
    }

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
