//! The scripts against the store in memory: the same steps, at random, have the same answers.

use super::{PATIENT, open, subscribed};
use crate::{
    CallEnd, CallKey, CallWrite, MemoryLimits, MemoryStore, Owner, Put, Revision, Space, Store, StoreError,
};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use tandem_sip::time::Now;
use tandem_testredis::Server;

/// Steps of one run.
const STEPS: u32 = 2_000;

/// The seed of a run, unless `TANDEM_STORE_SEED` says another.
const SEED: u64 = 20_261_126;

/// Numbers that look random, the same for each seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Both stores, and which of their revisions are the same.
struct Both {
    memory: MemoryStore,
    redis: super::RedisStore,
    /// Of Redis's revisions, what memory calls them.
    same: HashMap<Revision, Revision>,
    /// Of each key, the revisions that it has had: in memory, and in Redis.
    known: HashMap<Arc<str>, Vec<(Revision, Revision)>>,
}

impl Both {
    /// What memory would have said.
    fn translated(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Conflict { stored: Some(stored) } => {
                StoreError::Conflict { stored: self.same.get(&stored).copied() }
            }
            other => other,
        }
    }

    async fn put(&mut self, random: &mut Random) -> (String, String) {
        let key: Arc<str> = format!("k{}", random.below(4)).into();
        let known = self.known.get(&key).cloned().unwrap_or_default();
        let seen = match random.below(4) {
            0 => None,
            // The last as a rule, so that writes succeed.
            1 if !known.is_empty() => Some(known[random.below(known.len() as u64) as usize]),
            _ => known.last().copied(),
        };
        let value = (random.below(4) > 0).then(|| Bytes::from(random.below(3).to_string()));
        let put = |seen| Put {
            space: Space::Publications,
            key: key.clone(),
            seen,
            value: value.clone(),
            lapses: None,
        };
        let ours = self.memory.put(put(seen.map(|(memory, _)| memory))).await;
        let theirs = self.redis.put(put(seen.map(|(_, redis)| redis))).await;
        if let (Ok(memory), Ok(redis)) = (&ours, &theirs)
            && value.is_some()
        {
            self.same.insert(*redis, *memory);
            self.known.entry(key).or_default().push((*memory, *redis));
        }
        let theirs = theirs.map(drop).map_err(|error| self.translated(error));
        (format!("{:?}", ours.map(drop)), format!("{theirs:?}"))
    }

    async fn read(&self, random: &mut Random) -> (String, String) {
        let space = Space::Publications;
        let of = |document: crate::Document| (document.value, document.lapses);
        if random.below(4) == 0 {
            let all = |found: Vec<(Arc<str>, crate::Document)>| -> Vec<_> {
                found.into_iter().map(|(key, document)| (key, of(document))).collect()
            };
            let max = random.below(6) as usize;
            let (ours, theirs) =
                (self.memory.scan(space, None, max).await, self.redis.scan(space, None, max).await);
            return (format!("{:?}", ours.map(all)), format!("{:?}", theirs.map(all)));
        }
        let key = format!("k{}", random.below(4));
        let (ours, theirs) = (self.memory.get(space, &key).await, self.redis.get(space, &key).await);
        (format!("{:?}", ours.map(|found| found.map(of))), format!("{:?}", theirs.map(|found| found.map(of))))
    }
}

fn call(random: &mut Random) -> CallKey {
    CallKey { bucket: 7, id: [random.below(5) as u8; 12] }
}

fn owner(random: &mut Random) -> Owner {
    Owner { node: ["a", "b"][random.below(2) as usize].into(), boot: random.below(2) }
}

/// Does one step on both, and gives their answers.
async fn step(both: &mut Both, random: &mut Random) -> (String, String) {
    macro_rules! on_both {
        (|$store:ident| $asked:expr) => {{
            let ours = {
                let $store = &both.memory;
                $asked.await
            };
            let theirs = {
                let $store = &both.redis;
                $asked.await
            };
            (format!("{ours:?}"), format!("{theirs:?}"))
        }};
    }
    let (key, whose, epoch) = (call(random), owner(random), random.below(3) as u32);
    match random.below(12) {
        0..=2 => {
            let (seq, snapshot) = (random.below(4), Bytes::from(random.next().to_string()));
            on_both!(|store| store.commit(CallWrite {
                key,
                owner: whose.clone(),
                epoch,
                seq,
                snapshot: snapshot.clone()
            }))
        }
        3 => on_both!(|store| store.claim(key, epoch, whose.clone())),
        4 if random.below(8) == 0 => {
            let cdr = (random.below(2) == 0).then(|| Bytes::from(random.next().to_string()));
            on_both!(|store| store.end(CallEnd { key, owner: whose.clone(), epoch, cdr: cdr.clone() }))
        }
        4 | 5 => on_both!(|store| store.load(key)),
        6 => on_both!(|store| store.owned(&whose.node)),
        7 => on_both!(|store| store.read_cdrs("file", 3)),
        8 if random.below(4) == 0 => on_both!(|store| store.ack_cdrs("file", &[key])),
        8 => on_both!(|store| store.cdr_backlog("file")),
        9 | 10 => both.put(random).await,
        _ => both.read(random).await,
    }
}

#[tokio::test]
async fn scripts_and_memory_answer_the_same_steps_alike() {
    let seed = std::env::var("TANDEM_STORE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let server = Server::start(&[]);
    let redis = open(server.port, PATIENT);
    subscribed(&redis).await;
    let memory = MemoryStore::new(MemoryLimits::default(), Arc::new(Now::default));
    let mut both = Both { memory, redis, same: HashMap::new(), known: HashMap::new() };
    // Named first, so that both keep what is appended.
    assert_eq!((both.memory.cdr_backlog("file").await, both.redis.cdr_backlog("file").await), (Ok(0), Ok(0)));
    let mut random = Random(seed);
    for number in 0..STEPS {
        let before = random.0;
        let (ours, theirs) = step(&mut both, &mut random).await;
        assert_eq!(
            ours, theirs,
            "step {number} (memory, Redis), of TANDEM_STORE_SEED={seed}; random {before:x}"
        );
    }
}
