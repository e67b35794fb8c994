//! Gateways that register to us: where their endpoints are registered.

use crate::gateway_actor::{GatewayHandle, GatewayMessage};
use crate::gateway_care::{CareMessage, Placed};
use crate::locations::GatewayTarget;
use crate::registrar::Change;
use crate::registrar_actor::Reply;
use crate::shared::Shared;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use tandem_sip::flow::Flow;
use tandem_sip::locate::Target;
use tandem_switch::call::{CallId, MAX_BRANCHES};
use tandem_switch::gateway::GatewayAddress;
use tandem_switch::registrar::Aor;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

impl Shared {
    /// The address of record that a gateway registers, if it does.
    fn aor_of(&self, handle: &GatewayHandle) -> Option<Aor> {
        match &handle.gateway().address {
            GatewayAddress::Endpoint(user) => Some(self.configured().domains.aor(user)),
            GatewayAddress::At(_) | GatewayAddress::Named(_) => None,
        }
    }

    /// Has a gateway's actor told where it is registered. A registrar that is yet to start tells by itself.
    pub(crate) fn ask_for_bindings(&self, handle: &Arc<GatewayHandle>) {
        let Some(aor) = self.aor_of(handle) else { return };
        let handle = handle.clone();
        let tell = move |bindings| {
            handle.tell(GatewayMessage::Care(CareMessage::Bindings(bindings)));
        };
        self.registrar.find(aor, Reply::new(tell));
    }

    /// Finds out where bindings lead, and tells the gateway's actor. Names in Contacts are looked up once for each
    /// registration.
    pub(crate) fn place_bindings(
        self: &Arc<Self>,
        handle: Arc<GatewayHandle>,
        id: CallId,
        mut placed: Placed,
    ) -> JoinHandle<()> {
        let shared = self.clone();
        tokio::spawn(async move {
            let mut branches = shared.branches(id, &placed.bindings).await;
            branches.sort_by_key(|branch| Reverse(branch.q));
            branches.truncate(MAX_BRANCHES);
            placed.branches = branches;
            handle.tell(GatewayMessage::Care(CareMessage::Placed(placed)));
        })
    }

    /// Where a gateway's calls are sent at present.
    pub(crate) fn targets_of_gateway(&self, handle: &GatewayHandle) -> Vec<GatewayTarget> {
        if handle.gateway().health.registers {
            let branches = handle.branches();
            let targets = branches.iter().flat_map(|branch| &branch.targets).map(|target| target.flow);
            let shown = |flow: Flow| GatewayTarget {
                target: Target { transport: flow.transport, address: flow.remote },
                failed: false,
            };
            return targets.map(shown).collect();
        }
        self.locations.report(&handle.gateway())
    }
}

/// The gateways that register to us, by what they register.
fn registrants(shared: &Shared) -> HashMap<Aor, Vec<Arc<GatewayHandle>>> {
    let mut registrants: HashMap<Aor, Vec<Arc<GatewayHandle>>> = HashMap::new();
    for handle in shared.configured().gateways.values() {
        if let Some(aor) = shared.aor_of(handle) {
            registrants.entry(aor).or_default().push(Arc::clone(handle));
        }
    }
    registrants
}

/// The next change, if any are watched.
async fn next(changes: &mut Option<Receiver<Arc<Change>>>) -> Result<Arc<Change>, RecvError> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}

/// Tells the actors of gateways that register to us of each change.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut reconfigured = shared.reconfigured.subscribe();
    let mut registrants = registrants(&shared);
    // What nobody needs is not made.
    let watch = |registrants: &HashMap<_, _>| (!registrants.is_empty()).then(|| shared.registrar.watch());
    let mut changes = watch(&registrants);
    let ask = |handle: &Arc<GatewayHandle>| shared.ask_for_bindings(handle);
    // What was registered before anybody watched.
    registrants.values().flatten().for_each(ask);
    loop {
        let change = tokio::select! {
            change = next(&mut changes) => change,
            changed = reconfigured.changed() => {
                if changed.is_err() {
                    return;
                }
                // Gateways that have come are told when their actors start.
                registrants = self::registrants(&shared);
                changes = watch(&registrants);
                continue;
            }
        };
        match change {
            Ok(change) => {
                for handle in registrants.get(&change.aor).into_iter().flatten() {
                    handle.tell(GatewayMessage::Care(CareMessage::Bindings(change.new.clone())));
                }
            }
            Err(RecvError::Lagged(_)) => registrants.values().flatten().for_each(ask),
            Err(RecvError::Closed) => return,
        }
    }
}
