//! Header parameters: `;name`, `;name=value`, `;name="value"`.

use super::{HeaderError, is_lws, kind, quoted_end, run_len, skip_lws, token_len};

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name, in the case it was written in.
    pub name: &'a [u8],
    /// Its value as written, quotes included ([`unquote`](super::unquote) removes them); `None` without `=`.
    pub value: Option<&'a [u8]>,
}

/// The parameters behind a value, in order. Ends after the first one that breaks the grammar, which is an error.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: &'a [u8],
}

impl<'a> Params<'a> {
    /// The parameters of a text that is empty or starts with `;`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: skip_lws(text) }
    }

    /// Whether all of them are well-formed.
    pub(crate) fn are_valid(mut self) -> bool {
        self.all(|param| param.is_ok())
    }

    #[inline]
    fn take_one(&mut self) -> Option<Param<'a>> {
        let text = skip_lws(self.rest.strip_prefix(b";")?);
        let (name, text) = text.split_at(token_len(text));
        if name.is_empty() {
            return None;
        }
        let after_name = skip_lws(text);
        let Some(text) = after_name.strip_prefix(b"=") else {
            self.rest = after_name;
            return Some(Param { name, value: None });
        };
        let text = skip_lws(text);
        let (value, text) = text.split_at(value_len(text)?);
        self.rest = skip_lws(text);
        Some(Param { name, value: Some(value) })
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Result<Param<'a>, HeaderError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let param = self.take_one();
        if param.is_none() {
            self.rest = b"";
        }
        Some(param.ok_or(HeaderError::Syntax("parameter")))
    }
}

/// The value of the first parameter of that name, in any case: `None` without the parameter, `Some(None)` without a
/// value. `params` is empty or starts with `;`.
pub fn find_param<'a>(params: &'a [u8], name: &str) -> Option<Option<&'a [u8]>> {
    Params::new(params)
        .map_while(Result::ok)
        .find(|param| param.name.eq_ignore_ascii_case(name.as_bytes()))
        .map(|param| param.value)
}

/// As [`find_param`], and an error if any of the parameters breaks the grammar: one pass where a reader needs both.
pub(crate) fn find_valid_param<'a>(
    params: &'a [u8],
    name: &str,
) -> Result<Option<Option<&'a [u8]>>, HeaderError> {
    let mut found = None;
    for param in Params::new(params) {
        let param = param?;
        if found.is_none() && param.name.eq_ignore_ascii_case(name.as_bytes()) {
            found = Some(param.value);
        }
    }
    Ok(found)
}

/// What a value that is no quoted string may not hold.
const NOT_IN_VALUE: u16 =
    kind::LWS | kind::NUL | kind::CONTROL | kind::QUOTE | kind::ANGLE | kind::COMMA | kind::SEMICOLON;

/// A token, a host (brackets and colons of an IPv6 reference included) or a quoted string. Empty values are taken as
/// they are: phones send `;rport=`.
#[inline]
fn value_len(text: &[u8]) -> Option<usize> {
    if text.first() == Some(&b'"') {
        return quoted_end(text);
    }
    let end = run_len(text, !NOT_IN_VALUE);
    text.get(end).is_none_or(|after| *after == b';' || is_lws(*after)).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_any_case_with_space_around_signs() {
        let params = b" ;a ; B = 2;\r\n c=\"x;y\\\"z\";d=[2001:db8::1]";
        assert_eq!(find_param(params, "A"), Some(None));
        assert_eq!(find_param(params, "b"), Some(Some(&b"2"[..])));
        assert_eq!(find_param(params, "c"), Some(Some(&b"\"x;y\\\"z\""[..])));
        assert_eq!(find_param(params, "d"), Some(Some(&b"[2001:db8::1]"[..])));
        assert_eq!(find_param(params, "e"), None);
        assert!(Params::new(params).are_valid());
    }

    #[test]
    fn malformed_parameters_end_the_list_with_an_error() {
        for text in [";", ";;a", ";=1", ";a;", ";a=\"open", ";a=x,y", ";a b", "a=1", ";a=x y", ";a=<x>"] {
            assert!(!Params::new(text.as_bytes()).are_valid(), "{text}");
        }
        assert_eq!(find_param(b";a=1;;b=2", "a"), Some(Some(&b"1"[..])));
        assert_eq!(find_param(b";a=1;;b=2", "b"), None);
        assert!(find_valid_param(b";a=1;;b=2", "a").is_err());
    }

    #[test]
    fn of_parameters_with_the_same_name_the_first_counts() {
        let params = b";a;b=1;A=2;B=3";
        assert_eq!((find_param(params, "a"), find_param(params, "b")), (Some(None), Some(Some(&b"1"[..]))));
        assert_eq!(find_valid_param(params, "a"), Ok(Some(None)));
        assert_eq!(find_valid_param(params, "b"), Ok(Some(Some(&b"1"[..]))));
        assert_eq!(find_valid_param(params, "c"), Ok(None));
    }
}
