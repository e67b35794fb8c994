//! The timing wheel: one wake-up per actor.
//!
//! All timers of an actor are deadlines inside its state machine; here stands only the earliest of them. A wake-up is
//! moved far more often than it comes due, so moving has to be cheap: a hashed wheel with one entry per actor, linked
//! into the bucket of its tick, where setting, moving and clearing take the same few steps however many there are.
//!
//! The wheel of a shard is told the time and reads no clock. A general delay queue (tokio-util's) wants the runtime's
//! clock and a waker, and moving a wake-up in it, measured under the same locks, costs eight times as much.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tandem_sip::time::Mono;
use tandem_telemetry::{Gauge, Histogram, Metrics};
use tokio::time::{MissedTickBehavior, interval};

/// How often due wake-ups are looked for: so late a wake-up can be, apart from what a busy machine adds.
pub const TICK: Duration = Duration::from_millis(TICK_MS);

const TICK_MS: u64 = 10;

/// The most wake-ups that should be set at one time. Each belongs to an actor, so it is by refusing new actors that the
/// limit is kept: [`Wheel::has_room`] is asked before one is made. A wake-up itself is never refused.
pub const WAKEUPS_MAX: usize = 2_000_000;

/// Parts of the wheel with a lock of their own.
const SHARDS: usize = 16;

/// Buckets of a shard: one turn takes 41 s. What lies further ahead stays in its bucket and is passed by once per turn.
const BUCKETS: usize = 4_096;

/// Names a wake-up that was set. After the wake-up came or was cleared, it names nothing and is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    shard: u16,
    index: u32,
    generation: u32,
}

/// Wake-ups by key. Shared by all actors; setting one takes a lock that is held for some instructions.
///
/// A wake-up never comes early, and at most one [`TICK`] late. It may still come when it was moved or cleared at the
/// very moment it was due: whoever is woken looks at its deadlines, and may find that none has passed.
pub struct Wheel<K> {
    shards: Box<[Mutex<Shard<K>>]>,
    next_shard: AtomicUsize,
    clock: Box<dyn Fn() -> Mono + Send + Sync>,
    lateness: Histogram,
    set: Gauge,
}

impl<K> Wheel<K> {
    /// An empty wheel on a clock.
    pub fn new(clock: impl Fn() -> Mono + Send + Sync + 'static, metrics: &Metrics) -> Wheel<K> {
        let now = clock();
        Wheel {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new(now))).collect(),
            next_shard: AtomicUsize::new(0),
            clock: Box::new(clock),
            lateness: metrics.wheel_lateness.histogram().clone(),
            set: metrics.wheel_wakeups.clone(),
        }
    }

    /// Sets the wake-up of an actor: moves the one that `slot` names, or sets a new one if that has come already.
    /// A time that has passed is due at the next tick.
    pub fn set(&self, key: K, slot: Option<Slot>, at: Mono) -> Slot {
        if let Some(slot) = slot {
            let mut shard = self.shards[usize::from(slot.shard)].lock();
            if let Some(entry) = shard.entry_of(slot) {
                shard.move_to(entry, key, at);
                return slot;
            }
        }
        let chosen = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        self.set.inc();
        let (index, generation) = self.shards[chosen].lock().insert(key, at);
        Slot { shard: u16::try_from(chosen).expect("a few shards"), index, generation }
    }

    /// Clears a wake-up, if it has not come yet.
    pub fn clear(&self, slot: Slot) {
        let mut shard = self.shards[usize::from(slot.shard)].lock();
        if let Some(entry) = shard.entry_of(slot) {
            shard.remove(entry);
            self.set.dec();
        }
    }

    /// Whether another actor can be given a wake-up within [`WAKEUPS_MAX`].
    pub fn has_room(&self) -> bool {
        usize::try_from(self.set.get()).is_ok_and(|set| set < WAKEUPS_MAX)
    }

    /// Hands out wake-ups as they come due, for ever. One such loop per wheel.
    ///
    /// One ticker serves all shards: handing a key to a mailbox takes microseconds, so a shard would not keep it busy.
    /// `on_due` must not block; it is called without any lock, and may set the next wake-up.
    pub async fn run(&self, on_due: impl Fn(K)) {
        let mut ticker = interval(TICK);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut due = Vec::new();
        loop {
            ticker.tick().await;
            let now = (self.clock)();
            for shard in &self.shards {
                shard.lock().take_due(now, &mut due);
                if due.is_empty() {
                    continue;
                }
                self.set.sub(i64::try_from(due.len()).unwrap_or(i64::MAX));
                for (key, at) in due.drain(..) {
                    self.lateness.observe(now.since(at).as_secs_f64());
                    on_due(key);
                }
                // Many may be due at once: let those that were woken go on.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// No entry.
const NONE: u32 = u32::MAX;

/// One part of the wheel, as a pure structure.
struct Shard<K> {
    /// The first entry of each bucket.
    buckets: Box<[u32]>,
    /// Entries in use are linked into their bucket, the others into the free list.
    entries: Vec<Entry<K>>,
    free: u32,
    /// The tick of the last look: no bucket before it holds anything due.
    reached: u64,
}

struct Entry<K> {
    /// Present while the entry is in use.
    key: Option<K>,
    at: Mono,
    /// Counts the uses of the entry, so that an old slot does not name a new wake-up.
    generation: u32,
    bucket: u32,
    previous: u32,
    next: u32,
}

impl<K> Shard<K> {
    fn new(now: Mono) -> Shard<K> {
        Shard {
            buckets: vec![NONE; BUCKETS].into_boxed_slice(),
            entries: Vec::new(),
            free: NONE,
            reached: tick_of(now),
        }
    }

    /// The entry that a slot names, while its wake-up is set.
    fn entry_of(&self, slot: Slot) -> Option<u32> {
        let entry = self.entries.get(place(slot.index))?;
        (entry.generation == slot.generation && entry.key.is_some()).then_some(slot.index)
    }

    fn insert(&mut self, key: K, at: Mono) -> (u32, u32) {
        let index = self.unused();
        let entry = &mut self.entries[place(index)];
        entry.key = Some(key);
        let generation = entry.generation;
        self.link(index, at);
        (index, generation)
    }

    fn move_to(&mut self, index: u32, key: K, at: Mono) {
        self.unlink(index);
        self.entries[place(index)].key = Some(key);
        self.link(index, at);
    }

    fn remove(&mut self, index: u32) -> Option<K> {
        self.unlink(index);
        let free = self.free;
        let entry = &mut self.entries[place(index)];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = free;
        self.free = index;
        entry.key.take()
    }

    /// Takes out what is due, with the time it was set for.
    fn take_due(&mut self, now: Mono, due: &mut Vec<(K, Mono)>) {
        // The bucket reached last is looked at again: its tick may not have been over.
        let target = tick_of(now).max(self.reached);
        let passed = (target - self.reached).min(BUCKETS as u64 - 1);
        for tick in target - passed..=target {
            let mut next = self.buckets[bucket_of(tick)];
            while next != NONE {
                let index = next;
                let entry = &self.entries[place(index)];
                let at = entry.at;
                next = entry.next;
                if at <= now {
                    due.extend(self.remove(index).map(|key| (key, at)));
                }
            }
        }
        self.reached = target;
    }

    fn unused(&mut self) -> u32 {
        if self.free != NONE {
            let index = self.free;
            self.free = self.entries[place(index)].next;
            return index;
        }
        let index = u32::try_from(self.entries.len()).expect("far fewer actors than 4 thousand million");
        let unlinked = Entry { key: None, at: Mono(0), generation: 0, bucket: 0, previous: NONE, next: NONE };
        self.entries.push(unlinked);
        index
    }

    fn link(&mut self, index: u32, at: Mono) {
        let bucket = bucket_of(tick_of(at).max(self.reached));
        let first = std::mem::replace(&mut self.buckets[bucket], index);
        if first != NONE {
            self.entries[place(first)].previous = index;
        }
        let entry = &mut self.entries[place(index)];
        entry.at = at;
        entry.bucket = u32::try_from(bucket).expect("a few thousand buckets");
        entry.previous = NONE;
        entry.next = first;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { bucket, previous, next, .. } = self.entries[place(index)];
        if previous == NONE {
            self.buckets[place(bucket)] = next;
        } else {
            self.entries[place(previous)].next = next;
        }
        if next != NONE {
            self.entries[place(next)].previous = previous;
        }
    }
}

fn tick_of(time: Mono) -> u64 {
    time.0 / TICK_MS
}

fn bucket_of(tick: u64) -> usize {
    // The remainder is below BUCKETS, which fits any integer.
    (tick % BUCKETS as u64) as usize
}

fn place(index: u32) -> usize {
    index as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use tokio::sync::mpsc::unbounded_channel;

    fn due_at(shard: &mut Shard<u32>, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        shard.take_due(Mono(now), &mut due);
        let mut keys: Vec<u32> = due.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }

    fn slot((index, generation): (u32, u32)) -> Slot {
        Slot { shard: 0, index, generation }
    }

    #[test]
    fn a_wake_up_is_never_early_not_even_within_its_tick() {
        let mut shard = Shard::new(Mono(0));
        shard.insert(1, Mono(1_005));
        assert!(due_at(&mut shard, 1_000).is_empty());
        assert!(due_at(&mut shard, 1_004).is_empty());
        assert_eq!(due_at(&mut shard, 1_005), [1]);
        assert!(due_at(&mut shard, 5_000).is_empty());
    }

    #[test]
    fn a_wake_up_beyond_one_turn_waits_for_its_own() {
        let turn_ms = BUCKETS as u64 * TICK_MS;
        let mut shard = Shard::new(Mono(0));
        shard.insert(1, Mono(500));
        shard.insert(2, Mono(500 + turn_ms));
        shard.insert(3, Mono(500 + 2 * turn_ms));
        assert_eq!(due_at(&mut shard, 500), [1]);
        assert!(due_at(&mut shard, 499 + turn_ms).is_empty());
        assert_eq!(due_at(&mut shard, 500 + turn_ms), [2]);
        assert_eq!(due_at(&mut shard, 500 + 2 * turn_ms), [3]);
    }

    #[test]
    fn after_a_long_stall_everything_due_comes_at_once() {
        let mut shard = Shard::new(Mono(0));
        for key in 0..100 {
            shard.insert(key, Mono(u64::from(key) * 1_000));
        }
        assert_eq!(due_at(&mut shard, 90_000), (0..=90).collect::<Vec<_>>());
        assert_eq!(due_at(&mut shard, 1_000_000), (91..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_time_that_has_passed_is_due_at_once() {
        let mut shard = Shard::new(Mono(0));
        assert!(due_at(&mut shard, 7_777).is_empty());
        shard.insert(1, Mono(3));
        assert_eq!(due_at(&mut shard, 7_777), [1]);
    }

    #[test]
    fn a_slot_whose_wake_up_came_names_nothing() {
        let mut shard = Shard::new(Mono(0));
        let old = slot(shard.insert(1, Mono(10)));
        assert_eq!(due_at(&mut shard, 10), [1]);
        assert_eq!(shard.entry_of(old), None);
        let new = slot(shard.insert(2, Mono(20)));
        assert_eq!(new.index, old.index, "the entry is used again");
        assert_eq!(shard.entry_of(old), None);
        assert_eq!(shard.entry_of(new), Some(new.index));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set { key: u32, ahead_ms: u64 },
        Clear { key: u32 },
        Pass { ms: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let ahead = prop_oneof![0_u64..200, 0_u64..100_000];
        let pass = prop_oneof![0_u64..50, 0_u64..100_000];
        let step = prop_oneof![
            4 => (0_u32..20, ahead).prop_map(|(key, ahead_ms)| Step::Set { key, ahead_ms }),
            1 => (0_u32..20).prop_map(|key| Step::Clear { key }),
            3 => pass.prop_map(|ms| Step::Pass { ms }),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn the_wheel_agrees_with_a_sorted_list(start in 0_u64..1_000_000, steps in steps()) {
            let mut now = start;
            let mut shard = Shard::new(Mono(now));
            let mut slots: BTreeMap<u32, Slot> = BTreeMap::new();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Set { key, ahead_ms } => {
                        let at = now + ahead_ms;
                        match slots.get(&key).and_then(|slot| shard.entry_of(*slot)) {
                            Some(entry) => shard.move_to(entry, key, Mono(at)),
                            None => drop(slots.insert(key, slot(shard.insert(key, Mono(at))))),
                        }
                        model.insert(key, at);
                    }
                    Step::Clear { key } => {
                        let entry = slots.get(&key).and_then(|slot| shard.entry_of(*slot));
                        prop_assert_eq!(entry.is_some(), model.remove(&key).is_some());
                        if let Some(entry) = entry {
                            prop_assert_eq!(shard.remove(entry), Some(key));
                        }
                    }
                    Step::Pass { ms } => {
                        now += ms;
                        let due: Vec<u32> = model.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(due_at(&mut shard, now), due);
                    }
                }
            }
            prop_assert!(shard.entries.len() <= 20, "entries are used again");
        }
    }

    /// A wheel on the runtime's paused clock.
    fn wheel(metrics: &Metrics) -> Arc<Wheel<&'static str>> {
        let origin = tokio::time::Instant::now();
        let clock = move || Mono(u64::try_from(origin.elapsed().as_millis()).expect("short"));
        Arc::new(Wheel::new(clock, metrics))
    }

    #[tokio::test(start_paused = true)]
    async fn wake_ups_come_in_time_moved_ones_once_and_cleared_ones_never() {
        let metrics = Metrics::new();
        let wheel = wheel(&metrics);
        let (sender, mut woken) = unbounded_channel();
        let (ticking, time) = (Arc::clone(&wheel), Arc::clone(&wheel));
        tokio::spawn(async move {
            ticking.run(|key| sender.send((key, (time.clock)().0)).expect("the test listens")).await
        });

        let moved = wheel.set("moved", None, Mono(100));
        let cleared = wheel.set("cleared", None, Mono(200));
        wheel.set("kept", None, Mono(301));
        assert_eq!(wheel.set("moved", Some(moved), Mono(45_678)), moved);
        wheel.clear(cleared);
        assert_eq!(metrics.wheel_wakeups.get(), 2);

        for (expected, at) in [("kept", 301), ("moved", 45_678)] {
            let (key, came) = woken.recv().await.expect("the wheel turns");
            assert_eq!(key, expected);
            assert!((at..=at + TICK_MS).contains(&came), "{key} set for {at} came at {came}");
        }
        assert_eq!(metrics.wheel_wakeups.get(), 0);
        assert_eq!(metrics.wheel_lateness.histogram().get_sample_count(), 2);
        assert_ne!(wheel.set("again", Some(moved), Mono(50_000)), moved, "the old slot is spent");
        wheel.clear(moved);
        assert_eq!(woken.recv().await.expect("the wheel turns").0, "again");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_woken_may_set_the_next_wake_up_from_there() {
        let metrics = Metrics::new();
        let wheel = wheel(&metrics);
        let (sender, mut woken) = unbounded_channel();
        let ticking = Arc::clone(&wheel);
        let setting = Arc::clone(&wheel);
        tokio::spawn(async move {
            let on_due = |key| {
                setting.set(key, None, (setting.clock)() + Duration::from_secs(1));
                sender.send(()).expect("the test listens");
            };
            ticking.run(on_due).await
        });
        wheel.set("refresh", None, Mono(0));
        for _ in 0..10 {
            woken.recv().await.expect("the wheel turns");
        }
        assert!((9_000..9_300).contains(&(wheel.clock)().0));
    }

    #[test]
    fn the_limit_is_told_before_an_actor_is_made() {
        let metrics = Metrics::new();
        let wheel: Wheel<u32> = Wheel::new(|| Mono(0), &metrics);
        assert!(wheel.has_room());
        metrics.wheel_wakeups.set(i64::try_from(WAKEUPS_MAX).expect("fits"));
        assert!(!wheel.has_room());
    }
}
