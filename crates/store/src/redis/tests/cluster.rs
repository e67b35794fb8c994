//! A Redis Cluster of three masters.

use super::{PATIENT, client, open_at, until};
use crate::{CallEnd, CallKey, CallWrite, Committed, Owner, Put, Space, Store};
use bytes::Bytes;
use tandem_testredis::{Server, free_port};

/// The slots of each.
const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

async fn cluster() -> [Server; 3] {
    let start = || {
        let bus = free_port();
        (Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]), bus)
    };
    let servers = [start(), start(), start()];
    for ((server, _), (first, last)) in servers.iter().zip(SLOTS) {
        let mut client = client(server.port).await;
        let mut command = redis::cmd("CLUSTER");
        let () =
            command.arg("ADDSLOTSRANGE").arg(first).arg(last).query_async(&mut client).await.expect("slots");
        for (other, bus) in &servers {
            let mut command = redis::cmd("CLUSTER");
            command.arg("MEET").arg("127.0.0.1").arg(other.port).arg(bus);
            let () = command.query_async(&mut client).await.expect("met");
        }
    }
    for (server, _) in &servers {
        until(server.port, &["CLUSTER", "INFO"], |said| {
            said.contains("cluster_state:ok") && said.contains("cluster_known_nodes:3")
        })
        .await;
    }
    servers.map(|(server, _)| server)
}

#[tokio::test]
async fn in_a_cluster_each_step_stays_within_one_slot() {
    let servers = cluster().await;
    let store = open_at(&format!("redis+cluster://127.0.0.1:{}", servers[0].port), PATIENT);
    let owner = Owner { node: "a".into(), boot: 1 };
    // All buckets, and so all three masters.
    let keys: Vec<_> = (0..=u8::MAX).map(|bucket| CallKey { bucket, id: [bucket; 12] }).collect();
    for key in &keys {
        let write = CallWrite {
            key: *key,
            owner: owner.clone(),
            epoch: 0,
            seq: 1,
            snapshot: Bytes::from_static(b"s"),
        };
        assert_eq!(store.commit(write).await, Ok(Committed::Stored));
    }
    assert_eq!(store.owned("a").await, Ok(keys.clone()));
    let heir = Owner { node: "b".into(), boot: 1 };
    for key in &keys {
        assert_eq!(store.claim(*key, 0, heir.clone()).await.map(|call| call.epoch), Ok(1));
        let end = CallEnd { key: *key, owner: heir.clone(), epoch: 1, cdr: Some(Bytes::from_static(b"cdr")) };
        assert_eq!(store.end(end).await, Ok(()));
    }
    assert_eq!(store.owned("b").await, Ok(vec![]));
    assert_eq!(store.cdr_backlog("file").await, Ok(keys.len()));
    assert_eq!(store.read_cdrs("file", 1_000).await.map(|records| records.len()), Ok(keys.len()));
    assert_eq!(store.ack_cdrs("file", &keys).await, Ok(()));
    assert_eq!(store.cdr_backlog("file").await, Ok(0));

    let names: Vec<String> = (0..100).map(|number| format!("user{number:03}@example.com")).collect();
    for name in &names {
        let value = Some(Bytes::from_static(b"bindings"));
        let put =
            Put { space: Space::Registrations, key: name.as_str().into(), seen: None, value, lapses: None };
        assert!(store.put(put).await.is_ok());
    }
    let found = store.scan(Space::Registrations, None, 1_000).await.expect("scanned");
    assert_eq!(found.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), names);
}
