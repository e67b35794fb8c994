//! One actor per routing gateway: its slots and its statistics.

use crate::call_actor::CallMessage;
use crate::clock::Clock;
use arc_swap::ArcSwap;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;
use tandem_sip::time::Now;
use tandem_switch::call::Input;
use tandem_switch::gateway::{GatewayState, Holder, LastFailure, Outcome, RoutingGateway, Statistics};
use tandem_telemetry::GatewayMetrics;

/// What a gateway's actor is told.
#[derive(Debug)]
pub(crate) enum GatewayMessage {
    /// A call asks for a slot; the answer is an input of the call.
    Admit { holder: Holder, reply_to: ActorRef<CallMessage> },
    /// A slot comes back; how the attempt went, if that is known.
    Release { holder: Holder, outcome: Option<Outcome> },
    /// A call has a slot, whatever the limits: said to an actor that was started anew.
    Reclaim(Holder),
    /// An operator asks.
    Report(RpcReplyPort<GatewayReport>),
}

/// What an operator is shown of a routing gateway.
#[derive(Clone, Debug)]
pub struct GatewayReport {
    /// Its configuration.
    pub gateway: Arc<RoutingGateway>,
    /// Slots in use.
    pub calls: usize,
    /// Figures over the statistics window.
    pub statistics: Statistics,
    /// The last failures, newest first.
    pub last_failures: Vec<LastFailure>,
}

/// How a gateway's actor is reached, also after it was started anew.
#[derive(Debug)]
pub(crate) struct GatewayHandle {
    pub(crate) gateway: Arc<RoutingGateway>,
    pub(crate) metrics: GatewayMetrics,
    actor: ArcSwap<Option<ActorRef<GatewayMessage>>>,
}

impl GatewayHandle {
    pub(crate) fn new(gateway: Arc<RoutingGateway>, metrics: GatewayMetrics) -> Self {
        metrics.slots_limit.set(gateway.limits.max_calls.unwrap_or(0).into());
        metrics.available.set(i64::from(!gateway.disabled));
        Self { gateway, metrics, actor: ArcSwap::default() }
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
    pub(crate) clock: Clock,
    pub(crate) handle: Arc<GatewayHandle>,
}

impl GatewayActor {
    fn release(&self, state: &mut GatewayState, now: Now, holder: Holder, outcome: Option<Outcome>) {
        if !state.release(now, holder, outcome) {
            return;
        }
        let metrics = &self.handle.metrics;
        metrics.slots.set(state.calls() as i64);
        match outcome {
            Some(Outcome::Answered { .. }) => metrics.answered.inc(),
            Some(Outcome::Failed(_) | Outcome::Cancelled) | None => {}
        }
    }
}

impl Actor for GatewayActor {
    type Msg = GatewayMessage;
    type State = GatewayState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        self.handle.install(myself);
        Ok(GatewayState::new(self.handle.gateway.limits))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.clock.now();
        match message {
            GatewayMessage::Admit { holder, reply_to } => {
                let result = state.admit(now, holder);
                if result.is_ok() {
                    self.handle.metrics.attempts.inc();
                    self.handle.metrics.slots.set(state.calls() as i64);
                }
                let gateway = self.handle.gateway.name.clone();
                let answer = Input::Admitted { gateway, attempt: holder.attempt, result };
                if reply_to.cast(CallMessage::Result(answer)).is_err() && result.is_ok() {
                    self.release(state, now, holder, None);
                }
            }
            GatewayMessage::Release { holder, outcome } => self.release(state, now, holder, outcome),
            GatewayMessage::Reclaim(holder) => {
                state.reclaim(holder);
                self.handle.metrics.slots.set(state.calls() as i64);
            }
            GatewayMessage::Report(reply) => {
                let mut last_failures: Vec<_> = state.last_failures().copied().collect();
                last_failures.reverse();
                // Whoever asked may have stopped waiting.
                let _ = reply.send(GatewayReport {
                    gateway: self.handle.gateway.clone(),
                    calls: state.calls(),
                    statistics: state.statistics(now.mono),
                    last_failures,
                });
            }
        }
        Ok(())
    }
}
