//! Endpoints behind NATs: who they are, and which of them cannot be reached.

use crate::lease::Lease;
use crate::nat_endpoint::{NatMessage, NatReport};
use crate::nat_pacer::PacerMessage;
use crate::shared::Shared;
use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::RwLock;
use ractor::{ActorCell, ActorRef, ActorStatus, call_t};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_switch::keepalive::KeepAlive;
use tandem_switch::registrar::Binding;

/// How long an endpoint's actor may take to say how it stands, in milliseconds.
const REPORT_LIMIT_MS: u64 = 1_000;

/// How an endpoint behind a NAT is reached.
#[derive(Debug)]
pub(crate) struct NatHandle {
    pub(crate) actor: ActorRef<NatMessage>,
    /// Since when its keep-alives do not arrive, in milliseconds since the epoch; 0 if they do, as far as is known. Written by
    /// its actor alone.
    unreachable_since: AtomicU64,
}

impl NatHandle {
    pub(crate) fn new(actor: ActorRef<NatMessage>) -> Self {
        Self { actor, unreachable_since: AtomicU64::new(0) }
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        self.unreachable_since.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn mark(&self, unreachable_since: Option<Wall>) {
        self.unreachable_since.store(unreachable_since.map_or(0, |since| since.0), Ordering::Relaxed);
    }
}

/// The endpoints behind NATs that are reached from this node.
#[derive(Debug)]
pub(crate) struct Nat {
    /// `None`: there are no keep-alives.
    rules: ArcSwapOption<KeepAlive>,
    /// When the node started: the schedule goes by a clock that takes no steps after that.
    started: Now,
    /// Written by the pacer alone.
    endpoints: RwLock<HashMap<Flow, Arc<NatHandle>>>,
    pacer: ArcSwap<Option<ActorRef<PacerMessage>>>,
    /// How far the pacer has come, for the one after it: [`Schedule::gone_to`](tandem_switch::keepalive::Schedule::gone_to).
    gone_to: AtomicU64,
    /// Each endpoint is linked to one of them.
    pub(crate) supervisors: OnceLock<Vec<ActorCell>>,
    /// Of each listener, whether this node sends the keep-alives from its address: nodes can share one.
    leases: Vec<Lease>,
}

impl Nat {
    pub(crate) fn new(rules: Option<KeepAlive>, started: Now, leases: Vec<Lease>) -> Self {
        Self {
            leases,
            rules: ArcSwapOption::from_pointee(rules),
            started,
            endpoints: RwLock::default(),
            pacer: ArcSwap::default(),
            gone_to: AtomicU64::new(0),
            supervisors: OnceLock::new(),
        }
    }

    pub(crate) fn rules(&self) -> Option<Arc<KeepAlive>> {
        self.rules.load_full()
    }

    /// Goes by other rules from now on. Whether they are other ones.
    pub(crate) fn configure(&self, rules: Option<KeepAlive>) -> bool {
        let is_other = self.rules.load().as_deref() != rules.as_ref();
        if is_other {
            self.rules.store(rules.map(Arc::new));
            self.tell_pacer(PacerMessage::Configured);
        }
        is_other
    }

    /// Whether there is a pacer.
    pub(crate) fn has_pacer(&self) -> bool {
        self.pacer.load().as_ref().as_ref().is_some_and(|pacer| pacer.get_status() < ActorStatus::Stopping)
    }

    /// Whether this node sends the keep-alives of a flow's listener.
    pub(crate) fn is_sender(&self, flow: &Flow, now: Mono) -> bool {
        self.leases.get(usize::from(flow.listener)).is_none_or(|lease| lease.is_ours(now))
    }

    /// Whether what is sent to an endpoint does not arrive there. Its next REGISTER says where it is.
    pub(crate) fn is_unreachable(&self, binding: &Binding) -> bool {
        is_kept_alive(binding) && self.find(&binding.flow).is_some_and(|endpoint| endpoint.is_unreachable())
    }

    pub(crate) fn find(&self, flow: &Flow) -> Option<Arc<NatHandle>> {
        self.endpoints.read().get(flow).cloned()
    }

    pub(crate) fn add(&self, flow: Flow, endpoint: Arc<NatHandle>) {
        self.endpoints.write().insert(flow, endpoint);
    }

    pub(crate) fn remove(&self, flow: &Flow) -> Option<Arc<NatHandle>> {
        self.endpoints.write().remove(flow)
    }

    /// All flows that there are.
    pub(crate) fn flows(&self) -> Vec<Flow> {
        self.endpoints.read().keys().copied().collect()
    }

    pub(crate) fn install(&self, pacer: ActorRef<PacerMessage>) {
        self.pacer.store(Arc::new(Some(pacer)));
    }

    /// Without a pacer nothing is lost: the one that follows knows where this one had come.
    pub(crate) fn tell_pacer(&self, message: PacerMessage) {
        if let Some(pacer) = &**self.pacer.load() {
            let _ = pacer.cast(message);
        }
    }

    pub(crate) fn note_gone_to(&self, gone_to: Wall) {
        self.gone_to.store(gone_to.0, Ordering::Relaxed);
    }

    /// How far a pacer has come in this process.
    pub(crate) fn gone_to(&self) -> Option<Wall> {
        Some(Wall(self.gone_to.load(Ordering::Relaxed))).filter(|gone_to| gone_to.0 > 0)
    }

    /// An ICMP error says that a datagram did not reach the endpoint. It may be forged: only one that quotes what we send is
    /// believed, and its actor knows whether that was a moment ago.
    pub(crate) fn on_unreachable(&self, flow: &Flow, quoted: &[u8]) -> bool {
        let Some(rules) = self.rules() else { return false };
        // Old routers quote nothing of the payload.
        let is_ours = rules.message.starts_with(quoted);
        let Some(endpoint) = self.find(flow).filter(|_| is_ours) else { return false };
        endpoint.actor.cast(NatMessage::Bounced).is_ok()
    }

    /// How endpoints stand that have these bindings.
    pub(crate) async fn report(&self, binding: &Binding) -> Option<NatReport> {
        let endpoint = self.find(&binding.flow).filter(|_| is_kept_alive(binding))?;
        call_t!(endpoint.actor, NatMessage::Report, REPORT_LIMIT_MS).ok()
    }
}

impl Shared {
    /// How far the keep-alives had come when they were sent last from where this node listens; `None` if that is not known.
    pub(crate) async fn keep_alives_gone_to(&self) -> Option<Wall> {
        if !self.store.is_shared() {
            return None;
        }
        let mut earliest: Option<u64> = None;
        for lease in &self.nat.leases {
            let progress = lease.progress(self).await.filter(|progress| *progress > 0);
            earliest = earliest.into_iter().chain(progress).min();
        }
        earliest.map(Wall)
    }

    /// Keeps the leases of keep-alives, as long as the node runs.
    pub(crate) async fn keep_nat_leases(&self) {
        if !self.store.is_shared() {
            return;
        }
        let gone_to = || self.nat.gone_to.load(Ordering::Relaxed);
        let taken = |progress: Option<u64>| {
            if let Some(progress) = progress.filter(|progress| *progress > 0) {
                self.nat.tell_pacer(PacerMessage::TakenOver(Wall(progress)));
            }
        };
        join_all(self.nat.leases.iter().map(|lease| lease.keep(self, gone_to, taken))).await;
    }

    /// Gives the leases of keep-alives back.
    pub(crate) async fn give_nat_leases_back(&self) {
        let gone_to = self.nat.gone_to.load(Ordering::Relaxed);
        join_all(self.nat.leases.iter().map(|lease| lease.give_back(self, gone_to))).await;
    }

    /// The time by which keep-alives go.
    pub(crate) fn keep_alive_time(&self) -> Wall {
        self.nat.started.to_wall(self.clock.mono())
    }
}

/// Whether keep-alives go to a binding: behind a proxy it is the proxy's business, and at an address of another node that
/// node's.
pub(crate) fn is_kept_alive(binding: &Binding) -> bool {
    binding.nat && binding.path.is_empty() && !binding.elsewhere
}

/// Whether only another node has the way to a binding: through a NAT, or by a connection.
pub(crate) fn is_out_of_reach(binding: &Binding) -> bool {
    binding.elsewhere && (binding.nat || binding.flow.transport.is_reliable()) && binding.path.is_empty()
}

/// What keeps a connection open: an empty line, which SIP ignores (RFC 3261 §7.5).
pub(crate) const EMPTY_LINE: Bytes = Bytes::from_static(b"\r\n");
