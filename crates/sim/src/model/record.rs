//! What the model expects of a call's records.

use super::belief::{AttemptEnd, Facts};
use super::call::CallModel;
use super::table::failure_name;
use crate::violation::Rule;
use bytes::Bytes;
use serde_json::Value;

/// The date on which every world begins, at midnight.
const DATE: &str = "2023-11-15";

/// That date as milliseconds since the epoch.
pub(crate) const WALL_START: u64 = 1_700_006_400_000;

/// What a call's records are to say.
#[derive(Clone, Debug)]
pub(super) struct Records {
    /// There is a record of the call.
    recorded: bool,
    /// There are records of its unconnected attempts.
    with_attempts: bool,
    release: Facts,
    started: u64,
    ringing: Option<u64>,
    answered: Option<u64>,
    ended: u64,
    attempts: Vec<AttemptRecord>,
    routing_gateway: Option<String>,
    called_routed: String,
}

#[derive(Clone, Debug)]
struct AttemptRecord {
    gateway: String,
    started: u64,
    ended: u64,
    pdd: Option<u64>,
    status: Option<u16>,
    outcome: &'static str,
    connected: bool,
}

impl CallModel {
    /// The records of a call that ends now.
    pub(super) fn records(&self, release: &Facts) -> Records {
        let gateway = |place: usize| self.plan.gateways[place].name.clone();
        let attempts = self.b.attempts.iter().map(|attempt| AttemptRecord {
            gateway: gateway(attempt.gateway),
            started: attempt.started,
            ended: attempt.ended.unwrap_or(self.now),
            pdd: attempt.pdd.filter(|_| attempt.ended.is_some()),
            status: attempt.status,
            outcome: match attempt.outcome {
                AttemptEnd::Open | AttemptEnd::Cancelled => "cancelled",
                AttemptEnd::Answered => "answered",
                AttemptEnd::Failed(failed) => failure_name(failed),
            },
            connected: attempt.outcome == AttemptEnd::Answered,
        });
        let answered = self.b.attempts.iter().find(|attempt| attempt.outcome == AttemptEnd::Answered);
        let nonconnect = self.knobs().record_nonconnect;
        Records {
            recorded: self.b.answered_at.is_some() || nonconnect,
            with_attempts: nonconnect,
            release: release.clone(),
            started: self.started,
            ringing: self.b.ringing_at,
            answered: self.b.answered_at,
            ended: self.now,
            attempts: attempts.collect(),
            routing_gateway: answered.map(|attempt| gateway(attempt.gateway)),
            called_routed: self.b.called.clone(),
        }
    }

    /// The call's end goes to the store, with its records.
    pub(super) fn end_written(&mut self, seq: u64, lines: Option<&Bytes>) {
        let Some((expected, records)) = self.store.end.clone() else {
            return self.fail(Rule::Cdr, "the end of a call that has not ended");
        };
        if expected != seq {
            return self.fail(Rule::Cdr, format!("the end is commit {seq}, not {expected}"));
        }
        if let Err(detail) = records.compare(&self.facts.caller, &self.facts.called, lines) {
            let text = lines.map_or("nothing".into(), |lines| String::from_utf8_lossy(lines).into_owned());
            self.fail(Rule::Cdr, format!("{detail}\n{text}\n{records:?}"));
        }
        self.store.end_seen = true;
    }
}

impl Records {
    /// Whether the call has a record.
    pub(super) fn is_recorded(&self) -> bool {
        self.recorded
    }

    fn compare(&self, caller: &str, called: &str, lines: Option<&Bytes>) -> Result<(), String> {
        let Some(lines) = lines else {
            return if self.recorded { Err("no record".to_owned()) } else { Ok(()) };
        };
        if !self.recorded {
            return Err("a record of a call that is not recorded".to_owned());
        }
        let parsed: Result<Vec<Value>, _> =
            lines.split(|byte| *byte == b'\n').map(serde_json::from_slice).collect();
        let parsed = parsed.map_err(|error| format!("a record that is not JSON: {error}"))?;
        let unconnected = self.attempts.iter().filter(|attempt| self.with_attempts && !attempt.connected);
        let unconnected: Vec<_> = unconnected.collect();
        if parsed.len() != 1 + unconnected.len() {
            return Err(format!("{} records, not {}", parsed.len(), 1 + unconnected.len()));
        }
        let call = &parsed[0];
        self.compare_call(caller, called, call)?;
        let listed = call["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        if listed.len() != self.attempts.len() {
            return Err(format!("{} attempts, not {}", listed.len(), self.attempts.len()));
        }
        for (listed, attempt) in listed.iter().zip(&self.attempts).chain(parsed[1..].iter().zip(unconnected))
        {
            attempt.compare(listed)?;
        }
        Ok(())
    }

    fn compare_call(&self, caller: &str, called: &str, call: &Value) -> Result<(), String> {
        let duration = self.answered.map_or(0, |answered| self.ended - answered);
        let pdd = self.ringing.or(self.answered).map(|heard| heard - self.started);
        same(call, "record", &"call".into())?;
        same(call, "caller", &caller.into())?;
        same(call, "called", &called.into())?;
        if !self.called_routed.is_empty() {
            same(call, "called_routed", &self.called_routed.as_str().into())?;
        }
        same(call, "routing_gateway", &self.routing_gateway.clone().into())?;
        same(call, "started_at", &utc(self.started).into())?;
        same(call, "ringing_at", &self.ringing.map(utc).into())?;
        same(call, "answered_at", &self.answered.map(utc).into())?;
        same(call, "ended_at", &utc(self.ended).into())?;
        same(call, "duration_ms", &duration.into())?;
        same(call, "pdd_ms", &pdd.into())?;
        same(call, "ended_by", &self.release.by.into())?;
        same(call, "end_reason", &self.release.reason.into())?;
        same(call, "stop_reason", &self.release.stop.into())?;
        same(call, "sip_status", &self.release.status.into())
    }
}

impl AttemptRecord {
    fn compare(&self, listed: &Value) -> Result<(), String> {
        same(listed, "gateway", &self.gateway.as_str().into())?;
        same(listed, "started_at", &utc(self.started).into())?;
        same(listed, "duration_ms", &(self.ended - self.started).into())?;
        same(listed, "pdd_ms", &self.pdd.into())?;
        same(listed, "status", &self.status.into())?;
        same(listed, "outcome", &self.outcome.into())
    }
}

fn same(record: &Value, key: &str, expected: &Value) -> Result<(), String> {
    let found = &record[key];
    if found == expected { Ok(()) } else { Err(format!("{key} is {found}, not {expected}")) }
}

/// A time of the world as the records print it. Worlds last less than a day.
fn utc(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    format!("{DATE}T{:02}:{:02}:{:02}.{ms:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
