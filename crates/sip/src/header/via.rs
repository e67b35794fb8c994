//! Via (RFC 3261 §20.42) and where a response goes (§18.2.2, RFC 3581 §4).

use super::{HeaderError, Param, Params, find_param, is_lws, skip_lws, token_len, trim};
use crate::uri::{Host, parse_ipv4, parse_port};
use std::net::{IpAddr, SocketAddr};

/// What every branch of RFC 3261 starts with (§8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// One hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport as written: `UDP`, `TCP`, `TLS`, `WS`, or one we have never heard of.
    pub transport: &'a [u8],
    /// The sent-by host as written, with the brackets of an IPv6 reference.
    pub host: &'a [u8],
    /// The sent-by port, if written.
    pub port: Option<u16>,
    /// The parameters with their leading `;`. Empty without any.
    pub params: &'a [u8],
    /// The whole value, trimmed.
    pub raw: &'a [u8],
    pub(crate) routing: Routing<'a>,
}

/// The parameters that every hop looks at, so that they are found once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routing<'a> {
    /// The branch; empty without one.
    pub(crate) branch: &'a [u8],
    /// As [`Via::rport`] returns it.
    pub(crate) rport: Option<Option<u16>>,
}

impl<'a> Via<'a> {
    /// Reads one value: `SIP/2.0/UDP host:port;params`, with white space around the slashes and the colon as the
    /// grammar allows.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`].
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, HeaderError> {
        let raw = trim(value);
        let rest = after_version(raw).ok_or(SYNTAX)?;
        let (transport, rest) = rest.split_at(token_len(rest));
        if transport.is_empty() || !rest.first().is_some_and(|byte| is_lws(*byte)) {
            return Err(SYNTAX);
        }
        let sent_by = skip_lws(rest);
        let params_at = memchr::memchr(b';', sent_by).unwrap_or(sent_by.len());
        let (sent_by, params) = sent_by.split_at(params_at);
        let (host, port) = split_sent_by(trim(sent_by)).ok_or(SYNTAX)?;
        let routing = Routing::of(params).map_err(|_| SYNTAX)?;
        Ok(Via { transport, host, port, params, raw, routing })
    }

    /// The value of a parameter as written: `None` without the parameter, `Some(None)` without a value.
    pub fn param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        find_param(self.params, name)
    }

    /// The branch, if there is one that is not empty.
    pub fn branch(&self) -> Option<&'a [u8]> {
        Some(self.routing.branch).filter(|branch| !branch.is_empty())
    }

    /// Whether the branch identifies the transaction (RFC 3261 §17.2.3): the cookie and something after it.
    pub fn has_magic_cookie(&self) -> bool {
        self.routing.branch.split_at_checked(MAGIC_COOKIE.len()).is_some_and(|(cookie, rest)| {
            // Tokens are case-insensitive unless stated otherwise (§7.3.1).
            cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !rest.is_empty()
        })
    }

    /// `received` as written.
    pub fn received(&self) -> Option<&'a [u8]> {
        self.param("received").flatten()
    }

    /// `received` as an address, with or without the brackets that RFC 5118 §4.5 finds in the field.
    pub fn received_ip(&self) -> Option<IpAddr> {
        address(self.received()?)
    }

    /// `rport` (RFC 3581 §3): `Some(None)` asks for it, `Some(Some(port))` answers. A port that is none reads as
    /// a request.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.routing.rport
    }

    /// The sent-by host as a type; `None` if it is neither a name nor an address.
    pub fn sent_by(&self) -> Option<Host<'a>> {
        Host::parse(self.host)
    }

    /// Whether the hop came over TLS, so that the default port is 5061 (RFC 3261 §18.2.2).
    pub fn is_tls(&self) -> bool {
        self.transport.eq_ignore_ascii_case(b"TLS")
    }

    /// Where the response goes over an unreliable transport (RFC 3261 §18.2.2, RFC 3581 §4), given where the request
    /// came from: the source address, with the source port if `rport` is there and the sent-by port (or 5060, for TLS
    /// 5061) if it is not.
    ///
    /// The source address is what we would stamp as `received`, so a `received` written by the peer counts for nothing.
    /// Neither does `maddr`, other than §18.2.2 has it: it serves requests by multicast, which we do not receive, and
    /// would let anybody aim our responses at a third party.
    pub fn response_address(&self, source: SocketAddr) -> SocketAddr {
        match self.rport() {
            Some(_) => source,
            None => {
                let port = self.port.unwrap_or(if self.is_tls() { 5061 } else { 5060 });
                SocketAddr::new(source.ip(), port)
            }
        }
    }
}

impl<'a> Routing<'a> {
    /// Checks all parameters; of those with the same name the first counts.
    fn of(params: &'a [u8]) -> Result<Routing<'a>, HeaderError> {
        let (mut branch, mut rport) = (None, None);
        for param in Params::new(params) {
            let Param { name, value } = param?;
            if name.eq_ignore_ascii_case(b"branch") {
                branch.get_or_insert(value);
            } else if name.eq_ignore_ascii_case(b"rport") {
                rport.get_or_insert(value);
            }
        }
        Ok(Routing {
            branch: branch.flatten().unwrap_or_default(),
            rport: rport.map(|value| value.and_then(parse_port)),
        })
    }
}

const SYNTAX: HeaderError = HeaderError::Syntax("Via");

/// What follows `SIP/2.0/`, or another protocol and version.
fn after_version(raw: &[u8]) -> Option<&[u8]> {
    match raw.strip_prefix(b"SIP/2.0/") {
        Some(rest) => Some(skip_lws(rest)),
        None => slash_token(raw).and_then(|(_protocol, rest)| slash_token(rest)).map(|(_version, rest)| rest),
    }
}

/// A token, then a slash, with white space around it.
fn slash_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (token, rest) = text.split_at(token_len(text));
    let rest = skip_lws(rest).strip_prefix(b"/")?;
    (!token.is_empty()).then_some((token, skip_lws(rest)))
}

fn split_sent_by(sent_by: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = match sent_by.first() {
        Some(b'[') => memchr::memchr(b']', sent_by)? + 1,
        Some(_) | None => memchr::memchr(b':', sent_by).unwrap_or(sent_by.len()),
    };
    let (host, rest) = sent_by.split_at(host_end);
    let host = trim(host);
    Host::parse(host)?;
    match skip_lws(rest) {
        [] => Some((host, None)),
        [b':', port @ ..] => Some((host, Some(parse_port(trim(port))?))),
        [_, ..] => None,
    }
}

fn address(text: &[u8]) -> Option<IpAddr> {
    if text.is_empty() {
        return None;
    }
    let bare = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).unwrap_or(text);
    match parse_ipv4(bare) {
        Some(address) => Some(IpAddr::V4(address)),
        None => std::str::from_utf8(bare).ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Via<'_> {
        Via::parse(text.as_bytes()).expect(text)
    }

    fn source() -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 4], 40_000))
    }

    fn response_address(text: &str) -> String {
        parsed(text).response_address(source()).to_string()
    }

    #[test]
    fn white_space_is_allowed_around_slashes_and_colon() {
        let via = parsed("SIP  /\t2.0 /\r\n UDP  gw.example  :  5070 ; branch = z9hG4bKx ;rport");
        assert_eq!((via.transport, via.host, via.port), (&b"UDP"[..], &b"gw.example"[..], Some(5070)));
        assert_eq!(via.branch(), Some(&b"z9hG4bKx"[..]));
        assert_eq!(via.rport(), Some(None));
    }

    #[test]
    fn unknown_transports_are_read() {
        assert_eq!(parsed("SIP/2.0/UNKNOWN h;branch=z9hG4bKx").transport, b"UNKNOWN");
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets() {
        let via = parsed("SIP/2.0/TCP [2001:db8::1]:5070;received=[2001:db8::2];branch=z9hG4bKx");
        assert_eq!((via.host, via.port), (&b"[2001:db8::1]"[..], Some(5070)));
        assert_eq!(via.received_ip(), "2001:db8::2".parse().ok());
        assert_eq!(via.branch(), Some(&b"z9hG4bKx"[..]));
        assert_eq!(parsed("SIP/2.0/TCP h;received=2001:db8::2").received_ip(), "2001:db8::2".parse().ok());
    }

    #[test]
    fn malformed_vias_are_refused() {
        let texts = [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0 h",
            "SIP/2.0/UDP h;;branch=x",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP 2001:db8::1",
            "SIP/2.0/UDP [2001:db8::1",
            "SIP/2.0/UDP ;branch=x",
            "/2.0/UDP h",
        ];
        for text in texts {
            assert!(Via::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_cookie_alone_is_no_branch_of_rfc_3261() {
        assert!(parsed("SIP/2.0/UDP h;branch=z9hG4bK1").has_magic_cookie());
        assert!(parsed("SIP/2.0/UDP h;branch=Z9HG4BK1").has_magic_cookie());
        assert!(!parsed("SIP/2.0/UDP h;branch=z9hG4bK").has_magic_cookie());
        assert!(!parsed("SIP/2.0/UDP h;branch=1").has_magic_cookie());
        assert!(!parsed("SIP/2.0/UDP h").has_magic_cookie());
    }

    #[test]
    fn responses_go_to_the_source_address_and_the_sent_by_port() {
        assert_eq!(response_address("SIP/2.0/UDP gw.example:5070"), "198.51.100.4:5070");
        assert_eq!(response_address("SIP/2.0/UDP gw.example"), "198.51.100.4:5060");
        assert_eq!(response_address("SIP/2.0/TLS gw.example"), "198.51.100.4:5061");
        assert_eq!(response_address("SIP/2.0/UDP 10.0.0.1;received=203.0.113.9"), "198.51.100.4:5060");
    }

    #[test]
    fn rport_sends_responses_to_the_source_port() {
        assert_eq!(response_address("SIP/2.0/UDP 10.0.0.1:5070;rport"), "198.51.100.4:40000");
        assert_eq!(response_address("SIP/2.0/UDP 10.0.0.1:5070;rport=1"), "198.51.100.4:40000");
    }

    #[test]
    fn of_parameters_with_the_same_name_the_first_counts() {
        let via = parsed("SIP/2.0/UDP h;branch=1;BRANCH=2;rport;rport=7");
        assert_eq!((via.branch(), via.rport()), (Some(&b"1"[..]), Some(None)));
        assert_eq!(parsed("SIP/2.0/UDP h;branch;branch=2").branch(), None);
    }

    #[test]
    fn maddr_sends_responses_to_nobody_but_the_source() {
        assert_eq!(response_address("SIP/2.0/UDP h:5070;maddr=224.0.1.75;rport"), "198.51.100.4:40000");
        assert_eq!(response_address("SIP/2.0/UDP h:5070;maddr=192.0.2.99"), "198.51.100.4:5070");
    }
}
