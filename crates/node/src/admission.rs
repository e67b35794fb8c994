//! Admission at the edge: before a call has an actor, and before anything waits in a mailbox.

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tandem_sip::time::Now;
use tandem_switch::call::CallId;
use tandem_switch::gateway::{GatewayName, GatewayState, Holder, Limits, MappingGateway, Outcome, Refusal};
use tandem_telemetry::{AdmissionRefusal, GatewayMetrics, Metrics};

/// The node's own limits, and those of each mapping gateway.
pub(crate) struct Admission {
    node: Mutex<GatewayState>,
    mapping: ArcSwap<HashMap<GatewayName, Arc<MappingSlots>>>,
}

/// A mapping gateway with the calls that come from it.
pub(crate) struct MappingSlots {
    gateway: ArcSwap<MappingGateway>,
    state: Mutex<GatewayState>,
    /// Whether the configuration does not have it any more.
    is_retired: AtomicBool,
    metrics: GatewayMetrics,
}

impl Admission {
    pub(crate) fn new(node: Limits, gateways: &[Arc<MappingGateway>], metrics: &Metrics) -> Self {
        let admission = Self { node: Mutex::new(GatewayState::new(node)), mapping: ArcSwap::default() };
        admission.configure(gateways, metrics);
        admission
    }

    /// Has these mapping gateways from now on. Calls of those that were there before stay, and so do their figures.
    pub(crate) fn configure(&self, gateways: &[Arc<MappingGateway>], metrics: &Metrics) {
        let before = self.mapping.load_full();
        let slots = |gateway: &Arc<MappingGateway>| {
            let slots = match before.get(&gateway.name) {
                Some(slots) => slots.clone(),
                None => Arc::new(MappingSlots::new(gateway.clone(), metrics)),
            };
            slots.configure(gateway);
            (gateway.name.clone(), slots)
        };
        let mut mapping: HashMap<_, _> = gateways.iter().map(slots).collect();
        for (name, slots) in before.iter() {
            if !mapping.contains_key(name) {
                slots.retire();
                // Its calls give their places back.
                if slots.read(|state| state.calls() > 0) {
                    mapping.insert(name.clone(), slots.clone());
                }
            }
        }
        self.mapping.store(Arc::new(mapping));
    }

    fn slots(&self, name: &str) -> Option<Arc<MappingSlots>> {
        self.mapping.load().get(name).cloned()
    }

    /// Takes a place for a new call, or says which limit is reached.
    pub(crate) fn admit(&self, now: Now, id: CallId, gateway: &str) -> Result<(), AdmissionRefusal> {
        let holder = Holder { call: id, attempt: 0 };
        let Some(slots) = self.slots(gateway) else { return Err(AdmissionRefusal::UnknownSource) };
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
        let Some(slots) = self.slots(gateway) else { return };
        slots.state.lock().reclaim(holder);
        self.node.lock().reclaim(holder);
        slots.enter();
    }

    /// Gives a call's place back.
    pub(crate) fn release(&self, now: Now, id: CallId, gateway: &str, outcome: Option<Outcome>) {
        let holder = Holder { call: id, attempt: 0 };
        self.node.lock().release(now, holder, None);
        let Some(slots) = self.slots(gateway) else { return };
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
    pub(crate) fn mapping_gateway(&self, name: &str) -> Option<Arc<MappingGateway>> {
        self.mapping.load().get(name).map(|slots| slots.gateway())
    }

    /// The mapping gateways, in the order of their names.
    pub(crate) fn mapping(&self) -> Vec<Arc<MappingSlots>> {
        let mapping = self.mapping.load();
        let there = mapping.iter().filter(|(_, slots)| !slots.is_retired.load(Ordering::Relaxed));
        let mut all: Vec<_> = there.collect();
        all.sort_by_key(|(name, _)| *name);
        all.into_iter().map(|(_, slots)| slots.clone()).collect()
    }
}

impl MappingSlots {
    fn new(gateway: Arc<MappingGateway>, metrics: &Metrics) -> Self {
        Self {
            metrics: metrics.gateway(&gateway.name),
            state: Mutex::new(GatewayState::new(gateway.limits)),
            gateway: ArcSwap::new(gateway),
            is_retired: AtomicBool::new(false),
        }
    }

    /// Its configuration.
    pub(crate) fn gateway(&self) -> Arc<MappingGateway> {
        self.gateway.load_full()
    }

    fn configure(&self, gateway: &Arc<MappingGateway>) {
        self.metrics.slots_limit.set(gateway.limits.max_calls.unwrap_or(0).into());
        self.metrics.available.set(1);
        self.state.lock().set_limits(gateway.limits);
        self.gateway.store(gateway.clone());
        self.is_retired.store(false, Ordering::Relaxed);
    }

    fn retire(&self) {
        self.metrics.available.set(0);
        self.is_retired.store(true, Ordering::Relaxed);
    }

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
