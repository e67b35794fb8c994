//! Calls and CDRs in Redis.

use super::writer::Step;
use super::{RedisStore, Shared, scripts};
use crate::{
    CDR_GROUPS_MAX, CDR_MAX_BYTES, CallEnd, CallKey, CallWrite, Committed, Owner, SNAPSHOT_MAX_BYTES,
    StoreError, StoredCall, TOMBSTONE_LIFE,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;

/// How many buckets are asked at the same time.
const AT_ONCE: usize = 32;

const ID_BYTES: usize = 12;

impl Shared {
    pub(super) async fn commit(&self, write: CallWrite) -> Result<Committed, StoreError> {
        check_length(write.snapshot.len(), SNAPSHOT_MAX_BYTES)?;
        let mut script = self.script(&scripts::COMMIT, write.key.bucket);
        script.arg(hex(&write.key.id)).arg(&*write.owner.node).arg(write.owner.boot);
        script.arg(write.epoch).arg(write.seq).arg(&*write.snapshot);
        let mut reply = self.link.run(Step::urgent("commit"), script).await?;
        match reply.text()?.as_str() {
            "stored" => Ok(Committed::Stored),
            "absorbed" => Ok(Committed::Absorbed),
            "fenced" => Err(StoreError::Fenced { epoch: reply.number()? }),
            "ended" => Err(StoreError::Ended),
            _ => Err(reply.unreadable()),
        }
    }

    pub(super) async fn load(&self, key: CallKey) -> Result<Option<StoredCall>, StoreError> {
        let mut script = self.script(&scripts::LOAD, key.bucket);
        script.arg(hex(&key.id));
        let mut reply = self.link.run(Step::urgent("load"), script).await?;
        if reply.text()? == "none" {
            return Ok(None);
        }
        let owner = Owner { node: reply.text()?.into(), boot: reply.number()? };
        let (epoch, seq, snapshot) = (reply.number()?, reply.number()?, reply.bytes()?);
        Ok(Some(StoredCall { owner, epoch, seq, snapshot }))
    }

    pub(super) async fn claim(
        &self,
        key: CallKey,
        seen: u32,
        owner: Owner,
    ) -> Result<StoredCall, StoreError> {
        if seen == u32::MAX {
            return Err(StoreError::Fenced { epoch: seen });
        }
        let mut script = self.script(&scripts::CLAIM, key.bucket);
        script.arg(hex(&key.id)).arg(&*owner.node).arg(owner.boot).arg(seen);
        let mut reply = self.link.run(Step::urgent("claim"), script).await?;
        match reply.text()?.as_str() {
            "claimed" => {
                let (epoch, seq, snapshot) = (reply.number()?, reply.number()?, reply.bytes()?);
                Ok(StoredCall { owner, epoch, seq, snapshot })
            }
            "fenced" => Err(StoreError::Fenced { epoch: reply.number()? }),
            "ended" => Err(StoreError::Ended),
            "unknown" => Err(StoreError::Unknown),
            _ => Err(reply.unreadable()),
        }
    }

    pub(super) async fn end(&self, end: CallEnd) -> Result<(), StoreError> {
        check_length(end.cdr.as_ref().map_or(0, Bytes::len), CDR_MAX_BYTES)?;
        let bucket = end.key.bucket;
        let mut script = self.script(&scripts::END, bucket);
        script.arg(hex(&end.key.id)).arg(&*end.owner.node).arg(end.owner.boot).arg(end.epoch);
        script.arg(TOMBSTONE_LIFE.as_millis() as u64).arg(self.settings.cdrs_per_bucket_max);
        if let Some(cdr) = &end.cdr {
            script.arg(&**cdr);
        }
        let mut reply = self.link.run(Step::lazy("end"), script).await?;
        match reply.text()?.as_str() {
            "ended" if end.cdr.is_some() => {
                self.cdrs.appended(bucket);
                Ok(())
            }
            "ended" | "ended before" => Ok(()),
            "fenced" => Err(StoreError::Fenced { epoch: reply.number()? }),
            "full" => Err(StoreError::CdrsFull { limit: self.settings.cdrs_per_bucket_max }),
            _ => Err(reply.unreadable()),
        }
    }

    pub(super) async fn owned(&self, node: &str) -> Result<Vec<CallKey>, StoreError> {
        let mut owned = Vec::new();
        for buckets in all_buckets().chunks(AT_ONCE) {
            let asked = buckets.iter().map(|bucket| async {
                let mut script = self.script(&scripts::OWNED, *bucket);
                script.arg(node);
                let mut reply = self.link.run(Step::bulk("owned"), script).await?;
                reply.text()?;
                let mut ids = Vec::new();
                while !reply.is_over() {
                    ids.push(CallKey {
                        bucket: *bucket,
                        id: id_of(&reply.text()?).ok_or_else(|| reply.unreadable())?,
                    });
                }
                ids.sort();
                Ok::<_, StoreError>(ids)
            });
            owned.extend(try_join_all(asked).await?.into_iter().flatten());
        }
        Ok(owned)
    }

    pub(super) async fn read_cdrs(
        &self,
        group: &str,
        max: usize,
    ) -> Result<Vec<(CallKey, Bytes)>, StoreError> {
        let mut records = Vec::new();
        for buckets in self.cdrs.to_be_read(group).chunks(AT_ONCE) {
            let asked = buckets.iter().map(|(bucket, appended)| async {
                let found = self.read_bucket(group, *bucket, max).await?;
                self.cdrs.read(group, (*bucket, *appended), found.len(), found.len() < max);
                Ok::<_, StoreError>(found)
            });
            records.extend(try_join_all(asked).await?.into_iter().flatten());
            if records.len() >= max {
                break;
            }
        }
        records.truncate(max);
        Ok(records)
    }

    async fn read_bucket(
        &self,
        group: &str,
        bucket: u8,
        max: usize,
    ) -> Result<Vec<(CallKey, Bytes)>, StoreError> {
        let mut script = self.script(&scripts::CDR_READ, bucket);
        script.arg(group).arg(CDR_GROUPS_MAX).arg(max);
        let mut reply = self.link.run(Step::bulk("read CDRs"), script).await?;
        let mut records = Vec::new();
        check_groups(&reply.text()?)?;
        while !reply.is_over() {
            let id = id_of(&reply.text()?).ok_or_else(|| reply.unreadable())?;
            records.push((CallKey { bucket, id }, reply.bytes()?));
        }
        Ok(records)
    }

    pub(super) async fn ack_cdrs(&self, group: &str, keys: Vec<CallKey>) -> Result<(), StoreError> {
        let mut by_bucket: BTreeMap<u8, Vec<CallKey>> = BTreeMap::new();
        for key in keys {
            by_bucket.entry(key.bucket).or_default().push(key);
        }
        let by_bucket: Vec<_> = by_bucket.into_iter().collect();
        for buckets in by_bucket.chunks(AT_ONCE) {
            let told = buckets.iter().map(|(bucket, keys)| async move {
                let mut script = self.script(&scripts::CDR_ACK, *bucket);
                script.arg(group).arg(CDR_GROUPS_MAX);
                for key in keys {
                    script.arg(hex(&key.id));
                }
                check_groups(&self.link.run(Step::bulk("acknowledge CDRs"), script).await?.text()?)?;
                self.cdrs.acknowledged(group, *bucket, keys.len());
                Ok::<_, StoreError>(())
            });
            try_join_all(told).await?;
        }
        Ok(())
    }

    pub(super) async fn cdr_backlog(&self, group: &str) -> Result<usize, StoreError> {
        let mut backlog = 0;
        for buckets in all_buckets().chunks(AT_ONCE) {
            let asked = buckets.iter().map(|bucket| async {
                let mut script = self.script(&scripts::CDR_BACKLOG, *bucket);
                script.arg(group).arg(CDR_GROUPS_MAX);
                let mut reply = self.link.run(Step::bulk("count CDRs"), script).await?;
                check_groups(&reply.text()?)?;
                reply.number::<usize>()
            });
            backlog += try_join_all(asked).await?.into_iter().sum::<usize>();
        }
        Ok(backlog)
    }
}

impl RedisStore {
    /// Whether the store is left alone at present because it does not answer.
    pub fn is_away(&self) -> bool {
        self.0.link.is_away()
    }
}

pub(super) fn all_buckets() -> Vec<u8> {
    (0..=u8::MAX).collect()
}

pub(super) fn check_length(bytes: usize, limit: usize) -> Result<(), StoreError> {
    if bytes > limit { Err(StoreError::TooLong { bytes, limit }) } else { Ok(()) }
}

fn check_groups(word: &str) -> Result<(), StoreError> {
    match word {
        "too many groups" => Err(StoreError::TooManyGroups { limit: CDR_GROUPS_MAX }),
        _ => Ok(()),
    }
}

fn hex(id: &[u8; ID_BYTES]) -> String {
    data_encoding::HEXLOWER.encode(id)
}

fn id_of(text: &str) -> Option<[u8; ID_BYTES]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}
