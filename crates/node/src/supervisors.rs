//! The supervision tree: who starts whom again. No logic lives here, since a supervisor that dies takes its children
//! along.
//!
//! ```text
//! NodeSupervisor ─┬─ Edge ── Listener × n
//!                 ├─ Calls × n ── Call × many      not started again: a call comes back from its snapshot by itself
//!                 ├─ Gateways ── Gateway × n
//!                 ├─ Registrar ── RegistrarActor × shards
//!                 ├─ NAT ── NatPacer
//!                 ├─ Endpoints × n ── NatEndpoint × many      started again by the pacer
//!                 └─ Cdr × sinks
//! ```

use crate::call_actor::CallMessage;
use crate::cdr_actor::{CdrActor, Sinks};
use crate::dispatch::Dispatcher;
use crate::gateway_actor::{GatewayActor, GatewayHandle, Reclaiming};
use crate::listener_actor::ListenerActor;
use crate::nat_pacer::NatPacer;
use crate::registrar_actor::RegistrarActor;
use crate::shared::Shared;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long after a failure a child is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// A child that is started again when it fails.
#[derive(Clone)]
pub(crate) enum Child {
    /// A socket's receive loop.
    Listener(u16),
    /// A gateway's slots and statistics.
    Gateway(Arc<GatewayHandle>),
    /// A shard of the registrar.
    Registrar(usize),
    /// The pacer of keep-alives.
    NatPacer,
    /// A sink of CDRs, by its place.
    Cdr(Arc<Sinks>, usize),
}

impl Child {
    async fn start(
        &self,
        shared: &Arc<Shared>,
        supervisor: ActorCell,
    ) -> Result<ActorId, ActorProcessingErr> {
        Ok(match self {
            Child::Listener(place) => {
                let dispatcher = Dispatcher::new(shared.clone());
                let actor = ListenerActor { shared: shared.clone(), dispatcher, place: *place };
                ActorRuntime::spawn_linked(None, actor, (), supervisor).await?.0.get_id()
            }
            Child::Gateway(handle) => {
                let actor = GatewayActor { shared: shared.clone(), handle: handle.clone() };
                ActorRuntime::spawn_linked(None, actor, (), supervisor).await?.0.get_id()
            }
            Child::Registrar(place) => {
                let handle = shared.registrar.shards()[*place].clone();
                let actor = RegistrarActor { shared: shared.clone(), place: *place, handle };
                ActorRuntime::spawn_linked(None, actor, (), supervisor).await?.0.get_id()
            }
            Child::NatPacer => {
                let actor = NatPacer { shared: shared.clone() };
                ActorRuntime::spawn_linked(None, actor, (), supervisor).await?.0.get_id()
            }
            Child::Cdr(sinks, place) => {
                let actor = CdrActor { shared: shared.clone(), sinks: sinks.clone(), place: *place };
                ActorRuntime::spawn_linked(None, actor, (), supervisor).await?.0.get_id()
            }
        })
    }

    /// Whether the configuration has it.
    fn is_wanted(&self, shared: &Shared) -> bool {
        match self {
            Child::Gateway(handle) => !handle.is_retired(),
            Child::NatPacer => shared.nat.rules().is_some(),
            Child::Listener(_) | Child::Registrar(_) | Child::Cdr(..) => true,
        }
    }

    /// After a new start: calls tell a gateway again which of its slots they hold.
    fn started_again(&self, shared: &Shared) {
        match self {
            Child::Gateway(handle) => {
                let reclaiming = Arc::new(Reclaiming { gateway: handle.clone() });
                for (_, call) in shared.calls.all() {
                    // A call that has gone holds nothing.
                    let _ = call.actor().cast(CallMessage::GatewayRestarted(reclaiming.clone()));
                }
            }
            Child::Listener(_) | Child::Registrar(_) | Child::NatPacer | Child::Cdr(..) => {}
        }
    }
}

/// Starts its children, and again those that fail.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) what: &'static str,
}

pub(crate) enum KeeperMessage {
    Start(Child),
}

impl Actor for Keeper {
    type Msg = KeeperMessage;
    type State = HashMap<ActorId, Child>;
    type Arguments = Vec<Child>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        children: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut running = HashMap::new();
        for child in children {
            running.insert(child.start(&self.shared, myself.get_cell()).await?, child);
        }
        Ok(running)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        KeeperMessage::Start(child): Self::Msg,
        running: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if !child.is_wanted(&self.shared) {
            return Ok(());
        }
        match child.start(&self.shared, myself.get_cell()).await {
            Ok(id) => {
                child.started_again(&self.shared);
                running.insert(id, child);
            }
            Err(error) => {
                tracing::error!(what = self.what, %error, "cannot start");
                myself.send_after(RESTART_PAUSE, move || KeeperMessage::Start(child.clone()));
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        running: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (gone, why) = match event {
            SupervisionEvent::ActorFailed(actor, error) => (actor.get_id(), error.to_string()),
            SupervisionEvent::ActorTerminated(actor, _, reason) => {
                (actor.get_id(), reason.unwrap_or_default())
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        if let Some(child) = running.remove(&gone).filter(|child| child.is_wanted(&self.shared)) {
            tracing::error!(what = self.what, why, "failed; starting again");
            myself.send_after(RESTART_PAUSE, move || KeeperMessage::Start(child.clone()));
        }
        Ok(())
    }
}

/// Linked to its share of actors that come and go. One that fails has given back what it held by being dropped.
pub(crate) struct Supervisor {
    /// Whose actors they are.
    pub(crate) whose: &'static str,
}

impl Actor for Supervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            tracing::error!(whose = self.whose, %error, "an actor failed");
        }
        Ok(())
    }
}

/// The root of the tree. It stops when a supervisor does: whoever holds the other end of the channel is told.
pub(crate) struct NodeSupervisor {
    /// Closed when this actor has gone.
    pub(crate) _alive: watch::Sender<()>,
}

impl Actor for NodeSupervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let why = match event {
            SupervisionEvent::ActorFailed(_, error) => error.to_string(),
            SupervisionEvent::ActorTerminated(_, _, reason) => reason.unwrap_or_default(),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        tracing::error!(why, "a supervisor has gone; the node stops");
        myself.stop(None);
        Ok(())
    }
}
