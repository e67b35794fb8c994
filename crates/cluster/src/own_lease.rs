//! How long a node may take itself for the owner of its calls: others claim them once it has been silent for two seconds, and
//! it is to know that before they do.
//!
//! A node that has lost contact with the store alone, or has been stopped for a while, speaks for no call until the store has
//! said which are still its own. One that hears that the others have lost contact, too, carries on: nobody can claim
//! anything then.

use std::time::Duration;
use tandem_sip::time::Mono;

/// How long a node counts itself owner from the moment that it sent a beat which the store has taken.
pub const OWN_LEASE: Duration = Duration::from_millis(1_500);

/// After which silence of the store a node counts itself blind, and asks the others whether they are.
pub const BLIND_AFTER: Duration = Duration::from_millis(700);

/// How long after it is back a node waits until it asks what is still its own: by then the others have seen it beat, and do not
/// claim anything of it any more.
pub const SEEN_AGAIN: Duration = Duration::from_secs(1);

/// A node's own lease.
#[derive(Clone, Copy, Debug)]
pub struct OwnLease {
    until: Mono,
    /// When the last beat was sent that the store has taken.
    heard: Mono,
    /// When all others were last known to be blind, too.
    all_blind: Option<Mono>,
    /// It has run out since the store said last what is this node's.
    has_lapsed: bool,
    /// Since when the store has answered without a gap, after that.
    back_since: Option<Mono>,
}

/// What a node has to do before it speaks for its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Owner,
    /// Wait until the others have seen that it lives.
    Back,
    /// Ask the store which of them are still its own, and tell [`OwnLease::verified`].
    ToVerify,
}

impl OwnLease {
    /// The lease of a node that has just joined.
    pub fn new(now: Mono) -> Self {
        Self { until: now + OWN_LEASE, heard: now, all_blind: None, has_lapsed: false, back_since: None }
    }

    /// The store has taken a beat that was sent then.
    pub fn acknowledged(&mut self, sent: Mono, now: Mono) -> Standing {
        self.look(now);
        let gap = now.since(self.heard);
        self.heard = self.heard.max(sent);
        if self.has_lapsed {
            let since = self.back_since.filter(|_| gap < BLIND_AFTER).unwrap_or(now);
            self.back_since = Some(since);
            return if now.since(since) >= SEEN_AGAIN { Standing::ToVerify } else { Standing::Back };
        }
        self.until = self.until.max(sent + OWN_LEASE);
        Standing::Owner
    }

    /// The store has said what is this node's, which was asked then, and the rest has been let go of.
    pub fn verified(&mut self, asked: Mono) {
        (self.has_lapsed, self.back_since) = (false, None);
        self.until = self.until.max(asked + OWN_LEASE);
    }

    /// The others have said that they are blind, too, which they were asked then. One that has lapsed stays so: others
    /// may have claimed its calls before the store went away.
    pub fn all_blind(&mut self, asked: Mono, now: Mono) {
        self.look(now);
        if !self.has_lapsed {
            self.until = self.until.max(asked + OWN_LEASE);
            self.all_blind = self.all_blind.max(Some(asked));
        }
    }

    /// Until when it is known that nobody can claim anything, since the store is away for all: then what depends on a commit
    /// need not wait for it.
    pub fn nobody_claims_until(&self) -> Option<Mono> {
        self.all_blind.filter(|asked| *asked > self.heard).map(|asked| asked + OWN_LEASE)
    }

    /// Whether the node may speak for its calls.
    pub fn holds(&mut self, now: Mono) -> bool {
        self.look(now);
        !self.has_lapsed
    }

    /// Until when it may, as far as is known.
    pub fn until(&self) -> Option<Mono> {
        (!self.has_lapsed).then_some(self.until)
    }

    /// Whether the node has lost contact with the store.
    pub fn is_blind(&self, now: Mono) -> bool {
        now.since(self.heard) >= BLIND_AFTER
    }

    fn look(&mut self, now: Mono) {
        self.has_lapsed |= now >= self.until;
    }
}

/// Whether the store is away for everybody, as far as these answers say: this node is blind, `members` are the nodes that
/// were alive when the store answered last, this one among them. A majority of them has to say so, and nobody otherwise.
pub fn is_store_away(members: usize, answers: impl IntoIterator<Item = bool>) -> bool {
    let (mut blind, mut seeing) = (1, 0);
    for is_blind in answers {
        if is_blind { blind += 1 } else { seeing += 1 }
    }
    seeing == 0 && 2 * blind > members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_for_a_second_and_a_half_from_the_sending_of_a_beat() {
        let mut lease = OwnLease::new(Mono(0));
        assert_eq!(lease.acknowledged(Mono(1_000), Mono(1_200)), Standing::Owner);
        assert!(lease.holds(Mono(2_499)));
        assert!(!lease.holds(Mono(2_500)));
    }

    #[test]
    fn a_node_that_was_stopped_speaks_for_nothing_until_the_store_has_said_what_is_its_own() {
        let mut lease = OwnLease::new(Mono(0));
        // A beat was on its way when it was stopped.
        assert_eq!(lease.acknowledged(Mono(300), Mono(10_300)), Standing::Back);
        for now in (10_300..11_300).step_by(300) {
            assert_eq!(
                lease.acknowledged(Mono(now), Mono(now + 1)),
                Standing::Back,
                "others may not have seen it"
            );
        }
        assert_eq!(lease.acknowledged(Mono(11_400), Mono(11_401)), Standing::ToVerify);
        assert!(!lease.holds(Mono(11_402)));
        lease.verified(Mono(11_410));
        assert!(lease.holds(Mono(12_909)));
        assert!(!lease.holds(Mono(12_910)));
    }

    #[test]
    fn a_node_that_is_back_and_gone_again_is_back_from_the_second_time() {
        let mut lease = OwnLease::new(Mono(0));
        assert_eq!(lease.acknowledged(Mono(10_000), Mono(10_001)), Standing::Back);
        assert_eq!(lease.acknowledged(Mono(10_900), Mono(10_901)), Standing::Back);
        assert_eq!(lease.acknowledged(Mono(11_200), Mono(11_201)), Standing::Back);
        assert_eq!(lease.acknowledged(Mono(11_600), Mono(11_601)), Standing::Back);
        assert_eq!(lease.acknowledged(Mono(12_000), Mono(12_001)), Standing::ToVerify);
    }

    #[test]
    fn while_the_store_is_away_for_all_the_lease_goes_on() {
        let mut lease = OwnLease::new(Mono(0));
        for now in (700..60_000).step_by(300) {
            assert!(lease.is_blind(Mono(now)));
            lease.all_blind(Mono(now), Mono(now + 50));
            assert!(lease.holds(Mono(now + 50)));
        }
    }

    #[test]
    fn a_lease_that_has_lapsed_is_not_renewed_by_others_that_are_blind() {
        let mut lease = OwnLease::new(Mono(0));
        lease.all_blind(Mono(1_600), Mono(1_650));
        assert!(!lease.holds(Mono(1_650)));
        assert_eq!(lease.until(), None);
    }

    #[test]
    fn the_store_is_away_if_a_majority_says_so_and_nobody_sees_it() {
        for (members, answers, away) in [
            (1, vec![], true),
            (2, vec![], false),
            (2, vec![true], true),
            (3, vec![true], true),
            (3, vec![], false),
            (3, vec![true, true], true),
            (3, vec![true, false], false),
            (5, vec![true], false),
            (5, vec![true, true], true),
        ] {
            assert_eq!(is_store_away(members, answers.clone()), away, "{members} {answers:?}");
        }
    }
}
