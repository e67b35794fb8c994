//! One actor per routing gateway: its slots and its statistics.

use crate::call_actor::CallMessage;
use crate::directory::MAILBOX_MAX;
#[cfg(feature = "fault-injection")]
use crate::faults::Fault;
use crate::gateway_care::{Care, CareMessage};
use crate::locations::GatewayTarget;
use crate::shared::Shared;
use crate::slots::{self, ClusterSlots, SlotAnswer};
use arc_swap::ArcSwap;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tandem_sip::time::Now;
use tandem_store::Taken;
use tandem_switch::call::{Authorization, Branch, Input, Serial, Unauthorized};
use tandem_switch::gateway::{
    GatewayName, GatewayState, HealthReport, Holder, LastFailure, MAX_HOLD, NonceCounts, Outcome, Refusal,
    RoutingGateway, Statistics,
};
use tandem_telemetry::{GatewayMetrics, HealthMetrics};

/// What a gateway's actor is told.
#[derive(Debug)]
pub(crate) enum GatewayMessage {
    /// A call asks for a slot; the answer is an input of the call.
    Admit { holder: Holder, reply_to: ActorRef<CallMessage> },
    /// A slot comes back; how the attempt went, if that is known.
    Release { holder: Holder, outcome: Option<Outcome> },
    /// A call wants a challenge answered; the answer is an input of the call.
    Authorize { serial: Serial, request: Box<Unauthorized>, reply_to: ActorRef<CallMessage> },
    /// It is to get no new calls for that long.
    Hold(Duration),
    /// What the store has said of a slot that was asked for.
    Slot(SlotAnswer),
    /// Time to ask the store how many slots are held, and to renew all that this node holds; it may have lost them.
    RenewSlots { all: bool, lost: bool },
    /// A renewal has ended; so many slots are held over the whole cluster.
    SlotsRenewed(Option<u32>),
    /// A call that has this slot is another node's now.
    Lose(Holder),
    /// A call has a slot, whatever the limits: said to an actor that was started anew.
    Reclaim(Holder),
    /// All calls have said which slots they have.
    Reclaimed,
    /// Its configuration is another one, or it has gone from there.
    Configured,
    /// Something about its health.
    Care(CareMessage),
    /// The same, from the network: there is room for so many only.
    Network(CareMessage),
    /// An operator asks.
    Report(RpcReplyPort<GatewayReport>),
}

/// What an operator is shown of a routing gateway.
#[derive(Clone, Debug)]
pub struct GatewayReport {
    /// Its configuration.
    pub gateway: Arc<RoutingGateway>,
    /// Where its calls are sent at present, best first; empty while its name leads nowhere.
    pub targets: Vec<GatewayTarget>,
    /// Slots in use.
    pub calls: usize,
    /// Slots in use over the whole cluster, as the store has said last; `None` where they are not counted.
    pub cluster_calls: Option<u32>,
    /// How long it gets no new calls, as it asked for a pause.
    pub pause: Option<Duration>,
    /// Whether it gets calls, and what that is known from.
    pub health: HealthReport,
    /// The most calls that it carries at once, by its limit and by what it says itself.
    pub max_calls: Option<u32>,
    /// Figures over the statistics window.
    pub statistics: Statistics,
    /// The last failures, newest first.
    pub last_failures: Vec<LastFailure>,
}

/// How a gateway's actor is reached, also after it was started anew.
#[derive(Debug)]
pub(crate) struct GatewayHandle {
    pub(crate) name: GatewayName,
    gateway: ArcSwap<RoutingGateway>,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) health_metrics: HealthMetrics,
    actor: ArcSwap<Option<ActorRef<GatewayMessage>>>,
    /// Messages from the network that its actor has not taken up.
    waiting: AtomicUsize,
    /// How often its actor has been started.
    starts: AtomicU32,
    is_available: AtomicBool,
    /// Where it is registered, best first, if it registers to us.
    branches: ArcSwap<Vec<Branch>>,
    has_left: AtomicBool,
    /// Whether the configuration does not have it any more.
    is_retired: AtomicBool,
}

impl GatewayHandle {
    pub(crate) fn new(
        gateway: Arc<RoutingGateway>,
        (metrics, health_metrics): (GatewayMetrics, HealthMetrics),
        is_available: bool,
    ) -> Self {
        metrics.slots_limit.set(gateway.limits.max_calls.unwrap_or(0).into());
        metrics.available.set(is_available.into());
        Self {
            name: gateway.name.clone(),
            gateway: ArcSwap::new(gateway),
            metrics,
            health_metrics,
            actor: ArcSwap::default(),
            waiting: AtomicUsize::new(0),
            starts: AtomicU32::new(0),
            is_available: AtomicBool::new(is_available),
            branches: ArcSwap::default(),
            has_left: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
        }
    }

    /// Its configuration.
    pub(crate) fn gateway(&self) -> Arc<RoutingGateway> {
        self.gateway.load_full()
    }

    /// Goes by another configuration from now on.
    pub(crate) fn configure(&self, gateway: Arc<RoutingGateway>) {
        self.gateway.store(gateway);
        self.is_retired.store(false, Ordering::Relaxed);
        self.tell(GatewayMessage::Configured);
    }

    /// It gets no new calls, and its actor goes when those that it has are over.
    pub(crate) fn retire(&self) {
        if !self.is_retired.swap(true, Ordering::Relaxed) {
            self.set_available(false);
            self.tell(GatewayMessage::Configured);
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Whether its actor runs, or is about to be started again.
    pub(crate) fn is_there(&self) -> bool {
        !self.is_retired() || self.actor().is_some_and(|actor| actor.get_status() < ActorStatus::Stopping)
    }

    /// Whether it gets calls at all. Its limits are its actor's business.
    pub(crate) fn is_available(&self) -> bool {
        self.is_available.load(Ordering::Relaxed)
    }

    pub(crate) fn set_available(&self, is_available: bool) {
        self.is_available.store(is_available, Ordering::Relaxed);
    }

    /// Where it is registered, best first.
    pub(crate) fn branches(&self) -> Arc<Vec<Branch>> {
        self.branches.load_full()
    }

    pub(crate) fn set_branches(&self, branches: Vec<Branch>) {
        self.branches.store(Arc::new(branches));
    }

    /// Whether its registrar need not be told anything any more.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }

    pub(crate) fn set_left(&self, has_left: bool) {
        self.has_left.store(has_left, Ordering::Relaxed);
    }

    /// The number of this start of its actor.
    pub(crate) fn next_start(&self) -> u32 {
        self.waiting.store(0, Ordering::Relaxed);
        self.starts.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells its actor of something that came from the network. `false` if there is no room, or no actor.
    pub(crate) fn offer(&self, message: CareMessage) -> bool {
        if self.waiting.load(Ordering::Relaxed) >= MAILBOX_MAX {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.tell(GatewayMessage::Network(message))
    }

    /// Its actor has taken a message from the network up.
    fn taken_up(&self) {
        // One that was on its way when the actor was started anew was forgotten with the others.
        let one_less = |waiting: usize| Some(waiting.saturating_sub(1));
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }

    /// Puts an actor in place of the one before.
    pub(crate) fn install(&self, actor: ActorRef<GatewayMessage>) {
        self.actor.store(Arc::new(Some(actor)));
    }

    pub(crate) fn actor(&self) -> Option<ActorRef<GatewayMessage>> {
        (**self.actor.load()).clone()
    }

    /// `false` if no actor is there to be told.
    pub(crate) fn tell(&self, message: GatewayMessage) -> bool {
        (**self.actor.load()).as_ref().is_some_and(|actor| actor.cast(message).is_ok())
    }
}

pub(crate) struct GatewayActor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handle: Arc<GatewayHandle>,
}

/// A gateway's slots, and whether all that are held are known.
pub(crate) struct Slots {
    state: GatewayState,
    cluster: ClusterSlots,
    /// How often its nonces have been used.
    nonces: NonceCounts,
    /// Started anew: until the calls have said what they hold there is no telling whether one more fits.
    reclaiming: bool,
    care: Care,
    /// Retired, it was told to leave its registrar.
    has_left: bool,
}

impl Slots {
    fn take_care(&mut self, message: CareMessage, now: Now) {
        self.care.handle(message, &mut self.nonces, now);
        self.care.settle(&mut self.state, now);
    }
}

/// Asks calls which slots of a gateway they hold. Each call is given a copy; when the last is gone, all have answered.
#[derive(Debug)]
pub(crate) struct Reclaiming {
    pub(crate) gateway: Arc<GatewayHandle>,
}

impl Drop for Reclaiming {
    fn drop(&mut self) {
        // An actor that has failed again will ask again.
        let _ = self.gateway.tell(GatewayMessage::Reclaimed);
    }
}

impl GatewayActor {
    fn admit(&self, slots: &mut Slots, now: Now, holder: Holder, reply_to: &ActorRef<CallMessage>) {
        let is_held = slots.state.holds(&holder);
        let result =
            if slots.reclaiming { Err(Refusal::Unavailable) } else { slots.state.admit(now, holder) };
        if result.is_err() || is_held || !slots::are_counted(&self.shared, &slots.state) {
            return self.answer(slots, now, (holder, reply_to), result);
        }
        if slots.cluster.may_ask(now.mono) && self.shared.store.contact().borrow().answers {
            let asker = (holder, reply_to.clone());
            return slots.cluster.ask(&self.shared, &self.handle, &slots.state, asker);
        }
        self.answer_unsure(slots, now, (holder, reply_to));
    }

    /// The store has said whether a slot is free, or nothing.
    fn on_slot(&self, slots: &mut Slots, now: Now, answer: SlotAnswer) {
        let SlotAnswer { holder, reply_to, result } = answer;
        slots.cluster.answered(&holder);
        let result = match result {
            Ok(Taken::Yes { held }) => (held, Ok(())),
            Ok(Taken::AtMaxCalls { held }) => (held, Err(Refusal::Calls)),
            Ok(Taken::AtCps { held }) => (held, Err(Refusal::Cps)),
            Ok(Taken::Unsure { held }) => {
                slots.cluster.note(&self.handle, held.saturating_sub(1));
                return self.answer_unsure(slots, now, (holder, &reply_to));
            }
            Err(_) => return self.answer_unsure(slots, now, (holder, &reply_to)),
        };
        let (held, result) = result;
        slots.cluster.note(&self.handle, held);
        slots.cluster.is_sure();
        if !slots.state.holds(&holder) {
            // It was given back while it was asked for.
            return slots.cluster.give_back(&self.shared, &self.handle, holder);
        }
        if result.is_err() {
            slots.state.release(now, holder, None);
        }
        self.answer(slots, now, (holder, &reply_to), result);
    }

    /// Answers for a slot of which the store does not know.
    fn answer_unsure(
        &self,
        slots: &mut Slots,
        now: Now,
        (holder, reply_to): (Holder, &ActorRef<CallMessage>),
    ) {
        if !slots.state.holds(&holder) {
            return;
        }
        let result = slots.cluster.admits_unsure(&self.shared, &self.handle, &slots.state);
        if result.is_err() {
            slots.state.release(now, holder, None);
            // The store may have given it, and its answer be lost.
            slots.cluster.give_back(&self.shared, &self.handle, holder);
        }
        self.answer(slots, now, (holder, reply_to), result);
    }

    fn answer(
        &self,
        slots: &mut Slots,
        now: Now,
        (holder, reply_to): (Holder, &ActorRef<CallMessage>),
        result: Result<(), Refusal>,
    ) {
        if result.is_ok() {
            self.handle.metrics.attempts.inc();
        }
        self.count(&slots.state);
        let gateway = self.handle.name.clone();
        let answer = Input::Admitted { gateway, attempt: holder.attempt, result };
        if reply_to.cast(CallMessage::Result(answer)).is_err() && result.is_ok() {
            self.release(slots, now, holder, None);
        }
    }

    /// Goes by the configuration as it is now. Calls stay, and so do the figures.
    fn configure(&self, slots: &mut Slots, now: Now, myself: &ActorRef<GatewayMessage>) {
        if self.handle.is_retired() {
            slots.has_left = true;
            return slots.take_care(CareMessage::Leave, now);
        }
        let gateway = self.handle.gateway();
        slots.state.set_limits(gateway.limits);
        let came_back = std::mem::take(&mut slots.has_left);
        if came_back || !slots.care.goes_by(&gateway) {
            if !came_back && slots.care.registers_elsewhere(&gateway) {
                slots.take_care(CareMessage::Leave, now);
            }
            slots.care = Care::start(self.shared.clone(), self.handle.clone(), myself.clone());
        }
        slots.care.settle(&mut slots.state, now);
        self.count(&slots.state);
    }

    fn authorize(&self, slots: &mut Slots, request: &Unauthorized) -> Option<Authorization> {
        let gateway = self.handle.gateway();
        gateway.account.as_ref()?.authorize(&mut slots.nonces, request)
    }

    fn hold(&self, state: &mut GatewayState, now: Now, pause: Duration) {
        state.hold(now.mono, pause);
        self.handle.metrics.pauses.inc();
        if self.shared.complaints.may_be_logged(now.mono) {
            let pause = pause.min(MAX_HOLD);
            tracing::warn!(gateway = %self.handle.name, ?pause, "gateway asked for a pause (Retry-After)");
        }
    }

    fn count(&self, state: &GatewayState) {
        self.handle.metrics.slots.set(state.calls() as i64);
        self.handle.metrics.calls.set(state.calls() as i64);
    }

    fn release(&self, slots: &mut Slots, now: Now, holder: Holder, outcome: Option<Outcome>) {
        let Slots { state, cluster, .. } = slots;
        if !state.release(now, holder, outcome) {
            return;
        }
        if slots::are_counted(&self.shared, state) {
            cluster.give_back(&self.shared, &self.handle, holder);
        }
        self.count(state);
        match outcome {
            Some(Outcome::Answered { .. }) => self.handle.metrics.answered.inc(),
            Some(Outcome::Failed(_) | Outcome::Cancelled) | None => {}
        }
    }
}

impl Actor for GatewayActor {
    type Msg = GatewayMessage;
    type State = Slots;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let reclaiming = self.handle.actor().is_some();
        self.handle.install(myself.clone());
        let mut state = GatewayState::new(self.handle.gateway().limits);
        self.count(&state);
        let mut care = Care::start(self.shared.clone(), self.handle.clone(), myself);
        care.settle(&mut state, self.shared.clock.now());
        let cluster = ClusterSlots::default();
        Ok(Slots { state, cluster, nonces: NonceCounts::default(), reclaiming, care, has_left: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        slots: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(feature = "fault-injection")]
        self.shared.faults.strike(Fault::Gateway);
        let now = self.shared.clock.now();
        match message {
            GatewayMessage::Admit { holder, reply_to } => self.admit(slots, now, holder, &reply_to),
            GatewayMessage::Release { holder, outcome } => {
                self.release(slots, now, holder, outcome);
            }
            GatewayMessage::Slot(answer) => self.on_slot(slots, now, answer),
            GatewayMessage::RenewSlots { all, lost } => {
                if lost {
                    slots.cluster.begin_grace(now.mono);
                }
                if slots::are_counted(&self.shared, &slots.state) {
                    let holders = slots.state.holders().filter(|_| all);
                    slots.cluster.renew(&self.shared, &self.handle, holders);
                }
            }
            GatewayMessage::SlotsRenewed(held) => slots.cluster.renewed(&self.shared, &self.handle, held),
            GatewayMessage::Authorize { serial, request, reply_to } => {
                let authorization = self.authorize(slots, &request);
                // The call may have ended meanwhile.
                let _ = reply_to.cast(CallMessage::Result(Input::Authorized { serial, authorization }));
            }
            GatewayMessage::Hold(pause) => self.hold(&mut slots.state, now, pause),
            GatewayMessage::Lose(holder) => {
                // Its slot goes with it: the store knows it by the same name.
                slots.state.release(now, holder, None);
                self.count(&slots.state);
            }
            GatewayMessage::Reclaim(holder) => {
                slots.state.reclaim(holder);
                self.count(&slots.state);
            }
            GatewayMessage::Reclaimed => slots.reclaiming = false,
            GatewayMessage::Configured => self.configure(slots, now, &myself),
            GatewayMessage::Care(message) => slots.take_care(message, now),
            GatewayMessage::Network(message) => {
                self.handle.taken_up();
                slots.take_care(message, now);
            }
            GatewayMessage::Report(reply) => {
                let state = &slots.state;
                let mut last_failures: Vec<_> = state.last_failures().copied().collect();
                last_failures.reverse();
                // Whoever asked may have stopped waiting.
                let _ = reply.send(GatewayReport {
                    gateway: self.handle.gateway(),
                    targets: self.shared.targets_of_gateway(&self.handle),
                    calls: state.calls(),
                    cluster_calls: slots.cluster.held().filter(|_| slots::are_counted(&self.shared, state)),
                    pause: state.pause(now.mono),
                    health: slots.care.report(now),
                    max_calls: state.max_calls(),
                    statistics: state.statistics(now.mono),
                    last_failures,
                });
            }
        }
        if self.handle.is_retired() && slots.state.calls() == 0 && self.handle.has_left() {
            myself.stop(None);
        }
        Ok(())
    }
}
