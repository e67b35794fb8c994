//! What earlier releases have stored is read by this one, and their calls go on.
//!
//! `tests/releases` has snapshots as they were written. Those of the present schema are made by `TANDEM_BLESS=1`; once a release has
//! written a schema its files stay as they are, and another form of a snapshot takes another schema.

#![expect(clippy::disallowed_methods, reason = "what releases have stored lies in files")]

use std::path::PathBuf;
use std::sync::Arc;
use tandem_cluster::{CallHost, Effect, Write};
use tandem_sim::several;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_store::codec::{self, Versioned};
use tandem_switch::call::{Input, Moved, Snapshot};
use tandem_switch::cdr::EndReason;

/// Whether a file's call is in conversation, by the file's name.
const STATES: [(&str, bool); 2] = [("ringing", false), ("answered", true)];

fn file(schema: u16, state: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/releases/snapshot-{schema}-{state}.bin"))
}

fn stored(schema: u16, state: &str) -> Vec<u8> {
    let path = file(schema, state);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; TANDEM_BLESS=1 makes it", path.display()))
}

#[test]
fn snapshots_of_this_schema_are_written_as_they_were() {
    for (state, is_answered) in STATES {
        if std::env::var_os("TANDEM_BLESS").is_some() {
            let is_wanted = |snapshot: &&Arc<Snapshot>| snapshot.is_answered() == is_answered;
            let snapshots = several::snapshots(0);
            let snapshot = snapshots.iter().find(is_wanted).expect("a world with such a call");
            let bytes = codec::encode(&**snapshot).expect("it is short");
            std::fs::write(file(Snapshot::SCHEMA, state), bytes).expect("the folder is writable");
        }
        let before = stored(Snapshot::SCHEMA, state);
        let snapshot: Snapshot = codec::decode(&before).expect("a snapshot of this schema");
        let now = codec::encode(&snapshot).expect("it is short");
        assert!(now == before, "{state}: snapshots have another form than schema {} had", Snapshot::SCHEMA);
    }
}

#[test]
fn calls_of_this_release_and_the_one_before_go_on_and_end_with_their_records() {
    let oldest = <Snapshot as Versioned>::Previous::SCHEMA;
    for schema in oldest..=Snapshot::SCHEMA {
        for (state, is_answered) in STATES {
            let snapshot: Snapshot = codec::decode(&stored(schema, state)).expect("a snapshot that is read");
            assert_eq!(snapshot.is_answered(), is_answered, "{schema} {state}");
            let at = |ms: u64| Now { mono: Mono(5_000 + ms), wall: Wall(1_772_366_500_000 + ms) };
            let (mut host, effects) =
                CallHost::take_over("n9".into(), (1, 7), snapshot, Moved::default(), at(0));
            assert!(host.call().is_some(), "{schema} {state}: {effects:?}");
            let mut effects = host.handle(Input::HangUp(EndReason::Admin), at(10));
            let mut ended = None;
            while let Some(effect) = effects.pop() {
                if let Effect::Store { epoch, seq, write } = effect {
                    if let Write::End(records) = write {
                        ended = Some(records);
                    }
                    effects.extend(host.on_stored((epoch, seq), tandem_cluster::WriteResult::Stored, at(20)));
                }
            }
            let records = ended.unwrap_or_else(|| panic!("{schema} {state}: it does not end"));
            assert_eq!(
                records.is_some(),
                is_answered,
                "{schema} {state}: only an answered call has a record"
            );
        }
    }
}
