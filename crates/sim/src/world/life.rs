//! A call's place on the node: what its actor, its mailbox and its registration are in production.

use bytes::Bytes;
use std::sync::Arc;
use tandem_cluster::{CallHost, WriteResult};
use tandem_sip::Message;
use tandem_sip::flow::Flow;
use tandem_switch::call::{CallId, Input, Looked, Snapshot};
use tandem_switch::gateway::Holder;

/// One call from its INVITE until its actor is gone.
pub(super) struct Life {
    pub(super) id: CallId,
    /// None once it has stopped.
    pub(super) host: Option<CallHost>,
    pub(super) mapping: usize,
    /// What the plan has for it.
    pub(super) plan: usize,
    /// Slots that it was or will be given.
    pub(super) held: Vec<(usize, Holder)>,
    /// It counts for the limits of the node and of its mapping gateway.
    pub(super) admitted: bool,
    /// The caller's INVITE until the first commit is stored.
    pub(super) invite: Option<(Message, Flow)>,
    /// Which of its wake-ups counts.
    pub(super) wake_turn: u32,
    /// How often it was woken at the time it was last woken at.
    pub(super) wakes: (u64, u32),
    /// When the store will have done all that was asked of it.
    pub(super) pipeline_until: u64,
    /// The number of the write that ends it, and the end.
    pub(super) ending: Option<(u64, End)>,
    /// The place of what the store has lost of it, until it has it again.
    pub(super) lost: Option<(u32, u64)>,
    /// The store has taken its end.
    pub(super) has_ended: bool,
    /// Another node was given it by a master that this node did not know of: if it ends before that shows, its record comes
    /// from there.
    pub(super) has_two_owners: bool,
    /// Panics that were made to happen and have not been reported yet.
    pub(super) panics: u32,
    /// It was made to panic before.
    pub(super) panicked: bool,
}

/// The end of a call as the store is told it.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) id: CallId,
    pub(super) epoch: u32,
    pub(super) records: Option<Bytes>,
}

/// A result on its way to a call.
#[derive(Debug)]
pub(super) enum Mail {
    /// A gateway's word on a slot, or the answer to a look-up.
    Result(Input),
    /// Credentials, or where a name leads.
    Told(Input),
    Looked(Looked),
    Stored {
        epoch: u32,
        seq: u64,
        result: WriteResult,
    },
    Claimed(Claimed),
}

/// The store's answer to a claim.
#[derive(Debug)]
pub(super) enum Claimed {
    Ours { epoch: u32, seq: u64, snapshot: Arc<Snapshot> },
    Away,
    Lost,
}

/// A snapshot as it comes back from the store: through the bytes that it is kept as.
pub(crate) fn through_bytes(snapshot: &Snapshot) -> Result<Snapshot, String> {
    let bytes = bincode::serialize(snapshot).map_err(|error| error.to_string())?;
    bincode::deserialize(&bytes).map_err(|error| error.to_string())
}

/// The branch of the first Via of a message of ours, also of one that was cut short. Via is its first header.
pub(super) fn branch_of(message: &Bytes) -> Option<Bytes> {
    const MARK: &[u8] = b";branch=";
    let via_at = message.iter().position(|byte| *byte == b'\n')?;
    let start =
        via_at + message[via_at..].windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let end = message[start..].iter().position(|byte| matches!(byte, b';' | b'\r' | b'\n' | b' ' | b','))?;
    Some(message.slice(start..start + end))
}
