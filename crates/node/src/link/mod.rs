//! The link between nodes: messages go to the node whose call they belong to, and back by the node where the peer is
//! reached; a node that has lost contact with the store asks the others; and calls are handed over.
//!
//! Each node keeps streams open to every other that has not left. What is told is bounded: who does not take it in time loses
//! it, as the network would have.

mod frame;
mod peers;
mod wire;

pub(crate) use frame::{EdgeFlow, Frame};
pub use peers::LinkError;
pub(crate) use peers::{Links, listen, run};

use parking_lot::RwLock;
use std::sync::Arc;
use tandem_sip::flow::Flow;

/// Listeners from here on are those of other nodes.
const EDGES_BASE: u16 = 0x8000;

/// Listeners of other nodes, by which their messages came here: they have places of their own, so that a flow leads back
/// by the node that it came by.
#[derive(Default)]
pub(crate) struct Edges {
    known: RwLock<Vec<(Arc<str>, u16)>>,
}

impl Edges {
    /// The flow here of a message that came by another node. `None` if there are too many.
    pub(crate) fn flow_of(&self, node: &Arc<str>, flow: EdgeFlow) -> Option<Flow> {
        let place = |known: &[(Arc<str>, u16)]| {
            known.iter().position(|(name, listener)| name == node && *listener == flow.listener)
        };
        let known = place(&self.known.read());
        let place = known.unwrap_or_else(|| {
            let mut known = self.known.write();
            place(&known).unwrap_or_else(|| {
                known.push((node.clone(), flow.listener));
                known.len() - 1
            })
        });
        let listener = EDGES_BASE.checked_add(u16::try_from(place).ok()?)?;
        Some(Flow { transport: flow.transport, listener, remote: flow.remote })
    }

    /// The node by which such a flow leads, and the flow there. `None` for one of this node.
    pub(crate) fn edge_of(&self, flow: Flow) -> Option<(Arc<str>, EdgeFlow)> {
        let place = flow.listener.checked_sub(EDGES_BASE)?;
        let known = self.known.read();
        let (node, listener) = known.get(usize::from(place))?;
        let flow = EdgeFlow { listener: *listener, transport: flow.transport, remote: flow.remote };
        Some((node.clone(), flow))
    }

    /// Whether a flow leads by another node.
    pub(crate) fn is_of_another(flow: Flow) -> bool {
        flow.listener >= EDGES_BASE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_sip::flow::Transport;

    #[test]
    fn a_flow_leads_back_by_the_node_that_it_came_by() {
        let edges = Edges::default();
        let remote = "192.0.2.9:5060".parse().expect("an address");
        let at = |listener| EdgeFlow { listener, transport: Transport::Udp, remote };
        let [a, b] = ["a", "b"].map(Arc::from);
        let flows =
            [(&a, 0), (&a, 1), (&b, 0)].map(|(node, place)| edges.flow_of(node, at(place)).expect("room"));
        assert_eq!(flows[0], edges.flow_of(&a, at(0)).expect("the same"));
        assert_ne!(flows[0], flows[2]);
        assert!(flows.iter().all(|flow| Edges::is_of_another(*flow)));
        assert_eq!(edges.edge_of(flows[2]), Some((b, at(0))));
        assert_eq!(edges.edge_of(Flow { transport: Transport::Udp, listener: 0, remote }), None);
    }
}
