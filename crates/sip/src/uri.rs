//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), read where they stand.

use crate::header::{decimal, kind, kinds_of};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Parameters, or headers, of a URI that are compared.
pub const MAX_COMPARED_PARAMS: usize = 32;

/// Why a text is not a URI we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// No `scheme:` in front.
    #[error("URI without a scheme")]
    Scheme,
    /// White space, control characters, quotes or angle brackets inside.
    #[error("URI with a character that must be escaped")]
    Character,
    /// An empty user part before `@`.
    #[error("URI with an empty user part")]
    User,
    /// No host, or one that is neither a name nor an address.
    #[error("URI without a valid host")]
    Host,
    /// A port that is not 0 to 65535.
    #[error("URI with an invalid port")]
    Port,
    /// Something other than a port, parameters or headers behind the host.
    #[error("URI with trailing text")]
    Trailing,
}

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other; what follows the colon is in [`Uri::user`].
    Other,
}

/// A host as it stands in a URI or a Via.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A domain name; empty where the scheme has no host.
    Name(&'a [u8]),
    /// A dotted quad.
    V4(Ipv4Addr),
    /// An IPv6 reference, without its brackets.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads `name`, `192.0.2.1` or `[2001:db8::1]`. The third colon that the grammar of RFC 3261 puts before an IPv4 tail
    /// is forgiven (RFC 5118 §4.10).
    pub fn parse(host: &'a [u8]) -> Option<Host<'a>> {
        if let [b'[', inner @ .., b']'] = host {
            let inner = std::str::from_utf8(inner).ok()?;
            return inner.parse().ok().or_else(|| parse_three_colons(inner)).map(Host::V6);
        }
        if let Some(address) = parse_ipv4(host) {
            return Some(Host::V4(address));
        }
        let kinds = kinds_of(host);
        let has_only = |allowed: u16| kinds & !allowed == 0;
        let is_name =
            !matches!(host, [] | [b'.', ..]) && has_only(kind::DIGIT | kind::ALPHA | kind::DOT | kind::DASH);
        // Nothing but digits and dots would be an address.
        (is_name && !has_only(kind::DIGIT | kind::DOT)).then_some(Host::Name(host))
    }

    /// Whether both name the same host: names in any case, addresses by value.
    pub fn is_equivalent(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            (Host::V4(one), Host::V4(two)) => one == two,
            (Host::V6(one), Host::V6(two)) => one == two,
            (Host::Name(_) | Host::V4(_) | Host::V6(_), Host::Name(_) | Host::V4(_) | Host::V6(_)) => false,
        }
    }

    /// The address, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(&String::from_utf8_lossy(name)),
            Host::V4(address) => address.fmt(f),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A URI, borrowed from the text it was read from. Escapes are left as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part with parameters of its own; of a tel URI the number; of other schemes everything.
    pub user: Option<&'a [u8]>,
    /// The password after the user part, which RFC 3261 §19.1.1 advises against.
    pub password: Option<&'a [u8]>,
    /// The host; an empty name where the scheme has none.
    pub host: Host<'a>,
    /// The port, if written.
    pub port: Option<u16>,
    /// The parameters, with their leading `;`. Empty without any.
    pub params: &'a [u8],
    /// The headers after `?`. Empty without any.
    pub headers: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads a URI without surrounding white space or brackets.
    ///
    /// # Errors
    /// [`UriError`] says what is wrong with it. An unknown scheme is not an error.
    pub fn parse(text: &'a [u8]) -> Result<Uri<'a>, UriError> {
        let kinds = kinds_of(text);
        if kinds & (kind::UNPRINTABLE | kind::ANGLE | kind::QUOTE) != 0 {
            return Err(UriError::Character);
        }
        // No memchr: it stands at the third place or so.
        let colon = text.iter().position(|byte| *byte == b':').ok_or(UriError::Scheme)?;
        let (scheme, rest) = (parse_scheme(&text[..colon])?, &text[colon + 1..]);
        match scheme {
            Scheme::Sip | Scheme::Sips => parse_sip(scheme, rest, kinds),
            Scheme::Tel => parse_tel(rest),
            Scheme::Other => Ok(opaque(scheme, rest)),
        }
    }

    /// The value of a URI parameter, in any case: `None` without the parameter, `Some(None)` without a value.
    pub fn param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        uri_params(self.params)
            .find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Whether the URI asks for loose routing (RFC 3261 §19.1.1).
    pub fn has_lr(&self) -> bool {
        self.param("lr").is_some()
    }

    /// The transport parameter.
    pub fn transport(&self) -> Option<&'a [u8]> {
        self.param("transport").flatten()
    }

    /// The dialled number: the user part without its own parameters, escapes decoded; where it is a telephone number
    /// (tel, or `user=phone`) without visual separators (RFC 3966 §5.1.1).
    pub fn number(&self) -> Cow<'a, str> {
        let user = self.user.unwrap_or_default();
        let digits = user.split(|byte| *byte == b';').next().unwrap_or_default();
        let separated = |byte: &u8| matches!(byte, b'-' | b'.' | b'(' | b')');
        let strip = self.is_telephone() && digits.iter().any(separated);
        if !strip && !digits.contains(&b'%') {
            return String::from_utf8_lossy(digits);
        }
        let mut decoded = unescape(digits);
        if strip {
            decoded.retain(|byte| !separated(byte));
        }
        Cow::Owned(
            String::from_utf8(decoded).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
        )
    }

    /// Where to send without DNS: the host if it is an address, with the port or `default_port`.
    pub fn socket_addr(&self, default_port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.ip()?, self.port.unwrap_or(default_port)))
    }

    /// Whether both name the same resource (RFC 3261 §19.1.4, RFC 3966 §4): the user decoded and in its case, the host
    /// in any case, the port as written, parameters that either both have or that do not matter.
    ///
    /// URIs of more than [`MAX_COMPARED_PARAMS`] parameters or headers equal nothing, so that comparing stays cheap.
    pub fn is_equivalent(&self, other: &Uri<'_>) -> bool {
        let is_named_alike = match self.scheme {
            Scheme::Tel => self.number().eq_ignore_ascii_case(&other.number()),
            Scheme::Sip | Scheme::Sips | Scheme::Other => {
                let decoded = |part: Option<&[u8]>| part.map(unescape);
                decoded(self.user) == decoded(other.user) && decoded(self.password) == decoded(other.password)
            }
        };
        let has_no_lone = |one: &Uri<'_>, two: &Uri<'_>| {
            uri_params(one.params).all(|(name, value)| match find_in(uri_params(two.params), name) {
                Some(other) => is_same_value(value, other),
                None => one.scheme != Scheme::Tel && !must_be_in_both(name),
            })
        };
        self.scheme == other.scheme
            && is_named_alike
            && self.host.is_equivalent(&other.host)
            && self.port == other.port
            && self.is_comparable()
            && other.is_comparable()
            && has_no_lone(self, other)
            && has_no_lone(other, self)
            && has_same_headers(self.headers, other.headers)
            && has_same_headers(other.headers, self.headers)
    }

    fn is_comparable(&self) -> bool {
        uri_params(self.params).nth(MAX_COMPARED_PARAMS).is_none()
            && uri_headers(self.headers).nth(MAX_COMPARED_PARAMS).is_none()
    }

    fn is_telephone(&self) -> bool {
        let phone = || self.param("user").flatten().is_some_and(|kind| kind.eq_ignore_ascii_case(b"phone"));
        self.scheme == Scheme::Tel || phone()
    }
}

/// The parameters of a URI in their order, as (name, value).
pub fn uri_params(params: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    params
        .split(|byte| *byte == b';')
        .filter(|param| !param.is_empty())
        .map(|param| split_at_byte(param, b'='))
}

/// Parameters that make a difference even if only one URI has them (RFC 3261 §19.1.4).
fn must_be_in_both(name: &[u8]) -> bool {
    let names: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn is_same_value(one: Option<&[u8]>, two: Option<&[u8]>) -> bool {
    let decoded = |value: Option<&[u8]>| value.map(|value| unescape(value).to_ascii_lowercase());
    decoded(one) == decoded(two)
}

fn find_in<'a>(
    mut params: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    name: &[u8],
) -> Option<Option<&'a [u8]>> {
    params.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn uri_headers(headers: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    headers
        .split(|byte| *byte == b'&')
        .filter(|header| !header.is_empty())
        .map(|header| split_at_byte(header, b'='))
}

fn has_same_headers(one: &[u8], two: &[u8]) -> bool {
    uri_headers(one)
        .all(|(name, value)| find_in(uri_headers(two), name).is_some_and(|other| is_same_value(value, other)))
}

fn parse_three_colons(address: &str) -> Option<Ipv6Addr> {
    let (front, tail) = address.split_once(":::")?;
    parse_ipv4(tail.as_bytes())?;
    format!("{front}::{tail}").parse().ok()
}

/// Decodes `%hh` (RFC 3986 §2.1); a `%` without two hexadecimal digits stays as it is.
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match (byte, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            (byte, tail) => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    decoded
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

fn parse_scheme(scheme: &[u8]) -> Result<Scheme, UriError> {
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    if is(b"sip") {
        return Ok(Scheme::Sip);
    } else if is(b"sips") {
        return Ok(Scheme::Sips);
    } else if is(b"tel") {
        return Ok(Scheme::Tel);
    }
    let rest_valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(rest_valid) {
        return Err(UriError::Scheme);
    }
    Ok(Scheme::Other)
}

/// `kinds` are those of the whole URI: they tell whether to look for parameters and headers at all.
fn parse_sip(scheme: Scheme, rest: &[u8], kinds: u16) -> Result<Uri<'_>, UriError> {
    let (user, password, place) = match memchr::memchr(b'@', rest) {
        Some(at) => {
            let (user, password) = split_at_byte(&rest[..at], b':');
            if user.is_empty() {
                return Err(UriError::User);
            }
            (Some(user), password, &rest[at + 1..])
        }
        None => (None, None, rest),
    };
    let has_more = kinds & (kind::SEMICOLON | kind::QUESTION) != 0;
    let host_end = if has_more { memchr::memchr2(b';', b'?', place) } else { None };
    let (place, more) = place.split_at(host_end.unwrap_or(place.len()));
    let (host, port) = parse_host_port(place)?;
    let (params, headers) = if has_more { split_at_byte(more, b'?') } else { (more, None) };
    Ok(Uri { scheme, user, password, host, port, params, headers: headers.unwrap_or_default() })
}

fn parse_tel(rest: &[u8]) -> Result<Uri<'_>, UriError> {
    let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
    let number = &rest[..end];
    let digit = |byte: &u8| {
        byte.is_ascii_hexdigit() || matches!(byte, b'+' | b'*' | b'#' | b'-' | b'.' | b'(' | b')' | b'%')
    };
    if !number.iter().any(u8::is_ascii_hexdigit) && !number.iter().any(|byte| matches!(byte, b'*' | b'#')) {
        return Err(UriError::User);
    }
    if !number.iter().all(digit) {
        return Err(UriError::Character);
    }
    Ok(Uri { params: &rest[end..], ..opaque(Scheme::Tel, number) })
}

fn opaque(scheme: Scheme, rest: &[u8]) -> Uri<'_> {
    Uri {
        scheme,
        user: Some(rest),
        password: None,
        host: Host::Name(b""),
        port: None,
        params: b"",
        headers: b"",
    }
}

fn parse_host_port(place: &[u8]) -> Result<(Host<'_>, Option<u16>), UriError> {
    let host_end = match place.first() {
        Some(b'[') => memchr::memchr(b']', place).ok_or(UriError::Host)? + 1,
        Some(_) | None => memchr::memchr(b':', place).unwrap_or(place.len()),
    };
    let host = Host::parse(&place[..host_end]).ok_or(UriError::Host)?;
    match &place[host_end..] {
        [] => Ok((host, None)),
        [b':', port @ ..] => Ok((host, Some(parse_port(port).ok_or(UriError::Port)?))),
        [_, ..] => Err(UriError::Trailing),
    }
}

/// A port: one to five digits, at most 65535.
pub(crate) fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    decimal(digits).and_then(|port| u16::try_from(port).ok())
}

/// A dotted quad: four numbers up to 255, without leading zeros, which some would read as octal.
pub(crate) fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        (*octet, rest) = parse_octet(rest)?;
    }
    rest.is_empty().then(|| Ipv4Addr::from(octets))
}

/// The octet that the text starts with, and what follows it.
#[inline]
fn parse_octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    let (first, mut rest) = text.split_first()?;
    let mut number = u16::from(digit(*first)?);
    for _ in 0..2 {
        if let Some((byte, after)) = rest.split_first()
            && let Some(digit) = digit(*byte)
            && number > 0
        {
            number = number * 10 + u16::from(digit);
            rest = after;
        }
    }
    u8::try_from(number).ok().map(|octet| (octet, rest))
}

fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(byte, text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).expect(text)
    }

    fn refused(text: &str) -> UriError {
        Uri::parse(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn every_part_of_a_sip_uri_is_found() {
        let uri = uri("sip:4420:geheim@gw1.carrier.example:5080;transport=tcp;lr?Subject=hi&X=1");
        assert_eq!(uri.scheme, Scheme::Sip);
        assert_eq!(uri.user, Some(&b"4420"[..]));
        assert_eq!(uri.password, Some(&b"geheim"[..]));
        assert_eq!(uri.host, Host::Name(b"gw1.carrier.example"));
        assert_eq!(uri.port, Some(5080));
        assert_eq!(uri.param("Transport"), Some(Some(&b"tcp"[..])));
        assert_eq!(uri.transport(), Some(&b"tcp"[..]));
        assert!(uri.has_lr());
        assert_eq!(uri.param("maddr"), None);
        assert_eq!(uri.headers, b"Subject=hi&X=1");
    }

    #[test]
    fn scheme_and_parameter_names_ignore_case() {
        assert_eq!(uri("SIPS:a@b").scheme, Scheme::Sips);
        assert!(uri("sip:a@b;LR").has_lr());
        assert!(uri("sip:a@b;lr=on").has_lr());
    }

    #[test]
    fn semicolons_and_question_marks_belong_to_the_user_before_the_at() {
        let uri = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(uri.user, Some(&b"user;par=u%40example.net"[..]));
        assert_eq!(uri.host, Host::Name(b"example.com"));
        assert_eq!(uri.number(), "user");
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(uri("sip:192.0.2.7").host, Host::V4(Ipv4Addr::new(192, 0, 2, 7)));
        assert_eq!(uri("sip:[2001:db8::9]:5070").port, Some(5070));
        assert_eq!(uri("sip:[2001:db8::9:5070]").port, None);
        assert_eq!(uri("sip:host.example.").host, Host::Name(b"host.example."));
        let v4_tail = uri("sip:[2001:db8::192.0.2.1]").host;
        assert_eq!(uri("sip:[2001:db8:::192.0.2.1]").host, v4_tail, "as the grammar of RFC 3261 has it");
        for text in [
            "sip:",
            "sip:a@",
            "sip:2001:db8::9",
            "sip:[2001:db8:::9]",
            "sip:[::1",
            "sip:256.0.0.1",
            "sip:a@b c",
        ] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_dotted_quad_is_what_the_standard_library_takes_for_one() {
        let octets =
            ["", "0", "00", "1", "01", "9", "10", "99", "100", "255", "256", "999", "1000", "a", "1 "];
        for one in octets {
            for two in octets {
                for (three, four) in octets.into_iter().zip(octets.into_iter().rev()).chain([("2", "3")]) {
                    for text in [format!("{one}.{two}.{three}.{four}"), format!("{one}.{two}.{three}")] {
                        assert_eq!(parse_ipv4(text.as_bytes()), text.parse().ok(), "{text}");
                    }
                }
            }
        }
        assert_eq!(parse_ipv4(b"1.2.3.4."), None);
        assert_eq!(parse_ipv4(b"1.2.3.4.5"), None);
    }

    #[test]
    fn a_port_is_a_number_up_to_65535() {
        assert_eq!(uri("sip:h:65535").port, Some(65_535));
        for text in ["sip:h:", "sip:h:65536", "sip:h:5o60", "sip:h:000005060", "sip:h:-1"] {
            assert_eq!(refused(text), UriError::Port, "{text}");
        }
        assert_eq!(refused("sip:[::1]5060"), UriError::Trailing);
    }

    #[test]
    fn what_must_be_escaped_is_refused() {
        for text in ["sip:a b@h", "<sip:a@h>", "sip:a@h\r\n", "sip:\"a\"@h", "sip:a@h;x=\u{7f}"] {
            assert_eq!(refused(text), UriError::Character, "{text}");
        }
        assert_eq!(refused("sip:@h"), UriError::User);
        assert_eq!(refused("alice"), UriError::Scheme);
        assert_eq!(refused(":a@h"), UriError::Scheme);
    }

    #[test]
    fn an_unknown_scheme_is_opaque() {
        let uri = uri("http://host/path?x=1");
        assert_eq!(uri.scheme, Scheme::Other);
        assert_eq!(uri.user, Some(&b"//host/path?x=1"[..]));
    }

    #[test]
    fn tel_numbers_lose_their_visual_separators() {
        let uri = uri("tel:+1-(201)-555.0123;ext=7");
        assert_eq!(uri.number(), "+12015550123");
        assert_eq!(uri.param("ext"), Some(Some(&b"7"[..])));
        assert_eq!(refused("tel:;ext=7"), UriError::User);
        assert_eq!(refused("tel:alice"), UriError::Character);
    }

    #[test]
    fn the_dialled_number_is_decoded_and_without_parameters() {
        assert_eq!(uri("sip:%2B44%32@h").number(), "+442");
        assert_eq!(uri("sip:+44-20;phone-context=uk@h;user=phone").number(), "+4420");
        assert_eq!(uri("sip:jean-luc@h").number(), "jean-luc");
        assert_eq!(uri("sip:100%@h").number(), "100%");
        assert_eq!(uri("sip:h").number(), "");
    }

    #[test]
    fn reading_a_plain_number_borrows() {
        assert!(matches!(uri("sip:442071234567@h").number(), Cow::Borrowed(_)));
    }

    #[test]
    fn a_socket_address_needs_an_address() {
        let expected = "192.0.2.7:5060".parse().ok();
        assert_eq!(uri("sip:192.0.2.7").socket_addr(5060), expected);
        assert_eq!(uri("sip:[::1]:5070").socket_addr(5060), "[::1]:5070".parse().ok());
        assert_eq!(uri("sip:host").socket_addr(5060), None);
    }

    #[test]
    fn equivalence_follows_rfc_3261_19_1_4() {
        let same = [
            ("sip:%61lice@Atlanta.example;transport=TCP", "sip:alice@atlanta.EXAMPLE;Transport=tcp"),
            ("sip:carol@chicago.example", "sip:carol@chicago.example;newparam=5"),
            ("sip:biloxi.example;a=1;b=2?x=1&y=2", "sip:biloxi.example;b=2;a=1?y=2&x=1"),
            ("sip:[2001:db8::1]", "sip:[2001:0db8:0::1]"),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
        ];
        let different = [
            ("sip:ALICE@h", "sip:alice@h"),
            ("sip:alice@h", "sips:alice@h"),
            ("sip:alice@h", "sip:alice@h:5060"),
            ("sip:alice@h", "sip:alice@h;transport=udp"),
            ("sip:alice@h;x=1", "sip:alice@h;x=2"),
            ("sip:alice@h", "sip:alice@h?subject=next"),
            ("sip:alice@h", "sip:h"),
            ("sip:a@192.0.2.1", "sip:a@192.0.2.2"),
            ("tel:+1;ext=1", "tel:+1"),
        ];
        for (one, two) in same {
            assert!(uri(one).is_equivalent(&uri(two)) && uri(two).is_equivalent(&uri(one)), "{one} {two}");
        }
        for (one, two) in different {
            assert!(!uri(one).is_equivalent(&uri(two)) && !uri(two).is_equivalent(&uri(one)), "{one} {two}");
        }
        let long = format!("sip:h{}", ";x".repeat(MAX_COMPARED_PARAMS + 1));
        assert!(!uri(&long).is_equivalent(&uri(&long)));
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape(b"a%4"), b"a%4");
        assert_eq!(unescape(b"%zz%00"), b"%zz\0");
    }
}
