//! The machine: what it is, and who else uses it meanwhile.

use crate::measure::process::{Cpu, own_cpu, tick};
use anyhow::Result;
use serde::Serialize;
use std::fs;
use std::time::{Duration, Instant};

/// What a result is worth nothing without.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Whether a hypervisor stands between.
    pub(crate) virtual_machine: bool,
}

impl Machine {
    pub(crate) fn of_this() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let field = |name| {
            let line = cpus.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
        };
        let memory = read("/proc/meminfo");
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|total| total.split_whitespace().next()).and_then(|kib| kib.parse().ok());
        Machine {
            cpu: field("model name").unwrap_or("unknown").to_owned(),
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            memory_mib: kib.unwrap_or(0_u64) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            virtual_machine: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        }
    }
}

/// One core's line of `/proc/stat`, in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Core {
    /// Nothing to do, waiting for a disk included. The kernel times it; what is busy it only samples.
    idle: u64,
    /// Taken by the hypervisor for others.
    steal: u64,
}

/// The lines of single cores, by their numbers.
fn cores(stat: &str) -> Vec<Core> {
    let lines = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let core = |line: &str| {
        let fields: Vec<u64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let field = |place: usize| fields.get(place).copied().unwrap_or(0);
        Core { idle: field(3) + field(4), steal: field(7) }
    };
    lines.map(core).collect()
}

/// A moment from which the use of the machine is counted.
pub(crate) struct Mark {
    at: Instant,
    cores: Vec<Core>,
    own: Duration,
    server: Duration,
}

/// Who used the machine since a mark, in cores.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Use {
    pub(crate) seconds: f64,
    /// By neither the server under test nor this tool: a run where this is large is worth little.
    pub(crate) foreign_cores: f64,
    /// Withheld by the hypervisor.
    pub(crate) stolen_cores: f64,
}

impl Mark {
    pub(crate) fn now(server: Cpu) -> Result<Mark> {
        Ok(Mark { at: Instant::now(), cores: read_cores(), own: own_cpu()?, server: server.total })
    }

    /// What happened from this mark to another, later one.
    pub(crate) fn until(&self, later: &Mark) -> Result<Use> {
        let elapsed = (later.at - self.at).as_secs_f64();
        let tick = tick()?.as_secs_f64();
        let mut busy = 0.0;
        let mut stolen = 0.0;
        for (before, after) in self.cores.iter().zip(&later.cores) {
            let steal = after.steal.saturating_sub(before.steal) as f64 * tick;
            stolen += steal;
            busy += elapsed - steal - after.idle.saturating_sub(before.idle) as f64 * tick;
        }
        let ours = later.own.saturating_sub(self.own) + later.server.saturating_sub(self.server);
        Ok(Use {
            seconds: elapsed,
            foreign_cores: ((busy - ours.as_secs_f64()) / elapsed).max(0.0),
            stolen_cores: stolen / elapsed,
        })
    }
}

fn read_cores() -> Vec<Core> {
    cores(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

/// Below this many cores of others the machine is quiet.
const QUIET_CORES: f64 = 0.05;
/// How long others are watched.
const LOOK: Duration = Duration::from_secs(2);

/// Waits until nobody else uses the machine, at most `patience`; tells whether that came.
pub(crate) fn wait_until_quiet(patience: Duration) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        let mark = Mark::now(Cpu::default())?;
        std::thread::sleep(LOOK);
        if mark.until(&Mark::now(Cpu::default())?)?.foreign_cores < QUIET_CORES {
            return Ok(true);
        }
    }
    Ok(patience.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 0 50 2000 30 0 5 7 0 0\n\
                        cpu0 60 0 20 900 10 0 5 4 0 0\n\
                        cpu1 40 0 30 1100 20 0 0 3 0 0\n\
                        intr 12345 0 9\n";

    #[test]
    fn waiting_for_a_disk_is_idle() {
        assert_eq!(cores(STAT), [Core { idle: 910, steal: 4 }, Core { idle: 1120, steal: 3 }]);
    }

    #[test]
    fn what_neither_idled_nor_was_ours_is_foreign() {
        let tick = tick().expect("a tick");
        let begun = Instant::now();
        let mark = |ticks: u32, idle: u64, own: u32, server: u32| Mark {
            at: begun + tick * ticks,
            cores: vec![Core { idle, steal: 0 }, Core { idle: 0, steal: u64::from(ticks) }],
            own: tick * own,
            server: tick * server,
        };
        let used = mark(0, 0, 0, 0).until(&mark(100, 20, 10, 40)).expect("a use");
        assert!((used.foreign_cores - 0.3).abs() < 1e-6, "{used:?}");
        assert!((used.stolen_cores - 1.0).abs() < 1e-6, "{used:?}");
    }
}
