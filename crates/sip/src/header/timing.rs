//! Headers that carry seconds: Session-Expires (RFC 4028 §4), Retry-After (RFC 3261 §20.33) and plain numbers.

use super::{HeaderError, decimal, find_param, find_valid_param, skip_lws, trim};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who refreshes a session (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refresher {
    /// The client of the transaction that negotiated it.
    Uac,
    /// The server of that transaction.
    Uas,
}

/// The value of Session-Expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionExpires {
    /// The session interval, in seconds.
    pub secs: u32,
    /// Who refreshes, if it is said.
    pub refresher: Option<Refresher>,
}

/// The value of Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// Wait this long, in seconds.
    pub secs: u32,
    /// Then it is good for this long, in seconds.
    pub duration: Option<u32>,
}

impl SessionExpires {
    /// Reads `seconds;refresher=uac`. A refresher of another name counts as not said.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`]; [`HeaderError::Range`] beyond 2^32 − 1.
    pub fn parse(value: &[u8]) -> Result<SessionExpires, HeaderError> {
        let (secs, params) = leading_number(value, "Session-Expires")?;
        let refresher =
            find_valid_param(params, "refresher").map_err(|_| HeaderError::Syntax("Session-Expires"))?;
        Ok(SessionExpires { secs, refresher: refresher.flatten().and_then(Refresher::parse) })
    }
}

impl Refresher {
    fn parse(value: &[u8]) -> Option<Refresher> {
        let is = |role: &[u8]| value.eq_ignore_ascii_case(role);
        if is(b"uac") {
            Some(Refresher::Uac)
        } else if is(b"uas") {
            Some(Refresher::Uas)
        } else {
            None
        }
    }
}

impl RetryAfter {
    /// Reads `seconds (comment);duration=seconds`.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`]; [`HeaderError::Range`] beyond 2^32 − 1.
    pub fn parse(value: &[u8]) -> Result<RetryAfter, HeaderError> {
        let (secs, rest) = leading_number(value, "Retry-After")?;
        let params = match rest.strip_prefix(b"(") {
            Some(comment) => skip_lws(after_comment(comment)),
            None => rest,
        };
        let duration = find_param(params, "duration").flatten().and_then(decimal);
        Ok(RetryAfter { secs, duration: duration.and_then(|secs| u32::try_from(secs).ok()) })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refresher {
            Some(Refresher::Uac) => write!(f, "{};refresher=uac", self.secs),
            Some(Refresher::Uas) => write!(f, "{};refresher=uas", self.secs),
            None => write!(f, "{}", self.secs),
        }
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.duration {
            Some(duration) => write!(f, "{};duration={duration}", self.secs),
            None => write!(f, "{}", self.secs),
        }
    }
}

/// The number a value starts with, and what follows it: nothing, parameters, a comment, or more words.
pub(crate) fn leading_number<'a>(
    value: &'a [u8],
    header: &'static str,
) -> Result<(u32, &'a [u8]), HeaderError> {
    let value = trim(value);
    let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    let (digits, rest) = value.split_at(end);
    let after = skip_lws(rest);
    let separated = rest.is_empty() || after.len() < rest.len() || matches!(rest[0], b';' | b'(');
    if digits.is_empty() || !separated {
        return Err(HeaderError::Syntax(header));
    }
    let number = decimal(digits).and_then(|number| u32::try_from(number).ok());
    Ok((number.ok_or(HeaderError::Range(header))?, after))
}

/// What follows a comment whose opening parenthesis is gone already; comments nest (RFC 3261 §25.1).
fn after_comment(text: &[u8]) -> &[u8] {
    let mut depth = 1u32;
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[index + 1..];
        }
    }
    b""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_expires_names_a_refresher() {
        let read = |text: &str| SessionExpires::parse(text.as_bytes());
        let uas = SessionExpires { secs: 600, refresher: Some(Refresher::Uas) };
        assert_eq!(read("600;refresher=uas"), Ok(uas));
        assert_eq!(read(" 600 ; x=1 ; Refresher = UAS"), Ok(uas));
        assert_eq!(read("90;refresher=me").map(|timer| timer.refresher), Ok(None));
        assert_eq!(uas.to_string(), "600;refresher=uas");
        assert_eq!(read("4294967296"), Err(HeaderError::Range("Session-Expires")));
        for text in ["", "x", "-5", "600x", "600;;"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn retry_after_may_have_a_comment_and_a_duration() {
        let read = |text: &str| RetryAfter::parse(text.as_bytes());
        assert_eq!(read("18000;duration=3600"), Ok(RetryAfter { secs: 18_000, duration: Some(3_600) }));
        assert_eq!(read("120 (back (soon\\)) ;duration=9)"), Ok(RetryAfter { secs: 120, duration: None }));
        assert_eq!(read("120(x);duration=7"), Ok(RetryAfter { secs: 120, duration: Some(7) }));
        assert_eq!(read("120 (open").map(|retry| retry.secs), Ok(120));
        assert_eq!(RetryAfter { secs: 5, duration: None }.to_string(), "5");
    }
}
