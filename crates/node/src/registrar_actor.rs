//! A shard of the registrar: the bindings of its addresses of record. What it answers with 200 is in the store.

use crate::authenticator::Verdict;
#[cfg(feature = "fault-injection")]
use crate::faults::Fault;
use crate::registrar::{Change, PAGE, ShardHandle};
use crate::registrar_follow::{Following, Found};
use crate::shared::Shared;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Now, Wall};
use tandem_sip::{Message, Name, StatusCode};
use tandem_store::{Document, Put, Revision, Space, StoreError, StoreFuture, codec};
use tandem_switch::call::Refused;
use tandem_switch::registrar::{Accepted, Aor, Arrival, Binding, Bindings, answer};
use tandem_telemetry::Registration;
use tandem_transport::Hold;

/// How long the store may take over one registration. A user agent sends its REGISTER again for 32 s.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// How often lapsed bindings are looked for.
const SWEEP: Duration = Duration::from_millis(500);

/// Requests of one address of record that wait while the store works on one before them.
const WAITING_MAX: usize = 4;

/// Seconds after which a REGISTER may be sent again that the store did not take.
const RETRY_AFTER_S: &str = "5";

/// A REGISTER, and the address of record that it is for.
#[derive(Debug)]
pub(crate) struct Register {
    pub(crate) aor: Aor,
    pub(crate) request: Message,
    pub(crate) flow: Flow,
}

/// What is done with the bindings that were asked for.
pub(crate) struct Reply(Box<dyn FnOnce(Vec<Binding>) + Send>);

impl Reply {
    pub(crate) fn new(then: impl FnOnce(Vec<Binding>) + Send + 'static) -> Self {
        Self(Box::new(then))
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum RegistrarMessage {
    /// A REGISTER from the network.
    Register(Box<Register>),
    /// Where is a user?
    Find { aor: Aor, reply: Reply },
    /// The store's answer to a write.
    Stored { aor: Aor, result: Result<Revision, StoreError> },
    /// Whether the journal has what the store did not take.
    Journalled { aor: Aor, is_written: bool },
    /// What the store holds, after it has refused a write.
    Loaded { aor: Aor, result: Result<Option<Document>, StoreError> },
    /// An operator takes bindings away. How many there were; `None` if the store does not take it.
    Remove { aor: Aor, contact: Option<String>, reply: RpcReplyPort<Option<usize>> },
    /// Another node has written bindings, or this one has.
    Changed { aor: Aor, revision: Option<Revision> },
    /// What the store has of an address of record that somebody has written.
    Read { aor: Aor, seen: Option<Revision>, result: Result<Option<Document>, StoreError> },
    /// Part of all that the store has.
    Found(Found),
    /// Which bindings are like that?
    List { wanted: fn(&Binding) -> bool, reply: RpcReplyPort<Vec<(Aor, Vec<Binding>)>> },
    /// Time for those that have lapsed to go.
    Sweep,
}

pub(crate) struct RegistrarActor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: usize,
    pub(crate) handle: Arc<ShardHandle>,
}

/// What is known of an address of record.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) bindings: Bindings,
    pub(crate) revision: Option<Revision>,
    /// The last reading of the whole store in which it was found, or written since.
    pub(crate) reading: u64,
    /// Keeps the connections of its bindings open.
    holds: Vec<(Flow, Hold)>,
}

/// A write that the store has not answered yet.
pub(crate) struct Writing {
    pub(crate) next: Bindings,
    pub(crate) whose: Whose,
    /// What has come meanwhile.
    pub(crate) waiting: VecDeque<Box<Register>>,
    /// Whether somebody has been heard to write meanwhile: this write, or another.
    heard: Option<Option<Revision>>,
}

impl Writing {
    pub(crate) fn new(next: Bindings, whose: Whose) -> Self {
        Self { next, whose, waiting: VecDeque::new(), heard: None }
    }

    /// Somebody has written, and it stands there now.
    pub(crate) fn hear(&mut self, revision: Option<Revision>) {
        self.heard = Some(revision);
    }
}

/// Who waits for a write.
pub(crate) enum Whose {
    Registering {
        register: Box<Register>,
        accepted: Accepted,
        is_second_try: bool,
    },
    Operator {
        removed: usize,
        reply: RpcReplyPort<Option<usize>>,
    },
    /// Nobody: the store had lost it.
    Restoring,
}

pub(crate) struct Shard {
    pub(crate) shared: Arc<Shared>,
    pub(crate) myself: ActorRef<RegistrarMessage>,
    pub(crate) entries: HashMap<Aor, Entry>,
    /// When the first binding of each lapses.
    expiries: BTreeSet<(Wall, Aor)>,
    pub(crate) writing: HashMap<Aor, Writing>,
    pub(crate) following: Following,
}

impl Actor for RegistrarActor {
    type Msg = RegistrarMessage;
    type State = Box<Shard>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut shard = Box::new(Shard {
            shared: self.shared.clone(),
            myself: myself.clone(),
            entries: HashMap::new(),
            expiries: BTreeSet::new(),
            writing: HashMap::new(),
            following: Following::default(),
        });
        // The first of all shards are given what the store has by one reading for all of them.
        if !self.shared.store.is_shared() || self.handle.actor().is_some() {
            shard.load(self.place).await?;
        }
        shard.take_up_journal(self.place, self.shared.clock.now());
        myself.send_interval(SWEEP, || RegistrarMessage::Sweep);
        self.handle.install(myself);
        Ok(shard)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        shard: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        #[cfg(feature = "fault-injection")]
        if !matches!(message, RegistrarMessage::Sweep) {
            self.shared.faults.strike(Fault::Registrar);
        }
        let now = self.shared.clock.now();
        match message {
            RegistrarMessage::Register(register) => {
                self.handle.took_one();
                shard.on_register(register, now);
            }
            RegistrarMessage::Find { aor, reply } => {
                self.handle.took_one();
                (reply.0)(shard.living(&aor, now.wall));
            }
            RegistrarMessage::Stored { aor, result } => shard.on_written(aor, result, now),
            RegistrarMessage::Journalled { aor, is_written } => shard.on_journalled(aor, is_written, now),
            RegistrarMessage::Loaded { aor, result } => shard.on_loaded(aor, result, now),
            RegistrarMessage::Remove { aor, contact, reply } => {
                shard.remove(aor, contact.as_deref(), reply, now)
            }
            RegistrarMessage::Changed { aor, revision } => {
                self.handle.took_one();
                shard.on_changed(aor, revision);
            }
            RegistrarMessage::Read { aor, seen, result } => shard.on_read(aor, seen, result, now),
            RegistrarMessage::Found(found) => {
                self.handle.took_one();
                shard.on_found(found, now);
            }
            RegistrarMessage::List { wanted, reply } => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(shard.list(wanted, now.wall));
            }
            RegistrarMessage::Sweep => {
                shard.sweep(now.wall);
                shard.catch_up(now);
            }
        }
        Ok(())
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // Whoever comes after counts them again.
        let bindings: usize = self.entries.values().map(|entry| entry.bindings.bindings.len()).sum();
        self.shared.metrics.bindings.sub(bindings as i64);
    }
}

impl Shard {
    /// Reads what the store has of this shard.
    async fn load(&mut self, place: usize) -> Result<(), StoreError> {
        let now = self.shared.clock.now().wall;
        let mut after = None;
        loop {
            let read = self.shared.store.scan(Space::Registrations, after.take(), PAGE);
            let away = Err(StoreError::Away { step: "scan" });
            let page = tokio::time::timeout(STORE_LIMIT, read).await.unwrap_or(away)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, document) in page {
                let aor = Aor::parse(&key).filter(|aor| self.shared.registrar.shard_of(aor) == place);
                if let Some(aor) = aor {
                    let bindings = self.shared.decoded(&key, &document.value, now);
                    self.replace(&aor, bindings, Some(document.revision));
                }
            }
        }
    }

    fn on_register(&mut self, register: Box<Register>, now: Now) {
        let Register { aor, request, flow } = &*register;
        match self.shared.authenticator.check(request, *flow, now) {
            Verdict::Challenge(refused) | Verdict::Denied(refused) => {
                self.shared.refuse(*flow, request, &refused);
            }
            // Whoever is known may register itself, and nobody else.
            Verdict::Passed { endpoint, .. } if *endpoint.user != *aor.user() => {
                self.count(Registration::Refused);
                self.shared.refuse_with(*flow, request, StatusCode::FORBIDDEN);
            }
            Verdict::Passed { at_new_source, .. } => {
                if at_new_source {
                    self.shared.guards.vouch(flow.remote.ip());
                }
                self.register(register, false, now);
            }
        }
    }

    /// Does what a REGISTER asks for whose sender is known.
    pub(crate) fn register(&mut self, register: Box<Register>, is_second_try: bool, now: Now) {
        if let Some(writing) = self.writing.get_mut(&register.aor) {
            if writing.waiting.len() < WAITING_MAX {
                writing.waiting.push_back(register);
            } else {
                self.count(Registration::Overflow);
            }
            return;
        }
        let Register { aor, request, flow } = &*register;
        let known = self.entries.get(aor).map(|entry| &entry.bindings);
        let none = Bindings::default();
        let rules = &self.shared.configured().rules;
        let edge = self.shared.local_name(flow.listener, flow.remote);
        let arrival = Arrival { flow: *flow, edge: &edge };
        let (next, accepted) = match known.unwrap_or(&none).register(request, arrival, rules, now.wall) {
            Ok(done) => done,
            Err(refused) => {
                self.count(Registration::Refused);
                return self.shared.refuse(*flow, request, &refused);
            }
        };
        if !accepted.changed {
            self.count(Registration::Queried);
            return self.confirm(&register, &next, accepted, now.wall);
        }
        self.write(register.aor.clone(), next, Whose::Registering { register, accepted, is_second_try }, now);
    }

    /// Gives the store the bindings of an address of record. A store in memory has taken them at once; any other answers
    /// later.
    pub(crate) fn write(&mut self, aor: Aor, next: Bindings, whose: Whose, now: Now) {
        let result = match self.start_write(&aor, &next) {
            Ok(mut future) => match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => result,
                Poll::Pending => {
                    self.await_write(aor.clone(), future);
                    self.writing.insert(aor, Writing::new(next, whose));
                    return;
                }
            },
            Err(error) => Err(error),
        };
        self.on_result(aor, next, whose, result, now);
    }

    fn start_write(&self, aor: &Aor, next: &Bindings) -> Result<StoreFuture<Revision>, StoreError> {
        #[cfg(feature = "fault-injection")]
        if self.shared.faults.comes(Fault::StoreAway) {
            return Err(StoreError::Away { step: "put" });
        }
        let value = match next.bindings.is_empty() {
            true => None,
            false => Some(codec::encode(next).map_err(|error| {
                tracing::error!(%error, "cannot encode the bindings of a user");
                StoreError::Away { step: "encode" }
            })?),
        };
        let put = self.shared.store.put(Put {
            space: Space::Registrations,
            key: aor.as_str().clone(),
            seen: self.entries.get(aor).and_then(|entry| entry.revision),
            value,
            lapses: next.last_expiry(),
        });
        #[cfg(feature = "fault-injection")]
        if self.shared.faults.comes(Fault::StoreSlow) {
            return Ok(Box::pin(async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                put.await
            }));
        }
        Ok(put)
    }

    fn await_write(&self, aor: Aor, future: StoreFuture<Revision>) {
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let away = Err(StoreError::Away { step: "put" });
            let result = tokio::time::timeout(STORE_LIMIT, future).await.unwrap_or(away);
            // A shard that has failed meanwhile reads the store when it starts again.
            let _ = myself.cast(RegistrarMessage::Stored { aor, result });
        });
    }

    fn on_written(&mut self, aor: Aor, result: Result<Revision, StoreError>, now: Now) {
        let Some(Writing { next, whose, waiting, heard }) = self.writing.remove(&aor) else { return };
        let written = result.as_ref().ok().copied();
        self.on_result(aor.clone(), next, whose, result, now);
        if let Some(heard) = heard
            && heard != written
        {
            self.on_changed(aor, heard);
        }
        for register in waiting {
            self.register(register, false, now);
        }
    }

    /// The store has taken bindings, or not.
    fn on_result(
        &mut self,
        aor: Aor,
        next: Bindings,
        whose: Whose,
        result: Result<Revision, StoreError>,
        now: Now,
    ) {
        match (result, whose) {
            (Ok(revision), Whose::Restoring) => self.on_restored(&aor, revision, now),
            (Err(StoreError::Conflict { .. }), Whose::Restoring) => self.on_overtaken(aor),
            (Err(_), Whose::Restoring) => self.on_not_restored(aor),
            (Ok(revision), whose) => {
                if let Whose::Registering { register, accepted, .. } = &whose {
                    self.count(Registration::Changed);
                    self.confirm(register, &next, *accepted, now.wall);
                }
                self.is_stored(&aor);
                let revision = Some(revision).filter(|_| !next.bindings.is_empty());
                self.replace(&aor, next, revision);
                if let Whose::Operator { removed, reply } = whose {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(Some(removed));
                }
            }
            // Somebody else has written, or the answer to a write of ours was lost: once more, from what stands there.
            (
                Err(StoreError::Conflict { .. }),
                Whose::Registering { register, accepted, is_second_try: false },
            ) => {
                self.reload(&aor);
                let whose = Whose::Registering { register, accepted, is_second_try: true };
                self.writing.insert(aor, Writing::new(next, whose));
            }
            (Err(StoreError::Away { .. }), whose @ Whose::Registering { .. })
                if self.may_be_journalled(&aor, &next, now.wall) =>
            {
                self.journal(aor, next, whose);
            }
            (Err(error), whose) => self.on_failure(&error, whose, now),
        }
    }

    pub(crate) fn on_failure(&self, error: &StoreError, whose: Whose, now: Now) {
        self.shared.metrics.store_failures.inc();
        if self.shared.complaints.may_be_logged(now.mono) {
            tracing::warn!(%error, "the store does not take registrations");
        }
        match whose {
            Whose::Registering { register, .. } => {
                self.count(Registration::Failed);
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let refused = Refused::and(status, Name::RetryAfter, RETRY_AFTER_S);
                self.shared.refuse(register.flow, &register.request, &refused);
            }
            Whose::Operator { reply, .. } => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(None);
            }
            // It is tried again.
            Whose::Restoring => {}
        }
    }

    /// Asks the store what it has of an address of record.
    fn reload(&self, aor: &Aor) {
        let (myself, aor) = (self.myself.clone(), aor.clone());
        let get = self.shared.store.get(Space::Registrations, aor.as_str());
        tokio::spawn(async move {
            let away = Err(StoreError::Away { step: "get" });
            let result = tokio::time::timeout(STORE_LIMIT, get).await.unwrap_or(away);
            // A shard that has failed meanwhile reads the store when it starts again.
            let _ = myself.cast(RegistrarMessage::Loaded { aor, result });
        });
    }

    fn on_loaded(&mut self, aor: Aor, result: Result<Option<Document>, StoreError>, now: Now) {
        let Some(Writing { whose, waiting, .. }) = self.writing.remove(&aor) else { return };
        match (result, whose) {
            (Ok(document), Whose::Registering { register, is_second_try, .. }) => {
                let revision = document.as_ref().map(|document| document.revision);
                let decoded =
                    |document: Document| self.shared.decoded(aor.as_str(), &document.value, now.wall);
                let bindings = document.map(decoded);
                self.replace(&aor, bindings.unwrap_or_default(), revision);
                self.register(register, is_second_try, now);
            }
            (Ok(_), whose @ (Whose::Operator { .. } | Whose::Restoring)) => {
                self.on_failure(&StoreError::Away { step: "get" }, whose, now);
            }
            (Err(error), whose) => self.on_failure(&error, whose, now),
        }
        for register in waiting {
            self.register(register, false, now);
        }
    }

    /// 200 with the bindings.
    pub(crate) fn confirm(&self, register: &Register, bindings: &Bindings, accepted: Accepted, now: Wall) {
        let Register { request, flow, .. } = register;
        let tag = self.shared.stateless_tag(request);
        let rules = &self.shared.configured().rules;
        let response = answer((request, *flow, &tag), bindings, accepted, rules, now);
        self.shared.answer(*flow, request, &response);
    }

    fn remove(&mut self, aor: Aor, contact: Option<&str>, reply: RpcReplyPort<Option<usize>>, now: Now) {
        if self.writing.contains_key(&aor) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(None);
            return;
        }
        let mut next = self.entries.get(&aor).map(|entry| entry.bindings.clone()).unwrap_or_default();
        next.expire(now.wall);
        let removed = next.remove(contact);
        if removed == 0 {
            let _ = reply.send(Some(0));
            return;
        }
        self.write(aor, next, Whose::Operator { removed, reply }, now);
    }

    /// Puts bindings in place of those there were.
    pub(crate) fn replace(&mut self, aor: &Aor, next: Bindings, revision: Option<Revision>) {
        let mut entry = self.entries.remove(aor).unwrap_or_default();
        if let Some(expiry) = entry.bindings.first_expiry() {
            self.expiries.remove(&(expiry, aor.clone()));
        }
        let before = std::mem::replace(&mut entry.bindings, next);
        entry.reading = self.following.reading;
        let grown = entry.bindings.bindings.len() as i64 - before.bindings.len() as i64;
        self.shared.metrics.bindings.add(grown);
        if self.shared.registrar.changes.receiver_count() > 0 {
            let new = entry.bindings.bindings.clone();
            let change = Change { aor: aor.clone(), old: before.bindings, new };
            // The last watcher may just have gone.
            let _ = self.shared.registrar.changes.send(Arc::new(change));
        }
        if let Some(expiry) = entry.bindings.first_expiry() {
            self.expiries.insert((expiry, aor.clone()));
            self.hold(&mut entry);
            entry.revision = revision;
            self.entries.insert(aor.clone(), entry);
        }
    }

    /// Keeps the connections of an address of record open, and no others.
    fn hold(&self, entry: &mut Entry) {
        let flows = || entry.bindings.bindings.iter().map(|binding| binding.flow);
        if entry.holds.is_empty() && flows().all(|flow| !flow.transport.is_reliable()) {
            return;
        }
        entry.holds.retain(|(held, _)| flows().any(|flow| flow == *held));
        let missing: Vec<_> = flows()
            .filter(|flow| flow.transport.is_reliable() && entry.holds.iter().all(|(held, _)| held != flow))
            .collect();
        for flow in missing {
            entry.holds.extend(self.shared.hold(flow).map(|hold| (flow, hold)));
        }
    }

    fn list(&self, wanted: fn(&Binding) -> bool, now: Wall) -> Vec<(Aor, Vec<Binding>)> {
        let of = |entry: &Entry| -> Vec<Binding> {
            let bindings = entry.bindings.bindings.iter();
            bindings.filter(|binding| binding.lives(now) && wanted(binding)).cloned().collect()
        };
        let all = self.entries.iter().map(|(aor, entry)| (aor.clone(), of(entry)));
        all.filter(|(_, bindings)| !bindings.is_empty()).collect()
    }

    fn living(&self, aor: &Aor, now: Wall) -> Vec<Binding> {
        let bindings = self.entries.get(aor).map(|entry| entry.bindings.bindings.iter());
        bindings.into_iter().flatten().filter(|binding| binding.lives(now)).cloned().collect()
    }

    /// Lets lapsed bindings go. The store does that by itself, once all of an address of record have lapsed.
    fn sweep(&mut self, now: Wall) {
        while let Some((expiry, aor)) = self.expiries.first().filter(|(expiry, _)| *expiry <= now) {
            let (expiry, aor) = (*expiry, aor.clone());
            let Some(entry) = self.entries.get(&aor) else {
                self.expiries.remove(&(expiry, aor));
                continue;
            };
            let (mut next, revision) = (entry.bindings.clone(), entry.revision);
            next.expire(now);
            let lapsed = entry.bindings.bindings.len() - next.bindings.len();
            self.shared.metrics.bindings_lapsed.inc_by(lapsed as u64);
            tracing::debug!(%aor, lapsed, "bindings have lapsed");
            if next.bindings.is_empty() {
                self.is_stored(&aor);
            }
            self.replace(&aor, next, revision);
        }
    }

    pub(crate) fn count(&self, result: Registration) {
        self.shared.metrics.registrations.of(result).inc();
    }
}
