//! Which schemas of a call's snapshot, of an address's bindings and of a gateway's publication this release reads and writes.

use crate::codec::Versioned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tandem_sip::flow::Flow;
use tandem_sip::time::Wall;
use tandem_switch::call::Snapshot;
use tandem_switch::publication::Publication;
use tandem_switch::registrar::{Binding, Bindings};

impl Versioned for Snapshot {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

impl Versioned for Bindings {
    const SCHEMA: u16 = 2;
    type Previous = BindingsV1;
}

/// Schema 1 of bindings: before it was known at which address they were registered.
#[derive(Debug, Serialize, Deserialize)]
pub struct BindingsV1 {
    bindings: Vec<BindingV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BindingV1 {
    contact: Arc<str>,
    q: u16,
    flow: Flow,
    nat: bool,
    path: Vec<Arc<str>>,
    instance: Option<Arc<str>>,
    reg_id: Option<u32>,
    call_id: Arc<str>,
    cseq: u32,
    expires: Wall,
    registered: Wall,
    refreshed: Wall,
    user_agent: Option<Arc<str>>,
}

impl Versioned for BindingsV1 {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

impl From<BindingsV1> for Bindings {
    fn from(old: BindingsV1) -> Self {
        Self { bindings: old.bindings.into_iter().map(Binding::from).collect() }
    }
}

impl From<BindingV1> for Binding {
    fn from(old: BindingV1) -> Self {
        let BindingV1 { contact, q, flow, nat, path, instance, reg_id, .. } = old;
        let BindingV1 { call_id, cseq, expires, registered, refreshed, user_agent, .. } = old;
        // Of nodes that did not say: taken for registered here, as it was then.
        let (edge, elsewhere) = ("".into(), false);
        Self {
            contact,
            q,
            flow,
            edge,
            elsewhere,
            nat,
            path,
            instance,
            reg_id,
            call_id,
            cseq,
            expires,
            registered,
            refreshed,
            user_agent,
        }
    }
}

impl Versioned for Publication {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use std::net::SocketAddr;
    use tandem_sip::flow::Transport;

    #[test]
    fn bindings_of_the_release_before_are_read() {
        let remote: SocketAddr = "192.0.2.7:5060".parse().expect("an address");
        let old = BindingV1 {
            contact: "sip:alice@192.0.2.7".into(),
            q: 1_000,
            flow: Flow { transport: Transport::Udp, listener: 1, remote },
            nat: true,
            path: vec!["<sip:proxy;lr>".into()],
            instance: Some("<urn:uuid:1>".into()),
            reg_id: Some(2),
            call_id: "a@b".into(),
            cseq: 7,
            expires: Wall(3),
            registered: Wall(1),
            refreshed: Wall(2),
            user_agent: Some("phone".into()),
        };
        let stored = encode(&BindingsV1 { bindings: vec![old] }).expect("encoded");
        let read: Bindings = decode(&stored).expect("readable");
        let binding = &read.bindings[0];
        assert_eq!((&*binding.contact, &*binding.edge, binding.cseq), ("sip:alice@192.0.2.7", "", 7));
        assert_eq!((binding.flow.listener, binding.nat, binding.elsewhere), (1, true, false));
        assert_eq!(decode::<Bindings>(&encode(&read).expect("encoded")).expect("readable"), read);
    }
}
