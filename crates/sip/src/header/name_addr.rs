//! Addresses: `"Display" <uri>;params` and `uri;params` (RFC 3261 §20.10, §25.1).

use super::{
    HeaderError, find_param, find_valid_param, kind, kinds_of, quoted_end, run_len, skip_lws, trim, unquote,
};
use crate::uri::{Uri, UriError};
use std::borrow::Cow;

/// The value of From, To, Contact, Route, P-Asserted-Identity, Diversion, Refer-To and their kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, quotes included; `None` without one.
    pub display: Option<&'a [u8]>,
    /// The URI, without brackets.
    pub uri: &'a [u8],
    /// The header's parameters with their leading `;`. Empty without any.
    pub params: &'a [u8],
    /// The whole value, trimmed.
    pub raw: &'a [u8],
    /// The tag parameter: `None` without it, empty if it names nothing.
    pub(crate) tag: Option<&'a [u8]>,
}

/// One value of a Contact header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: all bindings (RFC 3261 §10.2.2).
    Any,
    /// An address.
    Addr(NameAddr<'a>),
}

impl<'a> NameAddr<'a> {
    /// Reads one value. Without brackets, everything from the first `;` on belongs to the header, and a URI with `?`
    /// or `,` is refused (RFC 3261 §20).
    ///
    /// # Errors
    /// [`HeaderError::Syntax`]: unbalanced quotes or brackets, no URI, malformed parameters, text in between.
    pub fn parse(value: &'a [u8]) -> Result<NameAddr<'a>, HeaderError> {
        let raw = trim(value);
        let (display, (uri, params)) = match raw {
            [b'<', rest @ ..] => (None, bracketed(rest)?),
            [b'"', ..] => {
                let (display, rest) = raw.split_at(quoted_end(raw).ok_or(SYNTAX)?);
                (Some(display), bracketed(skip_lws(rest).strip_prefix(b"<").ok_or(SYNTAX)?)?)
            }
            _ => match memchr::memchr3(b'<', b';', b'"', raw) {
                Some(at) if raw[at] == b'<' => (Some(trim(&raw[..at])), bracketed(&raw[at + 1..])?),
                Some(at) if raw[at] == b';' => (None, bare(raw, at)?),
                Some(_) => return Err(SYNTAX),
                None => (None, bare(raw, raw.len())?),
            },
        };
        let tag = find_valid_param(params, "tag").map_err(|_| SYNTAX)?;
        Ok(NameAddr { display, uri, params, raw, tag: tag.map(Option::unwrap_or_default) })
    }

    /// The tag, if there is one that is not empty.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.tag.filter(|tag| !tag.is_empty())
    }

    /// The value of a header parameter as written: `None` without the parameter, `Some(None)` without a value.
    pub fn param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        find_param(self.params, name)
    }

    /// The display name without quotes and escapes.
    pub fn display_text(&self) -> Option<Cow<'a, [u8]>> {
        self.display.map(unquote)
    }

    /// The URI as a type.
    ///
    /// # Errors
    /// [`UriError`] says what is wrong with it.
    pub fn parse_uri(&self) -> Result<Uri<'a>, UriError> {
        Uri::parse(self.uri)
    }
}

impl<'a> Contact<'a> {
    /// Reads one value of a Contact header.
    ///
    /// # Errors
    /// As [`NameAddr::parse`].
    pub fn parse(value: &'a [u8]) -> Result<Contact<'a>, HeaderError> {
        if trim(value) == b"*" { Ok(Contact::Any) } else { NameAddr::parse(value).map(Contact::Addr) }
    }
}

const SYNTAX: HeaderError = HeaderError::Syntax("address");

/// The URI and the parameters behind an opening bracket.
fn bracketed(rest: &[u8]) -> Result<(&[u8], &[u8]), HeaderError> {
    match rest.split_at(run_len(rest, !(kind::LWS | kind::ANGLE))) {
        (uri @ [_, ..], [b'>', params @ ..]) => Ok((uri, skip_lws(params))),
        _ => Err(SYNTAX),
    }
}

/// The URI and the parameters of an address without brackets.
fn bare(raw: &[u8], uri_end: usize) -> Result<(&[u8], &[u8]), HeaderError> {
    let uri = trim(&raw[..uri_end]);
    let is_ambiguous = kinds_of(uri) & (kind::LWS | kind::QUESTION | kind::COMMA | kind::ANGLE) != 0;
    if uri.is_empty() || is_ambiguous || memchr::memchr(b':', uri).is_none() {
        return Err(SYNTAX);
    }
    Ok((uri, &raw[uri_end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> NameAddr<'_> {
        NameAddr::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn the_three_forms_of_an_address_are_read() {
        let quoted = parsed("\"O'Brien, \\\"Pat\\\" <x>\" <sip:pat@h;lr>;tag=1;q=0.5");
        assert_eq!(quoted.uri, b"sip:pat@h;lr");
        assert_eq!(quoted.display_text().as_deref(), Some(&b"O'Brien, \"Pat\" <x>"[..]));
        assert_eq!(quoted.tag(), Some(&b"1"[..]));
        assert_eq!(quoted.param("q"), Some(Some(&b"0.5"[..])));

        let tokens = parsed("Pat The Cat<sip:pat@h>");
        assert_eq!(tokens.display, Some(&b"Pat The Cat"[..]));
        assert_eq!(tokens.params, b"");

        let bare = parsed("sip:pat@h;tag=abc");
        assert_eq!(bare.display, None);
        assert_eq!(bare.uri, b"sip:pat@h");
        assert_eq!(bare.tag(), Some(&b"abc"[..]));
    }

    #[test]
    fn folds_and_spaces_between_the_parts_do_not_matter() {
        let folded = parsed(" \"Pat\"\r\n\t<sip:pat@h>\r\n ; tag = 7 ");
        assert_eq!(folded.uri, b"sip:pat@h");
        assert_eq!(folded.tag(), Some(&b"7"[..]));
    }

    #[test]
    fn without_brackets_parameters_belong_to_the_header() {
        let bare = parsed("sip:pat@h;transport=tcp");
        assert_eq!(bare.param("transport"), Some(Some(&b"tcp"[..])));
        assert_eq!(bare.parse_uri().map(|uri| uri.params), Ok(&b""[..]));
    }

    #[test]
    fn malformed_addresses_are_refused() {
        let texts = [
            "",
            "<>",
            "\"open <sip:a@h>",
            "\"x\" sip:a@h",
            "<sip:a@h",
            "< sip:a@h>",
            "<sip:a@h >",
            "<sip:a@h> x",
            "<sip:a@h>;;tag=1",
            "sip:a@h?Route=x",
            "sip:a@h,sip:b@h",
            "sip:a@h>",
            "alice",
            "Joe \"x\" <sip:a@h>",
        ];
        for text in texts {
            assert!(NameAddr::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_tag_is_none() {
        assert_eq!(parsed("<sip:a@h>;tag=").tag(), None);
        assert_eq!(parsed("<sip:a@h>;tag").tag(), None);
    }

    #[test]
    fn a_star_means_all_contacts() {
        assert_eq!(Contact::parse(b" * "), Ok(Contact::Any));
        assert!(matches!(Contact::parse(b"<sip:a@h>;expires=0"), Ok(Contact::Addr(_))));
        assert!(Contact::parse(b"**").is_err());
    }
}
