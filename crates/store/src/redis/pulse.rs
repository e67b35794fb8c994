//! Whether what the servers hold is still what they had taken: each bucket has a mark, and each server an id of its own.

use super::calls::all_buckets;
use super::writer::Step;
use super::{Shared, scripts};
use crate::StoreError;
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

const BUCKETS: usize = 256;

/// How often the store is asked whether it is there.
const BEAT: Duration = Duration::from_millis(300);

/// Buckets asked at one beat.
const AT_ONE_BEAT: usize = 4;

/// What a bucket has shown of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signs {
    /// Set once, and gone with the data.
    mark: String,
    /// The server's id: another one after a restart or a failover.
    server: String,
}

/// What has been seen of each bucket.
pub(super) struct Pulse {
    known: Mutex<Box<[Option<Signs>; BUCKETS]>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { known: Mutex::new(Box::new([const { None }; BUCKETS])) }
    }
}

impl Pulse {
    /// Whether a bucket is another one than it was.
    fn has_changed(&self, bucket: u8, signs: Signs) -> bool {
        let before = self.known.lock()[usize::from(bucket)].replace(signs.clone());
        before.is_some_and(|before| before != signs)
    }
}

impl Shared {
    /// Feels the store's pulse, as long as the store is used.
    pub(super) async fn feel_pulse(&self) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let buckets = all_buckets();
        let turns: Vec<_> = buckets.chunks(AT_ONE_BEAT).collect();
        for turn in turns.iter().cycle() {
            beat.tick().await;
            self.look_for_loss(turn).await;
        }
    }

    /// Takes note if one of these buckets is another one than it was.
    pub(super) async fn look_for_loss(&self, buckets: &[u8]) {
        if self.feel(buckets).await {
            // What else was lost shows now, and not bit by bit.
            self.feel(&all_buckets()).await;
            self.link.note_loss();
        }
    }

    /// Whether one of these buckets is another one than it was.
    async fn feel(&self, buckets: &[u8]) -> bool {
        let signs = join_all(buckets.iter().map(|bucket| self.signs(*bucket))).await;
        let seen = buckets.iter().zip(signs).filter_map(|(bucket, signs)| Some((*bucket, signs.ok()?)));
        let changed: Vec<_> =
            seen.filter(|(bucket, signs)| self.pulse.has_changed(*bucket, signs.clone())).collect();
        !changed.is_empty()
    }

    async fn signs(&self, bucket: u8) -> Result<Signs, StoreError> {
        let mut script = self.script(&scripts::PULSE, bucket);
        script.arg(&*self.mark);
        let mut reply = self.link.run(Step::lazy("pulse"), script).await?;
        Ok(Signs { mark: reply.text()?, server: reply.text()? })
    }
}
