//! Where CDRs may be waiting: what keeps a reader from asking 256 buckets each time.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

const BUCKETS: usize = 256;

/// How often each bucket may have got a record, and at which count each group found it empty.
pub(super) struct Cdrs {
    appended: [AtomicU64; BUCKETS],
    groups: Mutex<HashMap<String, Box<[Seen; BUCKETS]>>>,
    appends: watch::Sender<u64>,
}

/// What a group has seen of a bucket.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// The count at which it had nothing left there.
    empty_at: u64,
    /// The count at which it was read last, and how many records that were all it had.
    read: Option<(u64, usize)>,
}

impl Cdrs {
    pub(super) fn new() -> Self {
        // Other nodes, or an earlier life of this one, may have left records anywhere: one append is assumed in each.
        let appended = std::array::from_fn(|_| AtomicU64::new(1));
        Self { appended, groups: Mutex::default(), appends: watch::Sender::new(0) }
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
        let mut groups = self.groups.lock();
        let seen = groups.entry(group.to_owned()).or_insert_with(|| Box::new([Seen::default(); BUCKETS]));
        let counts = self.appended.iter().map(|appended| appended.load(Ordering::Acquire));
        let buckets = (0..=u8::MAX).zip(counts).zip(seen.iter());
        buckets.filter(|((_, count), seen)| *count != seen.empty_at).map(|(bucket, _)| bucket).collect()
    }

    /// The group has read so many records of a bucket that had got `count`; `is_all`: it has no more.
    pub(super) fn read(&self, group: &str, (bucket, count): (u8, u64), records: usize, is_all: bool) {
        if let Some(group) = self.groups.lock().get_mut(group) {
            let seen = &mut group[usize::from(bucket)];
            match records {
                0 => *seen = Seen { empty_at: count, read: None },
                _ => seen.read = Some((count, records)).filter(|_| is_all),
            }
        }
    }

    /// The group has acknowledged so many records of a bucket: all that it had read need not be read again.
    pub(super) fn acknowledged(&self, group: &str, bucket: u8, records: usize) {
        if let Some(group) = self.groups.lock().get_mut(group) {
            let seen = &mut group[usize::from(bucket)];
            if let Some((count, read)) = seen.read.take()
                && read == records
            {
                seen.empty_at = count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_read_until_all_that_it_has_got_is_acknowledged() {
        let cdrs = Cdrs::new();
        let count = |bucket: u8| {
            let left = cdrs.to_be_read("file");
            left.iter().find(|(other, _)| *other == bucket).map(|(_, count)| *count)
        };
        let first = count(7).expect("unknown as yet");
        cdrs.read("file", (7, first), 0, true);
        assert_eq!(count(7), None, "found empty");
        cdrs.appended(7);
        let second = count(7).expect("it has got one");
        cdrs.read("file", (7, second), 2, true);
        assert_eq!(count(7), Some(second), "not acknowledged yet");
        cdrs.acknowledged("file", 7, 1);
        assert_eq!(count(7), Some(second), "not all of them");
        cdrs.read("file", (7, second), 2, true);
        cdrs.appended(7);
        cdrs.acknowledged("file", 7, 2);
        assert_eq!(count(7), Some(second + 1), "another has come meanwhile");
        cdrs.read("file", (7, second + 1), 5, false);
        cdrs.acknowledged("file", 7, 5);
        assert_eq!(count(7), Some(second + 1), "there were more than were read");
    }
}
