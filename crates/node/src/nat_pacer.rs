//! The pacer: it knows which endpoints are behind NATs, and tells their actors when to send keep-alives.

#[cfg(feature = "fault-injection")]
use crate::faults::Fault;
use crate::nat::{NatHandle, is_kept_alive};
use crate::nat_endpoint::{NatEndpoint, NatMessage};
use crate::registrar::Change;
use crate::registrar_actor::RegistrarMessage;
use crate::shared::Shared;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime, RpcReplyPort, call_t};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Now, Wall};
use tandem_switch::keepalive::{Due, KeepAlive, Schedule};
use tandem_switch::registrar::{Aor, Binding};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinHandle};

/// Changes that the pacer is told at a time.
const CHANGES: usize = 256;

/// Endpoints that have their turn before others on the thread have theirs.
const AT_A_TIME: usize = 64;

/// How long the pacer may take to take note of changes, in milliseconds, before the next ones are told.
const NOTE_LIMIT_MS: u64 = 30_000;

/// What the pacer is told.
#[derive(Debug)]
pub(crate) enum PacerMessage {
    /// The next batch may be due.
    Wake,
    /// Bindings have changed; an answer asks for more.
    Changed(Vec<Arc<Change>>, RpcReplyPort<()>),
    /// Changes were missed: the registrar has all bindings.
    Missed(RpcReplyPort<()>),
    /// The socket had no room for an endpoint's keep-alive.
    Again(Flow),
    /// Keep-alives from an address are sent from here now; whoever sent them had come so far.
    TakenOver(Wall),
    /// The rules of keep-alives are other ones, or there are to be none.
    Configured,
}

pub(crate) struct NatPacer {
    pub(crate) shared: Arc<Shared>,
}

/// Whose binding a flow is.
struct User {
    aor: Aor,
    /// Until when it is good.
    expires: Wall,
    /// When it was registered last.
    refreshed: Wall,
}

pub(crate) struct Pacing {
    shared: Arc<Shared>,
    rules: Arc<KeepAlive>,
    myself: ActorRef<PacerMessage>,
    schedule: Schedule,
    users: HashMap<Flow, Vec<User>>,
    /// Which of the supervisors is next.
    turn: usize,
    wake: Option<(Wall, AbortHandle)>,
    watching: JoinHandle<()>,
}

impl Drop for Pacing {
    fn drop(&mut self) {
        self.watching.abort();
        if let Some((_, wake)) = &self.wake {
            wake.abort();
        }
        self.shared.metrics.nat_endpoints.set(0);
    }
}

impl Actor for NatPacer {
    type Msg = PacerMessage;
    type State = Box<Pacing>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let changes = self.shared.registrar.watch();
        let now = self.shared.keep_alive_time();
        let rules = self.shared.nat.rules().ok_or("there are to be no keep-alives")?;
        let mut pacing = Box::new(Pacing {
            shared: self.shared.clone(),
            schedule: Schedule::new(rules.pace, now, now),
            rules,
            myself: myself.clone(),
            users: HashMap::new(),
            turn: 0,
            wake: None,
            watching: tokio::spawn(watch(changes, myself.clone())),
        });
        pacing.begin().await?;
        self.shared.nat.install(myself);
        Ok(pacing)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        pacing: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PacerMessage::Wake => {
                #[cfg(feature = "fault-injection")]
                self.shared.faults.strike(Fault::NatPacer);
                pacing.wake = None;
                pacing.send_batch().await?;
            }
            PacerMessage::Changed(changes, reply) => {
                for change in changes {
                    pacing.on_change(&change).await?;
                }
                // Without an answer nobody watches any more.
                let _ = reply.send(());
            }
            PacerMessage::Missed(reply) => {
                pacing.read_all(false).await?;
                let _ = reply.send(());
            }
            PacerMessage::Again(flow) => pacing.schedule.again(flow),
            PacerMessage::TakenOver(gone_to) => pacing.go_back_to(gone_to),
            PacerMessage::Configured => match self.shared.nat.rules() {
                Some(rules) => pacing.go_by(rules),
                None => {
                    pacing.end_all();
                    myself.stop(None);
                    return Ok(());
                }
            },
        }
        pacing.set_wake();
        Ok(())
    }
}

impl Pacing {
    /// Takes over from whoever was there before: a pacer, or a process.
    async fn begin(&mut self) -> Result<(), ActorProcessingErr> {
        let latest = self.read_all(true).await?;
        for flow in self.shared.nat.flows() {
            if !self.users.contains_key(&flow) {
                self.end(&flow);
            }
        }
        // Somebody registers all the time, so that the process before this one was there until the last did.
        let gone_to = match self.shared.nat.gone_to() {
            Some(gone_to) => Some(gone_to),
            None => self.shared.keep_alives_gone_to().await,
        };
        let now = self.shared.keep_alive_time();
        self.schedule_from(gone_to.or(latest).unwrap_or(now));
        self.note_ceiling();
        self.note_size();
        self.set_wake();
        Ok(())
    }

    /// Everybody has had their turns until then.
    fn schedule_from(&mut self, gone_to: Wall) {
        self.schedule = Schedule::new(self.rules.pace, gone_to, self.shared.keep_alive_time());
        self.users.keys().for_each(|flow| {
            self.schedule.insert_known(*flow);
        });
    }

    /// Other rules: everybody is due once in a period of theirs from now on.
    fn go_by(&mut self, rules: Arc<KeepAlive>) {
        self.rules = rules;
        if let Some((_, wake)) = self.wake.take() {
            wake.abort();
        }
        self.schedule_from(self.shared.keep_alive_time());
        self.note_ceiling();
        self.note_size();
    }

    /// There are to be no keep-alives.
    fn end_all(&mut self) {
        let flows: Vec<_> = self.users.drain().map(|(flow, _)| flow).collect();
        flows.iter().for_each(|flow| self.end(flow));
    }

    fn note_ceiling(&self) {
        let ceiling = i64::try_from(self.rules.pace.ceiling()).unwrap_or(i64::MAX);
        self.shared.metrics.keep_alive_ceiling.set(ceiling);
    }

    /// Makes up for what nobody has sent since then.
    fn go_back_to(&mut self, gone_to: Wall) {
        if gone_to < self.schedule.gone_to() {
            self.schedule_from(gone_to);
        }
    }

    /// Asks the registrar for all bindings. When the last of them was registered.
    async fn read_all(&mut self, at_the_start: bool) -> Result<Option<Wall>, ActorProcessingErr> {
        let mut latest = None;
        for shard in self.shared.clone().registrar.shards() {
            let actor = shard.actor().ok_or("a shard of the registrar is not there")?;
            let list = |reply| RegistrarMessage::List { wanted: is_kept_alive, reply };
            for (aor, bindings) in call_t!(actor, list, NOTE_LIMIT_MS)? {
                latest = latest.max(bindings.iter().map(|binding| binding.refreshed).max());
                self.take(&aor, &bindings, at_the_start).await?;
            }
        }
        Ok(latest)
    }

    async fn on_change(&mut self, change: &Change) -> Result<(), ActorProcessingErr> {
        let flows = |bindings: &[Binding]| -> Vec<Flow> {
            bindings.iter().filter(|binding| is_kept_alive(binding)).map(|binding| binding.flow).collect()
        };
        let new = flows(&change.new);
        for left in flows(&change.old).into_iter().filter(|flow| !new.contains(flow)) {
            self.leave(&left, |user| user.aor == change.aor);
        }
        self.take(&change.aor, &change.new, false).await
    }

    /// Takes note of the bindings that an address of record has now.
    async fn take(
        &mut self,
        aor: &Aor,
        bindings: &[Binding],
        at_the_start: bool,
    ) -> Result<(), ActorProcessingErr> {
        for binding in bindings.iter().filter(|binding| is_kept_alive(binding)) {
            let users = self.users.entry(binding.flow).or_default();
            let is_new = users.is_empty();
            let Binding { expires, refreshed, .. } = *binding;
            // Another device of the same user says nothing of this one.
            let is_heard = match users.iter_mut().find(|user| user.aor == *aor) {
                Some(user) => {
                    let is_heard = refreshed > user.refreshed;
                    (user.expires, user.refreshed) = (expires, refreshed);
                    is_heard
                }
                None => {
                    users.push(User { aor: aor.clone(), expires, refreshed });
                    !at_the_start
                }
            };
            match self.shared.nat.find(&binding.flow) {
                Some(endpoint) if is_heard && endpoint.is_unreachable() => {
                    // An actor that has failed is started again at its next turn.
                    let _ = endpoint.actor.cast(NatMessage::Registered);
                }
                Some(_) => {}
                None => self.start(binding.flow).await?,
            }
            if is_new && !at_the_start {
                self.schedule.insert(binding.flow, self.shared.keep_alive_time());
                self.note_size();
            }
        }
        Ok(())
    }

    /// Starts an endpoint's actor, in place of one that has failed.
    async fn start(&mut self, flow: Flow) -> Result<(), ActorProcessingErr> {
        let Some(supervisors) = self.shared.nat.supervisors.get() else { return Ok(()) };
        self.turn = (self.turn + 1) % supervisors.len();
        let endpoint = NatEndpoint { shared: self.shared.clone(), flow };
        let supervisor = supervisors[self.turn].clone();
        let (actor, _) = ActorRuntime::spawn_linked(None, endpoint, (), supervisor).await?;
        let handle = Arc::new(NatHandle::new(actor.clone()));
        actor.cast(NatMessage::Begin(handle.clone()))?;
        self.shared.nat.add(flow, handle);
        Ok(())
    }

    /// Takes those users from a flow; without any it gets no more keep-alives. Whether that is so.
    fn leave(&mut self, flow: &Flow, leaves: impl Fn(&User) -> bool) -> bool {
        let Some(users) = self.users.get_mut(flow) else { return true };
        users.retain(|user| !leaves(user));
        if !users.is_empty() {
            return false;
        }
        self.users.remove(flow);
        self.schedule.remove(flow);
        self.end(flow);
        self.note_size();
        true
    }

    fn end(&self, flow: &Flow) {
        if let Some(endpoint) = self.shared.nat.remove(flow) {
            endpoint.actor.stop(None);
        }
    }

    async fn send_batch(&mut self) -> Result<(), ActorProcessingErr> {
        let batch = self.schedule.batch(self.shared.keep_alive_time());
        let Now { wall, mono } = self.shared.clock.now();
        for (count, Due { flow, late }) in batch.into_iter().enumerate() {
            if count % AT_A_TIME == AT_A_TIME - 1 {
                tokio::task::yield_now().await;
            }
            // Its registration may have lapsed without our being told.
            if self.leave(&flow, |user| user.expires <= wall) {
                self.schedule.remove(&flow);
                continue;
            }
            if !self.shared.nat.is_sender(&flow, mono) {
                continue;
            }
            self.shared.metrics.keep_alive_lateness.observe(late);
            let told = |endpoint: Arc<NatHandle>| endpoint.actor.cast(NatMessage::KeepAlive).is_ok();
            if !self.shared.nat.find(&flow).is_some_and(told) {
                self.start(flow).await?;
                self.schedule.again(flow);
            }
        }
        self.shared.nat.note_gone_to(self.schedule.gone_to());
        Ok(())
    }

    fn note_size(&self) {
        let metrics = &self.shared.metrics;
        let ceiling = self.rules.pace.ceiling();
        metrics.nat_endpoints.set(self.schedule.len() as i64);
        let beyond = self.schedule.len().saturating_sub(ceiling) as i64;
        let before = metrics.keep_alive_beyond_ceiling.get();
        metrics.keep_alive_beyond_ceiling.set(beyond);
        match (before, beyond) {
            (0, 1..) => tracing::warn!(
                endpoints = self.schedule.len(),
                ceiling,
                "more endpoints behind NATs than the pace of keep-alives serves in a period: each waits longer than \
                 SS_SIP_NAT_KEEP_ALIVE_PERIOD; raise SS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME or lower \
                 SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL"
            ),
            (1.., 0) => tracing::info!("the pace of keep-alives serves all endpoints behind NATs again"),
            (_, _) => {}
        }
    }

    /// Sees to it that the next batch is not missed.
    fn set_wake(&mut self) {
        let Some(next) = self.schedule.next_batch() else { return };
        match &self.wake {
            Some((at, _)) if *at <= next => return,
            Some((_, later)) => later.abort(),
            None => {}
        }
        let wait = next.since(self.shared.keep_alive_time());
        let wait = wait.max(Duration::from_millis(1));
        let wake = self.myself.send_after(wait, || PacerMessage::Wake);
        self.wake = Some((next, wake.abort_handle()));
    }
}

/// Tells the pacer of changes, as many at a time as it takes note of.
async fn watch(mut changes: Receiver<Arc<Change>>, pacer: ActorRef<PacerMessage>) {
    loop {
        let told = match changes.recv().await {
            Ok(first) => {
                let mut some = vec![first];
                while some.len() < CHANGES
                    && let Ok(change) = changes.try_recv()
                {
                    some.push(change);
                }
                call_t!(pacer, |reply| PacerMessage::Changed(some, reply), NOTE_LIMIT_MS)
            }
            Err(RecvError::Lagged(_)) => call_t!(pacer, PacerMessage::Missed, NOTE_LIMIT_MS),
            Err(RecvError::Closed) => return,
        };
        if let Err(error) = told {
            tracing::debug!(%error, "the pacer of keep-alives does not take note of changes");
        }
    }
}
