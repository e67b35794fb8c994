//! OPTIONS probes of a gateway that does not publish its state (RFC 3261 §11).

use super::exchange::{Draft, Exchange, ExchangeFailure, Step};
use super::health::{HealthAction, HealthEvent, Located, Purpose};
use crate::call::{Names, Serial};
use std::time::Duration;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_sip::transaction::ResendSchedule;
use tandem_sip::{Message, Method, StatusCode};

/// As many failures in a row take a gateway for dead; one answer takes it for alive.
pub const DOWN_AFTER: u32 = 2;

/// After a failure it is probed again so soon, and after each further one twice as late, up to its interval.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// Each place of a gateway is given 4 s: resends after 0.5 s, 1.5 s and 3.5 s.
const WAITS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// The last probe that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// When it was over.
    pub at: Wall,
    /// How long the answer took.
    pub result: Result<Duration, ExchangeFailure>,
    /// Failures in a row, this one included.
    pub failures: u32,
}

#[derive(Debug)]
pub(super) struct Probe {
    interval: Duration,
    /// Where in its interval this gateway's turn is.
    phase_ms: u64,
    state: State,
    last: Option<ProbeReport>,
    failures: u32,
}

#[derive(Debug)]
enum State {
    Waiting { until: Mono },
    Asking(Box<Exchange>),
}

/// What a status says about the gateway that sent it: those that stand for somebody who cannot be reached, or for a gateway
/// that takes nothing, are failures; with any other it lives, whatever it thinks of OPTIONS.
fn verdict(status: StatusCode) -> Result<(), ExchangeFailure> {
    match status.code() {
        408 | 502 | 503 | 504 => Err(ExchangeFailure::Status(status)),
        _ => Ok(()),
    }
}

impl Probe {
    /// A probe at this interval; `spread` is evenly spread over gateways and places their turns in it.
    pub(super) fn new(interval: Duration, spread: u64, now: Mono) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut probe = Self {
            interval,
            phase_ms: spread % interval_ms,
            state: State::Waiting { until: now },
            last: None,
            failures: 0,
        };
        probe.state = State::Waiting { until: probe.turn(now) };
        probe
    }

    /// The first turn from `now` on.
    fn turn(&self, now: Mono) -> Mono {
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let past = (now.0 % interval_ms + interval_ms - self.phase_ms) % interval_ms;
        Mono(now.0 + if past == 0 { 0 } else { interval_ms - past })
    }

    pub(super) fn is_down(&self) -> bool {
        self.failures >= DOWN_AFTER
    }

    pub(super) fn last(&self) -> Option<ProbeReport> {
        self.last
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Asking(exchange) => exchange.deadline(),
        }
    }

    pub(super) fn on_timer(&mut self, names: &mut Names, now: Now, out: &mut Vec<HealthAction>) {
        match &mut self.state {
            State::Waiting { until } if *until <= now.mono => {
                // Should nobody say where it is, it is asked again.
                *until = now.mono + PROBE_AGAIN;
                out.push(HealthAction::Locate(Purpose::Probe));
            }
            State::Waiting { .. } => {}
            State::Asking(exchange) => {
                let step = exchange.on_timer(names, now.mono);
                self.on_step(step, None, now, out);
            }
        }
    }

    pub(super) fn on_located(
        &mut self,
        host: &str,
        located: Located,
        names: &mut Names,
        now: Now,
        out: &mut Vec<HealthAction>,
    ) {
        let targets = match located {
            Located::Targets(targets) => targets,
            Located::NotYet => return,
        };
        let (tag, call_id) = (names.next(), names.next());
        let draft = Draft {
            method: Method::Options,
            uri: format!("sip:{host}"),
            from: None,
            from_tag: names.tag(tag),
            to: format!("sip:{host}"),
            call_id: names.tag(call_id),
            cseq: 1,
            contact: None,
            lines: "Accept: application/sdp\r\n".to_owned(),
        };
        let schedule = ResendSchedule::new(&WAITS, WAITS.len()).unwrap_or_default();
        match Exchange::begin(draft, targets, schedule, names, now.mono) {
            Some((exchange, send)) => {
                self.state = State::Asking(Box::new(exchange));
                out.push(HealthAction::send(send));
            }
            None => self.settle(Err(ExchangeFailure::Nowhere), now, out),
        }
    }

    pub(super) fn on_response(
        &mut self,
        serial: Serial,
        response: &Message,
        names: &mut Names,
        now: Now,
        out: &mut Vec<HealthAction>,
    ) {
        if let State::Asking(exchange) = &mut self.state {
            let step = exchange.on_response(serial, response, names, now.mono);
            self.on_step(step, response.status(), now, out);
        }
    }

    pub(super) fn on_undeliverable(
        &mut self,
        serial: Serial,
        names: &mut Names,
        now: Now,
        out: &mut Vec<HealthAction>,
    ) {
        if let State::Asking(exchange) = &mut self.state {
            let step = exchange.on_undeliverable(serial, names, now.mono);
            self.on_step(step, None, now, out);
        }
    }

    fn on_step(&mut self, step: Step, status: Option<StatusCode>, now: Now, out: &mut Vec<HealthAction>) {
        match step {
            Step::Nothing => {}
            Step::Send(send) => out.push(HealthAction::send(send)),
            Step::Next { failed, send } => {
                out.push(HealthAction::TargetFailed(failed));
                out.push(HealthAction::send(send));
            }
            Step::Final(rtt) => {
                let verdict = status.map_or(Ok(()), verdict);
                self.settle(verdict.map(|()| rtt), now, out);
            }
            Step::Failed { last, why } => {
                out.push(HealthAction::TargetFailed(last));
                self.settle(Err(why), now, out);
            }
        }
    }

    /// Takes note of how it went, and waits for the next turn: the regular one, or an early one after a failure.
    fn settle(&mut self, result: Result<Duration, ExchangeFailure>, now: Now, out: &mut Vec<HealthAction>) {
        self.failures = match result {
            Ok(_) => 0,
            Err(_) => self.failures.saturating_add(1),
        };
        // A turn that falls on this very moment is the one that is over.
        let regular = self.turn(now.mono + Duration::from_millis(1));
        let until = match self.failures {
            0 => regular,
            failures => {
                let early = PROBE_AGAIN.saturating_mul(1 << (failures - 1).min(16)).min(self.interval);
                now.mono + early
            }
        };
        self.state = State::Waiting { until };
        self.last = Some(ProbeReport { at: now.wall, result, failures: self.failures });
        out.push(HealthAction::Event(HealthEvent::Probed(result)));
    }

    /// Drops what is under way; the next turn comes at its time.
    pub(super) fn rest(&mut self, now: Mono) {
        self.state = State::Waiting { until: self.turn(now) };
        self.failures = 0;
    }
}
