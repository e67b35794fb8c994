//! How often nonces were used: each count of a nonce is good for one request (RFC 7616 §3.4, `nc`).

use super::Nonce;
use crate::time::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

/// Counts below the highest that may still come, since requests of one user can overtake each other.
const WINDOW: u32 = u64::BITS;

/// How long a request may be repeated by its transaction (64·T1, RFC 3261 §17.1.2.2).
const REPEATS_FOR: Duration = Duration::from_secs(32);

/// Counts the uses of the nonces that one node has issued. Only a nonce that was answered rightly is kept here, so whoever
/// has no password takes no room.
#[derive(Clone, Debug)]
pub struct NonceUses {
    by_serial: BTreeMap<u64, Uses>,
    /// Nonces up to this serial that are not kept have been forgotten.
    forgotten: Option<u64>,
    limit: usize,
    /// How long a nonce is good.
    life: Duration,
}

/// What becomes of one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Use {
    /// This count was never seen.
    New,
    /// The request that used this count last, sent again by its transaction.
    Again,
    /// This count was used, or it is too far below the highest to tell.
    Used,
    /// The nonce has been forgotten for lack of room: whether it was used cannot be told.
    Forgotten,
}

#[derive(Clone, Copy, Debug)]
struct Uses {
    issued: Wall,
    highest: u32,
    /// Bit n: `highest` − n has been used.
    used: u64,
    /// The request that used a count last, and when.
    last: (u32, u64, Wall),
}

impl NonceUses {
    /// Keeps at most `limit` nonces, each for its `life`; those issued first go first.
    pub fn new(limit: usize, life: Duration) -> Self {
        Self { by_serial: BTreeMap::new(), forgotten: None, limit: limit.max(1), life }
    }

    /// Nonces kept now.
    pub fn len(&self) -> usize {
        self.by_serial.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.by_serial.is_empty()
    }

    /// Uses a count of a nonce for a request, which `request` stands for: the same for each copy of it that comes from
    /// the same source, and for no other.
    pub fn take(&mut self, nonce: &Nonce, count: u32, request: u64, now: Wall) -> Use {
        self.clear(now);
        let last = (count, request, now);
        let Some(uses) = self.by_serial.get_mut(&nonce.serial) else {
            if self.forgotten.is_some_and(|forgotten| nonce.serial <= forgotten) {
                return Use::Forgotten;
            }
            if count == 0 {
                return Use::Used;
            }
            if self.by_serial.len() >= self.limit
                && let Some((serial, _)) = self.by_serial.pop_first()
            {
                self.forgotten = self.forgotten.max(Some(serial));
            }
            self.by_serial.insert(nonce.serial, Uses { issued: nonce.issued, highest: count, used: 1, last });
            return Use::New;
        };
        if uses.last.0 == count && uses.last.1 == request && now.since(uses.last.2) < REPEATS_FOR {
            return Use::Again;
        }
        if !uses.take(count) {
            return Use::Used;
        }
        uses.last = last;
        Use::New
    }

    /// Lets go of nonces that have lapsed: they are refused for that.
    fn clear(&mut self, now: Wall) {
        while let Some(entry) = self.by_serial.first_entry()
            && now.since(entry.get().issued) >= self.life
        {
            entry.remove();
        }
    }
}

impl Uses {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.used = self.used.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if count == 0 || behind >= WINDOW || self.used >> behind & 1 == 1 {
            return false;
        }
        self.used |= 1 << behind;
        true
    }
}
