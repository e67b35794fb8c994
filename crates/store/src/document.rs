//! Documents: small values that are written by comparing and setting, and that may lapse.

use bytes::Bytes;
use std::sync::Arc;
use tandem_sip::time::Wall;

/// The longest document a store takes, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 65_536;

/// The longest key of a document, in bytes.
pub const MAX_KEY_BYTES: usize = 1_024;

/// What documents are about. Keys of two spaces have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// The bindings of an address of record.
    Registrations,
    /// What a gateway has published of itself.
    Publications,
    /// What the nodes of a cluster have in common: keys, and who does what for all.
    Cluster,
    /// Who the nodes are.
    Nodes,
    /// The configuration, revision by revision.
    Config,
    /// Who changed what.
    Audit,
}

impl Space {
    /// All of them, in the order of their numbers.
    pub const ALL: [Space; 6] = [
        Space::Registrations,
        Space::Publications,
        Space::Cluster,
        Space::Nodes,
        Space::Config,
        Space::Audit,
    ];

    pub(crate) const fn number(self) -> usize {
        self as usize
    }
}

/// Where a document stands: another number after each write, and never one that it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A document as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where it stands.
    pub revision: Revision,
    /// Its content.
    pub value: Bytes,
    /// When it will have gone by itself, if ever.
    pub lapses: Option<Wall>,
}

/// A document to be written or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// What it is about.
    pub space: Space,
    /// Its name, at most [`MAX_KEY_BYTES`].
    pub key: Arc<str>,
    /// Where its writer has seen it; `None` for one that is not there.
    pub seen: Option<Revision>,
    /// Its content, at most [`MAX_DOCUMENT_BYTES`]; `None` removes it.
    pub value: Option<Bytes>,
    /// When it is to be gone by itself; for readers it has gone in that very millisecond.
    pub lapses: Option<Wall>,
}

/// A document was written or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its name; empty: any may have changed.
    pub key: Arc<str>,
    /// Where it stands now; `None` if it was removed, or that is not known.
    pub revision: Option<Revision>,
}

impl Changed {
    /// Any document may have changed.
    pub fn any() -> Self {
        Self { key: "".into(), revision: None }
    }

    /// Whether any document may have changed.
    pub fn is_any(&self) -> bool {
        self.key.is_empty()
    }
}
