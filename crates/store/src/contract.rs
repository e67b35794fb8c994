//! What every store has to keep to: one suite, run on each implementation.
//!
//! ```ignore
//! async fn fixture() -> tandem_store::contract::Fixture { … }
//! tandem_store::store_contract!(fixture);
//! ```

use crate::{
    CDR_GROUPS_MAX, CallEnd, CallKey, CallWrite, Committed, Document, MAX_DOCUMENT_BYTES, MAX_KEY_BYTES,
    Owner, Put, Revision, SLOT_GRACE, SLOT_LEASE, SNAPSHOT_MAX_BYTES, SlotTake, Space, Store, StoreError,
    StoredCall, TOMBSTONE_LIFE, Taken,
};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Wall;

/// Lets a store's time pass.
pub type LetPass = Box<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// An empty store to be tried, that nobody else uses.
pub struct Fixture {
    /// The store.
    pub store: Arc<dyn Store>,
    /// What its wall clock shows now, or showed a moment ago.
    pub wall: Wall,
    /// How to let the store's time pass; without it the checks that need time pass by.
    pub let_pass: Option<LetPass>,
}

/// Makes a test of each rule, from an `async fn() -> Fixture`.
#[macro_export]
macro_rules! store_contract {
    ($fixture:path) => {
        $crate::store_contract! { $fixture =>
            what_was_committed_is_loaded
            an_unknown_call_loads_as_none_and_cannot_be_claimed
            within_an_epoch_the_highest_seq_wins
            a_higher_epoch_replaces_whatever_its_seq
            a_superseded_epoch_is_fenced
            in_one_epoch_only_the_owner_writes
            another_boot_of_the_same_node_is_another_owner
            a_claim_moves_ownership_to_the_next_epoch
            of_many_heirs_one_claim_wins
            a_repeated_claim_of_the_same_heir_succeeds_again
            a_node_can_claim_its_own_call
            an_end_removes_the_snapshot_and_appends_the_cdr
            an_end_by_a_superseded_owner_is_fenced_and_leaves_all_as_it_was
            a_repeated_end_appends_nothing
            a_call_that_was_never_stored_can_end
            an_end_without_cdr_appends_none
            an_ended_call_takes_no_commit_and_no_claim
            a_tombstone_falls_after_its_time
            the_owned_calls_are_those_of_the_node_in_order
            cdrs_of_a_bucket_come_in_order_until_acknowledged
            each_group_gets_every_cdr
            a_new_group_gets_what_is_held
            an_acknowledged_cdr_is_not_appended_again
            acknowledging_what_is_not_there_is_ignored
            the_number_of_groups_is_limited
            appended_cdrs_wake_the_reader
            a_snapshot_over_the_limit_is_refused
            a_document_is_read_as_it_was_put
            a_document_is_written_only_over_the_one_that_was_seen
            a_repeated_put_succeeds_again_with_the_same_revision
            of_many_writers_of_a_document_one_wins
            a_removed_document_has_gone_and_can_be_put_anew
            spaces_have_nothing_to_do_with_each_other
            a_lapsed_document_has_gone_for_readers_and_writers
            a_document_lives_as_long_as_its_last_write_says
            documents_are_scanned_by_key_page_by_page
            changes_of_documents_are_told
            a_document_over_the_limit_is_refused
            of_many_holders_never_more_have_a_slot_than_the_limit_says
            a_slot_is_taken_and_given_back_once
            a_slot_that_is_not_renewed_lapses_after_its_lease
            a_renewed_slot_is_held_whatever_the_limit
            calls_per_second_are_counted_over_any_second
            what_nodes_say_of_themselves_stays_until_they_are_forgotten
            slots_are_unsure_when_they_have_just_begun_to_be_counted
        }
    };
    ($fixture:path => $($rule:ident)+) => {
        $(
            #[tokio::test]
            async fn $rule() {
                $crate::contract::$rule($fixture().await).await;
            }
        )+
    };
}

fn key(bucket: u8, number: u8) -> CallKey {
    CallKey { bucket, id: [number; 12] }
}

fn owner(node: &str, boot: u64) -> Owner {
    Owner { node: node.into(), boot }
}

fn write(key: CallKey, owner: &Owner, epoch: u32, seq: u64) -> CallWrite {
    CallWrite { key, owner: owner.clone(), epoch, seq, snapshot: snapshot(epoch, seq) }
}

fn snapshot(epoch: u32, seq: u64) -> Bytes {
    // Any byte may occur in a snapshot, so none may be special to the store.
    Bytes::from([&[0, b'\r', b'\n', 0xff][..], format!("{epoch}/{seq}").as_bytes()].concat())
}

fn stored(owner: &Owner, epoch: u32, seq: u64) -> StoredCall {
    StoredCall { owner: owner.clone(), epoch, seq, snapshot: snapshot(epoch, seq) }
}

fn end(key: CallKey, owner: &Owner, epoch: u32) -> CallEnd {
    CallEnd { key, owner: owner.clone(), epoch, cdr: Some(cdr(key)) }
}

fn cdr(key: CallKey) -> Bytes {
    Bytes::from(format!("cdr of {key}"))
}

#[allow(missing_docs)] // Each rule is named after what it proves.
mod rules {
    use super::*;

    pub async fn what_was_committed_is_loaded(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(7, 1), owner("a", 1));
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Ok(Committed::Stored));
        assert_eq!(store.load(call).await, Ok(Some(stored(&a, 0, 1))));
        assert_eq!(store.load(key(8, 1)).await, Ok(None), "the same id in another bucket is another call");
    }

    pub async fn an_unknown_call_loads_as_none_and_cannot_be_claimed(Fixture { store, .. }: Fixture) {
        assert_eq!(store.load(key(0, 1)).await, Ok(None));
        assert_eq!(store.claim(key(0, 1), 0, owner("a", 1)).await, Err(StoreError::Unknown));
    }

    pub async fn within_an_epoch_the_highest_seq_wins(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(255, 1), owner("a", 1));
        assert_eq!(store.commit(write(call, &a, 3, 5)).await, Ok(Committed::Stored));
        assert_eq!(store.commit(write(call, &a, 3, 4)).await, Ok(Committed::Absorbed));
        assert_eq!(store.commit(write(call, &a, 3, 5)).await, Ok(Committed::Absorbed));
        assert_eq!(store.load(call).await, Ok(Some(stored(&a, 3, 5))));
        // As a number: ten is more than nine.
        assert_eq!(store.commit(write(call, &a, 3, 10)).await, Ok(Committed::Stored));
        assert_eq!(store.commit(write(call, &a, 3, 9)).await, Ok(Committed::Absorbed));
        assert_eq!(store.load(call).await, Ok(Some(stored(&a, 3, 10))));
    }

    pub async fn a_higher_epoch_replaces_whatever_its_seq(Fixture { store, .. }: Fixture) {
        let (call, a, b) = (key(1, 1), owner("a", 1), owner("b", 1));
        assert_eq!(store.commit(write(call, &a, 1, 50)).await, Ok(Committed::Stored));
        assert_eq!(store.commit(write(call, &b, 2, 1)).await, Ok(Committed::Stored));
        assert_eq!(store.load(call).await, Ok(Some(stored(&b, 2, 1))));
    }

    pub async fn a_superseded_epoch_is_fenced(Fixture { store, .. }: Fixture) {
        let (call, a, b) = (key(1, 1), owner("a", 1), owner("b", 1));
        assert_eq!(store.commit(write(call, &b, 10, 1)).await, Ok(Committed::Stored));
        assert_eq!(store.commit(write(call, &a, 9, 99)).await, Err(StoreError::Fenced { epoch: 10 }));
        assert_eq!(store.load(call).await, Ok(Some(stored(&b, 10, 1))));
    }

    pub async fn in_one_epoch_only_the_owner_writes(Fixture { store, .. }: Fixture) {
        let (call, a, b) = (key(1, 1), owner("a", 1), owner("b", 1));
        assert_eq!(store.commit(write(call, &a, 1, 1)).await, Ok(Committed::Stored));
        assert_eq!(store.commit(write(call, &b, 1, 2)).await, Err(StoreError::Fenced { epoch: 1 }));
        assert_eq!(store.load(call).await, Ok(Some(stored(&a, 1, 1))));
    }

    pub async fn another_boot_of_the_same_node_is_another_owner(Fixture { store, .. }: Fixture) {
        let call = key(1, 1);
        assert_eq!(store.commit(write(call, &owner("a", 1), 1, 1)).await, Ok(Committed::Stored));
        let reborn = store.commit(write(call, &owner("a", 2), 1, 2)).await;
        assert_eq!(reborn, Err(StoreError::Fenced { epoch: 1 }));
    }

    pub async fn a_claim_moves_ownership_to_the_next_epoch(Fixture { store, .. }: Fixture) {
        let (call, a, b) = (key(1, 1), owner("a", 1), owner("b", 7));
        assert_eq!(store.commit(write(call, &a, 4, 12)).await, Ok(Committed::Stored));
        let claimed = StoredCall { owner: b.clone(), epoch: 5, seq: 12, snapshot: snapshot(4, 12) };
        assert_eq!(store.claim(call, 4, b.clone()).await, Ok(claimed.clone()));
        assert_eq!(store.load(call).await, Ok(Some(claimed)));
        assert_eq!(store.commit(write(call, &a, 4, 13)).await, Err(StoreError::Fenced { epoch: 5 }));
        assert_eq!(store.commit(write(call, &b, 5, 13)).await, Ok(Committed::Stored));
    }

    pub async fn of_many_heirs_one_claim_wins(Fixture { store, .. }: Fixture) {
        let call = key(1, 1);
        assert_eq!(store.commit(write(call, &owner("dead", 1), 0, 1)).await, Ok(Committed::Stored));
        let mut won = 0;
        let claims: Vec<_> = (0..8).map(|heir| store.claim(call, 0, owner("heir", heir))).collect();
        let racing: Vec<_> = claims.into_iter().map(tokio::spawn).collect();
        for claim in racing {
            match claim.await.expect("no panic") {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error, StoreError::Fenced { epoch: 1 }),
            }
        }
        assert_eq!(won, 1);
    }

    pub async fn a_repeated_claim_of_the_same_heir_succeeds_again(Fixture { store, .. }: Fixture) {
        let (call, b) = (key(1, 1), owner("b", 1));
        assert_eq!(store.commit(write(call, &owner("a", 1), 0, 1)).await, Ok(Committed::Stored));
        let first = store.claim(call, 0, b.clone()).await;
        assert_eq!(store.claim(call, 0, b.clone()).await, first, "the first answer may have been lost");
        let other = store.claim(call, 0, owner("c", 1)).await;
        assert_eq!(other, Err(StoreError::Fenced { epoch: 1 }));
    }

    pub async fn a_node_can_claim_its_own_call(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(1, 1), owner("a", 1));
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Ok(Committed::Stored));
        let claimed = store.claim(call, 0, a.clone()).await.expect("after a panic");
        assert_eq!((claimed.epoch, claimed.owner), (1, a));
    }

    pub async fn an_end_removes_the_snapshot_and_appends_the_cdr(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(1, 1), owner("a", 1));
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Ok(Committed::Stored));
        assert_eq!(store.end(end(call, &a, 0)).await, Ok(()));
        assert_eq!(store.load(call).await, Ok(None));
        assert_eq!(store.owned("a").await, Ok(vec![]));
        assert_eq!(store.read_cdrs("file", 10).await, Ok(vec![(call, cdr(call))]));
    }

    pub async fn an_end_by_a_superseded_owner_is_fenced_and_leaves_all_as_it_was(
        Fixture { store, .. }: Fixture,
    ) {
        let (call, a, b) = (key(1, 1), owner("a", 1), owner("b", 1));
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Ok(Committed::Stored));
        let claimed = store.claim(call, 0, b.clone()).await.expect("claimed");
        assert_eq!(store.end(end(call, &a, 0)).await, Err(StoreError::Fenced { epoch: 1 }));
        assert_eq!(store.end(end(call, &a, 1)).await, Err(StoreError::Fenced { epoch: 1 }));
        assert_eq!(store.load(call).await, Ok(Some(claimed)));
        assert_eq!(store.cdr_backlog("file").await, Ok(0));
        assert_eq!(store.end(end(call, &b, 1)).await, Ok(()));
        assert_eq!(store.cdr_backlog("file").await, Ok(1));
    }

    pub async fn a_repeated_end_appends_nothing(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(1, 1), owner("a", 1));
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Ok(Committed::Stored));
        for _ in 0..3 {
            assert_eq!(store.end(end(call, &a, 0)).await, Ok(()));
        }
        assert_eq!(store.cdr_backlog("file").await, Ok(1));
    }

    pub async fn a_call_that_was_never_stored_can_end(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(1, 1), owner("a", 1));
        assert_eq!(store.end(end(call, &a, 0)).await, Ok(()));
        assert_eq!(store.cdr_backlog("file").await, Ok(1));
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Err(StoreError::Ended));
    }

    pub async fn an_end_without_cdr_appends_none(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(1, 1), owner("a", 1));
        assert_eq!(store.end(CallEnd { cdr: None, ..end(call, &a, 0) }).await, Ok(()));
        assert_eq!(store.cdr_backlog("file").await, Ok(0));
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Err(StoreError::Ended));
    }

    pub async fn an_ended_call_takes_no_commit_and_no_claim(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(1, 1), owner("a", 1));
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Ok(Committed::Stored));
        assert_eq!(store.end(end(call, &a, 0)).await, Ok(()));
        assert_eq!(store.commit(write(call, &a, 0, 2)).await, Err(StoreError::Ended));
        assert_eq!(store.commit(write(call, &owner("b", 1), 9, 1)).await, Err(StoreError::Ended));
        assert_eq!(store.claim(call, 0, owner("b", 1)).await, Err(StoreError::Ended));
    }

    pub async fn a_tombstone_falls_after_its_time(Fixture { store, let_pass, .. }: Fixture) {
        let Some(let_pass) = let_pass else { return };
        let (call, a) = (key(1, 1), owner("a", 1));
        assert_eq!(store.end(CallEnd { cdr: None, ..end(call, &a, 0) }).await, Ok(()));
        let margin = Duration::from_secs(1);
        let_pass(TOMBSTONE_LIFE - margin).await;
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Err(StoreError::Ended));
        let_pass(margin).await;
        assert_eq!(store.commit(write(call, &a, 0, 1)).await, Ok(Committed::Stored));
    }

    pub async fn the_owned_calls_are_those_of_the_node_in_order(Fixture { store, .. }: Fixture) {
        let (a, reborn, b) = (owner("a", 1), owner("a", 2), owner("b", 1));
        for (bucket, number, owner) in [(200, 2, &a), (3, 9, &reborn), (200, 1, &a), (3, 1, &b)] {
            let committed = store.commit(write(key(bucket, number), owner, 0, 1)).await;
            assert_eq!(committed, Ok(Committed::Stored));
        }
        assert_eq!(store.owned("a").await, Ok(vec![key(3, 9), key(200, 1), key(200, 2)]));
        store.claim(key(200, 1), 0, b).await.expect("claimed");
        assert_eq!(store.owned("a").await, Ok(vec![key(3, 9), key(200, 2)]));
        assert_eq!(store.owned("b").await, Ok(vec![key(3, 1), key(200, 1)]));
        assert_eq!(store.owned("c").await, Ok(vec![]));
    }

    async fn end_calls(store: &Arc<dyn Store>, calls: impl IntoIterator<Item = CallKey>) {
        for call in calls {
            assert_eq!(store.end(end(call, &owner("a", 1), 0)).await, Ok(()));
        }
    }

    async fn read_keys(store: &Arc<dyn Store>, group: &str, max: usize) -> Vec<CallKey> {
        let records = store.read_cdrs(group, max).await.expect("read");
        records.into_iter().map(|(key, _)| key).collect()
    }

    pub async fn cdrs_of_a_bucket_come_in_order_until_acknowledged(Fixture { store, .. }: Fixture) {
        // Ids fall as calls end: the order is that of the ends.
        end_calls(&store, (0..6).map(|number| key(1, 20 - number))).await;
        let first = [key(1, 20), key(1, 19), key(1, 18)];
        assert_eq!(read_keys(&store, "file", 3).await, first);
        assert_eq!(read_keys(&store, "file", 3).await, first, "not acknowledged, they come again");
        assert_eq!(store.ack_cdrs("file", &[key(1, 19)]).await, Ok(()));
        assert_eq!(read_keys(&store, "file", 3).await, [key(1, 20), key(1, 18), key(1, 17)]);
        assert_eq!(store.ack_cdrs("file", &first).await, Ok(()));
        assert_eq!(read_keys(&store, "file", 10).await, [key(1, 17), key(1, 16), key(1, 15)]);
        assert_eq!(store.cdr_backlog("file").await, Ok(3));
    }

    pub async fn each_group_gets_every_cdr(Fixture { store, .. }: Fixture) {
        assert_eq!(store.cdr_backlog("file").await, Ok(0));
        assert_eq!(store.cdr_backlog("hook").await, Ok(0));
        end_calls(&store, [key(1, 1), key(1, 2)]).await;
        assert_eq!(store.ack_cdrs("file", &[key(1, 1), key(1, 2)]).await, Ok(()));
        assert_eq!(store.cdr_backlog("file").await, Ok(0));
        assert_eq!(read_keys(&store, "hook", 10).await, [key(1, 1), key(1, 2)]);
        assert_eq!(store.ack_cdrs("hook", &[key(1, 1)]).await, Ok(()));
        assert_eq!(store.cdr_backlog("hook").await, Ok(1));
        assert_eq!(read_keys(&store, "file", 10).await, []);
    }

    pub async fn a_new_group_gets_what_is_held(Fixture { store, .. }: Fixture) {
        end_calls(&store, [key(1, 1), key(2, 2)]).await;
        assert_eq!(store.cdr_backlog("late").await, Ok(2));
        let mut held = read_keys(&store, "late", 10).await;
        held.sort();
        assert_eq!(held, [key(1, 1), key(2, 2)]);
    }

    pub async fn an_acknowledged_cdr_is_not_appended_again(Fixture { store, .. }: Fixture) {
        end_calls(&store, [key(1, 1)]).await;
        assert_eq!(store.ack_cdrs("file", &[key(1, 1)]).await, Ok(()));
        end_calls(&store, [key(1, 1)]).await;
        assert_eq!(store.cdr_backlog("file").await, Ok(0));
    }

    pub async fn acknowledging_what_is_not_there_is_ignored(Fixture { store, .. }: Fixture) {
        end_calls(&store, [key(1, 1)]).await;
        assert_eq!(store.ack_cdrs("file", &[key(9, 9)]).await, Ok(()));
        assert_eq!(store.ack_cdrs("file", &[]).await, Ok(()));
        assert_eq!(store.cdr_backlog("file").await, Ok(1));
    }

    pub async fn the_number_of_groups_is_limited(Fixture { store, .. }: Fixture) {
        for group in 0..CDR_GROUPS_MAX {
            assert_eq!(store.cdr_backlog(&format!("group {group}")).await, Ok(0));
        }
        let refused = StoreError::TooManyGroups { limit: CDR_GROUPS_MAX };
        assert_eq!(store.cdr_backlog("one more").await, Err(refused));
        assert_eq!(store.cdr_backlog("group 0").await, Ok(0));
    }

    pub async fn appended_cdrs_wake_the_reader(Fixture { store, .. }: Fixture) {
        let mut appends = store.cdr_appends();
        appends.mark_unchanged();
        let reader = tokio::spawn(async move { appends.changed().await });
        end_calls(&store, [key(1, 1)]).await;
        let woken = tokio::time::timeout(Duration::from_secs(10), reader).await.expect("woken in time");
        assert!(woken.expect("no panic").is_ok());
    }

    pub async fn a_snapshot_over_the_limit_is_refused(Fixture { store, .. }: Fixture) {
        let (call, a) = (key(1, 1), owner("a", 1));
        let longest = Bytes::from(vec![1; SNAPSHOT_MAX_BYTES]);
        let fits = CallWrite { snapshot: longest.clone(), ..write(call, &a, 0, 1) };
        assert_eq!(store.commit(fits).await, Ok(Committed::Stored));
        let longer = Bytes::from(vec![1; SNAPSHOT_MAX_BYTES + 1]);
        let refused = StoreError::TooLong { bytes: SNAPSHOT_MAX_BYTES + 1, limit: SNAPSHOT_MAX_BYTES };
        let write = CallWrite { snapshot: longer, ..write(call, &a, 0, 2) };
        assert_eq!(store.commit(write).await, Err(refused));
        let held = store.load(call).await.expect("loaded").expect("stored");
        assert_eq!((held.seq, held.snapshot), (1, longest));
    }

    fn put(key: &str, seen: Option<Revision>, value: &'static str) -> Put {
        let value = Some(Bytes::from_static(value.as_bytes()));
        Put { space: Space::Registrations, key: key.into(), seen, value, lapses: None }
    }

    async fn value_of(store: &Arc<dyn Store>, key: &str) -> Option<Bytes> {
        store.get(Space::Registrations, key).await.expect("read").map(|document| document.value)
    }

    pub async fn a_document_is_read_as_it_was_put(Fixture { store, wall, .. }: Fixture) {
        let value = Bytes::from_static(b"\0\r\n\xff");
        let lapses = Some(Wall(wall.0 + 60_000));
        let written = Put { value: Some(value.clone()), lapses, ..put("a@h", None, "") };
        let revision = store.put(written).await.expect("written");
        let document = Document { revision, value, lapses };
        assert_eq!(store.get(Space::Registrations, "a@h").await, Ok(Some(document)));
        assert_eq!(store.get(Space::Registrations, "b@h").await, Ok(None));
    }

    pub async fn a_document_is_written_only_over_the_one_that_was_seen(Fixture { store, .. }: Fixture) {
        let first = store.put(put("a", None, "1")).await.expect("written");
        let there = Err(StoreError::Conflict { stored: Some(first) });
        assert_eq!(store.put(put("a", None, "2")).await, there);
        let second = store.put(put("a", Some(first), "2")).await.expect("written");
        assert_ne!(first, second);
        let there = Err(StoreError::Conflict { stored: Some(second) });
        assert_eq!(store.put(put("a", Some(first), "3")).await, there);
        assert_eq!(store.put(Put { value: None, ..put("a", Some(first), "") }).await, there);
        assert_eq!(value_of(&store, "a").await.as_deref(), Some(&b"2"[..]));
        assert_eq!(store.put(put("b", Some(first), "1")).await, Err(StoreError::Conflict { stored: None }));
    }

    pub async fn a_repeated_put_succeeds_again_with_the_same_revision(Fixture { store, .. }: Fixture) {
        let first = store.put(put("a", None, "1")).await;
        assert_eq!(store.put(put("a", None, "1")).await, first, "the first answer may have been lost");
        let seen = first.ok();
        let second = store.put(put("a", seen, "2")).await;
        assert_eq!(store.put(put("a", seen, "2")).await, second);
        let stored = second.ok();
        assert_eq!(store.put(put("a", seen, "other")).await, Err(StoreError::Conflict { stored }));
    }

    pub async fn of_many_writers_of_a_document_one_wins(Fixture { store, .. }: Fixture) {
        let values = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let puts: Vec<_> = values.into_iter().map(|value| store.put(put("x", None, value))).collect();
        let racing: Vec<_> = puts.into_iter().map(tokio::spawn).collect();
        let mut won = 0;
        for put in racing {
            match put.await.expect("no panic") {
                Ok(_) => won += 1,
                Err(error) => assert!(matches!(error, StoreError::Conflict { stored: Some(_) }), "{error}"),
            }
        }
        assert_eq!(won, 1);
    }

    pub async fn a_removed_document_has_gone_and_can_be_put_anew(Fixture { store, .. }: Fixture) {
        let first = store.put(put("a", None, "1")).await.expect("written");
        let remove = Put { value: None, ..put("a", Some(first), "") };
        assert!(store.put(remove.clone()).await.is_ok());
        assert_eq!(value_of(&store, "a").await, None);
        assert!(store.put(remove).await.is_ok(), "the first answer may have been lost");
        let anew = store.put(put("a", None, "2")).await.expect("written");
        assert_ne!(anew, first, "no revision comes again");
        assert_eq!(value_of(&store, "a").await.as_deref(), Some(&b"2"[..]));
    }

    pub async fn spaces_have_nothing_to_do_with_each_other(Fixture { store, .. }: Fixture) {
        assert!(store.put(put("a", None, "1")).await.is_ok());
        assert_eq!(store.get(Space::Publications, "a").await, Ok(None));
        assert_eq!(store.scan(Space::Publications, None, 10).await, Ok(vec![]));
        assert!(store.put(Put { space: Space::Publications, ..put("a", None, "1") }).await.is_ok());
    }

    pub async fn a_lapsed_document_has_gone_for_readers_and_writers(fixture: Fixture) {
        let Fixture { store, wall, let_pass: Some(let_pass) } = fixture else { return };
        let lapses = Some(Wall(wall.0 + 10_000));
        let first = store.put(Put { lapses, ..put("a", None, "1") }).await.expect("written");
        let_pass(Duration::from_secs(5)).await;
        assert!(value_of(&store, "a").await.is_some());
        let_pass(Duration::from_secs(5)).await;
        assert_eq!(value_of(&store, "a").await, None);
        assert_eq!(store.scan(Space::Registrations, None, 10).await, Ok(vec![]));
        let gone = Err(StoreError::Conflict { stored: None });
        assert_eq!(store.put(put("a", Some(first), "2")).await, gone);
        assert!(store.put(put("a", None, "2")).await.is_ok());
    }

    pub async fn a_document_lives_as_long_as_its_last_write_says(fixture: Fixture) {
        let Fixture { store, wall, let_pass: Some(let_pass) } = fixture else { return };
        let lapses = |seconds: u64| Some(Wall(wall.0 + seconds * 1000));
        let first = store.put(Put { lapses: lapses(10), ..put("a", None, "1") }).await.ok();
        let second = store.put(Put { lapses: lapses(60), ..put("a", first, "1") }).await.ok();
        assert_ne!(first, second);
        let_pass(Duration::from_secs(30)).await;
        assert!(value_of(&store, "a").await.is_some());
        assert!(store.put(put("a", second, "1")).await.is_ok());
        let_pass(Duration::from_secs(60)).await;
        assert!(value_of(&store, "a").await.is_some(), "it does not lapse any more");
    }

    pub async fn documents_are_scanned_by_key_page_by_page(Fixture { store, .. }: Fixture) {
        for key in ["d", "a", "c", "e", "b"] {
            assert!(store.put(put(key, None, "1")).await.is_ok());
        }
        let mut pages = Vec::new();
        let mut after: Option<Arc<str>> = None;
        loop {
            let page = store.scan(Space::Registrations, after, 2).await.expect("scanned");
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            pages.push(page.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().concat());
        }
        assert_eq!(pages, ["ab", "cd", "e"]);
    }

    pub async fn changes_of_documents_are_told(Fixture { store, .. }: Fixture) {
        assert!(store.put(put("before", None, "1")).await.is_ok());
        let mut changes = store.changes(Space::Registrations);
        let first = store.put(put("a", None, "1")).await.ok();
        assert!(store.put(Put { value: None, ..put("a", first, "") }).await.is_ok());
        assert!(store.put(Put { space: Space::Publications, ..put("other", None, "1") }).await.is_ok());
        let last = store.put(put("b", None, "1")).await.ok();
        let mut told = Vec::new();
        while told.len() < 3 {
            let change = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await;
            let change = change.expect("told in time").expect("no lag");
            // What was written a moment ago may still be on its way.
            told.extend((*change.key != *"before").then_some(change));
        }
        let told: Vec<_> = told.iter().map(|change| (&*change.key, change.revision)).collect();
        assert_eq!(told, [("a", first), ("a", None), ("b", last)]);
    }

    /// Lets a gateway's slots be counted for long enough to be sure of them. `false` without a way to let time pass.
    async fn is_sure(store: &Arc<dyn Store>, let_pass: &Option<LetPass>, gateways: &[&str]) -> bool {
        let Some(let_pass) = let_pass else { return false };
        for gateway in gateways {
            store.renew_slots((*gateway).into(), Vec::new()).await.expect("begun");
        }
        let_pass(SLOT_GRACE + Duration::from_millis(1)).await;
        true
    }

    fn slot(gateway: &str, holder: &str, max_calls: Option<u32>, cps: Option<u32>) -> SlotTake {
        SlotTake { gateway: gateway.into(), holder: holder.into(), max_calls, cps, burst: u32::MAX }
    }

    pub async fn of_many_holders_never_more_have_a_slot_than_the_limit_says(fixture: Fixture) {
        let Fixture { store, let_pass, .. } = fixture;
        if !is_sure(&store, &let_pass, &["a", "b"]).await {
            return;
        }
        let mut racing = tokio::task::JoinSet::new();
        for number in 0..40 {
            racing.spawn(store.take_slot(slot("a", &number.to_string(), Some(7), None)));
        }
        let taken = racing.join_all().await;
        let of = |wanted: fn(&Taken) -> bool| taken.iter().flatten().filter(|taken| wanted(taken)).count();
        assert_eq!(of(|taken| matches!(taken, Taken::Yes { .. })), 7);
        assert_eq!(of(|taken| matches!(taken, Taken::AtMaxCalls { held: 7 })), 33);
        assert_eq!(store.renew_slots("a".into(), Vec::new()).await, Ok(7));
        let other = store.take_slot(slot("b", "0", Some(1), None)).await;
        assert_eq!(other, Ok(Taken::Yes { held: 1 }), "each gateway has its own");
    }

    pub async fn a_slot_is_taken_and_given_back_once(Fixture { store, let_pass, .. }: Fixture) {
        if !is_sure(&store, &let_pass, &["a"]).await {
            return;
        }
        assert_eq!(store.take_slot(slot("a", "1", Some(2), None)).await, Ok(Taken::Yes { held: 1 }));
        assert_eq!(store.take_slot(slot("a", "1", Some(2), None)).await, Ok(Taken::Yes { held: 1 }));
        assert_eq!(store.take_slot(slot("a", "2", Some(2), None)).await, Ok(Taken::Yes { held: 2 }));
        for _ in 0..2 {
            assert_eq!(store.release_slot("a".into(), "1".into()).await, Ok(()));
            assert_eq!(store.renew_slots("a".into(), Vec::new()).await, Ok(1));
        }
        assert_eq!(store.release_slot("a".into(), "2".into()).await, Ok(()));
        assert_eq!(store.renew_slots("a".into(), Vec::new()).await, Ok(0), "never negative");
    }

    pub async fn a_slot_that_is_not_renewed_lapses_after_its_lease(fixture: Fixture) {
        let Fixture { store, let_pass, .. } = fixture;
        if !is_sure(&store, &let_pass, &["a"]).await {
            return;
        }
        let Some(let_pass) = let_pass else { return };
        for holder in ["stays", "goes"] {
            let taken = store.take_slot(slot("a", holder, Some(2), None)).await;
            assert!(matches!(taken, Ok(Taken::Yes { .. })), "{taken:?}");
        }
        let_pass(SLOT_LEASE / 2).await;
        assert_eq!(store.renew_slots("a".into(), vec!["stays".into()]).await, Ok(2));
        let_pass(SLOT_LEASE / 2 + Duration::from_millis(1)).await;
        assert_eq!(store.renew_slots("a".into(), Vec::new()).await, Ok(1));
        let next = store.take_slot(slot("a", "next", Some(2), None)).await;
        assert_eq!(next, Ok(Taken::Yes { held: 2 }), "there is room again");
    }

    pub async fn a_renewed_slot_is_held_whatever_the_limit(Fixture { store, let_pass, .. }: Fixture) {
        if !is_sure(&store, &let_pass, &["a"]).await {
            return;
        }
        let holders = ["1", "2", "3"].map(Arc::from).to_vec();
        assert_eq!(store.renew_slots("a".into(), holders).await, Ok(3), "the store had lost them");
        let beyond = store.take_slot(slot("a", "4", Some(2), None)).await;
        assert_eq!(beyond, Ok(Taken::AtMaxCalls { held: 3 }));
        assert_eq!(
            store.take_slot(slot("a", "3", Some(2), None)).await,
            Ok(Taken::Yes { held: 3 }),
            "what is held stays so"
        );
    }

    pub async fn calls_per_second_are_counted_over_any_second(Fixture { store, let_pass, .. }: Fixture) {
        if !is_sure(&store, &let_pass, &["a", "b"]).await {
            return;
        }
        let mut taken = 0;
        for number in 0..10 {
            let one = store.take_slot(slot("a", &number.to_string(), None, Some(4))).await;
            taken += u32::from(matches!(one, Ok(Taken::Yes { .. })));
        }
        assert_eq!(taken, 4);
        let burst = |holder| SlotTake { burst: 2, ..slot("b", holder, None, Some(4)) };
        for holder in ["1", "2"] {
            assert!(matches!(store.take_slot(burst(holder)).await, Ok(Taken::Yes { .. })));
        }
        assert_eq!(store.take_slot(burst("3")).await, Ok(Taken::AtCps { held: 2 }), "a crowd waits its turn");
    }

    pub async fn what_nodes_say_of_themselves_stays_until_they_are_forgotten(
        Fixture { store, let_pass, .. }: Fixture,
    ) {
        let says = |text: &'static [u8]| Bytes::from_static(text);
        let node = |name: &str, text: &'static [u8]| (Arc::from(name), says(text));
        let beat = async |says| store.beat(says).await.map(|beaten| beaten.nodes);
        assert_eq!(beat(Some(node("b", b"1"))).await, Ok(vec![node("b", b"1")]));
        let both = vec![node("a", b"\xff\0"), node("b", b"1")];
        assert_eq!(beat(Some(node("a", b"\xff\0"))).await, Ok(both));
        if let Some(let_pass) = &let_pass {
            let_pass(Duration::from_secs(3_600)).await;
        }
        let both = vec![node("a", b"2"), node("b", b"1")];
        assert_eq!(beat(Some(node("a", b"2"))).await, Ok(both));
        assert_eq!(beat(None).await.map(|all| all.len()), Ok(2));
        assert_eq!(store.forget_node("b".into()).await, Ok(true));
        assert_eq!(store.forget_node("b".into()).await, Ok(false));
        assert_eq!(beat(Some(node("a", b"3"))).await, Ok(vec![node("a", b"3")]));
    }

    pub async fn slots_are_unsure_when_they_have_just_begun_to_be_counted(
        Fixture { store, let_pass, .. }: Fixture,
    ) {
        let take = |holder| store.take_slot(slot("a", holder, Some(3), None));
        assert_eq!(take("1").await, Ok(Taken::Unsure { held: 1 }));
        assert_eq!(store.renew_slots("a".into(), vec!["2".into()]).await, Ok(2), "told by whoever holds it");
        assert_eq!(take("3").await, Ok(Taken::Unsure { held: 3 }));
        assert_eq!(take("4").await, Ok(Taken::AtMaxCalls { held: 3 }), "no more than that in any case");
        let Some(let_pass) = let_pass else { return };
        let_pass(SLOT_GRACE + Duration::from_millis(1)).await;
        assert_eq!(store.release_slot("a".into(), "3".into()).await, Ok(()));
        assert_eq!(take("4").await, Ok(Taken::Yes { held: 3 }));
    }

    pub async fn a_document_over_the_limit_is_refused(Fixture { store, .. }: Fixture) {
        let of_length = |bytes: usize| Put { value: Some(vec![1; bytes].into()), ..put("a", None, "") };
        let refused = StoreError::TooLong { bytes: MAX_DOCUMENT_BYTES + 1, limit: MAX_DOCUMENT_BYTES };
        assert_eq!(store.put(of_length(MAX_DOCUMENT_BYTES + 1)).await, Err(refused));
        assert!(store.put(of_length(MAX_DOCUMENT_BYTES)).await.is_ok());
        let refused = StoreError::TooLong { bytes: MAX_KEY_BYTES + 1, limit: MAX_KEY_BYTES };
        assert_eq!(store.put(put(&"k".repeat(MAX_KEY_BYTES + 1), None, "1")).await, Err(refused));
    }
}

pub use rules::*;
