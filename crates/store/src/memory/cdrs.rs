//! The CDR stream of a memory store.

use crate::{CDR_GROUPS_MAX, CallKey, StoreError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Records in the order of their ends, and per group the places that it has not acknowledged.
pub(super) struct CdrStream {
    records: BTreeMap<u64, (CallKey, Bytes)>,
    places: BTreeMap<CallKey, u64>,
    groups: BTreeMap<String, BTreeSet<u64>>,
    appended: u64,
    limit: usize,
}

impl CdrStream {
    pub(super) fn new(limit: usize) -> CdrStream {
        CdrStream {
            records: BTreeMap::new(),
            places: BTreeMap::new(),
            groups: BTreeMap::new(),
            appended: 0,
            limit,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Appends a record, once per call; returns how many have ever been appended.
    pub(super) fn append(&mut self, key: CallKey, cdr: Bytes) -> Result<u64, StoreError> {
        if self.places.contains_key(&key) {
            return Ok(self.appended);
        }
        if self.records.len() >= self.limit {
            return Err(StoreError::CdrsFull { limit: self.limit });
        }
        let place = self.appended;
        self.appended += 1;
        self.records.insert(place, (key, cdr));
        self.places.insert(key, place);
        for pending in self.groups.values_mut() {
            pending.insert(place);
        }
        Ok(self.appended)
    }

    pub(super) fn read(&mut self, group: &str, max: usize) -> Result<Vec<(CallKey, Bytes)>, StoreError> {
        let places: Vec<u64> = self.pending(group)?.iter().take(max).copied().collect();
        Ok(places.iter().filter_map(|place| self.records.get(place).cloned()).collect())
    }

    pub(super) fn acknowledge(&mut self, group: &str, keys: &[CallKey]) -> Result<(), StoreError> {
        self.pending(group)?;
        for key in keys {
            let Some(&place) = self.places.get(key) else {
                continue;
            };
            self.pending(group)?.remove(&place);
            if self.groups.values().all(|pending| !pending.contains(&place)) {
                self.records.remove(&place);
                self.places.remove(key);
            }
        }
        Ok(())
    }

    pub(super) fn backlog(&mut self, group: &str) -> Result<usize, StoreError> {
        Ok(self.pending(group)?.len())
    }

    /// The places a group has not acknowledged; a group that is new starts with all there are.
    fn pending(&mut self, group: &str) -> Result<&mut BTreeSet<u64>, StoreError> {
        if !self.groups.contains_key(group) && self.groups.len() >= CDR_GROUPS_MAX {
            return Err(StoreError::TooManyGroups { limit: CDR_GROUPS_MAX });
        }
        let records = &self.records;
        Ok(self.groups.entry(group.to_owned()).or_insert_with(|| records.keys().copied().collect()))
    }
}
