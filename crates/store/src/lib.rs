//! Shared state of the cluster: what survives the death of a node.
//!
//! [`Store`] is what a call needs to outlive its owner: a snapshot under an owner and an epoch, a claim that only one
//! heir can win, and an end that removes the snapshot and hands over the CDR in one step. Beside calls it keeps documents,
//! each written by comparing and setting: registrations and publications. Snapshots, CDRs and documents are opaque here;
//! [`codec`] versions them.

pub mod codec;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod document;
mod memory;
pub mod redis;
mod schema;
mod slot;

pub use document::{Changed, Document, MAX_DOCUMENT_BYTES, MAX_KEY_BYTES, Put, Revision, Space};
pub use memory::{Clock, MemoryLimits, MemoryStore};
pub use slot::{CPS_WINDOW, SLOT_GRACE, SLOT_LEASE, SlotTake, Taken};

use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Wall;
use tokio::sync::{broadcast, watch};

/// How long an ended call is remembered, so that a late commit cannot raise the dead.
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(600);

/// The longest snapshot a store takes, in bytes. A backstop: the budget of a snapshot is 2 KB.
pub const SNAPSHOT_MAX_BYTES: usize = 65_536;

/// The longest CDR a store takes, in bytes.
pub const CDR_MAX_BYTES: usize = 262_144;

/// The most consumer groups of the CDR stream.
pub const CDR_GROUPS_MAX: usize = 16;

/// What a store's method returns: owned, so that the caller can time it out, spawn it or drop it.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// The name of a call in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    /// The part of the store that holds the call; it travels in the call's tokens.
    pub bucket: u8,
    /// The call's id.
    pub id: [u8; 12],
}

impl fmt::Display for CallKey {
    /// Bucket and id in hexadecimal: `b07:0011…`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "b{:02x}:", self.bucket)?;
        self.id.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// One life of a node: the same name after a restart is another owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The node's name.
    pub node: Arc<str>,
    /// Which start of that node.
    pub boot: u64,
}

/// A snapshot to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallWrite {
    /// The call.
    pub key: CallKey,
    /// Who writes.
    pub owner: Owner,
    /// The epoch in which the writer owns the call: one higher with every change of owner.
    pub epoch: u32,
    /// The snapshot's place in the epoch: the highest is the newest.
    pub seq: u64,
    /// The snapshot, in its envelope.
    pub snapshot: Bytes,
}

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is what the store now holds.
    Stored,
    /// The store holds this one or a newer one of the same epoch already: a resent or overtaken write, absorbed.
    Absorbed,
}

/// A call as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCall {
    /// Who owns it.
    pub owner: Owner,
    /// Since which epoch.
    pub epoch: u32,
    /// The place of the snapshot.
    pub seq: u64,
    /// The newest snapshot.
    pub snapshot: Bytes,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEnd {
    /// The call.
    pub key: CallKey,
    /// Who ends it.
    pub owner: Owner,
    /// The epoch in which the writer owns the call.
    pub epoch: u32,
    /// The record for the stream, if this call gets one.
    pub cdr: Option<Bytes>,
}

/// How a store stands with this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Whether it is asked at present; otherwise whoever asks is told at once that it is away.
    pub answers: bool,
    /// Counts from the beginning how often the store may have lost what it had taken: after a gap in contact of more than a
    /// second, with another server behind the address, or with an empty one. Whoever knows the truth then writes it again.
    pub lives: u64,
}

/// What came of a beat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beaten {
    /// What time it was for the store; `None` where it has no clock of its own.
    pub at: Option<Wall>,
    /// What each node has said last, by name.
    pub nodes: Vec<(Arc<str>, Bytes)>,
}

/// Why a store refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else owns the call: the stored epoch is higher, or the same with another owner. The writer is to let go.
    #[error("the call belongs to another owner since epoch {epoch}")]
    Fenced {
        /// The epoch stored.
        epoch: u32,
    },
    /// The call has ended and its tombstone stands.
    #[error("the call has ended")]
    Ended,
    /// There is nothing to claim.
    #[error("no such call")]
    Unknown,
    /// Longer than the store takes.
    #[error("{bytes} bytes where at most {limit} are taken")]
    TooLong {
        /// The length given.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// As many calls as the store holds.
    #[error("the store is full: {limit} calls")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The CDR stream is full because a sink does not acknowledge. The call has not ended in the store and its snapshot
    /// stays: the end has to be tried again, since no CDR is ever dropped.
    #[error("the CDR stream is full: {limit} records are not acknowledged")]
    CdrsFull {
        /// The limit.
        limit: usize,
    },
    /// More consumer groups than the stream serves.
    #[error("the CDR stream serves at most {limit} groups")]
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
    /// Somebody else has written the document since it was read, or it is there already, or not any more.
    #[error("the document has changed: it stands at {stored:?}")]
    Conflict {
        /// Its revision, `None` if there is none.
        stored: Option<Revision>,
    },
    /// As many documents as a space holds.
    #[error("the space is full: {limit} documents")]
    SpaceFull {
        /// The limit.
        limit: usize,
    },
    /// The store cannot be asked (away, slow, breaker open); whether the write was made is unknown.
    #[error("the store does not answer: {step}")]
    Away {
        /// What was being done.
        step: &'static str,
    },
}

/// The shared store. Every method is idempotent: what is unsure to have arrived is sent again.
///
/// The CDR stream: each record is handed to every consumer group until that group acknowledges it, and is removed once
/// all groups have. A group exists from the first time it is named, and gets all records still held then; as long as no
/// group exists nothing is removed. Records of one bucket come in the order in which their calls ended.
pub trait Store: Send + Sync + 'static {
    /// Stores a snapshot. A higher epoch replaces a lower one, within an epoch the highest `seq` wins.
    ///
    /// # Errors
    /// [`StoreError::Fenced`], [`StoreError::Ended`], [`StoreError::TooLong`], [`StoreError::Full`].
    fn commit(&self, write: CallWrite) -> StoreFuture<Committed>;

    /// Reads a call; `None` if there is none (never stored, or ended).
    fn load(&self, key: CallKey) -> StoreFuture<Option<StoredCall>>;

    /// Takes a call over: if its epoch is still `seen_epoch`, it belongs to `new_owner` with the next epoch. A claim
    /// that the same owner repeats with the same `seen_epoch` succeeds again.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if another heir was quicker, [`StoreError::Ended`], [`StoreError::Unknown`].
    fn claim(&self, key: CallKey, seen_epoch: u32, new_owner: Owner) -> StoreFuture<StoredCall>;

    /// Ends a call in one step: the snapshot is removed, the CDR appended, and a tombstone stands for
    /// [`TOMBSTONE_LIFE`]. Against a tombstone nothing is done, and that is a success: the CDR is there once.
    /// A call that was never stored can be ended too.
    ///
    /// # Errors
    /// [`StoreError::Fenced`], [`StoreError::CdrsFull`], [`StoreError::TooLong`]; the call has not ended then.
    fn end(&self, end: CallEnd) -> StoreFuture<()>;

    /// The calls that any life of a node owns, in the order of their keys.
    fn owned(&self, node: &str) -> StoreFuture<Vec<CallKey>>;

    /// The oldest records that a group has not acknowledged, at most `max`. Read again, they come again.
    ///
    /// # Errors
    /// [`StoreError::TooManyGroups`].
    fn read_cdrs(&self, group: &str, max: usize) -> StoreFuture<Vec<(CallKey, Bytes)>>;

    /// Takes records off a group's list for good; what is not on it is ignored.
    ///
    /// # Errors
    /// [`StoreError::TooManyGroups`].
    fn ack_cdrs(&self, group: &str, keys: &[CallKey]) -> StoreFuture<()>;

    /// How many records a group has not acknowledged.
    ///
    /// # Errors
    /// [`StoreError::TooManyGroups`].
    fn cdr_backlog(&self, group: &str) -> StoreFuture<usize>;

    /// Tells of new records: the number of records appended, as far as this process knows. A reader marks it seen,
    /// reads until nothing comes, and then awaits a change.
    fn cdr_appends(&self) -> watch::Receiver<u64>;

    /// Writes or removes a document if it still stands where its writer has seen it. The same write again succeeds again
    /// with the same revision, as long as nobody else has written; so does removing what is not there.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::TooLong`] for a value or a key, [`StoreError::SpaceFull`].
    fn put(&self, put: Put) -> StoreFuture<Revision>;

    /// Reads a document; `None` if there is none, or if it has lapsed.
    fn get(&self, space: Space, key: &str) -> StoreFuture<Option<Document>>;

    /// The documents of a space by key, at most `max`: the first ones, or those that follow `after`.
    fn scan(
        &self,
        space: Space,
        after: Option<Arc<str>>,
        max: usize,
    ) -> StoreFuture<Vec<(Arc<str>, Document)>>;

    /// Tells of documents that are written or removed from now on, or were a moment ago, by whomever. A reader that is too slow
    /// is told that it has missed some, and scans; so it does where any may have changed ([`Changed::is_any`]). What may have
    /// been lost by then is in [`Store::contact`]. A document that lapses is not told of: every reader knows when it does.
    fn changes(&self, space: Space) -> broadcast::Receiver<Changed>;

    /// Whether other processes may use it, too.
    fn is_shared(&self) -> bool;

    /// Takes a slot of a gateway for one of its holders, if its limits allow that over the whole cluster. It lapses after
    /// [`SLOT_LEASE`] by the store's clock unless it is renewed. Taking again what is held takes nothing, and renews it.
    ///
    /// # Errors
    /// Those of any step; a limit that is reached is no error.
    fn take_slot(&self, take: SlotTake) -> StoreFuture<Taken>;

    /// Renews what a node holds of a gateway, also what has lapsed or is not known (any more), whatever the limits. How many
    /// slots are held over the whole cluster then.
    fn renew_slots(&self, gateway: Arc<str>, holders: Vec<Arc<str>>) -> StoreFuture<u32>;

    /// Gives a slot back; what is not held is ignored.
    fn release_slot(&self, gateway: Arc<str>, holder: Arc<str>) -> StoreFuture<()>;

    /// Writes what a node says of itself, if it says anything, and reads what all of them have said last, by name. What is written stays until the
    /// node is forgotten: whether it is old is for readers to judge.
    fn beat(&self, says: Option<(Arc<str>, Bytes)>) -> StoreFuture<Beaten>;

    /// Forgets what a node has said. `false` if it has said nothing.
    fn forget_node(&self, node: Arc<str>) -> StoreFuture<bool>;

    /// How it stands with the store, now and from now on.
    fn contact(&self) -> watch::Receiver<Contact>;
}
