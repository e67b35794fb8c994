//! Whether an endpoint is behind a NAT.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tandem_sip::{Message, Uri};

/// Whether the sender of a REGISTER is behind a NAT: its source address differs from the one in its Via or in this
/// Contact, or the Contact is a private address. Names say nothing.
pub fn is_behind_nat(request: &Message, source: IpAddr, contact: &Uri<'_>) -> bool {
    let source = source.to_canonical();
    let sent_by = request.top_via().ok().and_then(|via| via.sent_by()?.ip());
    let contact = contact.host.ip();
    let differs = |address: Option<IpAddr>| address.is_some_and(|address| address.to_canonical() != source);
    differs(sent_by) || differs(contact) || contact.is_some_and(is_private)
}

/// Whether an address is good inside a network only.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_private() || address.is_link_local() || is_shared(address),
        IpAddr::V6(address) => is_local(address),
    }
}

/// Behind a carrier's NAT (RFC 6598).
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0b1100_0000 == 64
}

fn is_local(address: Ipv6Addr) -> bool {
    address.is_unique_local() || address.is_unicast_link_local()
}
