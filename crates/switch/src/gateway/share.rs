//! A gateway's slots while nobody can say how many of them the whole cluster holds.

use serde::{Deserialize, Serialize};

/// What becomes of calls to a gateway with limits while the store is away (`when_store_away`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenStoreAway {
    /// Each node admits its share of what was free when it was last known.
    #[default]
    Admit,
    /// None is admitted.
    Refuse,
}

/// How many calls per second one of `nodes` begins meanwhile, so that all of them together stay within `cps`; but for the one that
/// each may.
pub fn cps_share(cps: u32, nodes: usize) -> u32 {
    let nodes = u32::try_from(nodes.max(1)).unwrap_or(u32::MAX);
    (cps / nodes).max(1)
}

/// What one node admits meanwhile, so that all of them together stay within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    most: usize,
}

impl Share {
    /// The share of one of `nodes`, which holds `here` of the `everywhere` slots that were held last of at most `limit`.
    pub fn new(limit: u32, everywhere: u32, here: usize, nodes: usize) -> Self {
        // What this node holds is among them, whatever was known.
        let everywhere = (everywhere as usize).max(here);
        let free = (limit as usize).saturating_sub(everywhere);
        Self { most: here + free / nodes.max(1) }
    }

    /// Whether a node may hold so many.
    pub fn admits(self, here: usize) -> bool {
        here <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_gateway_is_given_no_call_while_the_store_is_away() {
        let share = Share::new(10, 10, 4, 3);
        assert!(share.admits(4) && !share.admits(5));
    }

    #[test]
    fn a_node_by_itself_admits_up_to_the_limit() {
        let share = Share::new(10, 3, 3, 1);
        assert!(share.admits(10) && !share.admits(11));
    }

    #[test]
    fn what_was_free_is_shared_by_the_nodes() {
        let share = Share::new(10, 4, 2, 3);
        assert!(share.admits(4) && !share.admits(5), "two of the six that were free");
    }

    #[test]
    fn calls_per_second_are_shared_by_the_nodes() {
        assert_eq!((cps_share(10, 3), cps_share(10, 1), cps_share(2, 3), cps_share(5, 0)), (3, 10, 1, 5));
    }

    proptest! {
        #[test]
        fn all_nodes_together_stay_within_the_limit(limit in 0..200u32, held in proptest::collection::vec(0..40usize, 1..8)) {
            let everywhere: usize = held.iter().sum();
            let most: usize = held.iter().map(|here| Share::new(limit, everywhere as u32, *here, held.len()).most).sum();
            prop_assert!(most <= everywhere.max(limit as usize));
        }
    }
}
