//! What the fuzzer has found and learned stays found: its corpora in `fuzz/corpus` are read by every test run.

use crate::targets;
use std::fs;
use std::path::Path;

/// What a fuzz target does with its bytes.
type Target = fn(&[u8]);

#[test]
fn the_corpora_of_the_fuzzer_are_read_as_they_must_be() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let all: [(&str, Target); 5] = [
        ("scanner", targets::scanner),
        ("headers", targets::headers),
        ("digest", targets::digest),
        ("sdp", targets::sdp),
        ("framing", targets::framing),
    ];
    for (name, target) in all {
        let folder = corpora.join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
        let mut read = 0;
        for file in files {
            target(&fs::read(file.expect("an entry").path()).expect("a file"));
            read += 1;
        }
        assert!(read > 10, "{name}: only {read} files");
    }
}
