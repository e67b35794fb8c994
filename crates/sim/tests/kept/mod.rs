//! What a sweep of worlds has to have come to.

use tandem_sim::{Covers, Sweep};

/// Every seed kept every rule, and together they reached every row of every table. `options` is how one is replayed.
pub(crate) fn every_rule<C: Covers>(sweep: &Sweep<C>, options: &str) {
    let failures: Vec<_> = sweep
        .failures
        .iter()
        .map(|(seed, violation)| {
            format!("seed {seed}: {violation}\n  replay: cargo run -p tandem-sim -- {options}--seed {seed}")
        })
        .collect();
    assert!(failures.is_empty(), "{} runs failed:\n{}", sweep.failed, failures.join("\n"));
    assert_eq!(sweep.missing(), Vec::<String>::new(), "never reached");
}

/// A test for each range of seeds, so that they run side by side.
#[macro_export]
macro_rules! seeds {
    ($($name:ident: $seeds:expr;)+) => {
        $(#[test]
        fn $name() {
            check($seeds);
        })+
    };
}
