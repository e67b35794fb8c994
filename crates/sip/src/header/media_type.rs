//! Content-Type (RFC 3261 §20.15).

use super::{HeaderError, Params, find_param, skip_lws, token_len, trim};

/// A media type with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// `application` of `application/sdp`, as written.
    pub kind: &'a [u8],
    /// `sdp` of `application/sdp`, as written.
    pub subtype: &'a [u8],
    /// The parameters with their leading `;`. Empty without any.
    pub params: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Reads `kind/subtype;params`.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`].
    pub fn parse(value: &'a [u8]) -> Result<MediaType<'a>, HeaderError> {
        let value = trim(value);
        let (kind, rest) = value.split_at(token_len(value));
        let rest = skip_lws(rest).strip_prefix(b"/").map(skip_lws).ok_or(SYNTAX)?;
        let (subtype, rest) = rest.split_at(token_len(rest));
        let params = skip_lws(rest);
        if kind.is_empty() || subtype.is_empty() || !Params::new(params).are_valid() {
            return Err(SYNTAX);
        }
        Ok(MediaType { kind, subtype, params })
    }

    /// Whether it is that type, whatever its case and parameters.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
            && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    /// The value of a parameter as written: `None` without the parameter, `Some(None)` without a value.
    pub fn param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        find_param(self.params, name)
    }
}

const SYNTAX: HeaderError = HeaderError::Syntax("Content-Type");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_without_case_and_parameters() {
        let media = MediaType::parse(b"Application / SDP ; charset=\"utf-8\"").expect("valid");
        assert!(media.is("application", "sdp"));
        assert_eq!(media.param("charset"), Some(Some(&b"\"utf-8\""[..])));
    }

    #[test]
    fn malformed_types_are_refused() {
        for text in ["", "application", "application/", "/sdp", "application/sdp;;", "a/b c"] {
            assert!(MediaType::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
