//! Reason (RFC 3326).

use super::{HeaderError, Params, Quoted, decimal, find_param, skip_lws, token_len, trim, unquote};
use std::borrow::Cow;
use std::fmt;

/// Why a request was sent, or a response given: one value of a Reason header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, or another registered protocol, as written.
    pub protocol: Cow<'a, [u8]>,
    /// The cause: a status code of SIP, a cause value of Q.850.
    pub cause: Option<u16>,
    /// The text, without quotes and escapes.
    pub text: Option<Cow<'a, [u8]>>,
}

impl<'a> Reason<'a> {
    /// Reads one value.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`] for a missing protocol or malformed parameters; a cause that is no number is left out.
    pub fn parse(value: &'a [u8]) -> Result<Reason<'a>, HeaderError> {
        let value = trim(value);
        let (protocol, params) = value.split_at(token_len(value));
        let params = skip_lws(params);
        if protocol.is_empty() || !Params::new(params).are_valid() {
            return Err(HeaderError::Syntax("Reason"));
        }
        let cause = find_param(params, "cause").flatten().and_then(decimal);
        Ok(Reason {
            protocol: Cow::Borrowed(protocol),
            cause: cause.and_then(|cause| u16::try_from(cause).ok()),
            text: find_param(params, "text").flatten().map(unquote),
        })
    }

    /// A reason to print, of a protocol's name, a cause and a text that may be empty.
    pub fn new(protocol: &'a str, cause: u16, text: &'a str) -> Reason<'a> {
        let text = Some(text).filter(|text| !text.is_empty());
        Reason {
            protocol: Cow::Borrowed(protocol.as_bytes()),
            cause: Some(cause),
            text: text.map(|text| Cow::Borrowed(text.as_bytes())),
        }
    }

    /// Whether the cause is one of Q.850.
    pub fn is_q850(&self) -> bool {
        self.protocol.eq_ignore_ascii_case(b"Q.850")
    }

    /// Whether the cause is a SIP status code.
    pub fn is_sip(&self) -> bool {
        self.protocol.eq_ignore_ascii_case(b"SIP")
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.protocol))?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        if let Some(text) = &self.text {
            write!(f, ";text={}", Quoted(text))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_back_as_printed() {
        let printed = Reason::new("Q.850", 16, "Normal \"call\" clearing").to_string();
        assert_eq!(printed, r#"Q.850;cause=16;text="Normal \"call\" clearing""#);
        let read = Reason::parse(printed.as_bytes()).expect("valid");
        assert!(read.is_q850() && !read.is_sip());
        assert_eq!(read.cause, Some(16));
        assert_eq!(read.text.as_deref(), Some(&b"Normal \"call\" clearing"[..]));
    }

    #[test]
    fn cause_and_text_may_be_absent_and_a_cause_that_is_none_is_left_out() {
        assert_eq!(Reason::new("SIP", 487, "").to_string(), "SIP;cause=487");
        assert_eq!(Reason::parse(b"preemption ; cause = 1").map(|reason| reason.cause), Ok(Some(1)));
        assert_eq!(Reason::parse(b"SIP;cause=70000").map(|reason| reason.cause), Ok(None));
        assert_eq!(Reason::parse(b"SIP").map(|reason| (reason.cause, reason.text)), Ok((None, None)));
        assert!(Reason::parse(b";cause=1").is_err());
    }
}
