//! A gateway's slots over the whole cluster: leases in the store, asked for by the gateway's actor, which never waits.

use crate::call_actor::CallMessage;
use crate::gateway_actor::{GatewayHandle, GatewayMessage};
use crate::shared::Shared;
use ractor::ActorRef;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Mono;
use tandem_store::{SLOT_GRACE, SLOT_LEASE, SlotTake, StoreError, StoreFuture, Taken};
use tandem_switch::admission::Pace;
use tandem_switch::gateway::{GatewayState, Holder, Refusal, Share, WhenStoreAway, cps_share};
use tokio::time::timeout;

/// How often a node asks how many slots are held: what it goes by should the store fall silent.
const COUNT: Duration = Duration::from_secs(2);

/// How often, of these, it renews what it holds itself: three times in a lease.
const RENEW_EVERY: u64 = SLOT_LEASE.as_secs() / 3 / COUNT.as_secs();

/// How long the store may take.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// What a node knows of a gateway's slots at all nodes.
#[derive(Debug, Default)]
pub(crate) struct ClusterSlots {
    /// How many are held, as the store has said last.
    held: Option<u32>,
    /// Until when the store may lack some, because it has lost them.
    unsure_until: Mono,
    /// What this node admits while the store does not say.
    share: Option<Share>,
    /// How fast it does.
    pace: Pace,
    /// What the store is being asked for: not held until it says so.
    asked: BTreeSet<Holder>,
    /// Renewals that the store has not answered.
    renewing: usize,
    /// Given back meanwhile; a renewal that comes later would take it again.
    kept_back: Vec<Holder>,
}

/// What the store has said of a slot.
#[derive(Debug)]
pub(crate) struct SlotAnswer {
    pub(crate) holder: Holder,
    pub(crate) reply_to: ActorRef<CallMessage>,
    pub(crate) result: Result<Taken, StoreError>,
}

impl ClusterSlots {
    pub(crate) fn held(&self) -> Option<u32> {
        self.held
    }

    /// Takes note of what the store says.
    pub(crate) fn note(&mut self, handle: &GatewayHandle, held: u32) {
        self.held = Some(held);
        handle.metrics.cluster_slots.set(held.into());
    }

    /// The store has answered for a slot.
    pub(crate) fn answered(&mut self, holder: &Holder) {
        self.asked.remove(holder);
    }

    /// Gives a slot back. One of which the store does not hear lapses.
    pub(crate) fn give_back(&mut self, shared: &Shared, handle: &GatewayHandle, holder: Holder) {
        if self.renewing > 0 {
            return self.kept_back.push(holder);
        }
        let given = shared.store.release_slot(handle.name.clone(), name_of(&holder));
        tokio::spawn(within_limit("release a slot", given));
    }

    /// A renewal has come to its end, and the store has said how many slots are held.
    pub(crate) fn renewed(&mut self, shared: &Shared, handle: &GatewayHandle, held: Option<u32>) {
        if let Some(held) = held {
            self.note(handle, held);
        }
        self.renewing = self.renewing.saturating_sub(1);
        if self.renewing == 0 {
            for holder in std::mem::take(&mut self.kept_back) {
                self.give_back(shared, handle, holder);
            }
        }
    }

    /// Asks the store for a slot; the answer comes as a message.
    pub(crate) fn ask(
        &mut self,
        shared: &Shared,
        handle: &Arc<GatewayHandle>,
        state: &GatewayState,
        (holder, reply_to): (Holder, ActorRef<CallMessage>),
    ) {
        let take = SlotTake {
            gateway: handle.name.clone(),
            holder: name_of(&holder),
            max_calls: state.max_calls(),
            cps: state.limits().cps,
            burst: state.burst(),
        };
        self.asked.insert(holder);
        let (asked, handle) = (shared.store.take_slot(take), handle.clone());
        tokio::spawn(async move {
            let result = within_limit("take a slot", asked).await;
            // An actor that has failed meanwhile is told by the calls what they hold; this one then asks in vain.
            handle.tell(GatewayMessage::Slot(SlotAnswer { holder, reply_to, result }));
        });
    }

    /// Tells the store what this node holds of a gateway; how many are held over the cluster comes as a message.
    pub(crate) fn renew<'a>(
        &mut self,
        shared: &Shared,
        handle: &Arc<GatewayHandle>,
        holders: impl Iterator<Item = &'a Holder>,
    ) {
        // Renewed, a slot that is only asked for would be taken whatever the limit.
        let holders = holders.filter(|holder| !self.asked.contains(holder)).map(name_of).collect();
        self.renewing += 1;
        let (renewed, handle) = (shared.store.renew_slots(handle.name.clone(), holders), handle.clone());
        tokio::spawn(async move {
            let held = within_limit("renew slots", renewed).await.ok();
            handle.tell(GatewayMessage::SlotsRenewed(held));
        });
    }

    /// The store says again how many there are.
    pub(crate) fn is_sure(&mut self) {
        self.share = None;
    }

    /// The store may have lost some: nodes tell it what they hold.
    pub(crate) fn begin_grace(&mut self, now: Mono) {
        self.unsure_until = now + SLOT_GRACE;
    }

    /// Whether the store is to be asked at all.
    pub(crate) fn may_ask(&self, now: Mono) -> bool {
        now >= self.unsure_until
    }

    /// Whether a call is admitted that has taken a slot here, of which the store does not know.
    pub(crate) fn admits_unsure(
        &mut self,
        shared: &Shared,
        handle: &GatewayHandle,
        state: &GatewayState,
    ) -> Result<(), Refusal> {
        if handle.gateway().when_store_away == WhenStoreAway::Refuse {
            return Err(Refusal::Calls);
        }
        let nodes = shared.nodes.alive();
        if let Some(cps) = state.limits().cps {
            let share = cps_share(cps, nodes);
            if !self.pace.take(shared.clock.mono(), share, share) {
                return Err(Refusal::Cps);
            }
        }
        let Some(limit) = state.max_calls() else { return Ok(()) };
        let here = state.calls();
        let before = here.saturating_sub(1);
        let held = self.held.unwrap_or(0);
        let share = *self.share.get_or_insert_with(|| Share::new(limit, held, before, nodes));
        if !share.admits(here) {
            return Err(Refusal::Calls);
        }
        handle.metrics.admitted_unsure.inc();
        Ok(())
    }
}

/// Whether a gateway's slots have to be counted over the cluster.
pub(crate) fn are_counted(shared: &Shared, state: &GatewayState) -> bool {
    shared.store.is_shared() && (state.max_calls().is_some() || state.limits().cps.is_some())
}

/// Sees to it that slots are renewed in time, and at once when the store may have lost them.
pub(crate) async fn keep(shared: Arc<Shared>) {
    if !shared.store.is_shared() {
        return;
    }
    let mut contact = shared.store.contact();
    let mut lives = contact.borrow_and_update().lives;
    for turn in 0_u64.. {
        let lost = std::mem::replace(&mut lives, contact.borrow_and_update().lives) != lives;
        let all = lost || turn.is_multiple_of(RENEW_EVERY);
        for handle in shared.configured().gateways.values() {
            handle.tell(GatewayMessage::RenewSlots { all, lost });
        }
        let changed = timeout(COUNT, contact.wait_for(|contact| contact.lives != lives)).await;
        if changed.is_ok_and(|changed| changed.is_err()) {
            return;
        }
    }
}

async fn within_limit<T>(step: &'static str, asked: StoreFuture<T>) -> Result<T, StoreError> {
    timeout(STORE_LIMIT, asked).await.unwrap_or(Err(StoreError::Away { step }))
}

/// What the store knows a holder by.
fn name_of(holder: &Holder) -> Arc<str> {
    format!("{}:{}", holder.call, holder.attempt).into()
}
