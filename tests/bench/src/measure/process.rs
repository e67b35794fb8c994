//! CPU time and memory of a server: all threads of a process and of whatever it has started.

use anyhow::{Context, Result, bail};
use nix::time::ClockId;
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// What `/proc/PID/stat` says (proc_pid_stat(5)); times in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    pub(crate) zombie: bool,
    pub(crate) user: u64,
    pub(crate) system: u64,
    /// Both, of children that have gone.
    pub(crate) children: u64,
}

impl Stat {
    /// Reads the file's one line. The name in it may hold spaces and brackets, so that fields count from its last
    /// bracket.
    pub(crate) fn parse(line: &str) -> Option<Stat> {
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some(Stat {
            parent: fields.get(1)?.parse().ok()?,
            zombie: *fields.first()? == "Z",
            user: number(11)?,
            system: number(12)?,
            children: number(13)? + number(14)?,
        })
    }
}

/// CPU time that a tree of processes has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// By the processes' own CPU clocks (clock_getcpuclockid(3)), which count nanoseconds, in user and system mode, of
    /// all threads, those that have ended included.
    pub(crate) total: Duration,
    /// In user mode, by `/proc/PID/stat`: the kernel shares out the total by what ticks found.
    pub(crate) user: Duration,
}

/// Memory of a tree of processes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// Pages shared by several processes count once, all of them taken together.
    pub(crate) pss_kib: u64,
    pub(crate) rss_kib: u64,
    pub(crate) processes: usize,
    pub(crate) threads: usize,
}

/// A process and all that descend from it, but for those that only wait to be reaped.
pub(crate) fn tree(root: i32) -> BTreeSet<i32> {
    let all = all();
    let mut found: BTreeSet<i32> = all.contains_key(&root).then_some(root).into_iter().collect();
    loop {
        let more: BTreeSet<i32> =
            all.iter().filter(|(_, stat)| found.contains(&stat.parent)).map(|(pid, _)| *pid).collect();
        let before = found.len();
        found.extend(more);
        if found.len() == before {
            break;
        }
    }
    found.retain(|pid| all.get(pid).is_some_and(|stat| !stat.zombie));
    found
}

fn all() -> BTreeMap<i32, Stat> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

fn stat(pid: i32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// # Errors
/// The process is gone.
pub(crate) fn cpu(root: i32) -> Result<Cpu> {
    let tick = tick()?;
    let mut cpu = Cpu::default();
    for pid in tree(root) {
        let Some(stat) = stat(pid) else { continue };
        let Ok(clock) = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)) else { continue };
        let Ok(time) = clock.now() else { continue };
        cpu.total += Duration::from(time) + tick.mul_f64(stat.children as f64);
        cpu.user += tick.mul_f64(stat.user as f64);
    }
    if cpu.total.is_zero() {
        bail!("process {root} is gone");
    }
    Ok(cpu)
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?))
}

/// The unit of times in `/proc`.
pub(crate) fn tick() -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no CLK_TCK")?;
    Ok(Duration::from_secs(1) / u32::try_from(per_second)?)
}

/// # Errors
/// The process is gone, or belongs to another user.
pub(crate) fn memory(root: i32) -> Result<Memory> {
    let mut memory = Memory::default();
    for pid in tree(root) {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let kib = |name| kib(&text, name).with_context(|| format!("no {name} of process {pid}"));
        memory.pss_kib += kib("Pss:")?;
        memory.rss_kib += kib("Rss:")?;
        memory.processes += 1;
        memory.threads += fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    }
    if memory.processes == 0 {
        bail!("process {root} is gone, or may not be looked at");
    }
    Ok(memory)
}

/// A line of `/proc/PID/smaps_rollup`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

/// Datagrams dropped because the buffer of the socket at this address was full, out of `/proc/net/udp`.
pub(crate) fn drops(table: &str, address: SocketAddrV4) -> u64 {
    lines_of(table, address).filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}

/// Whether somebody listens at an address, or at its port of all addresses.
pub(crate) fn is_bound(address: SocketAddrV4) -> bool {
    lines_of(&udp_table(), address).next().is_some()
}

fn lines_of(table: &str, address: SocketAddrV4) -> impl Iterator<Item = &str> {
    // The address as the machine has it in memory, the port as a number.
    let written = |ip: Ipv4Addr| format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let wanted = [written(*address.ip()), written(Ipv4Addr::UNSPECIFIED)];
    table.lines().skip(1).filter(move |line| {
        let local = line.split_whitespace().nth(1);
        local.is_some_and(|local| wanted.iter().any(|wanted| wanted == local))
    })
}

/// `/proc/net/udp`.
pub(crate) fn udp_table() -> String {
    fs::read_to_string("/proc/net/udp").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_brackets_does_not_shift_its_times() {
        let line = "4242 (a) b (c) S 77 4242 4242 0 -1 4194560 903 12 0 0 1500 250 30 4 20 0 5 0 99 1 2 3";
        let expected = Stat { parent: 77, zombie: false, user: 1500, system: 250, children: 34 };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("4242 (a"), None);
        assert_eq!(Stat::parse("4242 (a) S 77"), None);
    }

    #[test]
    fn memory_is_read_by_name() {
        let text = "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:                1234 kB\n\
                    Pss:                 987 kB\nPss_Dirty:           55 kB\n";
        assert_eq!((kib(text, "Pss:"), kib(text, "Rss:"), kib(text, "Swap:")), (Some(987), Some(1234), None));
    }

    #[test]
    fn drops_are_those_of_the_address() {
        let line = |number: u32, ip: Ipv4Addr, port: u16, drops: u32| {
            let ip = u32::from_ne_bytes(ip.octets());
            format!(" {number}: {ip:08X}:{port:04X} 00000000:0000 07 0:0 00:0 0 0 0 5 2 0 {drops}\n")
        };
        let here = Ipv4Addr::LOCALHOST;
        let table = String::from("  sl  local_address rem_address   st tx_queue rx_queue drops\n")
            + &line(1, here, 5060, 17)
            + &line(2, here, 5080, 3)
            + &line(3, Ipv4Addr::UNSPECIFIED, 5060, 1)
            + &line(4, Ipv4Addr::new(127, 77, 0, 1), 5060, 1000);
        let drops = |port| drops(&table, SocketAddrV4::new(here, port));
        assert_eq!((drops(5060), drops(5080), drops(5070)), (18, 3, 0));
    }

    #[test]
    fn the_tree_of_a_process_holds_the_process() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(tree(own).contains(&own));
        assert!(tree(i32::MAX).is_empty());
    }
}
