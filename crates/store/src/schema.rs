//! Which schemas of a call's snapshot, of an address's bindings and of a gateway's publication this release reads and writes.

use crate::codec::Versioned;
use tandem_switch::call::Snapshot;
use tandem_switch::publication::Publication;
use tandem_switch::registrar::Bindings;

impl Versioned for Snapshot {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

impl Versioned for Bindings {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}

impl Versioned for Publication {
    const SCHEMA: u16 = 1;
    type Previous = Self;
}
