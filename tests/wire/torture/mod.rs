//! The torture messages of RFC 4475 and RFC 5118 on the wire: each gets the answer the RFC asks for, the switch answers an
//! OPTIONS right after it, and what reaches a gateway is sound.
//!
//! Messages of our own stand for each class. With `TANDEM_TORTURE=<folder>` the RFCs' originals (`*.dat`, as their
//! archives have them) are sent as well.

mod datagrams;
mod expected;
mod line;
mod streams;
mod vendor;

#[path = "../../../crates/sip/tests/support/corpus.rs"]
mod corpus;

use crate::switch::Switch;
use crate::until::{SOON, until};
use crate::wire::Wire;
use datagrams::Datagrams;
use expected::{Answer, CLASSES, EXTRAS, expected, over_a_stream};
use line::Line;
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant};
use streams::Streams;
use tandem_sip::{Limits, Message, Name};
use vendor::{REFUSAL, Vendor};

/// An answer takes no longer.
const ANSWERED: Duration = Duration::from_secs(3);

/// How soon an OPTIONS is answered after each message.
const RESPONSIVE: Duration = Duration::from_millis(100);

/// A machine that is busy with other tests may be late once, not each time.
const PROBES: usize = 3;

/// How much memory many rounds of all messages may leave behind: their calls are kept for 64·T1.
const KEPT_KB: u64 = 32 * 1024;

/// Who sends the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// A mapping gateway's address.
    Customer,
    /// An address that the switch does not know.
    Stranger,
}

/// A switch with one gateway, and somebody who sends strange things.
struct Bench {
    switch: Switch,
    vendor: Vendor,
    line: Box<dyn Line>,
    from: From,
    failures: Vec<String>,
}

impl From {
    fn address(self, wire: &Wire) -> Ipv4Addr {
        match self {
            From::Customer => wire.place.caller,
            From::Stranger => wire.place.stranger,
        }
    }
}

impl Bench {
    fn over_udp(from: From) -> Bench {
        let mut wire = Wire::new();
        // Each message is to get its answer, not what its sender deserves.
        wire.section("[limits]\nban_after = 0\nstranger_rate = 100000");
        let vendor = Vendor::at(wire.gateway_at("vendor", ""));
        let switch = wire.start();
        let line = Box::new(Datagrams::at(from.address(&wire), wire.place.port(), switch.sip));
        Bench { switch, vendor, line, from, failures: Vec::new() }
    }

    /// Somebody's who connects for each message.
    fn over_tcp(from: From) -> Bench {
        let mut wire = Wire::new();
        wire.section("[limits]\nban_after = 0\nstranger_rate = 100000");
        let vendor = Vendor::at(wire.gateway_at("vendor", ""));
        let listener = SocketAddrV4::new(wire.place.switch, wire.place.port());
        wire.section(&format!("[[listen]]\ntransport = \"tcp\"\nbind = \"{listener}\""));
        let switch = wire.start();
        let line = Box::new(Streams::at(from.address(&wire), listener));
        Bench { switch, vendor, line, from, failures: Vec::new() }
    }

    /// Sends the message and notes everything that is not as it should be.
    fn check(&mut self, name: &str, text: &[u8], expected: Answer) {
        let expected = match self.from {
            From::Customer => expected,
            From::Stranger => expected.to_a_stranger(),
        };
        let message = Message::parse(text.to_vec().into(), &Limits::default()).ok();
        self.line.send(text);
        let answer = match expected {
            Answer::Silence => None,
            Answer::Status(_) | Answer::Screened(_) | Answer::Call => self.final_answer(message.as_ref()),
            Answer::Both(_, second) => {
                let answer = self.final_answer(message.as_ref());
                let next = message.as_ref().and_then(|first| after(text, first));
                let is_right = |got: Message| got.status().is_some_and(|status| status.code() == second);
                if !self.final_answer(next.as_ref()).is_some_and(is_right) {
                    self.failures.push(format!("{name}: its second message is to get {second}"));
                }
                answer
            }
        };
        if let Err(why) = self.responds() {
            self.failures.push(format!("{name}: {why}"));
        }
        if expected == Answer::Silence
            && let Some(answer) = self.line.take_answer(message.as_ref())
        {
            self.failures.push(format!("{name}: to be dropped, but answered with {answer:?}"));
        }
        if let Err(why) = self.judge(message.as_ref(), answer.as_ref(), expected) {
            self.failures.push(format!("{name}: {why}"));
        }
    }

    fn final_answer(&mut self, message: Option<&Message>) -> Option<Message> {
        let started = Instant::now();
        while started.elapsed() < ANSWERED {
            self.vendor.serve();
            if let Some(answer) = self.line.take_answer(message) {
                if let Some(request) = message {
                    self.line.acknowledge(request, &answer);
                }
                return Some(answer);
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        None
    }

    fn judge(
        &mut self,
        request: Option<&Message>,
        answer: Option<&Message>,
        expected: Answer,
    ) -> Result<(), String> {
        let called = self.vendor.called()?;
        let status = match expected {
            Answer::Silence => return Ok(()),
            Answer::Status(status) | Answer::Screened(status) | Answer::Both(status, _) => status,
            Answer::Call => REFUSAL,
        };
        let answer = answer.ok_or_else(|| format!("{status} expected, no answer came"))?;
        let got = answer.status().map(|status| status.code());
        if got != Some(status) {
            let reason = String::from_utf8_lossy(answer.reason_phrase()).into_owned();
            return Err(format!("{status} expected, {got:?} {reason} came"));
        }
        if matches!(expected, Answer::Call | Answer::Both(_, REFUSAL)) != (called > 0) {
            return Err(format!("the gateway was called {called} times"));
        }
        let asked_for: &[Name] = match status {
            200 => &[Name::Allow, Name::Accept, Name::Supported],
            405 | 501 => &[Name::Allow],
            415 => &[Name::Accept],
            420 => &[Name::Unsupported],
            _ => &[],
        };
        if let Some(missing) = asked_for.iter().find(|name| answer.first(**name).is_none()) {
            return Err(format!("{status} without {missing}"));
        }
        let request = request.ok_or("only what can be read can be answered")?;
        match answer.validate() {
            // A response repeats what the request says, be it malformed.
            Err(why) if request.validate().is_ok() => Err(format!("the answer itself is malformed: {why}")),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// An OPTIONS is answered in time.
    fn responds(&mut self) -> Result<(), String> {
        let mut slowest = Duration::ZERO;
        for _ in 0..PROBES {
            let took = self.line.probe();
            if took <= RESPONSIVE {
                return Ok(());
            }
            slowest = slowest.max(took);
        }
        Err(format!("OPTIONS answered after {slowest:?} only"))
    }

    /// The switch has taken everything well.
    fn done(mut self) {
        assert!(self.failures.is_empty(), "{:#?}", self.failures);
        self.switch.is_alive();
        until("the gateway has refused every call", SOON, || {
            self.vendor.serve();
            self.switch.calls().iter().all(|call| call["state"] == "ending").then_some(())
        });
        self.switch.stop();
    }
}

/// Every message of ours, told apart from those it was made of.
fn samples(mark: &str) -> Vec<(&'static str, Vec<u8>, Answer)> {
    let own = |(at, sample): (usize, corpus::Sample)| {
        let text = sample.text.clone();
        (sample.name, replace(&text, b"5f1c", format!("{mark}{at:x}").as_bytes()), expected(&sample))
    };
    corpus::all().into_iter().enumerate().map(own).collect()
}

/// In the head only, so that Content-Length still holds.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        changed.extend_from_slice(&rest[..at]);
        changed.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    changed.extend_from_slice(rest);
    changed
}

fn all_of_ours(from: From) -> Bench {
    let mut bench = Bench::over_udp(from);
    for (name, text, answer) in samples("a") {
        bench.check(name, &text, answer);
    }
    bench
}

#[test]
fn every_message_of_a_customer_over_udp_gets_its_answer() {
    all_of_ours(From::Customer).done();
}

#[test]
fn every_message_of_a_stranger_over_udp_gets_its_answer_and_none_becomes_a_call() {
    let bench = all_of_ours(From::Stranger);
    assert_eq!(bench.switch.metric("tandem_calls_started_total", ""), 0.0);
    bench.done();
}

fn all_of_ours_over_tcp(from: From) -> Bench {
    let mut bench = Bench::over_tcp(from);
    for (name, text, answer) in samples("a") {
        bench.check(name, &text, over_a_stream(name, answer));
    }
    bench
}

#[test]
fn every_message_over_tcp_gets_its_answer() {
    all_of_ours_over_tcp(From::Customer).done();
}

#[test]
fn every_message_of_a_stranger_over_tcp_gets_its_answer_and_none_becomes_a_call() {
    let bench = all_of_ours_over_tcp(From::Stranger);
    assert_eq!(bench.switch.metric("tandem_calls_started_total", ""), 0.0);
    bench.done();
}

#[test]
fn rounds_of_all_messages_leave_no_memory_behind() {
    let mut bench = all_of_ours(From::Customer);
    let before = bench.switch.memory_kb();
    for round in 0..30 {
        for (_, text, _) in samples(&format!("r{round}.")) {
            let text = replace(&text, b"branch=z9hG4bK", format!("branch=z9hG4bK{round}.").as_bytes());
            bench.line.send(&text);
            bench.vendor.serve();
        }
        bench.line.probe();
        bench.line.forget();
    }
    let kept = bench.switch.memory_kb().saturating_sub(before);
    assert!(kept < KEPT_KB, "{kept} KB more than after the first round");
    bench.done();
}

#[test]
fn every_class_of_the_rfcs_has_a_message_of_ours() {
    let names: Vec<_> = corpus::all().iter().map(|sample| sample.name).collect();
    let missing: Vec<_> = CLASSES.iter().filter(|class| !names.contains(&class.sample)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let of = |rfc: &str| CLASSES.iter().filter(|class| class.section.starts_with(rfc)).count();
    assert_eq!((of("4475 "), of("5118 ")), (49, 12), "as many as the RFCs have");
}

/// The RFCs' own messages, where somebody has them.
#[test]
fn the_messages_of_the_rfcs_get_their_answers_over_udp() {
    let Some(originals) = originals() else { return };
    let mut bench = Bench::over_udp(From::Customer);
    for original in &originals {
        bench.check(&original.title, &original.text, original.answer);
    }
    eprintln!("{} messages, {} not as expected", originals.len(), bench.failures.len());
    bench.done();
}

#[test]
fn the_messages_of_the_rfcs_get_their_answers_over_tcp() {
    let Some(originals) = originals() else { return };
    let mut bench = Bench::over_tcp(From::Customer);
    for original in &originals {
        let answer = over_a_stream(original.sample, original.answer);
        bench.check(&original.title, &original.text, over_a_stream(&original.file, answer));
    }
    eprintln!("{} messages, {} not as expected", originals.len(), bench.failures.len());
    bench.done();
}

/// A message of the RFCs, as its archive has it.
struct Original {
    file: String,
    /// What a failure shows of it.
    title: String,
    /// The message of ours that stands for it.
    sample: &'static str,
    text: Vec<u8>,
    answer: Answer,
}

/// `*.dat` under the folder that `TANDEM_TORTURE` names.
fn originals() -> Option<Vec<Original>> {
    let folder = std::env::var_os("TANDEM_TORTURE")?;
    let mut found = BTreeMap::new();
    collect(Path::new(&folder), &mut found);
    let missing: Vec<_> = CLASSES.iter().filter(|class| !found.contains_key(class.file)).collect();
    assert!(missing.is_empty(), "not in {folder:?}: {missing:#?}");
    let samples = corpus::all();
    let original = |(file, text): (String, Vec<u8>)| {
        if let Some(class) = CLASSES.iter().find(|class| class.file == file) {
            let sample = samples.iter().find(|sample| sample.name == class.sample).expect("a sample of ours");
            let title = format!("{file} (RFC {}) {}", class.section, class.note);
            return Original { file, title, sample: class.sample, text, answer: expected(sample) };
        }
        let extra = EXTRAS.iter().find(|(extra, _)| *extra == file);
        let (sample, answer) = *extra.unwrap_or_else(|| panic!("{file}.dat is of no class"));
        Original { title: file.clone(), file, sample, text, answer }
    };
    Some(found.into_iter().map(original).collect())
}

fn collect(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "dat") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            found.insert(name, fs::read(&path).expect("a message"));
        }
    }
}

/// The message that follows the first in a stream.
fn after(text: &[u8], first: &Message) -> Option<Message> {
    Message::parse(text[first.raw().len()..].to_vec().into(), &Limits::default()).ok()
}
