//! Which calls are here, and how their actors are reached.

use crate::call_actor::CallMessage;
use parking_lot::RwLock;
use ractor::ActorRef;
use siphasher::sip::SipHasher13;
use std::collections::{HashMap, hash_map};
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tandem_switch::call::CallId;

/// Messages from the network that may wait in one call's mailbox. Results of the call's own requests are exempt.
pub const MAILBOX_MAX: usize = 64;

const SHARDS: usize = 64;

/// What decides where a call goes, as a hash: two calls that have it in common are routed alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteKey(u64);

impl RouteKey {
    /// The key of a mapping gateway and the number that it calls.
    pub(crate) fn of(mapping_gateway: &str, called: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(mapping_gateway.as_bytes());
        // Neither holds it.
        hasher.write_u8(b' ');
        hasher.write(called.as_bytes());
        Self(hasher.finish())
    }
}

/// All calls that this node owns.
#[derive(Debug)]
pub(crate) struct Directory {
    shards: Box<[RwLock<HashMap<CallId, Entry>>]>,
}

#[derive(Debug)]
struct Entry {
    mailbox: Arc<Mailbox>,
    /// Not there yet while the call is being started.
    actor: Option<ActorRef<CallMessage>>,
}

/// A call's actor, and how it stands.
#[derive(Clone, Debug)]
pub(crate) struct CallHandle {
    actor: ActorRef<CallMessage>,
    mailbox: Arc<Mailbox>,
}

/// What is known of a call's mailbox from outside.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// Messages from the network that wait in it.
    waiting: AtomicUsize,
    /// The call has ended; its last transactions are still answered.
    over: AtomicBool,
    /// Where the call came from and to whom.
    route: RouteKey,
}

impl Default for Directory {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }
}

impl Directory {
    fn shard(&self, id: CallId) -> &RwLock<HashMap<CallId, Entry>> {
        &self.shards[usize::from(id.bucket()) % SHARDS]
    }

    pub(crate) fn find(&self, id: CallId) -> Option<CallHandle> {
        self.shard(id).read().get(&id).and_then(Entry::handle)
    }

    /// Takes a call's place before it is started. `false` if it has one: a copy of its INVITE came by another listener
    /// at the same time.
    pub(crate) fn reserve(&self, id: CallId, mailbox: &Arc<Mailbox>) -> bool {
        match self.shard(id).write().entry(id) {
            hash_map::Entry::Occupied(_) => false,
            hash_map::Entry::Vacant(place) => {
                place.insert(Entry { mailbox: mailbox.clone(), actor: None });
                true
            }
        }
    }

    /// Enters the actor at its reserved place, unless it has gone already: it may have started and ended by now.
    pub(crate) fn enter(&self, id: CallId, mailbox: &Arc<Mailbox>, actor: ActorRef<CallMessage>) {
        if let Some(entry) = self.shard(id).write().get_mut(&id)
            && Arc::ptr_eq(&entry.mailbox, mailbox)
        {
            entry.actor = Some(actor);
        }
    }

    /// Takes a call out, whose actor has gone. A later call at its place stays.
    pub(crate) fn remove(&self, id: CallId, mailbox: &Arc<Mailbox>) {
        if let hash_map::Entry::Occupied(entry) = self.shard(id).write().entry(id)
            && Arc::ptr_eq(&entry.get().mailbox, mailbox)
        {
            entry.remove();
        }
    }

    /// All calls, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<(CallId, CallHandle)> {
        let handles = |shard: &RwLock<HashMap<CallId, Entry>>| {
            let shard = shard.read();
            shard.iter().filter_map(|(id, entry)| Some((*id, entry.handle()?))).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.shards.iter().flat_map(handles).collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }
}

impl Entry {
    fn handle(&self) -> Option<CallHandle> {
        Some(CallHandle { actor: self.actor.clone()?, mailbox: self.mailbox.clone() })
    }
}

impl CallHandle {
    pub(crate) fn actor(&self) -> &ActorRef<CallMessage> {
        &self.actor
    }

    /// Hands a message from the network over. `false` if the mailbox is full; a call that has gone takes all, and
    /// answers none.
    pub(crate) fn offer(&self, message: CallMessage) -> bool {
        let has_room = self.mailbox.waiting.fetch_add(1, Ordering::Relaxed) < MAILBOX_MAX;
        if !has_room || self.actor.cast(message).is_err() {
            self.mailbox.took_one();
        }
        has_room
    }

    /// Whether its mailbox takes another message from the network.
    pub(crate) fn has_room(&self) -> bool {
        self.mailbox.waiting.load(Ordering::Relaxed) < MAILBOX_MAX
    }

    /// What decides where the call goes.
    pub(crate) fn route(&self) -> RouteKey {
        self.mailbox.route
    }

    /// Whether the call has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.mailbox.over.load(Ordering::Relaxed)
    }
}

impl Mailbox {
    /// The empty mailbox of a call that is routed by that key.
    pub(crate) fn of(route: RouteKey) -> Self {
        Self { route, ..Self::default() }
    }

    /// The call has ended.
    pub(crate) fn close(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// A message from the network was taken out.
    pub(crate) fn took_one(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ractor::{Actor, ActorProcessingErr, ActorRuntime};
    use tandem_switch::call::Input;

    /// Never comes to the end of its first message.
    struct Stuck;

    impl Actor for Stuck {
        type Msg = CallMessage;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<CallMessage>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(
            &self,
            _: ActorRef<CallMessage>,
            _: CallMessage,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            std::future::pending().await
        }
    }

    const ID: CallId = CallId([7; 12]);

    #[tokio::test]
    async fn a_mailbox_takes_64_messages_of_the_network_and_no_more() {
        let (actor, _) = ActorRuntime::spawn(None, Stuck, ()).await.expect("it starts");
        let call = CallHandle { actor: actor.clone(), mailbox: Arc::default() };
        let offer = || call.offer(CallMessage::Network(Input::Timer));
        for _ in 0..MAILBOX_MAX {
            assert!(offer());
        }
        assert!(!offer() && !offer());
        call.mailbox.took_one();
        assert!(offer() && !offer());
        actor.kill();
    }

    #[tokio::test]
    async fn a_place_is_taken_once_and_the_actor_of_a_call_that_has_gone_is_not_entered() {
        let (actor, _) = ActorRuntime::spawn(None, Stuck, ()).await.expect("it starts");
        let directory = Directory::default();
        let (first, second) = (Arc::default(), Arc::default());
        assert!(directory.reserve(ID, &first));
        assert!(!directory.reserve(ID, &second));
        assert!(directory.find(ID).is_none() && directory.all().is_empty(), "it has not started yet");
        directory.remove(ID, &first);
        directory.enter(ID, &first, actor.clone());
        assert!(directory.find(ID).is_none(), "it has gone already");
        // A later call at its place is neither replaced nor removed by it.
        assert!(directory.reserve(ID, &second));
        directory.enter(ID, &second, actor.clone());
        directory.enter(ID, &first, actor.clone());
        directory.remove(ID, &first);
        assert!(directory.find(ID).is_some_and(|call| Arc::ptr_eq(&call.mailbox, &second)));
        actor.kill();
    }
}
