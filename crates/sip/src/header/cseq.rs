//! CSeq (RFC 3261 §20.16) and RAck (RFC 3262 §7.2): numbers with a method.

use super::{HeaderError, decimal, is_token, skip_lws, trim};
use crate::method;
use rsip::Method;

/// The largest CSeq number: less than 2^31 (RFC 3261 §8.1.1.5).
pub const MAX_CSEQ: u32 = (1 << 31) - 1;

/// The value of CSeq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number, at most [`MAX_CSEQ`].
    pub number: u32,
    /// The method, if we know it.
    pub method: Option<Method>,
    /// The method as written.
    pub name: &'a [u8],
}

/// The value of RAck: what a PRACK acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The RSeq of the provisional response.
    pub rseq: u32,
    /// The CSeq of the provisional response.
    pub cseq: CSeq<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads `number method`.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`]; [`HeaderError::Range`] for 2^31 and above.
    pub fn parse(value: &'a [u8]) -> Result<CSeq<'a>, HeaderError> {
        let (number, rest) = split_number(trim(value), SYNTAX, HeaderError::Range("CSeq"))?;
        if number > MAX_CSEQ {
            return Err(HeaderError::Range("CSeq"));
        }
        if !is_token(rest) {
            return Err(SYNTAX);
        }
        Ok(CSeq { number, method: method::known(rest), name: rest })
    }
}

impl<'a> RAck<'a> {
    /// Reads `rseq cseq method`.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`]; [`HeaderError::Range`] for numbers beyond their header's range.
    pub fn parse(value: &'a [u8]) -> Result<RAck<'a>, HeaderError> {
        let (rseq, rest) =
            split_number(trim(value), HeaderError::Syntax("RAck"), HeaderError::Range("RAck"))?;
        Ok(RAck { rseq, cseq: CSeq::parse(rest)? })
    }
}

const SYNTAX: HeaderError = HeaderError::Syntax("CSeq");

/// Digits, white space, and what follows it.
fn split_number(text: &[u8], syntax: HeaderError, range: HeaderError) -> Result<(u32, &[u8]), HeaderError> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let after = skip_lws(rest);
    if digits.is_empty() || after.len() == rest.len() {
        return Err(syntax);
    }
    let number = decimal(digits).and_then(|number| u32::try_from(number).ok()).ok_or(range)?;
    Ok((number, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cseq_is_a_number_and_a_method() {
        let cseq = CSeq::parse(b"0009\r\n  INVITE").expect("valid");
        assert_eq!((cseq.number, cseq.method), (9, Some(Method::Invite)));
        let unknown = CSeq::parse(b"1 invite").expect("valid");
        assert_eq!((unknown.method, unknown.name), (None, &b"invite"[..]));
    }

    #[test]
    fn a_cseq_is_less_than_two_to_the_31() {
        assert_eq!(CSeq::parse(b"2147483647 BYE").map(|cseq| cseq.number), Ok(MAX_CSEQ));
        for text in ["2147483648 BYE", "4294967296 BYE", "99999999999999999999999 BYE"] {
            assert_eq!(CSeq::parse(text.as_bytes()), Err(HeaderError::Range("CSeq")));
        }
    }

    #[test]
    fn malformed_cseqs_are_refused() {
        for text in ["", "1", "1 ", "INVITE", "INVITE 1", "1INVITE", "-1 INVITE", "1 INVITE x", "1 IN(VITE"] {
            assert!(CSeq::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rack_names_the_response_it_acknowledges() {
        let rack = RAck::parse(b"776656 1 INVITE").expect("valid");
        assert_eq!((rack.rseq, rack.cseq.number, rack.cseq.method), (776_656, 1, Some(Method::Invite)));
        assert_eq!(RAck::parse(b"4294967296 1 INVITE"), Err(HeaderError::Range("RAck")));
        assert!(RAck::parse(b"1 INVITE").is_err());
    }
}
