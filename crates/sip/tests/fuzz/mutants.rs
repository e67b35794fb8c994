//! The wire layer against messages gone wrong: nothing panics, nothing is believed that was not said, no memory stays.
//!
//! `TANDEM_FUZZ_MESSAGES` sets how many (default 1 000 000), `TANDEM_FUZZ_SEED` the seed, `TANDEM_FUZZ_FIRST` the first
//! iteration. A failure prints all three for its replay.

use crate::mutation::{Random, mutate};
use crate::sound::{answer, framed_as_parsed, remembered_as_read, rewrite};
use crate::{corpus, counting, touch};
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{Frame, Limits, Message, StatusCode, StreamFramer, sdp};

const MESSAGES: u64 = 1_000_000;
const SEED: u64 = 0x7461_6e64_656d;

/// What a thread may keep beyond a run: buffers of the test itself.
const LEEWAY_BYTES: isize = 4_096;

/// Prints how to replay the iteration in which a panic happens.
struct Replay {
    seed: u64,
    iteration: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay { seed, iteration } = self;
            eprintln!("failed at seed {seed}, iteration {iteration}; to replay:");
            eprintln!(
                "TANDEM_FUZZ_SEED={seed} TANDEM_FUZZ_FIRST={iteration} TANDEM_FUZZ_MESSAGES=1 \
                 cargo test -p tandem-sip --test fuzz"
            );
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn no_mutant_panics_is_misread_or_leaves_memory_behind() {
    let seed = setting("TANDEM_FUZZ_SEED", SEED);
    let first = setting("TANDEM_FUZZ_FIRST", 0);
    let last = first + setting("TANDEM_FUZZ_MESSAGES", MESSAGES);
    let corpus: Vec<Vec<u8>> = corpus::all().into_iter().map(|sample| sample.text).collect();
    let mut replay = Replay { seed, iteration: first };
    let mut parsed = 0;
    let before = counting::live_bytes();
    for iteration in first..last {
        replay.iteration = iteration;
        parsed += u64::from(one(&corpus, &mut Random::of(seed, iteration)));
    }
    let kept = counting::live_bytes() - before;
    assert!(kept <= LEEWAY_BYTES, "{kept} bytes were never freed");
    assert!(
        last - first < 1_000 || parsed > (last - first) / 2,
        "only {parsed} mutants were messages at all"
    );
}

/// One mutant; whether it was a message.
fn one(corpus: &[Vec<u8>], random: &mut Random) -> bool {
    let mut text = corpus[random.below(corpus.len())].clone();
    let donor = &corpus[random.below(corpus.len())];
    mutate(&mut text, donor, random);
    let text = Bytes::from(text);
    let message = Message::parse(text.clone(), &Limits::default());
    if let Ok(message) = &message {
        touch::everything(message);
        remembered_as_read(message);
        let is_valid = message.validate().is_ok();
        let source = SocketAddr::from(([198, 51, 100, 4], 1 + random.below(65_535) as u16));
        let status = StatusCode::REGISTERED[random.below(StatusCode::REGISTERED.len())];
        answer(message, is_valid, source, status);
        rewrite(message, is_valid);
    }
    let frames = frame(&text, random);
    if let Ok(message) = &message {
        framed_as_parsed(message, &text, frames.as_ref());
    }
    message.is_ok()
}

/// The first message that a stream with these bytes yields, arriving in pieces.
fn frame(text: &[u8], random: &mut Random) -> Option<Bytes> {
    let mut framer = StreamFramer::new(&Limits::default());
    let (mut at, mut first) = (0, None);
    while at < text.len() {
        let end = text.len().min(at + 1 + random.below(text.len()));
        framer.push(&text[at..end]);
        at = end;
        while let Some(frame) = framer.next() {
            if let Ok(Frame::Message(frame)) = frame {
                first.get_or_insert(frame);
            }
        }
    }
    first
}

#[test]
fn session_descriptions_of_any_bytes_are_read() {
    for iteration in 0..20_000 {
        let mut random = Random::of(SEED, iteration);
        let mut text = corpus::SDP.as_bytes().to_vec();
        mutate(&mut text, corpus::SDP.as_bytes(), &mut random);
        std::hint::black_box((sdp::first_codec(&text), sdp::is_hold(&text)));
    }
}
