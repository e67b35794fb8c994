//! Bindings: where a user is reached, and until when.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tandem_sip::flow::Flow;
use tandem_sip::time::Wall;

/// The longest Contact URI, in bytes.
pub const MAX_CONTACT_LEN: usize = 512;

/// The most values of a Path.
pub const MAX_PATHS: usize = 8;

/// The longest value of a Path, in bytes.
pub const MAX_PATH_LEN: usize = 512;

/// One binding of an address of record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The Contact URI as it was registered, without brackets.
    pub contact: Arc<str>,
    /// The preference, in thousandths: the highest is called first.
    pub q: u16,
    /// How its REGISTER came: where it is reached if it is behind a NAT, or has registered this flow (RFC 5626).
    pub flow: Flow,
    /// Where it was registered, as peers know that place: nodes that share the address reach it by the same way.
    pub edge: Arc<str>,
    /// Whether this node has no such address. Then `flow` is not the way that its REGISTER came.
    #[serde(skip)]
    pub elsewhere: bool,
    /// Whether it is behind a NAT.
    pub nat: bool,
    /// The proxies on the way to it, in the order of a Route (RFC 3327).
    pub path: Vec<Arc<str>>,
    /// The device (`+sip.instance`, RFC 5626 §4.1), without quotes.
    pub instance: Option<Arc<str>>,
    /// Which of the device's flows this is; only with an instance, and only where outbound was agreed.
    pub reg_id: Option<u32>,
    /// The Call-ID of its last REGISTER.
    pub call_id: Arc<str>,
    /// The CSeq of its last REGISTER.
    pub cseq: u32,
    /// Until when it is good.
    pub expires: Wall,
    /// When it was first registered.
    pub registered: Wall,
    /// When it was registered last.
    pub refreshed: Wall,
    /// What the device calls itself.
    pub user_agent: Option<Arc<str>>,
}

impl Binding {
    /// Whether both are one binding: a flow by its device and number (RFC 5626 §6), anything else by its URI.
    fn is_same(&self, other: &Binding) -> bool {
        match (self.reg_id, other.reg_id) {
            (Some(ours), Some(theirs)) => ours == theirs && self.instance == other.instance,
            (Some(_) | None, Some(_) | None) => self.contact == other.contact,
        }
    }

    /// Whether it is good at that time.
    pub fn lives(&self, now: Wall) -> bool {
        self.expires > now
    }

    /// Seconds until it lapses, begun ones included.
    pub fn left_s(&self, now: Wall) -> u64 {
        self.expires.0.saturating_sub(now.0).div_ceil(1000)
    }
}

/// By what a REGISTER came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its way back.
    pub flow: Flow,
    /// The address at which it arrived, as peers know it.
    pub edge: &'a Arc<str>,
}

/// All bindings of one address of record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    /// In the order in which they were first registered.
    pub bindings: Vec<Binding>,
}

impl Bindings {
    /// Takes away those that have lapsed. Whether there were any.
    pub fn expire(&mut self, now: Wall) -> bool {
        let before = self.bindings.len();
        self.bindings.retain(|binding| binding.lives(now));
        self.bindings.len() < before
    }

    /// What two nodes know of one address of record, where neither is sure to have heard all: of each binding the later
    /// REGISTER counts. One that only one of them knows is kept until it lapses.
    pub fn merge(&self, other: &Bindings) -> Bindings {
        let mut merged = self.clone();
        for theirs in &other.bindings {
            match merged.bindings.iter_mut().find(|ours| ours.is_same(theirs)) {
                Some(ours) if (ours.refreshed, ours.cseq) < (theirs.refreshed, theirs.cseq) => {
                    *ours = theirs.clone();
                }
                Some(_) => {}
                None => merged.bindings.push(theirs.clone()),
            }
        }
        merged.bindings.sort_by(|a, b| (a.registered, &a.contact).cmp(&(b.registered, &b.contact)));
        merged
    }

    /// Whether each binding that others had and that has not lapsed is here, too, whatever has become of it.
    pub fn keeps_all_of(&self, others: &Bindings, now: Wall) -> bool {
        let mut living = others.bindings.iter().filter(|binding| binding.lives(now));
        living.all(|theirs| self.bindings.iter().any(|ours| ours.is_same(theirs)))
    }

    /// Takes away the bindings of a contact as it was registered, or all. How many there were.
    pub fn remove(&mut self, contact: Option<&str>) -> usize {
        let before = self.bindings.len();
        self.bindings.retain(|binding| contact.is_some_and(|contact| *binding.contact != *contact));
        before - self.bindings.len()
    }

    /// When the first of them lapses.
    pub fn first_expiry(&self) -> Option<Wall> {
        self.bindings.iter().map(|binding| binding.expires).min()
    }

    /// When the last of them lapses.
    pub fn last_expiry(&self) -> Option<Wall> {
        self.bindings.iter().map(|binding| binding.expires).max()
    }
}
