//! The wire layer against messages gone wrong: nothing panics, nothing is believed that was not said, no memory stays.
//!
//! `TANDEM_FUZZ_MESSAGES` sets how many (default 1 000 000), `TANDEM_FUZZ_SEED` the seed, `TANDEM_FUZZ_FIRST` the first
//! iteration. A failure prints all three for its replay.

use crate::mutation::{Random, mutate};
use crate::{corpus, counting, touch};
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{
    CSeq, Defect, Frame, Limits, Message, Name, ResponseHead, Rewrite, StatusCode, StreamFramer, Via, sdp,
};

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
        answer(message, is_valid, random);
        rewrite(message, is_valid);
    }
    let frames = frame(&text, random);
    if let Ok(message) = &message {
        framed_as_parsed(message, &text, frames);
    }
    message.is_ok()
}

/// What a message remembers of its identity is what its headers say.
fn remembered_as_read(message: &Message) {
    let via = message.items(Name::Via).next().and_then(|value| Via::parse(value).ok());
    assert_eq!(message.top_via().ok(), via);
    let cseq = message.first(Name::CSeq).and_then(|value| CSeq::parse(value).ok());
    assert_eq!(message.cseq().ok(), cseq);
    assert_eq!(message.from_tag(), message.from().ok().and_then(|from| from.tag()));
    assert_eq!(message.to_tag(), message.to().ok().and_then(|to| to.tag()));
}

fn parse(text: Bytes) -> Message {
    // What we add may push a message at a limit over it.
    let limits = Limits {
        max_message: 1 << 20,
        max_header_line: 1 << 20,
        max_headers: 1_000,
        max_list_items: 1_000,
        ..Limits::default()
    };
    Message::parse(text, &limits).expect("our own messages can be read")
}

/// A response keeps what identifies the request, and nothing in the request gets into another header.
fn answer(request: &Message, is_valid: bool, random: &mut Random) {
    if !request.is_request() {
        return;
    }
    let source = SocketAddr::from(([198, 51, 100, 4], 1 + random.below(65_535) as u16));
    let status = StatusCode::REGISTERED[random.below(StatusCode::REGISTERED.len())];
    let head = ResponseHead::of(request, source);
    let response = parse(head.respond(status, Some("sw")).finish());
    assert_eq!(response.status(), Some(status));
    let vias = |message: &Message| message.fields().filter(|field| field.name == Name::Via).count();
    assert_eq!(vias(&response), vias(request));
    assert!(response.fields().all(|field| is_repeated(field.name)));
    assert_eq!(response.body(), b"");
    if is_valid {
        assert_eq!(response.validate(), Ok(()));
        assert_eq!(response.call_id(), request.call_id());
        assert_eq!(response.from_tag(), request.from_tag());
        assert_eq!(response.to_tag(), request.to_tag().or(Some(b"sw")));
        assert_eq!(response.cseq(), request.cseq());
        let (ours, theirs) = (response.top_via().expect("valid"), request.top_via().expect("valid"));
        assert_eq!(ours.branch(), theirs.branch());
        assert_eq!(ours.rport().is_some(), theirs.rport().is_some());
        assert_eq!(ours.response_address(source), theirs.response_address(source));
        assert_eq!(response.items(Name::Via).count(), request.items(Name::Via).count());
    }
}

fn is_repeated(name: Name) -> bool {
    let repeated =
        [Name::Via, Name::RecordRoute, Name::From, Name::To, Name::CallId, Name::CSeq, Name::Timestamp];
    repeated.contains(&name) || name == Name::ContentLength
}

/// Without edits every byte stays; with edits the message can be read again and says what it was told to.
fn rewrite(message: &Message, is_valid: bool) {
    if !message.has_defect(Defect::NoEmptyLine) {
        assert_eq!(Rewrite::of(message).finish(), message.raw());
    }
    let edited = Rewrite::of(message)
        .request_uri(b"sip:next@192.0.2.9")
        .replace_first(Name::MaxForwards, "9")
        .remove(Name::RecordRoute)
        .insert_top(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKsw")
        .replace_body(b"application/sdp", corpus::SDP.as_bytes())
        .finish();
    let edited = parse(edited);
    assert_eq!(edited.record_routes().count(), 0);
    assert_eq!(edited.body(), corpus::SDP.as_bytes());
    if is_valid {
        assert_eq!(edited.validate(), Ok(()));
        assert_eq!(edited.top_via().expect("ours").branch(), Some(&b"z9hG4bKsw"[..]));
        assert_eq!(edited.max_forwards(), Ok(Some(9)));
        assert_eq!(edited.sdp(), Some(corpus::SDP.as_bytes()));
        assert_eq!(edited.call_id(), message.call_id());
    }
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

/// A stream and a datagram with the same valid message agree on where it ends.
fn framed_as_parsed(message: &Message, text: &[u8], framed: Option<Bytes>) {
    let has_length = message.first(Name::ContentLength).is_some();
    if message.validate().is_ok() && has_length && text.starts_with(message.raw()) {
        assert_eq!(framed.as_ref(), Some(message.raw()));
    }
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
