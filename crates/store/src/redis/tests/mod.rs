//! The store in Redis, on real servers that the tests start.

mod away;
mod cluster;
mod differential;
mod secure;
mod sentinel;
mod tls;

use super::{RedisSettings, RedisStore};
use crate::contract::Fixture;
use crate::{Changed, Space, Store};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tandem_sip::time::Wall;
use tandem_testredis::Server;

/// What a test gives its store: the machine may be busy.
pub(super) const PATIENT: Duration = Duration::from_secs(20);

fn open(port: u16, timeout: Duration) -> RedisStore {
    open_at(&format!("redis://127.0.0.1:{port}"), timeout)
}

fn open_at(address: &str, timeout: Duration) -> RedisStore {
    let address = address.parse().expect("an address");
    RedisStore::open(&address, "test", RedisSettings { timeout, ..RedisSettings::default() }).expect("opened")
}

/// Asks a server until it says so.
async fn until(port: u16, command: &[&str], said: impl Fn(&str) -> bool) {
    let mut client = client(port).await;
    let end = std::time::Instant::now() + PATIENT;
    loop {
        let answer: redis::RedisResult<redis::Value> =
            redis::cmd(command[0]).arg(&command[1..]).query_async(&mut client).await;
        if said(&format!("{answer:?}")) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{command:?}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn client(port: u16) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("an address");
    client.get_multiplexed_async_connection().await.expect("connected")
}

/// Waits until the store's subscription stands: what was published before is not told of.
async fn subscribed(store: &RedisStore) {
    let mut changes = store.changes(Space::Publications);
    let told = tokio::time::timeout(PATIENT, changes.recv()).await.expect("subscribed in time");
    // Something may have been missed before.
    assert_eq!(told, Ok(Changed::any()));
}

fn wall() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Wall(since.as_millis() as u64)
}

/// Lets time pass for everything that lives for a time.
async fn age(port: u16, by: Duration) {
    let script = redis::Script::new(
        "for _, key in ipairs(redis.call('KEYS', '*')) do
             local left = redis.call('PTTL', key)
             if left >= 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
             if string.find(key, ':slots:', 1, true) then
                 for _, holder in ipairs(redis.call('ZRANGE', key, 0, -1)) do
                     redis.call('ZINCRBY', key, -ARGV[1], holder)
                 end
             elseif string.find(key, ':slots-since:', 1, true) then
                 redis.call('DECRBY', key, ARGV[1])
             end
         end",
    );
    let mut client = client(port).await;
    let () = script.arg(by.as_millis() as u64).invoke_async(&mut client).await.expect("aged");
}

mod standalone {
    use super::*;

    async fn fixture() -> Fixture {
        let server = Server::start(&[]);
        let port = server.port;
        let store = Arc::new(open(port, PATIENT));
        subscribed(&store).await;
        // The server is the fixture's, and ends with it.
        let let_pass = Box::new(move |by| {
            let server: &Server = &server;
            Box::pin(age(server.port, by)) as _
        });
        Fixture { store, wall: wall(), let_pass: Some(let_pass) }
    }

    crate::store_contract!(fixture);
}
