use super::*;
use crate::contract::Fixture;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tandem_sip::time::Wall;

/// What a wall clock shows at the origin of the monotonic one.
const WALL_MS: u64 = 1_700_000_000_000;

crate::store_contract!(fixture);

async fn fixture() -> Fixture {
    let time = Arc::new(AtomicU64::new(1_000));
    let store = Arc::new(MemoryStore::new(MemoryLimits::default(), clock(&time)));
    let let_pass = move |interval: Duration| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        time.fetch_add(u64::try_from(interval.as_millis()).expect("short"), Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    };
    Fixture { store, wall: Wall(WALL_MS + 1_000), let_pass: Some(Box::new(let_pass)) }
}

fn clock(time: &Arc<AtomicU64>) -> Clock {
    let time = Arc::clone(time);
    Arc::new(move || {
        let ms = time.load(Ordering::Relaxed);
        Now { mono: Mono(ms), wall: Wall(WALL_MS + ms) }
    })
}

fn limited(limits: MemoryLimits) -> MemoryStore {
    MemoryStore::new(limits, Arc::new(Now::default))
}

fn key(number: u8) -> CallKey {
    CallKey { bucket: 0, id: [number; 12] }
}

fn owner() -> Owner {
    Owner { node: "a".into(), boot: 1 }
}

fn commit(store: &MemoryStore, number: u8) -> Result<Committed, StoreError> {
    let snapshot = Bytes::from_static(b"state");
    at_once(store.commit(CallWrite { key: key(number), owner: owner(), epoch: 0, seq: 1, snapshot }))
}

fn end(store: &MemoryStore, number: u8) -> Result<(), StoreError> {
    let cdr = Some(Bytes::from_static(b"cdr"));
    at_once(store.end(CallEnd { key: key(number), owner: owner(), epoch: 0, cdr }))
}

/// What a future is that must not have to wait.
fn at_once<T>(mut future: StoreFuture<T>) -> Result<T, StoreError> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("a memory store answers at the first poll"),
    }
}

#[test]
fn a_full_store_takes_no_new_call_and_serves_the_others() {
    let store = limited(MemoryLimits { calls_max: 2, ..MemoryLimits::default() });
    assert_eq!(commit(&store, 1), Ok(Committed::Stored));
    assert_eq!(commit(&store, 2), Ok(Committed::Stored));
    assert_eq!(commit(&store, 3), Err(StoreError::Full { limit: 2 }));
    assert_eq!(commit(&store, 1), Ok(Committed::Absorbed));
    assert_eq!(end(&store, 1), Ok(()));
    assert_eq!(commit(&store, 3), Ok(Committed::Stored));
    assert_eq!(store.calls(), 2);
}

#[test]
fn with_the_stream_full_a_call_does_not_end_and_no_cdr_is_lost() {
    let store = limited(MemoryLimits { cdrs_max: 2, ..MemoryLimits::default() });
    assert_eq!(commit(&store, 3), Ok(Committed::Stored));
    assert_eq!((end(&store, 1), end(&store, 2)), (Ok(()), Ok(())));
    assert_eq!(end(&store, 3), Err(StoreError::CdrsFull { limit: 2 }));
    assert!(at_once(store.load(key(3))).expect("loaded").is_some());
    assert_eq!(at_once(store.ack_cdrs("file", &[key(1)])), Ok(()));
    assert_eq!(end(&store, 3), Ok(()));
    let held = at_once(store.read_cdrs("file", 10)).expect("read");
    assert_eq!(held.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [key(2), key(3)]);
}

#[test]
fn a_cdr_is_held_until_every_group_has_acknowledged_it() {
    let store = limited(MemoryLimits::default());
    for group in ["file", "hook"] {
        assert_eq!(at_once(store.cdr_backlog(group)), Ok(0));
    }
    assert_eq!(end(&store, 1), Ok(()));
    assert_eq!(at_once(store.ack_cdrs("file", &[key(1)])), Ok(()));
    assert_eq!(store.cdrs(), 1);
    assert_eq!(at_once(store.ack_cdrs("hook", &[key(1)])), Ok(()));
    assert_eq!(store.cdrs(), 0);
}

#[test]
fn a_held_cdr_keeps_an_end_from_being_counted_twice_when_its_tombstone_had_to_go() {
    let store = limited(MemoryLimits { tombstones_per_bucket_max: 1, ..MemoryLimits::default() });
    assert_eq!((end(&store, 1), end(&store, 2)), (Ok(()), Ok(())));
    assert_eq!(end(&store, 1), Ok(()));
    assert_eq!(at_once(store.cdr_backlog("file")), Ok(2));
}

#[test]
fn tombstones_do_not_pile_up() {
    let time = Arc::new(AtomicU64::new(0));
    let store = MemoryStore::new(
        MemoryLimits { tombstones_per_bucket_max: 3, ..MemoryLimits::default() },
        clock(&time),
    );
    let standing = |store: &MemoryStore| {
        store.in_bucket(key(0), |bucket| (bucket.tombstones.standing.len(), bucket.tombstones.in_order.len()))
    };
    for number in 0..10 {
        assert_eq!(end(&store, number), Ok(()));
    }
    assert_eq!(standing(&store), (3, 3));
    time.store(600_000, Ordering::Relaxed);
    assert_eq!(standing(&store), (0, 0));
}

fn registration(key: &str, lapses: Option<Wall>) -> Put {
    Put { space: Space::Registrations, key: key.into(), seen: None, value: Some(Bytes::new()), lapses }
}

#[test]
fn a_full_space_takes_no_new_document_and_serves_the_others() {
    let store = limited(MemoryLimits { documents_max: 1, ..MemoryLimits::default() });
    let first = at_once(store.put(registration("a", None))).expect("written");
    assert_eq!(at_once(store.put(registration("b", None))), Err(StoreError::SpaceFull { limit: 1 }));
    assert!(at_once(store.put(Put { seen: Some(first), ..registration("a", None) })).is_ok());
    assert!(at_once(store.put(Put { space: Space::Publications, ..registration("b", None) })).is_ok());
}

#[test]
fn lapsed_documents_do_not_pile_up() {
    let time = Arc::new(AtomicU64::new(0));
    let limits = MemoryLimits { documents_max: 3, ..MemoryLimits::default() };
    let store = MemoryStore::new(limits, clock(&time));
    for number in 0..100 {
        let lapses = Some(Wall(WALL_MS + time.load(Ordering::Relaxed) + 1_000));
        assert!(at_once(store.put(registration(&format!("{number}"), lapses))).is_ok(), "{number}");
        time.fetch_add(400, Ordering::Relaxed);
    }
}
