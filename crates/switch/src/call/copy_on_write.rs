//! What a call and its snapshots share until the call changes it.

use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A value whose clones are the same value until one of them is written to. A snapshot costs little that way, since
/// most of what it holds has not changed when it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyOnWrite<T>(Arc<T>);

impl<T> CopyOnWrite<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for CopyOnWrite<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for CopyOnWrite<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_snapshot_shares_does_not_change_under_it() {
        let mut live = CopyOnWrite::new(vec![1]);
        let snapshot = live.clone();
        live.push(2);
        assert_eq!((&*snapshot, &*live), (&vec![1], &vec![1, 2]));
    }
}
