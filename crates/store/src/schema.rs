//! Which schemas of a call's snapshot this release reads and writes.

use crate::codec::Versioned;
use tandem_switch::call::Snapshot;

impl Versioned for Snapshot {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}
