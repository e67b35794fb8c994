//! Where the bindings of an endpoint lead a call.

use super::Binding;
use std::sync::Arc;
use tandem_sip::NameAddr;
use tandem_sip::flow::Flow;

/// One device of an endpoint, as a call goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The Contact as registered: the Request-URI.
    pub uri: Arc<str>,
    /// The preference, in thousandths.
    pub q: u16,
    /// The values of Route.
    pub route: Vec<Arc<str>>,
    /// The ways there, best first.
    pub ways: Vec<WayThere>,
}

/// A way to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayThere {
    /// By the flow that it registered by: from the very socket, or on the connection.
    Flow(Flow),
    /// Where this URI leads (RFC 3263): the first proxy of its Path, or its Contact.
    Uri {
        /// The URI.
        uri: Arc<str>,
        /// How its REGISTER came: by the same socket it is called, if that has the transport.
        registered: Flow,
    },
}

/// The places that bindings make. The flows of one device (RFC 5626 §5.3: the same instance, told apart by reg-id) are one
/// place with several ways, that which was refreshed last first: the device is called once.
pub fn places(bindings: &[Binding]) -> Vec<Place> {
    let mut newest: Vec<&Binding> = bindings.iter().collect();
    newest.sort_by_key(|binding| std::cmp::Reverse(binding.refreshed));
    let mut places: Vec<(Option<&Arc<str>>, Place)> = Vec::new();
    for binding in newest {
        let device = binding.instance.as_ref().filter(|_| binding.reg_id.is_some());
        let known = places.iter_mut().find(|(known, _)| device.is_some() && *known == device);
        match known {
            // Another Route or Contact would not fit the request.
            Some((_, place)) if place.route == binding.path && place.uri == binding.contact => {
                place.ways.push(way(binding));
            }
            Some(_) => {}
            None => places.push((device, place(binding))),
        }
    }
    places.into_iter().map(|(_, place)| place).collect()
}

fn place(binding: &Binding) -> Place {
    Place {
        uri: binding.contact.clone(),
        q: binding.q,
        route: binding.path.clone(),
        ways: vec![way(binding)],
    }
}

/// Behind a NAT, and over a connection or a flow that was registered as such, only the flow leads there.
fn way(binding: &Binding) -> WayThere {
    let first_proxy = binding.path.first().and_then(|path| NameAddr::parse(path.as_bytes()).ok());
    match first_proxy.and_then(|proxy| std::str::from_utf8(proxy.uri).ok()) {
        Some(proxy) => WayThere::Uri { uri: proxy.into(), registered: binding.flow },
        None if binding.nat || binding.reg_id.is_some() || binding.flow.transport.is_reliable() => {
            WayThere::Flow(binding.flow)
        }
        None => WayThere::Uri { uri: binding.contact.clone(), registered: binding.flow },
    }
}
