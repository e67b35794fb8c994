//! The registrar of a node: shards of addresses of record, each an actor.

use crate::registrar_actor::{Register, RegistrarMessage, Reply};
use crate::shared::Shared;
use arc_swap::ArcSwap;
use ractor::{ActorRef, call_t};
use siphasher::sip::SipHasher13;
use std::collections::HashSet;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tandem_config::Config;
use tandem_sip::flow::Flow;
use tandem_sip::time::Wall;
use tandem_sip::{Message, Name, StatusCode};
use tandem_store::{Space, StoreError, codec};
use tandem_switch::call::Refused;
use tandem_switch::registrar::{Aor, Binding, Bindings, screen_register};
use tandem_telemetry::Registration;
use tokio::sync::broadcast;

/// Shards of the addresses of record.
const SHARDS: usize = 8;

/// The most messages that wait for a shard.
const SHARD_MAILBOX_MAX: usize = 4_096;

/// Changes of bindings that a watcher may lag behind before it has to look at all of them.
const CHANGES_MAX: usize = 8_192;

/// Documents that are read from the store at a time.
pub(crate) const PAGE: usize = 1_000;

/// How long a shard may take to remove bindings, in milliseconds.
const REMOVE_LIMIT_MS: u64 = 3_000;

/// Seconds after which a REGISTER that found no room may be sent again.
const RETRY_AFTER_S: &str = "5";

/// Bindings of an address of record have changed.
#[derive(Debug)]
#[allow(dead_code, reason = "for whoever watches")]
pub(crate) struct Change {
    /// Whose.
    pub(crate) aor: Aor,
    /// Before.
    pub(crate) old: Vec<Binding>,
    /// After.
    pub(crate) new: Vec<Binding>,
}

/// How a shard is reached, also after it was started anew.
#[derive(Debug, Default)]
pub(crate) struct ShardHandle {
    actor: ArcSwap<Option<ActorRef<RegistrarMessage>>>,
    waiting: AtomicUsize,
}

impl ShardHandle {
    /// Puts an actor in place of the one before, whose messages have gone with it.
    pub(crate) fn install(&self, actor: ActorRef<RegistrarMessage>) {
        self.waiting.store(0, Ordering::Relaxed);
        self.actor.store(Arc::new(Some(actor)));
    }

    pub(crate) fn actor(&self) -> Option<ActorRef<RegistrarMessage>> {
        (**self.actor.load()).clone()
    }

    /// A message will be put into the mailbox, room or not: it is an answer to one of the shard's own.
    pub(crate) fn count_one(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// A message has been taken out of the mailbox.
    pub(crate) fn took_one(&self) {
        // A message to the actor before this one may have been counted here.
        let _ =
            self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| waiting.checked_sub(1));
    }

    /// `false` if there is no room, or no actor.
    pub(crate) fn tell(&self, message: RegistrarMessage) -> bool {
        if self.waiting.load(Ordering::Relaxed) >= SHARD_MAILBOX_MAX {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let told = (**self.actor.load()).as_ref().is_some_and(|actor| actor.cast(message).is_ok());
        if !told {
            self.took_one();
        }
        told
    }
}

/// Where the users of our domains are registered.
pub(crate) struct Registrar {
    shards: Vec<Arc<ShardHandle>>,
    /// The addresses that we listen at, or are known by.
    addresses: HashSet<IpAddr>,
    /// Whether registrations are followed: since there were endpoints for the first time.
    is_followed: AtomicBool,
    pub(crate) changes: broadcast::Sender<Arc<Change>>,
}

impl Registrar {
    pub(crate) fn new(config: &Config) -> Self {
        let listen = config.listen.iter();
        let ip = |address: &SocketAddr| address.ip();
        let bound = listen.clone().map(|listen| listen.bind.ip()).filter(|ip| !ip.is_unspecified());
        let advertised = listen.filter_map(|listen| listen.advertise.as_ref()?.parse().ok().as_ref().map(ip));
        Self {
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
            addresses: bound.chain(advertised).collect(),
            is_followed: AtomicBool::new(false),
            changes: broadcast::Sender::new(CHANGES_MAX),
        }
    }

    /// Registrations are followed from now on. Whether they were not before.
    pub(crate) fn opens(&self) -> bool {
        !self.is_followed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Relaxed)
    }

    /// The shard of an address of record.
    pub(crate) fn shard(&self, aor: &Aor) -> &Arc<ShardHandle> {
        &self.shards[self.shard_of(aor)]
    }

    pub(crate) fn shards(&self) -> &[Arc<ShardHandle>] {
        &self.shards
    }

    /// The place of the shard of an address of record.
    pub(crate) fn shard_of(&self, aor: &Aor) -> usize {
        let mut hasher = SipHasher13::new();
        hasher.write(aor.as_str().as_bytes());
        hasher.finish() as usize % SHARDS
    }

    /// Hands the bindings of an address of record that are good now to `reply`, later and elsewhere. `false` if nobody can
    /// be asked.
    pub(crate) fn find(&self, aor: Aor, reply: Reply) -> bool {
        self.shards[self.shard_of(&aor)].tell(RegistrarMessage::Find { aor, reply })
    }

    /// Tells of changes from now on. A watcher that is too slow is told that it has missed some.
    #[allow(dead_code, reason = "for keep-alives")]
    pub(crate) fn watch(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    /// Removes the binding of a contact, or all bindings. How many there were; `None` if that cannot be done now.
    pub(crate) async fn remove(&self, aor: Aor, contact: Option<String>) -> Option<usize> {
        let shard = self.shards[self.shard_of(&aor)].actor()?;
        let message = |reply| RegistrarMessage::Remove { aor, contact, reply };
        call_t!(shard, message, REMOVE_LIMIT_MS).ok().flatten()
    }
}

impl Shared {
    /// Takes a REGISTER.
    pub(crate) fn register(&self, flow: Flow, request: &Message) {
        let is_ours = |address: IpAddr| {
            self.registrar.addresses.contains(&address)
                || self.local_addresses.towards(flow.remote, self.clock.mono()) == address
        };
        let aor = match screen_register(request, &self.configured().domains, is_ours) {
            Ok(aor) => aor,
            Err(refused) => return self.refuse(flow, request, &refused),
        };
        let shard = self.registrar.shard_of(&aor);
        let register = Box::new(Register { aor, request: request.clone(), flow });
        if !self.registrar.shards[shard].tell(RegistrarMessage::Register(register)) {
            self.metrics.registrations.of(Registration::Overflow).inc();
            // By datagrams it comes again by itself.
            if flow.transport.is_reliable() {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                self.refuse(flow, request, &Refused::and(status, Name::RetryAfter, RETRY_AFTER_S));
            }
        }
    }

    /// The bindings that are good now, by address of record: at most `max` addresses after that one for which `wanted`.
    pub(crate) async fn registrations(
        &self,
        mut after: Option<Arc<str>>,
        max: usize,
        wanted: impl Fn(&str, &Binding) -> bool + Send,
    ) -> Result<Vec<(Arc<str>, Vec<Binding>)>, StoreError> {
        let mut found = Vec::new();
        let now = self.clock.now().wall;
        loop {
            let page = self.store.scan(Space::Registrations, after.take(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            for (aor, document) in page {
                let mut bindings = self.decoded(&aor, &document.value, now).bindings;
                bindings.retain(|binding| wanted(&aor, binding));
                if !bindings.is_empty() {
                    found.push((aor, bindings));
                }
                if found.len() == max {
                    return Ok(found);
                }
            }
            // Others have work to do as well.
            tokio::task::yield_now().await;
        }
    }
}

impl Shared {
    /// Bindings as the store has them, without lapsed ones, reached from here. What cannot be read is logged, and is as good
    /// as none.
    pub(crate) fn decoded(&self, aor: &str, value: &[u8], now: Wall) -> Bindings {
        let mut bindings = codec::decode::<Bindings>(value).unwrap_or_else(|error| {
            let user = tandem_telemetry::Redacted(aor);
            tracing::error!(%user, %error, "cannot read the bindings of a user");
            Bindings::default()
        });
        bindings.expire(now);
        if self.store.is_shared() {
            bindings.bindings.iter_mut().for_each(|binding| self.bring_here(binding));
        }
        bindings
    }

    /// Reaches a binding from the listener that has the address at which it was registered, else from one that speaks its
    /// transport.
    fn bring_here(&self, binding: &mut Binding) {
        let Flow { transport, listener, remote } = binding.flow;
        if binding.edge.is_empty() || *self.local_name(listener, remote) == *binding.edge {
            return;
        }
        let places = 0..u16::try_from(self.listeners.len()).unwrap_or(u16::MAX);
        let speaks = |place: &u16| self.listeners[usize::from(*place)].socket.transport() == transport;
        let same = places.filter(speaks).find(|place| *self.local_name(*place, remote) == *binding.edge);
        binding.elsewhere = same.is_none();
        let flow = match same {
            Some(listener) => Some(Flow { transport, listener, remote }),
            None => self.flow_to(transport, remote, None),
        };
        binding.flow = flow.unwrap_or(binding.flow);
    }
}
