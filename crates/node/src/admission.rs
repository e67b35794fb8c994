//! Admission at the edge: before a call has an actor, and before anything waits in a mailbox.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tandem_sip::time::Now;
use tandem_switch::call::CallId;
use tandem_switch::gateway::{GatewayName, GatewayState, Holder, Limits, MappingGateway, Outcome, Refusal};
use tandem_telemetry::{AdmissionRefusal, GatewayMetrics, Metrics};

/// The node's own limits, and those of each mapping gateway.
pub(crate) struct Admission {
    node: Mutex<GatewayState>,
    mapping: HashMap<GatewayName, MappingSlots>,
}

/// A mapping gateway with the calls that come from it.
pub(crate) struct MappingSlots {
    pub(crate) gateway: Arc<MappingGateway>,
    state: Mutex<GatewayState>,
    metrics: GatewayMetrics,
}

impl Admission {
    pub(crate) fn new(node: Limits, gateways: &[Arc<MappingGateway>], metrics: &Metrics) -> Self {
        let slots = |gateway: &Arc<MappingGateway>| {
            let metrics = metrics.gateway(&gateway.name);
            metrics.slots_limit.set(gateway.limits.max_calls.unwrap_or(0).into());
            metrics.available.set(1);
            let state = Mutex::new(GatewayState::new(gateway.limits));
            (gateway.name.clone(), MappingSlots { gateway: gateway.clone(), state, metrics })
        };
        Self { node: Mutex::new(GatewayState::new(node)), mapping: gateways.iter().map(slots).collect() }
    }

    /// Takes a place for a new call, or says which limit is reached.
    pub(crate) fn admit(&self, now: Now, id: CallId, gateway: &str) -> Result<(), AdmissionRefusal> {
        let holder = Holder { call: id, attempt: 0 };
        let Some(slots) = self.mapping.get(gateway) else { return Err(AdmissionRefusal::UnknownSource) };
        // The gateway's limits first: what one customer sends beyond its own must not use up the node's.
        slots.state.lock().admit(now, holder).map_err(|refusal| match refusal {
            Refusal::Cps => AdmissionRefusal::GatewayCps,
            Refusal::Calls | Refusal::Unavailable | Refusal::Paused | Refusal::NoAnswer => {
                AdmissionRefusal::GatewayCalls
            }
        })?;
        let admitted = self.node.lock().admit(now, holder);
        if let Err(refusal) = admitted {
            slots.state.lock().release(now, holder, None);
            return Err(match refusal {
                Refusal::Cps => AdmissionRefusal::NodeCps,
                Refusal::Calls | Refusal::Unavailable | Refusal::Paused | Refusal::NoAnswer => {
                    AdmissionRefusal::NodeCalls
                }
            });
        }
        slots.enter();
        Ok(())
    }

    /// Takes a place for a call that goes before all others, whatever the limits.
    pub(crate) fn admit_beyond_limits(&self, id: CallId, gateway: &str) {
        let holder = Holder { call: id, attempt: 0 };
        let Some(slots) = self.mapping.get(gateway) else { return };
        slots.state.lock().reclaim(holder);
        self.node.lock().reclaim(holder);
        slots.enter();
    }

    /// Gives a call's place back.
    pub(crate) fn release(&self, now: Now, id: CallId, gateway: &str, outcome: Option<Outcome>) {
        let holder = Holder { call: id, attempt: 0 };
        self.node.lock().release(now, holder, None);
        let Some(slots) = self.mapping.get(gateway) else { return };
        if slots.state.lock().release(now, holder, outcome) {
            slots.metrics.calls.dec();
            slots.metrics.slots.dec();
            if matches!(outcome, Some(Outcome::Answered { .. })) {
                slots.metrics.answered.inc();
            }
        }
    }

    /// Calls that have a place: admitted, and not ended.
    pub(crate) fn calls(&self) -> usize {
        self.node.lock().calls()
    }

    /// A mapping gateway by its name.
    pub(crate) fn mapping_gateway(&self, name: &str) -> Option<&Arc<MappingGateway>> {
        self.mapping.get(name).map(|slots| &slots.gateway)
    }

    /// The mapping gateways, in the order of their names.
    pub(crate) fn mapping(&self) -> Vec<&MappingSlots> {
        let mut all: Vec<_> = self.mapping.values().collect();
        all.sort_by(|a, b| a.gateway.name.cmp(&b.gateway.name));
        all
    }
}

impl MappingSlots {
    /// Counts a call.
    fn enter(&self) {
        self.metrics.calls.inc();
        self.metrics.slots.inc();
        self.metrics.attempts.inc();
    }

    /// Reads the state.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&GatewayState) -> T) -> T {
        read(&self.state.lock())
    }
}
