//! Challenges and credentials: a scheme and a comma list of parameters (RFC 3261 §20.7, §20.44, RFC 7616).

use super::{HeaderError, Quoted, is_lws, quoted_end, skip_lws, token_len, trim, unquote};
use std::borrow::Cow;
use std::fmt::{self, Write};

/// The value of WWW-Authenticate, Proxy-Authenticate, Authorization or Proxy-Authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthParams<'a> {
    /// `Digest`, as written.
    pub scheme: &'a [u8],
    list: &'a [u8],
}

impl<'a> AuthParams<'a> {
    /// Reads a scheme and checks its parameters.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`].
    pub fn parse(value: &'a [u8]) -> Result<AuthParams<'a>, HeaderError> {
        let value = trim(value);
        let (scheme, rest) = value.split_at(token_len(value));
        let list = skip_lws(rest);
        if scheme.is_empty() || (!list.is_empty() && list.len() == rest.len()) {
            return Err(SYNTAX);
        }
        Self::parse_list(list).map(|parsed| AuthParams { scheme, ..parsed })
    }

    /// Reads a parameter list without a scheme: Authentication-Info (RFC 3261 §20.6).
    ///
    /// # Errors
    /// [`HeaderError::Syntax`].
    pub fn parse_list(list: &'a [u8]) -> Result<AuthParams<'a>, HeaderError> {
        let parsed = AuthParams { scheme: b"", list: trim(list) };
        let mut rest = parsed.list;
        while !rest.is_empty() {
            (_, _, rest) = take_param(rest).ok_or(SYNTAX)?;
        }
        Ok(parsed)
    }

    /// Whether the scheme is Digest.
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"Digest")
    }

    /// The parameters in order, as (name, value as written with its quotes).
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.list;
        std::iter::from_fn(move || {
            let (name, value, after) = take_param(rest)?;
            rest = after;
            Some((name, value))
        })
    }

    /// The value of a parameter, without quotes and escapes.
    pub fn param(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| unquote(value))
    }
}

/// Prints a challenge or credentials, parameter by parameter.
#[derive(Clone, Debug)]
pub struct AuthPrinter {
    text: String,
    separator: &'static str,
}

impl AuthPrinter {
    /// Starts with a scheme.
    pub fn new(scheme: &str) -> Self {
        Self { text: scheme.to_owned(), separator: " " }
    }

    /// Adds `name="value"`, escaping the value.
    #[must_use]
    pub fn quoted(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add(name, format_args!("{}", Quoted(value.as_ref())))
    }

    /// Adds `name=value`, for what the grammar wants unquoted: algorithm, stale, nc, and qop in credentials.
    #[must_use]
    pub fn token(self, name: &str, value: impl fmt::Display) -> Self {
        self.add(name, format_args!("{value}"))
    }

    /// The header's value.
    pub fn finish(self) -> String {
        self.text
    }

    fn add(mut self, name: &str, value: fmt::Arguments<'_>) -> Self {
        write!(self.text, "{}{name}={value}", self.separator).expect("writing to a String cannot fail");
        self.separator = ", ";
        self
    }
}

const SYNTAX: HeaderError = HeaderError::Syntax("authentication header");

/// One `name = value` with the comma after it: name, value, rest.
fn take_param(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = text.split_at(token_len(text));
    let rest = skip_lws(skip_lws(rest).strip_prefix(b"=")?);
    let value_len = match rest.first()? {
        b'"' => quoted_end(rest)?,
        _ => rest.iter().position(|byte| *byte == b',' || is_lws(*byte)).unwrap_or(rest.len()),
    };
    let (value, rest) = rest.split_at(value_len);
    let after = match skip_lws(rest) {
        [] => &rest[rest.len()..],
        // Some senders end the list with a comma.
        [b',', after @ ..] => skip_lws(after),
        [_, ..] => return None,
    };
    (!name.is_empty()).then_some((name, value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_back_as_printed() {
        let printed = AuthPrinter::new("Digest")
            .quoted("realm", "a \"b\", c")
            .quoted("nonce", "n0")
            .token("algorithm", "SHA-256")
            .token("stale", true)
            .finish();
        assert_eq!(printed, r#"Digest realm="a \"b\", c", nonce="n0", algorithm=SHA-256, stale=true"#);
        let read = AuthParams::parse(printed.as_bytes()).expect("valid");
        assert!(read.is_digest());
        assert_eq!(read.param("Realm").as_deref(), Some(&b"a \"b\", c"[..]));
        assert_eq!(read.param("algorithm").as_deref(), Some(&b"SHA-256"[..]));
        assert_eq!(read.param("opaque"), None);
        assert_eq!(read.iter().count(), 4);
    }

    #[test]
    fn white_space_and_folds_separate_nothing() {
        let read = AuthParams::parse(b"digest  username = \"bob\" ,\r\n nc=00000001,").expect("valid");
        assert!(read.is_digest());
        assert_eq!(read.param("username").as_deref(), Some(&b"bob"[..]));
        assert_eq!(read.param("nc").as_deref(), Some(&b"00000001"[..]));
    }

    #[test]
    fn malformed_credentials_are_refused() {
        let texts = [
            "",
            "Digest realm",
            "Digest realm=",
            "Digest =x",
            "Digest realm=\"x",
            "Digest a=b c=d",
            "Digest,a=b",
        ];
        for text in texts {
            assert!(AuthParams::parse(text.as_bytes()).is_err(), "{text}");
        }
        // Two challenges in one line (RFC 3261 §7.3.1).
        assert!(AuthParams::parse(b"Digest realm=\"a\", Basic realm=\"b\"").is_err());
    }

    #[test]
    fn authentication_info_has_no_scheme() {
        let info = AuthParams::parse_list(b"nextnonce=\"n1\", qop=auth").expect("valid");
        assert_eq!(info.param("nextnonce").as_deref(), Some(&b"n1"[..]));
    }
}
