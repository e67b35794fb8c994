//! Which calls of a node that has gone this one may claim, and when.

use crate::heirs::{CLAIM_HOLD, RETURN_WAIT, claim_at, rank};
use crate::own_lease::OWN_LEASE;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Mono;

/// How long after a node's end another life of it would be known of.
pub const ANOTHER_LIFE: Duration = Duration::from_secs(10);

/// A life of a node: its name and its boot.
pub type NodeLife<'a> = (&'a str, u64);

/// A node whose calls are up for others, or an earlier life of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub name: Arc<str>,
    /// Which life of it.
    pub boot: u64,
    /// Since when it is known to have gone.
    pub since: Mono,
}

/// What is to be done with one of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Claim it.
    Claim,
    /// Nothing: it is another's.
    Settled,
    /// Look again.
    Later,
}

impl Gone {
    /// Whether it is `this` node's turn to look at a call, where `others` live.
    pub fn is_turn_of(&self, this: &str, others: &[Arc<str>], call: &[u8], now: Mono) -> bool {
        *self.name == *this || now >= claim_at(self.since, rank(call, this, others))
    }

    /// What `this` node does with a call that the store shows as `owner`'s. `is_cut_off` is asked whether it is in set-up
    /// and its gateways do not reach this node.
    pub fn turn(
        &self,
        this: NodeLife<'_>,
        owner: NodeLife<'_>,
        now: Mono,
        is_cut_off: impl FnOnce() -> bool,
    ) -> Turn {
        if owner.0 != &*self.name || owner == this {
            return Turn::Settled;
        }
        if *self.name == *this.0 {
            return Turn::Claim;
        }
        // Of a life before, whose calls it had not taken yet; or of one after, of which nothing is known yet.
        if owner.1 != self.boot && now.since(self.since) < ANOTHER_LIFE {
            return Turn::Later;
        }
        if now.since(self.since) < RETURN_WAIT && is_cut_off() { Turn::Later } else { Turn::Claim }
    }
}

/// Keeps nodes from claiming, and from taking the store's word for what is theirs, after the store may have lost what it
/// had taken: meanwhile owners tell it again what they own.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClaimHold {
    lives: u64,
    until: Mono,
}

impl ClaimHold {
    /// For a store that lives its `lives`-th life.
    pub fn new(lives: u64) -> Self {
        Self { lives, until: Mono(0) }
    }

    /// This node says that it is blind, by which another one knows that nobody claims its calls: none may be claimed for as long
    /// as that one goes by it.
    pub fn promise(&mut self, now: Mono) {
        self.until = self.until.max(now + OWN_LEASE);
    }

    /// Whether nothing may be claimed now, in that life of the store.
    pub fn holds(&mut self, lives: u64, now: Mono) -> bool {
        if std::mem::replace(&mut self.lives, lives) != lives {
            self.until = self.until.max(now + CLAIM_HOLD);
        }
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIS: NodeLife<'static> = ("a", 1);

    fn gone(name: &str) -> Gone {
        Gone { name: name.into(), boot: 7, since: Mono(1_000) }
    }

    #[test]
    fn calls_of_an_earlier_life_are_claimed_at_once() {
        let gone = Gone { boot: 1, ..gone("a") };
        assert!(gone.is_turn_of("a", &["b".into()], b"call", Mono(0)));
        assert_eq!(gone.turn(THIS, ("a", 0), Mono(1_000), || true), Turn::Claim);
        assert_eq!(gone.turn(THIS, ("a", 1), Mono(1_000), || true), Turn::Settled, "it is its own now");
    }

    #[test]
    fn calls_that_somebody_else_has_taken_are_left() {
        assert_eq!(gone("b").turn(THIS, ("c", 7), Mono(60_000), || false), Turn::Settled);
    }

    #[test]
    fn calls_of_a_life_that_is_not_known_of_wait_ten_seconds() {
        assert_eq!(gone("b").turn(THIS, ("b", 8), Mono(10_999), || false), Turn::Later);
        assert_eq!(gone("b").turn(THIS, ("b", 8), Mono(11_000), || false), Turn::Claim);
    }

    #[test]
    fn calls_in_set_up_that_cannot_be_reached_here_wait_for_their_node() {
        assert_eq!(gone("b").turn(THIS, ("b", 7), Mono(4_999), || true), Turn::Later);
        assert_eq!(gone("b").turn(THIS, ("b", 7), Mono(1_000), || false), Turn::Claim);
        assert_eq!(gone("b").turn(THIS, ("b", 7), Mono(5_000), || true), Turn::Claim);
    }

    #[test]
    fn nobody_claims_for_three_seconds_after_the_store_may_have_lost_something() {
        let mut hold = ClaimHold::new(1);
        assert!(!hold.holds(1, Mono(500)));
        assert!(hold.holds(2, Mono(1_000)));
        assert!(hold.holds(2, Mono(3_999)));
        assert!(!hold.holds(2, Mono(4_000)));
    }

    #[test]
    fn who_says_that_it_is_blind_claims_nothing_as_long_as_others_go_by_that() {
        let mut hold = ClaimHold::new(1);
        hold.promise(Mono(1_000));
        assert!(hold.holds(1, Mono(2_499)));
        assert!(!hold.holds(1, Mono(2_500)));
    }
}
