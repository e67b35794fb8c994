//! A master that a sentinel names, and its successor.

use super::away::{write, write_until_stored};
use super::{open_at, until};
use crate::{Committed, Store};
use std::time::Duration;
use tandem_testredis::Server;

#[tokio::test]
async fn after_a_failover_the_new_master_is_used() {
    let mut master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    until(replica.port, &["INFO", "replication"], |said| said.contains("master_link_status:up")).await;
    let sentinel = Server::sentinel_of(master.port);
    until(sentinel.port, &["SENTINEL", "REPLICAS", "tandem"], |said| {
        said.contains(&replica.port.to_string()) && said.contains("master-link-status") && said.contains("ok")
    })
    .await;

    let store =
        open_at(&format!("redis+sentinel://127.0.0.1:{}/tandem", sentinel.port), Duration::from_millis(500));
    assert_eq!(store.commit(write(1)).await, Ok(Committed::Stored));
    let call = format!("{{test:b07}}:call:{}", "01".repeat(12));
    until(replica.port, &["EXISTS", &call], |said| said.contains("int(1)")).await;
    master.kill();
    write_until_stored(&store, 2).await;
    let stored = store.load(write(2).key).await.expect("loaded").expect("stored");
    assert_eq!(stored.seq, 2, "at the new master");
}
