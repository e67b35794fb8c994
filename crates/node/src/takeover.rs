//! Calls of nodes that have gone, and of an earlier life of this one: they go on here, from their last snapshots.
//!
//! Every node does this for its share of them ([`tandem_cluster::rank`]); that two take one is kept from happening by the
//! store, which gives a call to the first that claims it.

use crate::call_actor::{Beginning, CallActor, Origin, TakenOver};
use crate::directory::RouteKey;
use crate::ended;
use crate::link::Frame;
use crate::registration::Registration;
use crate::shared::Shared;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use ractor::ActorRuntime;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tandem_cluster::{ClaimHold, Gone, Turn};
use tandem_sip::flow::Flow;
use tandem_store::{CallEnd, CallKey, Owner, StoreError, StoredCall, codec};
use tandem_switch::call::{CallId, Snapshot};
use tandem_switch::gateway::GatewayName;
use tandem_telemetry::CallState;
use tokio::time::{sleep, timeout};

/// How often it is looked whether calls of nodes that have gone can be claimed, as long as there are some.
const LOOK: Duration = Duration::from_millis(100);

/// How often it is looked whether there are some after all, once none were found.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long the store may take over one request.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// How often it is looked whether the place of a claimed call is free.
const PLACE_TRIES: u32 = 30;

/// Calls that are claimed at once. What goes on meanwhile has its turn.
const AT_ONCE: usize = 64;

/// Calls whose parties are told in a second that they are elsewhere now.
const TOLD_PER_SECOND: u32 = 200;

/// The longest that a party waits for that.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// What has become of a call of a node that has gone.
enum Fate {
    /// It goes on here.
    Taken,
    /// Somebody else was quicker, or it is over.
    Settled,
    /// It is not this node's turn yet.
    Later,
}

/// Takes over what this node is an heir of, as long as it runs.
pub(crate) async fn keep(shared: Arc<Shared>) {
    if !shared.store.is_shared() {
        return;
    }
    let mut nodes = shared.nodes.changes();
    let mut contact = shared.store.contact();
    *shared.claims.hold.lock() = ClaimHold::new(contact.borrow_and_update().lives);
    // Those of its own earlier life are told of nowhere.
    let mut own =
        Some(Gone { name: shared.name.clone(), boot: shared.owner.boot, since: shared.clock.mono() });
    loop {
        let is_held = shared.claims.hold.lock().holds(contact.borrow_and_update().lives, shared.clock.mono())
            || !shared.may_claim();
        let mut left = 0;
        if !is_held {
            if let Some(gone) = own.clone() {
                match take_own(&shared, &gone).await {
                    Ok(0) => own = None,
                    Ok(more) => left += more,
                    Err(error) => {
                        tracing::debug!(%error, "cannot take the calls of an earlier life yet");
                        left += 1;
                    }
                }
            }
            left += settle_claims(&shared).await;
            for gone in shared.nodes.gone(&shared.name) {
                match take_all(&shared, &gone).await {
                    Ok(more) => left += more,
                    Err(error) => {
                        tracing::debug!(%error, node = %gone.name, "cannot take over calls yet");
                        left += 1;
                    }
                }
            }
        }
        if left > 0 || is_held {
            sleep(LOOK).await;
            continue;
        }
        tokio::select! {
            changed = nodes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Claims whose answers were lost: the calls may be this node's without being here.
#[derive(Default)]
pub(crate) struct Claims {
    doubtful: Mutex<HashSet<CallKey>>,
    /// Keeps this node from claiming.
    hold: Mutex<ClaimHold>,
    /// Those that the store has not answered yet.
    under_way: AtomicUsize,
}

/// Goes on with calls that are this node's after all. How many are still doubtful.
async fn settle_claims(shared: &Arc<Shared>) -> usize {
    let doubtful: Vec<_> = shared.claims.doubtful.lock().drain().collect();
    for key in doubtful {
        match within(shared.store.load(key)).await {
            // One that fails again is doubtful again.
            Ok(Some(stored)) if stored.owner == shared.owner => {
                let _ = claim(shared, (&shared.name, key, stored.epoch), 0).await;
            }
            Ok(_) => {}
            Err(_) => {
                shared.claims.doubtful.lock().insert(key);
            }
        }
    }
    shared.claims.doubtful.lock().len()
}

/// The calls of an earlier life, after what it had ended: that of which the store was not told is not to be raised.
async fn take_own(shared: &Arc<Shared>, gone: &Gone) -> Result<usize, StoreError> {
    let given = ended::give_journalled(shared).await?;
    if given > 0 {
        tracing::info!(given, "gave the store the ends of calls that it had not taken");
    }
    take_all(shared, gone).await
}

/// How many are left for later.
async fn take_all(shared: &Arc<Shared>, gone: &Gone) -> Result<usize, StoreError> {
    // Who drains hands its calls over, and takes none.
    let others = shared.nodes.places(&shared.name);
    if shared.is_draining() && !others.is_empty() {
        return Ok(0);
    }
    let now = shared.clock.mono();
    let keys = within(shared.store.owned(&gone.name)).await?;
    let is_due = |key: &CallKey| gone.is_turn_of(&shared.name, &others, &key.id, now);
    let (due, later): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_due);
    let fates = stream::iter(due.into_iter().enumerate()).map(|(turn, key)| take(shared, gone, key, turn));
    let mut fates = fates.buffer_unordered(AT_ONCE);
    let (mut left, mut failure) = (later.len(), None);
    while let Some(fate) = fates.next().await {
        match fate {
            Ok(Fate::Taken | Fate::Settled) => {}
            Ok(Fate::Later) => left += 1,
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(left), Err)
}

/// Takes one over, if it is still up for others.
async fn take(shared: &Arc<Shared>, gone: &Gone, key: CallKey, turn: usize) -> Result<Fate, StoreError> {
    let Some(stored) = within(shared.store.load(key)).await? else { return Ok(Fate::Settled) };
    let home = |flow: Flow, local: &Arc<str>| shared.home_of(flow, local);
    let is_cut_off = || read(key, &stored).is_some_and(|snapshot| snapshot.is_cut_off_at(&home));
    let (this, owner) = ((&*shared.name, shared.owner.boot), (&*stored.owner.node, stored.owner.boot));
    match gone.turn(this, owner, shared.clock.mono(), is_cut_off) {
        Turn::Settled => Ok(Fate::Settled),
        Turn::Later => Ok(Fate::Later),
        // It may be back by now.
        Turn::Claim if !shared.is_still_gone(gone) => Ok(Fate::Settled),
        Turn::Claim => {
            let fate = claim(shared, (&gone.name, key, stored.epoch), turn).await;
            if matches!(fate, Ok(Fate::Taken)) && gone.name != shared.name {
                // It may have been about to come back: it has no other way to learn of it before it writes something.
                let lost = Frame::Lost { key: key.into(), epoch: stored.epoch + 1 };
                shared.links.tell(&gone.name, &lost, b"");
            }
            fate
        }
    }
}

/// Takes a call that another node hands over. Whether it is here now.
pub(crate) async fn take_handed(shared: &Arc<Shared>, from: &Arc<str>, key: CallKey, epoch: u32) -> bool {
    matches!(claim(shared, (from, key, epoch), 0).await, Ok(Fate::Taken))
}

/// Claims a call and goes on with it.
async fn claim(
    shared: &Arc<Shared>,
    (from, key, epoch): (&Arc<str>, CallKey, u32),
    turn: usize,
) -> Result<Fate, StoreError> {
    if shared.calls.find(CallId(key.id)).is_some() {
        // A copy of its INVITE has come here, or the last of it is still here from before.
        return Ok(Fate::Later);
    }
    let home = |flow: Flow, local: &Arc<str>| shared.home_of(flow, local);
    shared.claims.under_way.fetch_add(1, Ordering::Relaxed);
    let answer = within(shared.store.claim(key, epoch, shared.owner.clone())).await;
    shared.claims.under_way.fetch_sub(1, Ordering::Relaxed);
    let claimed = match answer {
        Ok(claimed) => claimed,
        // Somebody was quicker, or it has ended.
        Err(StoreError::Fenced { .. } | StoreError::Ended | StoreError::Unknown) => return Ok(Fate::Settled),
        Err(error) => {
            shared.claims.doubtful.lock().insert(key);
            return Err(error);
        }
    };
    let Some(mut snapshot) = read(key, &claimed) else {
        return end_unreadable(shared, key, &shared.owner, claimed.epoch).await;
    };
    let mut moved = snapshot.move_to(&home);
    let turn = u32::try_from(turn).unwrap_or(u32::MAX);
    moved.wait = (Duration::from_secs(1) * turn / TOLD_PER_SECOND).min(TOLD_WITHIN);
    let is_answered = snapshot.is_answered();
    let (mapping_gateway, called) = snapshot.route();
    let route = RouteKey::of(mapping_gateway, called);
    let Some(registration) = register(shared, &snapshot, &(mapping_gateway.clone(), route)).await else {
        tracing::error!(call = %snapshot.id(), "another call has the name of one that was taken over; it is lost");
        return Ok(Fate::Settled);
    };
    tracing::info!(call = %snapshot.id(), from = %from, epoch = claimed.epoch, "took over a call");
    let taken = TakenOver { epoch: claimed.epoch, seq: claimed.seq, snapshot: Box::new(snapshot), moved };
    start(shared, registration, taken);
    shared.metrics.takeovers.of(if is_answered { CallState::Answered } else { CallState::Setup }).inc();
    Ok(Fate::Taken)
}

/// Takes the call's place here. What a copy of its INVITE has begun meanwhile ends with its first commit.
async fn register(
    shared: &Arc<Shared>,
    snapshot: &Snapshot,
    (mapping_gateway, route): &(GatewayName, RouteKey),
) -> Option<Registration> {
    for _ in 0..PLACE_TRIES {
        let taken = Registration::take_over(shared, snapshot, (mapping_gateway.clone(), *route));
        if taken.is_some() {
            return taken;
        }
        sleep(LOOK).await;
    }
    None
}

fn start(shared: &Arc<Shared>, registration: Registration, taken: TakenOver) {
    let Some(supervisor) = shared.supervisor() else { return };
    let (id, mailbox) = (registration.id(), registration.mailbox().clone());
    let origin = Origin::TakenOver(taken);
    let beginning = Box::new(Beginning { shared: shared.clone(), registration, origin, hold: None });
    match ActorRuntime::spawn_linked_instant(None, CallActor, beginning, supervisor) {
        Ok((actor, _)) => shared.calls.enter(id, &mailbox, actor),
        Err(error) => tracing::error!(%error, "cannot start a call's actor"),
    }
}

fn read(key: CallKey, stored: &StoredCall) -> Option<Snapshot> {
    let snapshot = codec::decode::<Snapshot>(&stored.snapshot);
    snapshot.inspect_err(|error| tracing::error!(call = %key, %error, "cannot read a snapshot")).ok()
}

/// Nobody can go on with it.
async fn end_unreadable(
    shared: &Shared,
    key: CallKey,
    owner: &Owner,
    epoch: u32,
) -> Result<Fate, StoreError> {
    tracing::error!(call = %key, "a lost call cannot be read; it has no record");
    let cdr: Option<Bytes> = None;
    within(shared.store.end(CallEnd { key, owner: owner.clone(), epoch, cdr })).await?;
    Ok(Fate::Settled)
}

async fn within<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(STORE_LIMIT, asked).await.unwrap_or(Err(StoreError::Away { step: "take over" }))
}

impl Shared {
    /// Whether this node tells another one that it is blind, and claims nothing as long as that one goes by it.
    pub(crate) fn says_that_it_is_blind(&self) -> bool {
        // A claim that is under way may be answered yet.
        let is_blind = self.is_blind() && self.claims.under_way.load(Ordering::Relaxed) == 0;
        if is_blind {
            self.claims.hold.lock().promise(self.clock.mono());
        }
        is_blind
    }

    /// Whether a node whose calls are up for others has not come back.
    fn is_still_gone(&self, gone: &Gone) -> bool {
        gone.name == self.name || !self.nodes.is_alive(&gone.name)
    }

    /// Whether this node may take from others what they do not serve: it does not know how they are unless it has looked of
    /// late.
    fn may_claim(&self) -> bool {
        self.has_authority() && self.nodes.is_current(self.clock.mono())
    }

    /// By which of its sockets this node goes on with what another one has sent by that flow, under that name; and under
    /// which name of its own. Where the address is shared, or has come back, it is the same.
    pub(crate) fn home_of(&self, flow: Flow, local: &Arc<str>) -> (Flow, Arc<str>) {
        let leads = |listener: &crate::listeners::Listener| {
            listener.socket.transport() == flow.transport
                && listener.socket.local_addr().is_ipv4() == flow.remote.is_ipv4()
        };
        let places = self.listeners.iter().enumerate().filter(|(_, listener)| leads(listener));
        let places = places.filter_map(|(place, _)| u16::try_from(place).ok());
        let mut same = places.filter(|place| self.local_name(*place, flow.remote) == *local);
        if let Some(listener) = same.next() {
            return (Flow { listener, ..flow }, local.clone());
        }
        match self.flow_to(flow.transport, flow.remote, None) {
            Some(flow) => (flow, self.local_name(flow.listener, flow.remote)),
            // Without a socket for it nothing reaches the peer, which shows when something is sent.
            None => (flow, local.clone()),
        }
    }
}
