//! Where a message goes when the connection it was meant for has gone (RFC 3261 §18.2.2, §12.2.1.1).

use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::flow::Flow;
use tandem_sip::{Limits, Message, NameAddr, Uri};

/// The address where the peer of `flow` listens: for a response the port of its top Via, for a request the address of its
/// first Route or its Request-URI. Only the peer's own address is taken from there; what names another is sent to the
/// flow's.
pub(crate) fn next_hop(message: &Bytes, flow: Flow) -> SocketAddr {
    let Ok(message) = Message::parse(message.clone(), &Limits::default()) else { return flow.remote };
    let default_port = flow.transport.default_port();
    if !message.is_request() {
        let port = message.top_via().ok().map(|via| via.port.unwrap_or(default_port));
        return port.map_or(flow.remote, |port| SocketAddr::new(flow.remote.ip(), port));
    }
    let route = message.routes().next().and_then(|route| NameAddr::parse(route).ok());
    // A strict router stands in the Request-URI (§12.2.1.1).
    let loose = route.and_then(|route| Uri::parse(route.uri).ok()).filter(Uri::has_lr);
    let uri = loose.or_else(|| Uri::parse(message.request_uri()).ok());
    let listening = uri.and_then(|uri| uri.socket_addr(default_port));
    listening.filter(|listening| listening.ip() == flow.remote.ip()).unwrap_or(flow.remote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_sip::flow::Transport;

    fn next(transport: Transport, start_line: &str, header: &str) -> String {
        let remote = "192.0.2.9:40123".parse().expect("an address");
        let message = format!("{start_line}\r\n{header}\r\nCSeq: 1 BYE\r\n\r\n");
        next_hop(&message.into(), Flow { transport, listener: 0, remote }).to_string()
    }

    #[test]
    fn a_response_goes_to_the_port_in_the_via_at_the_address_it_came_from() {
        let response = |via| next(Transport::Tcp, "SIP/2.0 200 OK", via);
        assert_eq!(response("Via: SIP/2.0/TCP h:5070;branch=z9hG4bK1"), "192.0.2.9:5070");
        assert_eq!(response("Via: SIP/2.0/TCP h;branch=z9hG4bK1"), "192.0.2.9:5060");
        let via = "Via: SIP/2.0/TLS h;branch=z9hG4bK1";
        assert_eq!(next(Transport::Tls, "SIP/2.0 200 OK", via), "192.0.2.9:5061");
    }

    #[test]
    fn a_request_goes_to_where_its_route_or_target_listens() {
        let bye = |uri: &str, header| next(Transport::Tcp, &format!("BYE {uri} SIP/2.0"), header);
        let via = "Via: SIP/2.0/TCP us;branch=z9hG4bK1";
        assert_eq!(bye("sip:bob@192.0.2.9:5080;transport=tcp", via), "192.0.2.9:5080");
        assert_eq!(bye("sip:bob@192.0.2.9", via), "192.0.2.9:5060");
        let routed = format!("{via}\r\nRoute: <sip:192.0.2.9:5090;lr>");
        assert_eq!(bye("sip:bob@10.0.0.1", &routed), "192.0.2.9:5090");
        let strict = format!("{via}\r\nRoute: <sip:192.0.2.9:5090>");
        assert_eq!(bye("sip:192.0.2.9:5081", &strict), "192.0.2.9:5081");
    }

    #[test]
    fn nothing_in_a_message_leads_to_another_host() {
        let via = "Via: SIP/2.0/TCP us;branch=z9hG4bK1";
        assert_eq!(next(Transport::Tcp, "BYE sip:bob@10.0.0.1:5060 SIP/2.0", via), "192.0.2.9:40123");
        assert_eq!(next(Transport::Tcp, "BYE sip:bob@example.com SIP/2.0", via), "192.0.2.9:40123");
    }
}
