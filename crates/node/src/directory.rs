//! Which calls are here, and how their actors are reached.

use crate::call_actor::CallMessage;
use parking_lot::RwLock;
use ractor::ActorRef;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tandem_switch::call::CallId;

/// Messages from the network that may wait in one call's mailbox. Results of the call's own requests are exempt.
pub const MAILBOX_MAX: usize = 64;

const SHARDS: usize = 64;

/// All calls that this node owns.
#[derive(Debug)]
pub(crate) struct Directory {
    shards: Box<[RwLock<HashMap<CallId, CallHandle>>]>,
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
    /// Nobody reads it any more.
    closed: AtomicBool,
}

impl Default for Directory {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }
}

impl Directory {
    fn shard(&self, id: CallId) -> &RwLock<HashMap<CallId, CallHandle>> {
        &self.shards[usize::from(id.bucket()) % SHARDS]
    }

    pub(crate) fn find(&self, id: CallId) -> Option<CallHandle> {
        self.shard(id).read().get(&id).cloned()
    }

    /// Enters a call, unless its actor has gone already: it may have started and ended before it could be entered.
    pub(crate) fn insert(&self, id: CallId, handle: CallHandle) {
        let mailbox = handle.mailbox.clone();
        self.shard(id).write().insert(id, handle);
        if mailbox.closed.load(Ordering::Acquire) {
            self.shard(id).write().remove(&id);
        }
    }

    /// Takes a call out, whose actor has gone.
    pub(crate) fn remove(&self, id: CallId, mailbox: &Mailbox) {
        mailbox.closed.store(true, Ordering::Release);
        self.shard(id).write().remove(&id);
    }

    /// All calls, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<(CallId, CallHandle)> {
        let mut all: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| shard.read().clone().into_iter().collect::<Vec<_>>())
            .collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }
}

impl CallHandle {
    pub(crate) fn new(actor: ActorRef<CallMessage>, mailbox: Arc<Mailbox>) -> Self {
        Self { actor, mailbox }
    }

    pub(crate) fn actor(&self) -> &ActorRef<CallMessage> {
        &self.actor
    }

    /// Hands a message from the network over. `false` if the mailbox is full or the call has gone.
    pub(crate) fn offer(&self, message: CallMessage) -> bool {
        if self.mailbox.waiting.fetch_add(1, Ordering::Relaxed) >= MAILBOX_MAX {
            self.mailbox.took_one();
            return false;
        }
        self.actor.cast(message).is_ok()
    }
}

impl Mailbox {
    /// A message from the network was taken out.
    pub(crate) fn took_one(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
