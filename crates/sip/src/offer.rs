//! Offer and answer inside a dialog (RFC 3264, RFC 6337): whether an offer may be taken, and the waits where two cross.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The steps of the wait after 491 (RFC 3261 §14.1).
const GLARE_STEP_MS: u64 = 10;

/// That wait, in steps, where we own the Call-ID: 2.1 to 4 s.
const OWNERS_WAIT: RangeInclusive<u64> = 210..=400;

/// That wait, in steps, where the peer owns it: up to 2 s.
const OTHERS_WAIT: RangeInclusive<u64> = 0..=200;

/// The longest Retry-After of a 500 to a second request, in seconds (RFC 3261 §14.2).
const LONGEST_RETRY_AFTER_S: u64 = 10;

/// Whether an offer stands open in a dialog, and whose. There is one at a time (RFC 3264 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferState {
    /// None is.
    Idle,
    /// Ours, or an INVITE of ours that brings one.
    Ours,
    /// The peer's, or an INVITE of its that brings one.
    Theirs,
}

/// Why a peer's offer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// It crosses ours: 491.
    Glare,
    /// The peer's last one is unanswered yet: 500 with Retry-After.
    TooSoon,
}

impl OfferState {
    /// Whether a re-INVITE, or an UPDATE with an offer, may be taken now (RFC 3261 §14.2, RFC 3311 §5.2).
    ///
    /// # Errors
    /// Says how it is refused.
    pub fn take(self) -> Result<(), Crossing> {
        match self {
            OfferState::Idle => Ok(()),
            OfferState::Ours => Err(Crossing::Glare),
            OfferState::Theirs => Err(Crossing::TooSoon),
        }
    }
}

/// How long to wait before an offer that got 491 is made again (RFC 3261 §14.1). `draw` is any evenly spread number.
pub fn glare_wait(owns_call_id: bool, draw: u64) -> Duration {
    let steps = if owns_call_id { OWNERS_WAIT } else { OTHERS_WAIT };
    let number = steps.end() - steps.start() + 1;
    Duration::from_millis((steps.start() + draw % number) * GLARE_STEP_MS)
}

/// The Retry-After of a 500 to a request that came too soon, in seconds (RFC 3261 §14.2). `draw` is any evenly spread
/// number.
pub fn retry_after(draw: u64) -> u64 {
    draw % (LONGEST_RETRY_AFTER_S + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_offer_is_open_at_a_time() {
        assert_eq!(OfferState::Idle.take(), Ok(()));
        assert_eq!(OfferState::Ours.take(), Err(Crossing::Glare));
        assert_eq!(OfferState::Theirs.take(), Err(Crossing::TooSoon));
    }

    #[test]
    fn the_wait_after_491_is_2_1_to_4_s_for_the_owner_of_the_call_id_and_up_to_2_s_for_the_other() {
        let bounds = |owner| {
            let waits = (0..1_000).map(|draw| glare_wait(owner, draw).as_millis());
            (waits.clone().min(), waits.max())
        };
        assert_eq!(bounds(true), (Some(2_100), Some(4_000)));
        assert_eq!(bounds(false), (Some(0), Some(2_000)));
        assert_eq!(glare_wait(true, u64::MAX).as_millis() % 10, 0);
    }

    #[test]
    fn retry_after_is_0_to_10_s() {
        let waits = (0..100).map(retry_after);
        assert_eq!((waits.clone().min(), waits.max()), (Some(0), Some(10)));
    }
}
