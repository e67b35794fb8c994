//! What the wire layer costs, in instructions per operation: a number that a busy machine does not change.
//!
//! `cargo run --release -p tandem-sip --example instructions` runs every operation on every message under callgrind
//! (valgrind must be installed) and prints a table. Each cell is the difference between two runs of different length,
//! so that the start of the process is not in it. To see where the instructions of one cell go:
//!
//! ```text
//! valgrind --tool=callgrind target/release/examples/instructions validate invite 2000
//! callgrind_annotate callgrind.out.<pid>
//! ```

#![expect(clippy::disallowed_methods, reason = "it runs itself under valgrind")]

#[path = "../tests/support/corpus.rs"]
#[expect(dead_code, reason = "it measures a few messages of it")]
mod corpus;

use bytes::Bytes;
use std::hint::black_box;
use std::net::SocketAddr;
use std::process::Command;
use tandem_sip::{Builder, Limits, Message, Method, Name, ResponseHead, StatusCode, Uri};

/// Messages of the corpus: a request with SDP, a provisional and a final response, a request with little in it, and
/// one with folds and compact names, which no fast path helps.
const SAMPLES: [&str; 5] = ["invite", "ringing", "answer", "prack", "folded-and-compact"];

/// An operation by name, and what it does to one message.
type Operation = (&'static str, fn(&Subject));

const OPERATIONS: [Operation; 7] = [
    ("parse", parse),
    ("validate", validate),
    ("keys", keys),
    ("touch", touch),
    ("head", head),
    ("respond", respond),
    ("build", build),
];

const SHORT_RUN: u32 = 100;
const LONG_RUN: u32 = 1_100;

/// What the operations work on, prepared before anything is counted.
struct Subject {
    text: Bytes,
    message: Message,
    source: SocketAddr,
    head: ResponseHead,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => print_table(),
        [operation, sample, iterations] => {
            run(operation, sample, iterations.parse().expect("a number of iterations"));
        }
        _ => eprintln!("without arguments, or: OPERATION SAMPLE ITERATIONS"),
    }
}

fn print_table() {
    print!("{:10}", "");
    SAMPLES.iter().for_each(|sample| print!("{sample:>20}"));
    println!();
    for (operation, _) in OPERATIONS {
        print!("{operation:10}");
        for sample in SAMPLES {
            let counted = count(operation, sample, LONG_RUN) - count(operation, sample, SHORT_RUN);
            print!("{:>20}", counted / u64::from(LONG_RUN - SHORT_RUN));
        }
        println!();
    }
}

/// The instructions of a process that does nothing but that.
fn count(operation: &str, sample: &str, iterations: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().expect("the path of this program"))
        .args([operation, sample, &iterations.to_string()])
        .output()
        .expect("valgrind is installed");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = collected.unwrap_or_else(|| panic!("no count in valgrind's report:\n{report}"));
    number.trim().parse().expect("a number of instructions")
}

fn run(operation: &str, sample: &str, iterations: u32) {
    let subject = Subject::of(sample);
    let (_, work) = OPERATIONS.into_iter().find(|(name, _)| *name == operation).expect("a known operation");
    for _ in 0..iterations {
        work(black_box(&subject));
    }
}

impl Subject {
    fn of(sample: &str) -> Subject {
        let sample = corpus::all().into_iter().find(|known| known.name == sample).expect("in the corpus");
        let text = Bytes::from(sample.text);
        let message = Message::parse(text.clone(), &Limits::default()).expect("a message");
        let source = SocketAddr::from(([203, 0, 113, 10], 5060));
        let head = ResponseHead::of(&message, source);
        Subject { text, message, source, head }
    }
}

fn parse(subject: &Subject) {
    let _ = black_box(Message::parse(subject.text.clone(), &Limits::default()));
}

fn validate(subject: &Subject) {
    let _ = black_box(subject.message.validate());
}

/// What finding the call, the dialog and the transaction of one message asks of it.
fn keys(subject: &Subject) {
    let message = &subject.message;
    if let Ok(via) = message.top_via() {
        black_box((via.branch(), via.has_magic_cookie(), via.response_address(subject.source)));
    }
    black_box((message.call_id(), message.from_tag(), message.to_tag()));
    black_box((message.method(), message.cseq().map_or(0, |cseq| cseq.number)));
}

/// What a call reads out of one message: its parties, its target, its options and its session description.
fn touch(subject: &Subject) {
    let message = &subject.message;
    for address in [message.from(), message.to()].into_iter().chain(message.contact()).flatten() {
        black_box(address.parse_uri().is_ok());
    }
    let _ = black_box(Uri::parse(message.request_uri()));
    black_box((message.record_routes().count(), message.has_token(Name::Supported, "100rel")));
    black_box((message.max_forwards().is_ok(), message.session_expires(), message.number(Name::MinSe)));
    black_box((message.sdp(), message.has_privacy("id"), message.asserted_identities().count()));
}

fn head(subject: &Subject) {
    let _ = black_box(ResponseHead::of(&subject.message, subject.source));
}

fn respond(subject: &Subject) {
    let response = subject.head.respond(StatusCode::RINGING, Some("t4ndem0a1b2c3d4e5f"));
    black_box(response.header(Name::Contact, "<sip:192.0.2.1:5060>").finish());
}

fn build(subject: &Subject) {
    let request = Builder::request(Method::Invite, b"sip:442071234567@198.51.100.4:5060")
        .header(Name::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-0a1b2c3d4e5f;rport")
        .header_fmt(Name::MaxForwards, format_args!("{}", 69))
        .header(Name::From, "<sip:4930123456@192.0.2.1>;tag=0a1b2c3d4e5f")
        .header(Name::To, "<sip:442071234567@198.51.100.4>")
        .header(Name::CallId, "0a1b2c3d4e5f@192.0.2.1")
        .header_fmt(Name::CSeq, format_args!("{} {}", 1, "INVITE"))
        .header(Name::Contact, "<sip:0a1b2c3d4e5f@192.0.2.1:5060>")
        .header(Name::Allow, "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO")
        .header(Name::Supported, "100rel, timer");
    black_box(match subject.message.body() {
        [] => request.finish(),
        body => request.body(b"application/sdp", body),
    });
}
