//! sipp processes: callers and gateways.

use crate::place::Place;
use crate::process::Process;
use crate::trace::{self, Traced};
use crate::until::{SOON, until};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a sipp process may take in a test that has no reason to say otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// A scenario of ours and what is filled in.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    name: &'static str,
    values: Vec<(&'static str, String)>,
    called: String,
    talk: Duration,
    calls: u32,
    rate: u32,
    traced: bool,
    patience: Duration,
    transport: Carried,
    flags: Vec<String>,
}

/// How sipp carries its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    Udp,
    Tcp,
}

impl Scenario {
    /// The scenario of that name in `tests/wire/scenarios`: one call, to 4420, that lasts 100 ms.
    pub(crate) fn of(name: &'static str) -> Scenario {
        Scenario {
            name,
            values: Vec::new(),
            called: "4420".into(),
            talk: Duration::from_millis(100),
            calls: 1,
            rate: 10,
            traced: true,
            patience: PATIENCE,
            transport: Carried::Udp,
            flags: Vec::new(),
        }
    }

    /// `@name@` in the scenario stands for this.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Scenario {
        self.values.push((name, value.to_string()));
        self
    }

    /// Its final status is 486.
    pub(crate) fn busy(self) -> Scenario {
        self.with("STATUS", "486 Busy Here")
    }

    /// The number that is called.
    pub(crate) fn calling(mut self, called: &str) -> Scenario {
        self.called = called.into();
        self
    }

    /// How long its pauses without a length are.
    pub(crate) fn talking(mut self, talk: Duration) -> Scenario {
        self.talk = talk;
        self
    }

    /// So many calls, so many a second, within that time. More than a few are not traced.
    pub(crate) fn times(mut self, calls: u32, rate: u32, within: Duration) -> Scenario {
        (self.calls, self.rate, self.patience) = (calls, rate, within);
        self.traced = calls <= 10;
        self
    }

    /// By one TCP connection.
    pub(crate) fn over_tcp(mut self) -> Scenario {
        self.transport = Carried::Tcp;
        self.flag("-t").flag("t1")
    }

    /// A further option of sipp's.
    pub(crate) fn flag(mut self, flag: &str) -> Scenario {
        self.flags.push(flag.to_owned());
        self
    }

    /// Its text, filled in.
    fn text(&self) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/wire/scenarios");
        let read = |file: String| {
            let path = folder.join(file);
            fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
        };
        let text = read(format!("{}.xml", self.name)).replace("@SDP@", read("sdp.txt".into()).trim_end());
        let text = match self.transport {
            Carried::Udp => text,
            Carried::Tcp => text
                .replace("SIP/2.0/UDP", "SIP/2.0/TCP")
                .replace("[local_port]>", "[local_port];transport=tcp>"),
        };
        self.values.iter().fold(text, |text, (name, value)| text.replace(&format!("@{name}@"), value))
    }
}

/// A running sipp.
#[derive(Debug)]
pub(crate) struct Sipp {
    process: Process,
    label: String,
    messages: PathBuf,
    patience: Duration,
}

impl Sipp {
    /// A sipp that waits for calls at `address`; it listens when this returns.
    pub(crate) fn gateway(place: &Place, name: &str, address: SocketAddrV4, scenario: &Scenario) -> Sipp {
        let mut command = Command::new("sipp");
        command.args(["-p", &address.port().to_string()]);
        let mut sipp = Sipp::start(place, name, command, *address.ip(), scenario);
        until(&format!("{name} listens"), SOON, || {
            assert_eq!(sipp.process.ended(), None, "{name} ended before its first call");
            is_bound(address, scenario.transport).then_some(())
        });
        sipp
    }

    /// A sipp that calls the switch at `switch` from `from`.
    pub(crate) fn caller(place: &Place, from: Ipv4Addr, switch: SocketAddrV4, scenario: &Scenario) -> Sipp {
        let mut command = Command::new("sipp");
        command.arg(switch.to_string()).args(["-p", &place.port().to_string()]);
        command.args(["-s", &scenario.called, "-r", &scenario.rate.to_string()]);
        let name = format!("caller{}", place.port());
        Sipp::start(place, &name, command, from, scenario)
    }

    fn start(place: &Place, name: &str, mut command: Command, ip: Ipv4Addr, scenario: &Scenario) -> Sipp {
        let file = |suffix: &str| place.folder.join(format!("{name}.{suffix}"));
        fs::write(file("xml"), scenario.text()).expect("the test's folder is writable");
        let (ip, path) = (ip.to_string(), |suffix: &str| file(suffix).display().to_string());
        command.args(["-sf", &path("xml"), "-i", &ip, "-bind_local", "-mi", &ip, "-nostdin"]);
        command.args(["-mp", &place.media_port().to_string(), "-ci", &ip, "-cp", &place.port().to_string()]);
        command.args(["-m", &scenario.calls.to_string(), "-d", &scenario.talk.as_millis().to_string()]);
        command.args(["-timeout", &scenario.patience.as_secs().to_string(), "-timeout_error"]);
        command.args(["-trace_err", "-error_file", &path("errors")]).args(&scenario.flags);
        if scenario.traced {
            command.args(["-trace_msg", "-message_file", &path("messages")]);
        }
        command.current_dir(&place.folder);
        Sipp {
            process: Process::start(name, command, &place.folder, vec![file("errors"), file("messages")]),
            label: format!("{name} ({})", scenario.name),
            messages: file("messages"),
            patience: scenario.patience + SOON,
        }
    }

    /// Waits for its end: every one of its calls must have gone as the scenario says.
    pub(crate) fn succeeds(&mut self) {
        let status = self.process.end(self.patience);
        assert!(status.success(), "{} failed: {status}", self.label);
    }

    /// Whether it has ended, however that was.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// The messages it has received so far whose first line starts like that.
    pub(crate) fn received(&self, start: &str) -> Vec<Traced> {
        self.traced(false, start)
    }

    /// The messages it has sent so far whose first line starts like that.
    pub(crate) fn sent(&self, start: &str) -> Vec<Traced> {
        self.traced(true, start)
    }

    /// Waits until it has received such a message.
    pub(crate) fn hears(&self, start: &str) -> Traced {
        until(&format!("{} receives {start}", self.label), SOON, || self.received(start).into_iter().next())
    }

    fn traced(&self, sent: bool, start: &str) -> Vec<Traced> {
        let messages = trace::read(&self.messages);
        messages.into_iter().filter(|m| m.sent == sent && m.text.starts_with(start)).collect()
    }
}

/// Whether a socket of this machine is bound there (proc(5), `/proc/net/udp`), and listens if it is of TCP.
fn is_bound(address: SocketAddrV4, transport: Carried) -> bool {
    const LISTENS: &str = "0A";
    let wanted = format!("{:08X}:{:04X}", u32::from_le_bytes(address.ip().octets()), address.port());
    let file = match transport {
        Carried::Udp => "/proc/net/udp",
        Carried::Tcp => "/proc/net/tcp",
    };
    let table = fs::read_to_string(file).expect("these tests run on Linux");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(1) == Some(&wanted) && (transport == Carried::Udp || fields.nth(1) == Some(LISTENS))
    })
}
