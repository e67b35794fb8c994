//! The command line.

use crate::servers::Server;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// Measures what a call costs a SIP server, for several servers side by side in one run.
///
/// Calls go from 127.0.0.1:5070 through the server at 127.0.0.1:5060 to 127.0.0.1:5080: INVITE, 100, 180, 50 ms, 200,
/// ACK, a talk, BYE, 200. The server is pinned to one core and the load generator, which is both ends, to another.
/// Servers take turns, so that what the machine does meanwhile hits all of them; compare ratios, not absolute numbers of
/// different machines. A run prints each measurement as it is made, then a table, and writes all of it as JSON.
/// docs/benchmark.md says what each figure means.
#[derive(Clone, Debug, Parser, Serialize)]
#[command(name = "tests/bench/run", bin_name = "tests/bench/run", verbatim_doc_comment, args_override_self = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to measure; all of it, unless given.
    #[arg(value_enum)]
    pub(crate) parts: Vec<Part>,

    /// Own servers of this tool to measure: tandem, tandem-redis (with its state in Redis, whose own CPU time is not
    /// counted), kamailio (as Debian ships it), kamailio-fm (with the quickest of its allocators). The first of all servers is what others are compared
    /// with.
    #[arg(long, value_delimiter = ',', default_value = "tandem,kamailio,kamailio-fm", value_name = "NAMES")]
    pub(crate) servers: Vec<String>,

    /// Another server to measure: a name, and the shell command that starts it in the foreground. It must listen on
    /// 127.0.0.1:5060 (UDP) and send every INVITE to 127.0.0.1:5080, with the called number unchanged; for the part
    /// register it must take u0@bench.example and so on with the password secret. May be given several times.
    #[arg(long = "server", value_name = "NAME=COMMAND")]
    pub(crate) other_servers: Vec<String>,

    /// How often everything is measured; the table has the median and the spread.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) repetitions: u32,

    /// Everything once and briefly, to see that it works; what an option gives explicitly stays. The figures are
    /// worth little.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Before each measurement, wait up to this long until nothing else uses the machine.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) quiet_wait: u64,

    /// cpu: calls per second.
    #[arg(long, value_delimiter = ',', default_value = "200,500,1000,2000", value_name = "RATES")]
    pub(crate) rates: Vec<u32>,

    /// cpu: how long calls are started.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub(crate) seconds: u64,

    /// cpu: how long the server is watched after the last call. What it keeps of a call goes when no resend can come any
    /// more, 32 s after its end (64·T1), and that is part of what a call costs.
    #[arg(long, default_value_t = 35, value_name = "SECONDS")]
    pub(crate) settle: u64,

    /// From the ACK to the BYE, except in the memory part.
    #[arg(long, default_value_t = 200, value_name = "MILLISECONDS")]
    pub(crate) hold_ms: u64,

    /// delay: calls per second.
    #[arg(long, default_value_t = 500, value_name = "RATE")]
    pub(crate) delay_rate: u32,

    /// delay: how long calls are started.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub(crate) delay_seconds: u64,

    /// memory: how many calls are up at once.
    #[arg(long, default_value_t = 10_000, value_name = "CALLS")]
    pub(crate) calls: u32,

    /// memory: calls per second while they are set up.
    #[arg(long, default_value_t = 500, value_name = "RATE")]
    pub(crate) memory_rate: u32,

    /// nat: endpoints behind NATs.
    #[arg(long, default_value_t = 100_000, value_name = "ENDPOINTS")]
    pub(crate) endpoints: u32,

    /// nat: for how many periods of 30 s their keep-alives are watched.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), value_name = "PERIODS")]
    pub(crate) nat_periods: u32,

    /// nat: endpoints that are more than a configured pace can serve in time.
    #[arg(long, default_value_t = 10_000, value_name = "ENDPOINTS")]
    pub(crate) crowd: u32,

    /// rate: the first rate that is tried.
    #[arg(long, default_value_t = 1000, value_name = "RATE")]
    pub(crate) rate_from: u32,

    /// rate: the highest rate that is tried.
    #[arg(long, default_value_t = 20_000, value_name = "RATE")]
    pub(crate) rate_to: u32,

    /// rate: how long each step lasts, at least 5.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(5..), value_name = "SECONDS")]
    pub(crate) step_seconds: u64,

    /// rate: how close the search comes, in percent.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50), value_name = "PERCENT")]
    pub(crate) precision: u32,

    /// instructions: calls per second under valgrind.
    #[arg(long, default_value_t = 20, value_name = "RATE")]
    pub(crate) valgrind_rate: u32,

    /// instructions: for how long more calls are started in the second of two runs, whose difference counts.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub(crate) valgrind_seconds: u64,

    /// register: how many phones there are.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "PHONES")]
    pub(crate) phones: u32,

    /// register: registrations per second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..), value_name = "RATE")]
    pub(crate) register_rate: u32,

    /// register: how long registrations are begun.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub(crate) register_seconds: u64,

    /// Kamailio's worker processes.
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) kamailio_children: u32,

    /// The core for the servers.
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    pub(crate) server_core: usize,

    /// The core for the load generator.
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    pub(crate) generator_core: usize,

    /// The release build to measure.
    #[arg(long, default_value = "target/release/tandem", value_name = "BINARY")]
    pub(crate) tandem: PathBuf,

    /// Where the results go, as JSON; servers work in folders beside it.
    #[arg(long, default_value = "target/bench/result.json", value_name = "FILE")]
    pub(crate) out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  tests/bench/run                                   everything, about an hour
  tests/bench/run --quick                           everything once, a few minutes
  tests/bench/run cpu --rates 500 --repetitions 5   one figure, but well
  tests/bench/run rate --servers tandem             one server
  tests/bench/run cpu delay --server 'mine=/opt/mine/sbc -c /opt/mine/bench.conf'";

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// CPU time per call at several rates
    Cpu,
    /// Added set-up delay
    Delay,
    /// Memory per established call
    Memory,
    /// Keep-alives to endpoints behind NATs, and memory per endpoint (tandem alone)
    Nat,
    /// The highest rate without a failed call on one core
    Rate,
    /// Instructions per call, counted by valgrind
    Instructions,
    /// CPU time per registration, with and without digest
    Register,
}

impl Arguments {
    /// What the command line says; ends the process if that is wrong or asks for help.
    pub(crate) fn of_command_line() -> Arguments {
        let matches = Arguments::command().get_matches();
        let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        arguments.shortened(&matches)
    }

    /// With `--quick`, less of everything that was not asked for by its own option.
    fn shortened(mut self, matches: &ArgMatches) -> Arguments {
        if !self.quick {
            return self;
        }
        let free = |option: &str| matches.value_source(option) == Some(ValueSource::DefaultValue);
        let shorten = |option: &str, value: &mut u64, quick: u64| {
            if free(option) {
                *value = quick;
            }
        };
        shorten("seconds", &mut self.seconds, 5);
        shorten("delay_seconds", &mut self.delay_seconds, 5);
        shorten("step_seconds", &mut self.step_seconds, 5);
        shorten("register_seconds", &mut self.register_seconds, 5);
        shorten("valgrind_seconds", &mut self.valgrind_seconds, 5);
        let shorten = |option: &str, value: &mut u32, quick: u32| {
            if free(option) {
                *value = quick;
            }
        };
        shorten("repetitions", &mut self.repetitions, 1);
        shorten("calls", &mut self.calls, 2000);
        shorten("endpoints", &mut self.endpoints, 5_000);
        shorten("nat_periods", &mut self.nat_periods, 1);
        shorten("precision", &mut self.precision, 10);
        if free("rates") {
            self.rates = vec![500];
        }
        self
    }

    /// The parts to measure, in the order of this tool.
    pub(crate) fn chosen_parts(&self) -> Vec<Part> {
        let wanted = |part: &Part| self.parts.is_empty() || self.parts.contains(part);
        Part::value_variants().iter().copied().filter(wanted).collect()
    }

    /// All servers to measure.
    ///
    /// # Errors
    /// What is no server, or a name that comes twice.
    pub(crate) fn chosen_servers(&self) -> Result<Vec<Server>, String> {
        let mut servers: Vec<Server> = Vec::new();
        for text in self.servers.iter().filter(|text| !text.is_empty()).chain(&self.other_servers) {
            let server: Server = text.parse().map_err(|wrong| format!("{text:?}: {wrong}"))?;
            if servers.iter().any(|other| other.name == server.name) {
                return Err(format!("two servers have the name {}", server.name));
            }
            servers.push(server);
        }
        Ok(servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn quick_leaves_what_an_option_says() {
        let matches = Arguments::command().get_matches_from(["bench", "--quick", "--seconds", "20"]);
        let arguments = Arguments::from_arg_matches(&matches).expect("arguments").shortened(&matches);
        assert_eq!((arguments.seconds, arguments.delay_seconds, arguments.repetitions), (20, 5, 1));
    }

    #[test]
    fn parts_are_measured_in_one_order_whatever_the_command_line_has() {
        let parse = |line: &[&str]| Arguments::parse_from([&["bench"], line].concat());
        assert_eq!(parse(&["memory", "cpu"]).chosen_parts(), [Part::Cpu, Part::Memory]);
        assert_eq!(parse(&[]).chosen_parts().len(), 7);
    }

    #[test]
    fn other_servers_come_after_our_own_and_names_are_unique() {
        let parse = |line: &[&str]| Arguments::parse_from([&["bench"], line].concat()).chosen_servers();
        let names =
            |line: &[&str]| parse(line).map(|all| all.into_iter().map(|one| one.name).collect::<Vec<_>>());
        assert_eq!(
            names(&["--server", "mine=x -y"]),
            Ok(vec!["tandem".into(), "kamailio".into(), "kamailio-fm".into(), "mine".into()])
        );
        assert_eq!(names(&["--servers", "", "--server", "mine=x"]), Ok(vec!["mine".into()]));
        assert!(names(&["--server", "tandem=x"]).is_err());
        assert!(names(&["--servers", "tandme"]).is_err());
    }
}
