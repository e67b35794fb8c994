//! Which language a cluster speaks while its nodes are of two releases: each release knows a range of feature levels, and the
//! cluster's own is raised by hand once no way back is wanted.

use std::ops::RangeInclusive;

/// The feature levels that this release knows: it reads what any of them writes, and writes what the cluster's says.
pub const FEATURE_LEVELS: RangeInclusive<u16> = 1..=1;

/// Why a cluster's level stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRaised {
    /// Some node that lives knows nothing beyond it.
    #[error("{node} knows no feature level beyond {level}")]
    Held {
        /// That node.
        node: String,
        /// The highest that it knows.
        level: u16,
    },
    /// It is not to be lowered: what has been written since is not read by an older release.
    #[error("the feature level is {current}, and is not lowered to {wanted}")]
    Lower {
        /// The cluster's.
        current: u16,
        /// What was asked for.
        wanted: u16,
    },
}

/// The level that a cluster of these nodes, by their highest levels, can be raised to from `current`: as high as all of them
/// know, or as `wanted`.
///
/// # Errors
/// It would not be raised by that.
pub fn raise<'a>(
    current: u16,
    wanted: Option<u16>,
    nodes: impl IntoIterator<Item = (&'a str, u16)>,
) -> Result<u16, NotRaised> {
    if let Some(wanted) = wanted.filter(|wanted| *wanted < current) {
        return Err(NotRaised::Lower { current, wanted });
    }
    let lowest = nodes.into_iter().min_by_key(|(_, level)| *level);
    match lowest {
        Some((node, level)) if level <= current || wanted.is_some_and(|wanted| level < wanted) => {
            Err(NotRaised::Held { node: node.to_owned(), level })
        }
        Some((_, level)) => Ok(wanted.unwrap_or(level)),
        None => Ok(wanted.unwrap_or(current)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_raised_as_high_as_all_of_its_nodes_know() {
        assert_eq!(raise(1, None, [("a", 3), ("b", 2)]), Ok(2));
        assert_eq!(raise(1, Some(2), [("a", 3), ("b", 3)]), Ok(2));
    }

    #[test]
    fn a_node_that_knows_no_higher_level_holds_its_cluster() {
        let held = |node: &str, level| Err(NotRaised::Held { node: node.into(), level });
        assert_eq!(raise(1, None, [("a", 2), ("b", 1)]), held("b", 1));
        assert_eq!(raise(1, Some(3), [("a", 2), ("b", 3)]), held("a", 2));
    }

    #[test]
    fn a_level_is_not_lowered() {
        assert_eq!(raise(2, Some(1), [("a", 3)]), Err(NotRaised::Lower { current: 2, wanted: 1 }));
    }
}
