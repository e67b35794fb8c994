//! A server that lets a user do no more than a cluster needs.

use super::super::NEEDED_COMMANDS;
use super::away::{write, write_until_stored};
use super::{PATIENT, client, open, open_at, subscribed};
use crate::{Committed, Put, Space, Store, StoreError};
use bytes::Bytes;
use tandem_testredis::Server;

/// What a cluster named `test` needs, as docs/cluster.md has it.
const RULE: [&str; 5] = ["on", ">hush", "resetkeys", "~{test:b*", "&test:changed:*"];

#[tokio::test]
async fn a_user_who_may_do_no_more_than_a_cluster_needs_is_enough() {
    let server = Server::start(&[]);
    let mut admin = client(server.port).await;
    let mut rule = redis::cmd("ACL");
    rule.arg("SETUSER").arg("tandem").arg(&RULE);
    for command in NEEDED_COMMANDS {
        rule.arg(format!("+{command}"));
    }
    let () = rule.query_async(&mut admin).await.expect("a rule");
    let () =
        redis::cmd("ACL").arg(&["SETUSER", "default", "off"]).query_async(&mut admin).await.expect("off");
    let store = open_at(&format!("redis://tandem:hush@127.0.0.1:{}", server.port), PATIENT);
    subscribed(&store).await;
    assert_eq!(store.commit(write(1)).await, Ok(Committed::Stored));
    let put = Put {
        space: Space::Registrations,
        key: "a".into(),
        seen: None,
        value: Some(Bytes::from_static(b"1")),
        lapses: None,
    };
    assert!(store.put(put).await.is_ok());
    assert_eq!(store.renew_slots("vendor".into(), vec!["1".into()]).await, Ok(1));
    assert_eq!(store.beat(Some(("a".into(), Bytes::new()))).await.map(|all| all.nodes.len()), Ok(1));
    assert_eq!(store.cdr_backlog("file").await, Ok(0));
    let other = open_at(&format!("redis://tandem:wrong@127.0.0.1:{}", server.port), PATIENT);
    assert_eq!(other.commit(write(2)).await, Err(StoreError::Away { step: "commit" }));
    let nobody = open(server.port, PATIENT);
    assert_eq!(nobody.commit(write(2)).await, Err(StoreError::Away { step: "commit" }));
}

#[tokio::test]
async fn a_cluster_has_no_way_to_the_keys_of_another() {
    let server = Server::start(&[]);
    let mut admin = client(server.port).await;
    let mut rule = redis::cmd("ACL");
    rule.arg("SETUSER").arg("tandem").arg(&["on", ">hush", "~{other:b*", "&*", "+@all"]);
    let () = rule.query_async(&mut admin).await.expect("a rule");
    let store = open_at(&format!("redis://tandem:hush@127.0.0.1:{}", server.port), PATIENT);
    assert_eq!(store.commit(write(1)).await, Err(StoreError::Away { step: "commit" }));
    let right = open(server.port, PATIENT);
    write_until_stored(&right, 1).await;
}

#[test]
fn the_commands_that_a_user_needs_are_those_of_the_scripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis/scripts");
    let mut called = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).expect("scripts") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a script");
        let names = text.split("redis.call('").skip(1).filter_map(|rest| rest.split('\'').next());
        called.extend(names.map(str::to_lowercase));
    }
    // The first are the client's own.
    let needed: std::collections::BTreeSet<String> =
        NEEDED_COMMANDS[6..].iter().map(ToString::to_string).collect();
    assert_eq!(called, needed);
}
