//! Which INVITEs are being worked on, so that one that a fork upstream brings by a second way makes no second call
//! (merged requests, RFC 3261 §8.2.2.2).

use parking_lot::Mutex;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::{HashMap, hash_map};
use std::hash::Hasher;
use tandem_sip::Message;
use tandem_switch::call::CallId;

const SHARDS: usize = 64;

/// What a request and its forks have in common: Call-ID, From tag and sequence number, as a keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey(u128);

impl RequestKey {
    /// The key of an INVITE; `None` where it has no From tag (RFC 2543), so that nothing tells forks from strangers.
    pub(crate) fn of(invite: &Message, key: &[u8; 16]) -> Option<Self> {
        let mut hasher = SipHasher13::new_with_key(key);
        for part in [invite.call_id()?, invite.from_tag()?] {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.write_u32(invite.cseq().ok()?.number);
        Some(Self(hasher.finish128().as_u128()))
    }

    fn shard(self) -> usize {
        self.0 as usize % SHARDS
    }
}

/// The INVITEs of the calls that have not ended. There are as many as calls are admitted.
#[derive(Debug)]
pub(crate) struct Ongoing {
    shards: Box<[Mutex<HashMap<RequestKey, CallId>>]>,
}

impl Default for Ongoing {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Ongoing {
    /// Enters the INVITE of a call. `false` if it is another call's.
    pub(crate) fn enter(&self, request: RequestKey, call: CallId) -> bool {
        match self.shards[request.shard()].lock().entry(request) {
            hash_map::Entry::Occupied(other) => *other.get() == call,
            hash_map::Entry::Vacant(place) => {
                place.insert(call);
                true
            }
        }
    }

    /// Takes the INVITE of a call that has ended out; another call's stays.
    pub(crate) fn leave(&self, request: RequestKey, call: CallId) {
        if let hash_map::Entry::Occupied(entry) = self.shards[request.shard()].lock().entry(request)
            && *entry.get() == call
        {
            entry.remove();
        }
    }
}
