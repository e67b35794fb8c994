//! Where CDRs may be waiting: what keeps a reader from asking 256 buckets each time.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

const BUCKETS: usize = 256;

/// How often each bucket may have got a record, and at which count each group found it empty.
pub(super) struct Cdrs {
    appended: [AtomicU64; BUCKETS],
    empty_at: Mutex<HashMap<String, Box<[u64; BUCKETS]>>>,
    appends: watch::Sender<u64>,
}

impl Cdrs {
    pub(super) fn new() -> Self {
        // Other nodes, or an earlier life of this one, may have left records anywhere: one append is assumed in each.
        let appended = std::array::from_fn(|_| AtomicU64::new(1));
        Self { appended, empty_at: Mutex::default(), appends: watch::Sender::new(0) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.appends.subscribe()
    }

    /// A bucket has got a record.
    pub(super) fn appended(&self, bucket: u8) {
        self.appended[usize::from(bucket)].fetch_add(1, Ordering::Release);
        self.appends.send_modify(|appends| *appends += 1);
    }

    /// Any bucket may have got records, from others.
    pub(super) fn look_everywhere(&self) {
        for appended in &self.appended {
            appended.fetch_add(1, Ordering::Release);
        }
        self.appends.send_modify(|appends| *appends += 1);
    }

    /// The buckets in which that group may find something, with their counts.
    pub(super) fn to_be_read(&self, group: &str) -> Vec<(u8, u64)> {
        let mut groups = self.empty_at.lock();
        let empty_at = groups.entry(group.to_owned()).or_insert_with(|| Box::new([0; BUCKETS]));
        let counts = self.appended.iter().map(|appended| appended.load(Ordering::Acquire));
        let buckets = (0..=u8::MAX).zip(counts).zip(empty_at.iter());
        buckets.filter(|((_, count), empty_at)| count != *empty_at).map(|(bucket, _)| bucket).collect()
    }

    /// The group has found a bucket empty that had got so many.
    pub(super) fn empty(&self, group: &str, bucket: u8, count: u64) {
        if let Some(empty_at) = self.empty_at.lock().get_mut(group) {
            empty_at[usize::from(bucket)] = count;
        }
    }
}
