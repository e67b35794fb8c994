//! Ten thousand worlds of several nodes in which no rule may be broken, and slips of a node that each break one.

mod kept;

use std::ops::Range;
use tandem_sim::several::{self, Slip};
use tandem_sim::{find_slip, sweep_several};

/// Seeds within which a slip has to be found.
const SEEDS: u64 = 4_000;

/// Every seed of the range keeps every rule.
fn check(seeds: Range<u64>) {
    kept::every_rule(&sweep_several(seeds, 1, &|_| {}), "--several ");
}

seeds! {
    several_nodes_keep_every_rule_in_seeds_0_to_2499: 0..2_500;
    several_nodes_keep_every_rule_in_seeds_2500_to_4999: 2_500..5_000;
    several_nodes_keep_every_rule_in_seeds_5000_to_7499: 5_000..7_500;
    several_nodes_keep_every_rule_in_seeds_7500_to_9999: 7_500..10_000;
}

#[test]
fn the_same_seed_gives_the_same_run_of_several_nodes() {
    for seed in 0..20 {
        let (first, second) = (several::run(seed, None, true), several::run(seed, None, true));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}

fn is_found(slip: Slip) {
    let Some((seed, violation)) = find_slip(slip, 0..SEEDS) else {
        panic!("{slip} is not found within {SEEDS} seeds")
    };
    println!("{slip}: seed {seed}: {violation}");
}

macro_rules! planted {
    ($($name:ident: $slip:ident,)+) => {
        $(#[test]
        fn $name() {
            is_found(Slip::$slip);
        })+

        #[test]
        fn every_slip_has_its_test() {
            let tested = [$(Slip::$slip),+];
            let missing: Vec<_> = Slip::ALL.iter().filter(|slip| !tested.contains(slip)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

planted! {
    lease_ignored_is_found: LeaseIgnored,
    blind_alone_is_found: BlindAlone,
    not_verified_is_found: NotVerified,
    dead_at_once_is_found: DeadAtOnce,
    no_takeover_is_found: NoTakeover,
    past_forgotten_is_found: PastForgotten,
    epoch_not_raised_is_found: EpochNotRaised,
    nobody_told_is_found: NobodyTold,
    slots_forgotten_is_found: SlotsForgotten,
    no_fence_is_found: NoFence,
    drain_hangs_up_is_found: DrainHangsUp,
    strays_refused_is_found: StraysRefused,
    loss_ignored_is_found: LossIgnored,
    ends_not_told_again_is_found: EndsNotToldAgain,
    own_clock_is_found: OwnClock,
    sends_uncommitted_is_found: SendsUncommitted,
    end_kept_to_itself_is_found: EndKeptToItself,
    doubtful_claim_lost_is_found: DoubtfulClaimLost,
}
