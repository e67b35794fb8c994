//! Ten thousand worlds in which no rule may be broken. In several tests, so that they run side by side.

mod kept;

use std::ops::Range;
use tandem_sim::{run, sweep};

/// Every seed of the range keeps every rule.
fn check(seeds: Range<u64>) {
    kept::every_rule(&sweep(seeds, 1, &|_| {}), "");
}

seeds! {
    no_rule_is_broken_in_seeds_0_to_1249: 0..1_250;
    no_rule_is_broken_in_seeds_1250_to_2499: 1_250..2_500;
    no_rule_is_broken_in_seeds_2500_to_3749: 2_500..3_750;
    no_rule_is_broken_in_seeds_3750_to_4999: 3_750..5_000;
    no_rule_is_broken_in_seeds_5000_to_6249: 5_000..6_250;
    no_rule_is_broken_in_seeds_6250_to_7499: 6_250..7_500;
    no_rule_is_broken_in_seeds_7500_to_8749: 7_500..8_750;
    no_rule_is_broken_in_seeds_8750_to_9999: 8_750..10_000;
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let (first, second) = (run(seed, None, true), run(seed, None, true));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}

#[test]
fn writing_down_what_happens_changes_nothing() {
    for seed in 0..20 {
        let (silent, traced) = (run(seed, None, false), run(seed, None, true));
        assert_eq!(silent.coverage.to_string(), traced.coverage.to_string(), "seed {seed}");
    }
}
