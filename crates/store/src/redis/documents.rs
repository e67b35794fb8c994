//! Documents in Redis.

use super::calls::{all_buckets, check_length};
use super::reply::Reply;
use super::writer::Step;
use super::{Shared, scripts};
use crate::{Document, MAX_DOCUMENT_BYTES, MAX_KEY_BYTES, Put, Revision, Space, StoreError};
use futures_util::future::try_join_all;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;
use tandem_sip::time::Wall;

/// Lapsed keys that one write clears away: more than it can add.
const CLEARED_AT_ONCE: usize = 8;

/// What a space is called in keys.
pub(super) fn name_of(space: Space) -> &'static str {
    match space {
        Space::Registrations => "reg",
        Space::Publications => "pub",
        Space::Cluster => "cluster",
        Space::Nodes => "node",
        Space::Config => "config",
        Space::Audit => "audit",
    }
}

impl Shared {
    pub(super) async fn put(&self, put: Put) -> Result<Revision, StoreError> {
        check_length(put.key.len(), MAX_KEY_BYTES)?;
        check_length(put.value.as_ref().map_or(0, bytes::Bytes::len), MAX_DOCUMENT_BYTES)?;
        let bucket = bucket_of(&put.key);
        let mut script = self.script(&scripts::PUT, bucket);
        script.arg(name_of(put.space)).arg(&*put.key);
        script.arg(put.seen.map(|seen| seen.0.to_string()).unwrap_or_default());
        script.arg(put.value.as_deref().unwrap_or_default()).arg(u8::from(put.value.is_some()));
        script.arg(put.lapses.map(|lapses| lapses.0.to_string()).unwrap_or_default());
        script.arg(self.channel(put.space)).arg(CLEARED_AT_ONCE);
        script.arg(put.lapses.map_or(0, |lapses| lapses.0.saturating_sub(wall_ms())));
        let mut reply = self.link.run(Step::urgent("put"), script).await?;
        match reply.text()?.as_str() {
            "put" => Ok(Revision(reply.number()?)),
            "conflict" => {
                let held = reply.text()?;
                let stored = if held.is_empty() { None } else { held.parse().ok().map(Revision) };
                Err(StoreError::Conflict { stored })
            }
            _ => Err(reply.unreadable()),
        }
    }

    pub(super) async fn get(&self, space: Space, key: Arc<str>) -> Result<Option<Document>, StoreError> {
        let bucket = bucket_of(&key);
        let mut script = self.script(&scripts::GET, bucket);
        script.arg(name_of(space)).arg(&*key);
        let mut reply = self.link.run(Step::urgent("get"), script).await?;
        if reply.text()? == "none" {
            return Ok(None);
        }
        document(&mut reply).map(Some)
    }

    /// Merges the buckets: each has its keys in order.
    pub(super) async fn scan(
        &self,
        space: Space,
        after: Option<Arc<str>>,
        max: usize,
    ) -> Result<Vec<(Arc<str>, Document)>, StoreError> {
        let mut cursors: Vec<Cursor> =
            all_buckets().into_iter().map(|bucket| Cursor::new(bucket, after.clone())).collect();
        // Keys are spread evenly; who has more is asked again.
        let share = max / cursors.len() * 2 + 4;
        let mut heads: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        let mut found = Vec::new();
        self.fill(space, &mut cursors, share).await?;
        for (place, cursor) in cursors.iter().enumerate() {
            heads.extend(cursor.head().map(|key| (key, place)));
        }
        while found.len() < max {
            let Some((_, place)) = heads.pop_first() else { break };
            found.extend(cursors[place].read.pop_front());
            if cursors[place].read.is_empty() && !cursors[place].is_over {
                self.fill(space, &mut cursors[place..=place], share).await?;
            }
            heads.extend(cursors[place].head().map(|key| (key, place)));
        }
        Ok(found)
    }

    async fn fill(&self, space: Space, cursors: &mut [Cursor], share: usize) -> Result<(), StoreError> {
        let filled = cursors.iter_mut().map(|cursor| async move {
            let mut script = self.script(&scripts::SCAN, cursor.bucket);
            let from = cursor.after.as_ref().map_or("-".to_owned(), |after| format!("({after}"));
            script.arg(name_of(space)).arg(from).arg(share);
            let mut reply = self.link.run(Step::bulk("scan"), script).await?;
            reply.text()?;
            while !reply.is_over() {
                let key: Arc<str> = reply.text()?.into();
                cursor.read.push_back((key, document(&mut reply)?));
            }
            cursor.is_over = cursor.read.len() < share;
            cursor.after = cursor.read.back().map(|(key, _)| key.clone()).or(cursor.after.take());
            Ok::<_, StoreError>(())
        });
        try_join_all(filled).await.map(drop)
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How far a bucket has been read.
struct Cursor {
    bucket: u8,
    after: Option<Arc<str>>,
    read: VecDeque<(Arc<str>, Document)>,
    is_over: bool,
}

impl Cursor {
    fn new(bucket: u8, after: Option<Arc<str>>) -> Self {
        Self { bucket, after, read: VecDeque::new(), is_over: false }
    }

    fn head(&self) -> Option<Arc<str>> {
        self.read.front().map(|(key, _)| key.clone())
    }
}

fn document(reply: &mut Reply) -> Result<Document, StoreError> {
    let (revision, value) = (Revision(reply.number()?), reply.bytes()?);
    let lapses = reply.text()?;
    Ok(Document { revision, value, lapses: lapses.parse().ok().map(Wall) })
}

/// The bucket of a key: the same on every node, and in every release (FNV-1a).
pub(super) fn bucket_of(key: &str) -> u8 {
    let hash =
        key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 8) ^ (hash >> 16) ^ (hash >> 24)) as u8
}
