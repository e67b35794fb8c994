//! The load generator: callers and callees in one thread, so that one core carries more calls than any server here can.
//!
//! Both ends are pure machines ([`caller`], [`callee`]) that see messages and timers and fill an [`outbox`]; this module
//! gives them sockets and a clock.

mod callee;
mod caller;
mod failure;
mod message;
mod outbox;
mod plan;
mod register;
mod socket;
mod timers;

#[cfg(test)]
mod tests;

pub(crate) use plan::{CALLEE, CALLER, Plan, SERVER};
pub(crate) use register::{DOMAIN, PASSWORD, RegisterPlan};

use anyhow::Result;
use callee::Callee;
use caller::Caller;
use message::Message;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use outbox::Outbox;
use plan::{Numbers, PATIENCE, Timer, Turn};
use serde::Serialize;
use socket::Socket;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use timers::Timers;

/// The most calls started in one go while the generator is behind: it has to listen as well.
const STARTS_PER_TURN: u32 = 32;
/// Later than this, calls were not offered at the rate that was asked for: the generator was too slow, or held up.
const LATENESS_MAX: Duration = Duration::from_millis(50);
/// Beyond this share of its core the generator is no fair judge of a server.
const OWN_LOAD_MAX: f64 = 0.95;

/// Both ends' sockets, and the numbers that calls had.
pub(crate) struct Generator {
    caller: Socket,
    callee: Socket,
    next_number: u32,
}

/// How a run stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Since the start of the run.
    pub(crate) elapsed: Duration,
    /// Calls that are up.
    pub(crate) talking: u32,
    pub(crate) over: u32,
    pub(crate) failed: u32,
}

/// What a watcher of a run wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    GoOn,
    /// The run is broken off.
    Abandon,
}

/// What came of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) calls: u32,
    /// Calls that got their 200s and went by the book, as both ends saw them.
    pub(crate) completed: u32,
    /// Calls that were over by the time the last one would have been, had nothing been late.
    pub(crate) over_in_time: u32,
    /// The others, by what first went wrong.
    pub(crate) failures: BTreeMap<String, u32>,
    /// Calls per second: those over in time, by the time in which calls were started.
    pub(crate) achieved_rate: f64,
    pub(crate) resent_by_caller: u64,
    pub(crate) resent_by_callee: u64,
    pub(crate) repeated_by_server: u64,
    /// Calls whose 180 was lost on the way; they are no failures.
    pub(crate) without_ringing: u32,
    /// Calls whose ACK was lost on the way; they are no failures.
    pub(crate) without_ack: u32,
    /// Datagrams that are no SIP message.
    pub(crate) unreadable: u64,
    pub(crate) elapsed_s: f64,
    /// CPU time of the generator's thread.
    pub(crate) generator_cpu_s: f64,
    /// That, by the time it took.
    pub(crate) generator_load: f64,
    /// How late calls were started at worst.
    pub(crate) lateness_max_ms: f64,
    /// How long first INVITEs took from the caller to the callee, sorted.
    #[serde(skip)]
    pub(crate) invite_delays: Vec<Duration>,
}

impl Outcome {
    pub(crate) fn failed(&self) -> u32 {
        self.calls - self.completed
    }

    /// Whether the generator gave up before the server did.
    pub(crate) fn generator_gave_up(&self) -> bool {
        self.generator_load > OWN_LOAD_MAX || self.lateness_max_ms > LATENESS_MAX.as_secs_f64() * 1e3
    }
}

impl Generator {
    /// # Errors
    /// An address is taken.
    pub(crate) fn new() -> Result<Generator> {
        Ok(Generator { caller: Socket::bind(CALLER)?, callee: Socket::bind(CALLEE)?, next_number: 0 })
    }

    /// Makes the plan's calls; `watch` looks on, after every turn.
    ///
    /// # Errors
    /// A socket fails.
    pub(crate) fn run(
        &mut self,
        plan: &Plan,
        mut watch: impl FnMut(&Progress) -> Result<Watch>,
    ) -> Result<Outcome> {
        let numbers = Numbers { first: self.next_number, count: plan.calls };
        self.next_number += plan.calls;
        for socket in [&mut self.caller, &mut self.callee] {
            socket.clear()?;
            socket.stamp_arrivals(plan.delays)?;
        }
        let cpu = thread_cpu()?;
        let mut run = Run::new(plan, numbers);
        loop {
            run.turn(self)?;
            match watch(&run.progress())? {
                Watch::GoOn => {}
                Watch::Abandon => break,
            }
            if run.is_over() {
                break;
            }
            run.wait(self)?;
        }
        Ok(run.outcome(thread_cpu()?.saturating_sub(cpu)))
    }
}

/// A run under way.
struct Run<'a> {
    plan: &'a Plan,
    begun: Instant,
    caller: Caller,
    callee: Callee,
    timers: Timers<Timer>,
    from_caller: Outbox,
    from_callee: Outbox,
    /// Since when all calls have been over for their callers.
    callers_done: Option<Duration>,
    /// When first INVITEs left, by call.
    left_at: Vec<Duration>,
    delays: Vec<Duration>,
    lateness: Duration,
    over_in_time: u32,
    unreadable: u64,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, numbers: Numbers) -> Run<'a> {
        Run {
            plan,
            begun: Instant::now(),
            caller: Caller::new(*plan, numbers),
            callee: Callee::new(plan, numbers),
            timers: Timers::new(),
            from_caller: Outbox::default(),
            from_callee: Outbox::default(),
            callers_done: None,
            left_at: vec![Duration::ZERO; if plan.delays { plan.calls as usize } else { 0 }],
            delays: Vec::new(),
            lateness: Duration::ZERO,
            over_in_time: 0,
            unreadable: 0,
        }
    }

    /// Does what can be done without waiting.
    fn turn(&mut self, sockets: &mut Generator) -> Result<()> {
        let now = self.begun.elapsed();
        self.start_calls(now);
        while let Some(timer) = self.timers.due(now) {
            let timers = &mut self.timers;
            self.caller.expire(timer, &mut Turn { now, outbox: &mut self.from_caller, timers });
            self.callee.expire(timer, &mut Turn { now, outbox: &mut self.from_callee, timers });
        }
        self.send(sockets)?;
        sockets.caller.receive(|arrived| {
            let turn = &mut Turn { now, outbox: &mut self.from_caller, timers: &mut self.timers };
            match Message::read(arrived.bytes) {
                Some(message) => self.caller.receive(&message, turn),
                None => self.unreadable += 1,
            }
        })?;
        sockets.callee.receive(|arrived| {
            let turn = &mut Turn { now, outbox: &mut self.from_callee, timers: &mut self.timers };
            let Some(message) = Message::read(arrived.bytes) else {
                self.unreadable += 1;
                return;
            };
            let first = self.callee.receive(&message, arrived.from, turn);
            let left_at = first.and_then(|call| self.left_at.get(call as usize));
            if let (Some(left_at), Some(at)) = (left_at, arrived.at) {
                self.delays.push(at.saturating_sub(*left_at));
            }
        })?;
        self.send(sockets)?;
        if now <= self.plan.nominal_end() {
            self.over_in_time = self.caller.over;
        }
        Ok(())
    }

    fn start_calls(&mut self, now: Duration) {
        for _ in 0..STARTS_PER_TURN {
            let call = self.caller.started();
            let due = self.plan.start_of(call);
            if call >= self.plan.calls || due > now {
                break;
            }
            self.lateness = self.lateness.max(now - due);
            self.caller.start(&mut Turn { now, outbox: &mut self.from_caller, timers: &mut self.timers });
        }
    }

    fn send(&mut self, sockets: &Generator) -> Result<()> {
        let left_at = &mut self.left_at;
        let mut note = |call: u32, at: Duration| left_at[call as usize] = at;
        let stamp: Option<&mut dyn FnMut(u32, Duration)> =
            if self.plan.delays { Some(&mut note) } else { None };
        sockets.caller.send(&mut self.from_caller, stamp)?;
        sockets.callee.send(&mut self.from_callee, None)
    }

    /// Sleeps until something arrives or comes due.
    fn wait(&self, sockets: &Generator) -> Result<()> {
        let started = self.caller.started();
        let next_start = (started < self.plan.calls).then(|| self.plan.start_of(started));
        let next = [next_start, self.timers.next()].into_iter().flatten().min();
        let next = next.unwrap_or(Duration::MAX).min(self.begun.elapsed() + Duration::from_millis(100));
        let wait = next.saturating_sub(self.begun.elapsed());
        let ready = |socket| PollFd::new(socket, PollFlags::POLLIN);
        let mut sockets = [ready(sockets.caller.as_fd()), ready(sockets.callee.as_fd())];
        match ppoll(&mut sockets, Some(TimeSpec::from_duration(wait)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether both ends have seen the end of every call. A back-to-back user agent may answer the caller's BYE before it
    /// sends its own.
    fn is_over(&mut self) -> bool {
        if self.caller.over < self.plan.calls {
            return false;
        }
        let now = self.begun.elapsed();
        let since = *self.callers_done.get_or_insert(now);
        self.callee.left >= self.caller.over - self.caller.failed || now - since > PATIENCE
    }

    fn progress(&self) -> Progress {
        Progress {
            elapsed: self.begun.elapsed(),
            talking: self.caller.talking,
            over: self.caller.over,
            failed: self.caller.failed,
        }
    }

    fn outcome(mut self, cpu: Duration) -> Outcome {
        let elapsed = self.begun.elapsed().as_secs_f64();
        let calls = self.caller.started();
        let mut failures = BTreeMap::new();
        for call in 0..calls {
            // Without a success at the caller, what the callee saw is of no interest.
            if let Err(failure) = self.caller.verdict(call).and_then(|()| self.callee.verdict(call)) {
                *failures.entry(failure.to_string()).or_insert(0) += 1;
            }
        }
        if elapsed < self.plan.nominal_end().as_secs_f64() {
            self.over_in_time = self.caller.over;
        }
        self.delays.sort_unstable();
        Outcome {
            calls,
            completed: calls - failures.values().sum::<u32>(),
            over_in_time: self.over_in_time,
            failures,
            achieved_rate: f64::from(self.over_in_time) / self.plan.start_of(calls).as_secs_f64(),
            resent_by_caller: self.caller.resent,
            resent_by_callee: self.callee.resent,
            repeated_by_server: self.caller.repeated + self.callee.repeated,
            without_ringing: self.caller.without_ringing,
            without_ack: self.callee.without_ack,
            unreadable: self.unreadable,
            elapsed_s: elapsed,
            generator_cpu_s: cpu.as_secs_f64(),
            generator_load: cpu.as_secs_f64() / elapsed,
            lateness_max_ms: self.lateness.as_secs_f64() * 1e3,
            invite_delays: self.delays,
        }
    }
}

fn thread_cpu() -> Result<Duration> {
    Ok(Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?))
}
