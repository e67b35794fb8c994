//! Digest challenges and the answers to them.

#![no_main]

#[path = "../../crates/sip/tests/support/corpus.rs"]
#[expect(dead_code, reason = "the samples are seeds")]
mod corpus;
#[path = "../../crates/sip/tests/fuzz/sound.rs"]
mod sound;
#[path = "../../crates/sip/tests/fuzz/targets.rs"]
#[expect(dead_code, reason = "each target uses its own")]
mod targets;
#[path = "../../crates/sip/tests/fuzz/touch.rs"]
mod touch;

libfuzzer_sys::fuzz_target!(|text: &[u8]| targets::digest(text));
