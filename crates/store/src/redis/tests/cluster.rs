//! A Redis Cluster of three masters.

use super::{PATIENT, client, open_at, until};
use crate::{CallEnd, CallKey, CallWrite, Committed, Owner, Put, Space, Store};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tandem_testredis::{Server, free_port};

/// The slots of each.
const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// Servers that know of each other, of which the first three have the slots.
async fn form<const SERVERS: usize>() -> [Server; SERVERS] {
    let servers: [(Server, u16); SERVERS] = std::array::from_fn(|_| {
        let bus = free_port();
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-port"];
        (Server::start(&[&options[..], &[&bus.to_string()]].concat()), bus)
    });
    for (place, (server, _)) in servers.iter().enumerate() {
        let mut client = client(server.port).await;
        if let Some((first, last)) = SLOTS.get(place) {
            let mut command = redis::cmd("CLUSTER");
            command.arg("ADDSLOTSRANGE").arg(first).arg(last);
            let () = command.query_async(&mut client).await.expect("slots");
        }
        for (other, bus) in &servers {
            let mut command = redis::cmd("CLUSTER");
            command.arg("MEET").arg("127.0.0.1").arg(other.port).arg(bus);
            let () = command.query_async(&mut client).await.expect("met");
        }
    }
    let known = format!("cluster_known_nodes:{SERVERS}");
    for (server, _) in &servers {
        until(server.port, &["CLUSTER", "INFO"], |said| {
            said.contains("cluster_state:ok") && said.contains(&known)
        })
        .await;
    }
    servers.map(|(server, _)| server)
}

/// Three masters, each with a replica.
async fn with_replicas() -> [Server; 6] {
    let servers = form::<6>().await;
    for (master, replica) in servers[..3].iter().zip(&servers[3..]) {
        let mut asked = client(master.port).await;
        let id: String = redis::cmd("CLUSTER").arg("MYID").query_async(&mut asked).await.expect("an id");
        let mut client = client(replica.port).await;
        let () =
            redis::cmd("CLUSTER").arg("REPLICATE").arg(id).query_async(&mut client).await.expect("a replica");
    }
    for (master, replica) in servers[..3].iter().zip(&servers[3..]) {
        until(replica.port, &["INFO", "replication"], |said| said.contains("master_link_status:up")).await;
        until(master.port, &["INFO", "replication"], |said| said.contains("connected_slaves:1")).await;
    }
    servers
}

#[tokio::test]
async fn in_a_cluster_each_step_stays_within_one_slot() {
    let servers = form::<3>().await;
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

/// Commits of all buckets, with that number.
fn commits(seq: u64) -> impl Iterator<Item = CallWrite> {
    let owner = Owner { node: "a".into(), boot: 1 };
    (0..=u8::MAX).map(move |bucket| CallWrite {
        key: CallKey { bucket, id: [bucket; 12] },
        owner: owner.clone(),
        epoch: 0,
        seq,
        snapshot: Bytes::from_static(b"s"),
    })
}

#[tokio::test]
async fn a_cluster_of_six_goes_on_when_a_master_dies() {
    let mut servers = with_replicas().await;
    let store = open_at(&format!("redis+cluster://127.0.0.1:{}", servers[1].port), Duration::from_secs(2));
    for write in commits(1) {
        assert_eq!(store.commit(write).await, Ok(Committed::Stored));
    }
    // What a replica has not got is the nodes' to write again; here all of it is there.
    let mut admin = client(servers[0].port).await;
    let acknowledged: i64 =
        redis::cmd("WAIT").arg(1).arg(5_000).query_async(&mut admin).await.expect("waited");
    assert_eq!(acknowledged, 1);
    servers[0].kill();
    let end = Instant::now() + PATIENT;
    for write in commits(2) {
        while store.commit(write.clone()).await != Ok(Committed::Stored) {
            assert!(Instant::now() < end, "{}", write.key);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for write in commits(2) {
        let stored = store.load(write.key).await.expect("it answers").map(|call| (call.seq, call.epoch));
        assert_eq!(stored, Some((2, 0)), "{}", write.key);
    }
    let contact = *store.contact().borrow();
    assert!(
        contact.answers && contact.lives > 0,
        "that something may have been lost was noticed: {contact:?}"
    );
}
