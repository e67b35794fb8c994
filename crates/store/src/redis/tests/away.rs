//! Servers that stop, stall and come back.

use super::{PATIENT, open};
use crate::{CallKey, CallWrite, Committed, Owner, Store, StoreError};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tandem_testredis::Server;

pub(super) fn write(seq: u64) -> CallWrite {
    let key = CallKey { bucket: 7, id: [1; 12] };
    let owner = Owner { node: "a".into(), boot: 1 };
    CallWrite { key, owner, epoch: 0, seq, snapshot: Bytes::from_static(b"snapshot") }
}

/// Writes until the store answers.
pub(super) async fn write_until_stored(store: &impl Store, seq: u64) {
    let end = Instant::now() + PATIENT;
    while store.commit(write(seq)).await != Ok(Committed::Stored) {
        assert!(Instant::now() < end, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_away_and_then_left_alone() {
    let store = open(1, PATIENT);
    let away = Err(StoreError::Away { step: "commit" });
    for _ in 0..5 {
        assert!(!store.is_away());
        assert_eq!(store.commit(write(1)).await, away);
    }
    assert!(store.is_away());
    assert_eq!(store.commit(write(1)).await, away);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_used_again() {
    let mut server = Server::start(&[]);
    let store = open(server.port, PATIENT);
    assert_eq!(store.commit(write(1)).await, Ok(Committed::Stored));
    server.restart_empty();
    write_until_stored(&store, 2).await;
    let stored = store.load(write(2).key).await.expect("loaded").expect("stored");
    assert_eq!(stored.seq, 2);
}

#[tokio::test]
async fn a_stalled_server_keeps_nobody_waiting_beyond_the_time_limit() {
    let server = Server::start(&[]);
    let store = open(server.port, Duration::from_millis(200));
    write_until_stored(&store, 1).await;
    server.signal("STOP");
    for _ in 0..8 {
        assert_eq!(store.commit(write(2)).await, Err(StoreError::Away { step: "commit" }));
    }
    assert!(store.is_away());
    server.signal("CONT");
    // What was asked while it stalled may have been done meanwhile.
    write_until_stored(&store, 3).await;
    assert!(!store.is_away());
}
