//! Guessing of passwords: who has failed too often is not heard for a while.

use crate::admission::SourceKey;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Mono;

/// The most sources and accounts that are suspended at a time; the suspension that ends first gives way.
pub const SUSPENSIONS_MAX: usize = 16_384;

/// The most sources and accounts whose failures are counted; those that failed longest ago are forgotten first.
const WATCHED_MAX: usize = 65_536;

/// Who guesses, or whose password is guessed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offender {
    /// An address, or a /64 of IPv6.
    Source(SourceKey),
    /// A user name, whether there is such a user or not.
    Account(Arc<str>),
    /// A user name at the source that its user was seen at last: others behind the same NAT, and the user itself, do not
    /// suffer from who guesses elsewhere.
    Home(SourceKey, Arc<str>),
}

impl fmt::Display for Offender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offender::Source(source) => source.fmt(f),
            Offender::Account(user) => f.write_str(user),
            Offender::Home(source, user) => write!(f, "{user} at {source}"),
        }
    }
}

/// When somebody is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuspensionRules {
    /// So many wrong answers, 0 for never …
    pub after: u32,
    /// … within this time …
    pub window: Duration,
    /// … and nothing is checked for this long.
    pub time: Duration,
}

/// A suspension that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// Who is suspended.
    pub offender: Offender,
    /// Since when.
    pub since: Mono,
    /// Until when.
    pub until: Mono,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// When the first of them was counted.
    since: Mono,
}

/// Counts failures, and knows who is suspended.
#[derive(Debug)]
pub struct Suspensions {
    rules: SuspensionRules,
    /// Failures counted lately. When they are as many as half the limit they become the older ones, and those before them
    /// are forgotten.
    recent: HashMap<Offender, Failures>,
    older: HashMap<Offender, Failures>,
    suspended: BTreeMap<Offender, Suspended>,
}

impl Suspensions {
    /// Nobody is suspended yet.
    pub fn new(rules: SuspensionRules) -> Self {
        Self { rules, recent: HashMap::new(), older: HashMap::new(), suspended: BTreeMap::new() }
    }

    /// Until when somebody is suspended, if so.
    pub fn until(&self, now: Mono, offender: &Offender) -> Option<Mono> {
        self.suspended.get(offender).map(|suspended| suspended.until).filter(|until| *until > now)
    }

    /// Somebody has answered wrongly. `true` if it is suspended from now on.
    pub fn on_failure(&mut self, now: Mono, offender: &Offender) -> bool {
        if self.rules.after == 0 {
            return false;
        }
        if self.recent.len() >= WATCHED_MAX / 2 && !self.recent.contains_key(offender) {
            self.older = std::mem::take(&mut self.recent);
        }
        let older = &mut self.older;
        let failures = self
            .recent
            .entry(offender.clone())
            .or_insert_with(|| older.remove(offender).unwrap_or(Failures { count: 0, since: now }));
        if now.since(failures.since) >= self.rules.window {
            *failures = Failures { count: 0, since: now };
        }
        failures.count += 1;
        if failures.count < self.rules.after {
            return false;
        }
        self.recent.remove(offender);
        self.suspend(now, offender.clone());
        true
    }

    /// Hears somebody again. `false` if it was not suspended.
    pub fn lift(&mut self, offender: &Offender) -> bool {
        self.recent.remove(offender);
        self.older.remove(offender);
        self.suspended.remove(offender).is_some()
    }

    /// Who is suspended, sources first.
    pub fn all(&mut self, now: Mono) -> impl Iterator<Item = &Suspended> {
        self.suspended.retain(|_, suspended| suspended.until > now);
        self.suspended.values()
    }

    fn suspend(&mut self, now: Mono, offender: Offender) {
        if self.suspended.len() >= SUSPENSIONS_MAX {
            let first = self.suspended.values().min_by_key(|suspended| suspended.until);
            if let Some(first) = first.map(|first| first.offender.clone()) {
                self.suspended.remove(&first);
            }
        }
        let until = now + self.rules.time;
        self.suspended.insert(offender.clone(), Suspended { offender, since: now, until });
    }
}
