//! Slots of gateways: leases, counted over the whole cluster.

use std::sync::Arc;
use std::time::Duration;

/// How long a slot is held without being renewed: what a node leaves behind that dies.
pub const SLOT_LEASE: Duration = Duration::from_secs(30);

/// How long after a gateway's slots were begun to be counted it is unsure whether all that are held are among them: the
/// store may have lost them, and nodes give them back.
pub const SLOT_GRACE: Duration = Duration::from_secs(5);

/// The time in which calls per second are counted.
pub const CPS_WINDOW: Duration = Duration::from_secs(1);

/// A slot that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotTake {
    /// Whose.
    pub gateway: Arc<str>,
    /// For whom: unique in the cluster.
    pub holder: Arc<str>,
    /// The most that are held at once; `None` for no bound.
    pub max_calls: Option<u32>,
    /// The most that are taken within any second; `None` for no bound.
    pub cps: Option<u32>,
    /// The most that are taken within a tenth of a second, so that a crowd does not use up a second in its first moment.
    pub burst: u32,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the holder's.
    Yes {
        /// How many are held now.
        held: u32,
    },
    /// `max_calls` are held.
    AtMaxCalls {
        /// How many are held.
        held: u32,
    },
    /// `cps` were taken within the last second, or a burst within the last tenth.
    AtCps {
        /// How many are held.
        held: u32,
    },
    /// It is the holder's as far as the store knows, which counts this gateway's slots since [`SLOT_GRACE`] or less: others may
    /// hold some that it does not know of.
    Unsure {
        /// How many are known, this one included.
        held: u32,
    },
}
