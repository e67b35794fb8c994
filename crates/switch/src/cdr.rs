//! Call detail records.

use crate::call::CallId;
use crate::failover::{Failure, StopReason};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tandem_sip::StatusCode;
use tandem_sip::time::Wall;

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The caller: BYE or CANCEL.
    Caller,
    /// The callee: BYE or a final response.
    Callee,
    /// The switch.
    Server,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndReason {
    /// BYE from one of the parties.
    Normal,
    /// CANCEL from the caller.
    Cancelled,
    /// A final response that ended the hunt.
    Rejected,
    /// 486 or 600.
    Busy,
    /// Rang too long, or nothing was heard of the gateway.
    NoAnswer,
    /// A session timer ran out.
    SessionTimeout,
    /// `SS_SIP_NO_TIMER_REINVITE_INTERVAL`.
    NoTimerCap,
    /// `SS_MAX_CALL_DURATION`, or what the look-up allowed.
    MaxDuration,
    /// `SS_NOMEDIAHANGUPTIME`.
    NoMedia,
    /// `SS_SETUP_TIMEOUT`.
    SetupTimeout,
    /// Hung up by an operator.
    Admin,
    /// Ended by a drain that could wait no longer.
    Drained,
    /// Its node was lost and no other could go on with it.
    NodeLost,
    /// Every candidate failed or took no call.
    RoutesExhausted,
    /// `SS_GATEWAY_SWITCH_LIMIT`.
    SwitchLimit,
    /// A party broke the protocol: no ACK, an answer without Contact.
    ProtocolError,
}

impl EndReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [EndReason; 16] = [
        EndReason::Normal,
        EndReason::Cancelled,
        EndReason::Rejected,
        EndReason::Busy,
        EndReason::NoAnswer,
        EndReason::SessionTimeout,
        EndReason::NoTimerCap,
        EndReason::MaxDuration,
        EndReason::NoMedia,
        EndReason::SetupTimeout,
        EndReason::Admin,
        EndReason::Drained,
        EndReason::NodeLost,
        EndReason::RoutesExhausted,
        EndReason::SwitchLimit,
        EndReason::ProtocolError,
    ];

    /// The SIP status that stands for it where the switch itself ends a call: the final response to a caller that
    /// waits, and the cause in the Reason header (RFC 3326) of the BYE or CANCEL.
    pub fn status(self) -> StatusCode {
        match self {
            EndReason::NoAnswer
            | EndReason::SessionTimeout
            | EndReason::NoTimerCap
            | EndReason::MaxDuration
            | EndReason::NoMedia
            | EndReason::SetupTimeout => StatusCode::REQUEST_TIMEOUT,
            EndReason::Normal | EndReason::Cancelled => StatusCode::REQUEST_TERMINATED,
            EndReason::Busy => StatusCode::BUSY_HERE,
            EndReason::Rejected | EndReason::Admin | EndReason::Drained => {
                StatusCode::TEMPORARILY_UNAVAILABLE
            }
            EndReason::NodeLost | EndReason::ProtocolError => StatusCode::SERVER_INTERNAL_ERROR,
            EndReason::RoutesExhausted | EndReason::SwitchLimit => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The CDR's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Normal => "normal",
            EndReason::Cancelled => "cancelled",
            EndReason::Rejected => "rejected",
            EndReason::Busy => "busy",
            EndReason::NoAnswer => "no answer",
            EndReason::SessionTimeout => "session timeout",
            EndReason::NoTimerCap => "no-timer cap",
            EndReason::MaxDuration => "max duration",
            EndReason::NoMedia => "no media",
            EndReason::SetupTimeout => "set-up timeout",
            EndReason::Admin => "admin",
            EndReason::Drained => "drained",
            EndReason::NodeLost => "node lost",
            EndReason::RoutesExhausted => "routes exhausted",
            EndReason::SwitchLimit => "switch limit",
            EndReason::ProtocolError => "protocol error",
        }
    }
}

/// How an attempt ended, as the CDR says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptOutcome {
    /// Not over yet.
    Open,
    /// 2xx.
    Answered,
    /// It failed.
    Failed(Failure),
    /// The caller hung up, or the call was ended while it was open.
    Cancelled,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// The routing gateway.
    pub gateway: Arc<str>,
    /// The number it was asked for.
    pub called: String,
    /// Of an endpoint, or of a gateway that registers: the Contact that answered.
    pub contact: Option<Arc<str>>,
    /// When the INVITE went out.
    pub started_at: Wall,
    /// When it was answered, failed or was left.
    pub ended_at: Option<Wall>,
    /// From the INVITE to the first 18x or the answer.
    pub pdd: Option<Duration>,
    /// The last status that came, if any.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub outcome: AttemptOutcome,
}

/// What a call's record holds while the call goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The call.
    pub id: CallId,
    /// The caller's Call-ID.
    pub caller_call_id: String,
    /// Our Call-ID on the answered leg, or on the last attempt's.
    pub callee_call_id: Option<String>,
    /// The nodes that owned the call, in order.
    pub nodes: Vec<Arc<str>>,
    /// The caller's number as received.
    pub caller: String,
    /// The number of the first asserted identity (RFC 3325), if the caller is trusted.
    pub asserted: Option<String>,
    /// The called number as received.
    pub called: String,
    /// The called number after the mapping gateway's rules: what was routed.
    pub called_routed: Option<String>,
    /// Where the call came from.
    pub mapping_gateway: Arc<str>,
    /// The attempts, in order.
    pub attempts: Vec<AttemptRecord>,
    /// When the INVITE came.
    pub started_at: Wall,
    /// When the caller was first sent an 18x.
    pub ringing_at: Option<Wall>,
    /// When the caller was sent the 2xx.
    pub answered_at: Option<Wall>,
    /// The codec that was agreed on.
    pub codec: Option<String>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// By whom.
    pub origin: Origin,
    /// Why.
    pub cause: EndReason,
    /// Why the hunt for a gateway stopped, if it did without an answer.
    pub stop: Option<StopReason>,
    /// The final status the caller got.
    pub status: StatusCode,
}

impl CallRecord {
    /// The records of a call that ended, one JSON object each: the call's own, and with `record_nonconnect` one for
    /// each attempt that never connected. A call that was not answered has none without `record_nonconnect`.
    pub fn to_json(&self, release: Release, ended_at: Wall, record_nonconnect: bool) -> Vec<Vec<u8>> {
        if self.answered_at.is_none() && !record_nonconnect {
            return Vec::new();
        }
        let mut lines = vec![print(&CallLine::new(self, release, ended_at))];
        if record_nonconnect {
            let unconnected = |attempt: &&AttemptRecord| attempt.outcome != AttemptOutcome::Answered;
            lines.extend(self.attempts.iter().enumerate().filter(|(_, attempt)| unconnected(attempt)).map(
                |(place, attempt)| {
                    print(&UnconnectedAttempt {
                        record: "attempt",
                        id: format!("{}#{}", self.id, place + 1),
                        call: self.id.to_string(),
                        attempt: AttemptLine::new(attempt, ended_at),
                    })
                },
            ));
        }
        lines
    }
}

/// Room for the record of a call with two attempts.
const LINE_CAPACITY: usize = 1024;

/// Numbers and strings always have a JSON form.
fn print(line: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(LINE_CAPACITY);
    serde_json::to_writer(&mut text, line).expect("a record is plain data");
    text
}

#[derive(Serialize)]
struct CallLine<'a> {
    record: &'static str,
    id: String,
    caller_call_id: &'a str,
    callee_call_id: Option<&'a str>,
    nodes: &'a [Arc<str>],
    caller: &'a str,
    caller_out: &'a str,
    asserted: Option<&'a str>,
    called: &'a str,
    called_routed: Option<&'a str>,
    called_out: Option<&'a str>,
    mapping_gateway: &'a str,
    routing_gateway: Option<&'a str>,
    attempts: Vec<AttemptLine<'a>>,
    started_at: Utc,
    ringing_at: Option<Utc>,
    answered_at: Option<Utc>,
    ended_at: Utc,
    pdd_ms: Option<u64>,
    duration_ms: u64,
    ended_by: Origin,
    end_reason: &'static str,
    stop_reason: Option<&'static str>,
    sip_status: u16,
    codec: Option<&'a str>,
}

#[derive(Serialize)]
struct UnconnectedAttempt<'a> {
    record: &'static str,
    id: String,
    call: String,
    #[serde(flatten)]
    attempt: AttemptLine<'a>,
}

#[derive(Serialize)]
struct AttemptLine<'a> {
    gateway: &'a str,
    called: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<&'a str>,
    started_at: Utc,
    duration_ms: u64,
    pdd_ms: Option<u64>,
    status: Option<u16>,
    outcome: &'static str,
}

impl<'a> CallLine<'a> {
    fn new(call: &'a CallRecord, release: Release, ended_at: Wall) -> Self {
        let last = call.attempts.last();
        let answered = call.attempts.iter().find(|attempt| attempt.outcome == AttemptOutcome::Answered);
        Self {
            record: "call",
            id: call.id.to_string(),
            caller_call_id: &call.caller_call_id,
            callee_call_id: call.callee_call_id.as_deref(),
            nodes: &call.nodes,
            caller: &call.caller,
            caller_out: &call.caller,
            asserted: call.asserted.as_deref(),
            called: &call.called,
            called_routed: call.called_routed.as_deref(),
            called_out: answered.or(last).map(|attempt| attempt.called.as_str()),
            mapping_gateway: &call.mapping_gateway,
            routing_gateway: answered.map(|attempt| &*attempt.gateway),
            attempts: call.attempts.iter().map(|attempt| AttemptLine::new(attempt, ended_at)).collect(),
            started_at: Utc(call.started_at),
            ringing_at: call.ringing_at.map(Utc),
            answered_at: call.answered_at.map(Utc),
            ended_at: Utc(ended_at),
            pdd_ms: call.ringing_at.or(call.answered_at).map(|heard| ms(heard.since(call.started_at))),
            duration_ms: call.answered_at.map_or(0, |answered_at| ms(ended_at.since(answered_at))),
            ended_by: release.origin,
            end_reason: release.cause.as_str(),
            stop_reason: release.stop.map(StopReason::as_str),
            sip_status: release.status.code(),
            codec: call.codec.as_deref(),
        }
    }
}

impl<'a> AttemptLine<'a> {
    fn new(attempt: &'a AttemptRecord, ended_at: Wall) -> Self {
        Self {
            gateway: &attempt.gateway,
            called: &attempt.called,
            contact: attempt.contact.as_deref(),
            started_at: Utc(attempt.started_at),
            duration_ms: ms(attempt.ended_at.unwrap_or(ended_at).since(attempt.started_at)),
            pdd_ms: attempt.pdd.map(ms),
            status: attempt.status.map(StatusCode::code),
            outcome: match attempt.outcome {
                AttemptOutcome::Open | AttemptOutcome::Cancelled => "cancelled",
                AttemptOutcome::Answered => "answered",
                AttemptOutcome::Failed(failure) => failure_name(failure),
            },
        }
    }
}

/// The CDR's word for a failed attempt.
pub fn failure_name(failure: Failure) -> &'static str {
    match failure {
        Failure::InviteTimeout => "invite timeout",
        Failure::TransportError => "transport error",
        Failure::TryingTimeout => "trying timeout",
        Failure::RingingTimeout => "ringing timeout",
        Failure::SessionProgressTimeout => "session progress timeout",
        Failure::Status(_) => "rejected",
        Failure::UnusableAnswer => "unusable answer",
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time as RFC 3339 prints it, UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc(pub Wall);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_millis(self.0.0);
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn attempt(gateway: &str, outcome: AttemptOutcome, status: u16) -> AttemptRecord {
        AttemptRecord {
            gateway: gateway.into(),
            called: "4420".into(),
            contact: None,
            started_at: Wall(1_100),
            ended_at: Some(Wall(1_350)),
            pdd: Some(Duration::from_millis(200)),
            status: StatusCode::new(status),
            outcome,
        }
    }

    fn record() -> CallRecord {
        CallRecord {
            id: CallId([1; 12]),
            caller_call_id: "abc".into(),
            callee_call_id: Some("def".into()),
            nodes: vec!["n1".into()],
            caller: "100".into(),
            asserted: None,
            called: "004420".into(),
            called_routed: Some("4420".into()),
            mapping_gateway: "customer".into(),
            attempts: vec![
                attempt("one", AttemptOutcome::Failed(Failure::Status(StatusCode::SERVICE_UNAVAILABLE)), 503),
                attempt("two", AttemptOutcome::Answered, 200),
            ],
            started_at: Wall(1_000),
            ringing_at: Some(Wall(1_300)),
            answered_at: Some(Wall(2_000)),
            codec: Some("PCMA".into()),
        }
    }

    fn release(cause: EndReason) -> Release {
        Release { origin: Origin::Caller, cause, stop: None, status: StatusCode::OK }
    }

    fn parse(lines: &[Vec<u8>]) -> Vec<Value> {
        lines.iter().map(|line| serde_json::from_slice(line).expect("JSON")).collect()
    }

    #[test]
    fn an_answered_call_has_one_record_with_its_attempts() {
        let lines = parse(&record().to_json(release(EndReason::Normal), Wall(62_000), false));
        assert_eq!(lines.len(), 1);
        let call = &lines[0];
        assert_eq!(call["routing_gateway"], "two");
        assert_eq!(call["duration_ms"], 60_000);
        assert_eq!(call["pdd_ms"], 300);
        assert_eq!(call["started_at"], "1970-01-01T00:00:01.000Z");
        assert_eq!(call["attempts"][0]["status"], 503);
        assert_eq!(call["attempts"][1]["outcome"], "answered");
        assert_eq!(call["stop_reason"], json!(null));
    }

    #[test]
    fn ss_cdr_record_nonconnect_adds_unanswered_calls_and_attempts() {
        let unanswered = CallRecord { answered_at: None, ..record() };
        assert!(unanswered.to_json(release(EndReason::Cancelled), Wall(3_000), false).is_empty());
        let lines = parse(&unanswered.to_json(release(EndReason::Cancelled), Wall(3_000), true));
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["record"], &lines[1]["record"]), (&json!("call"), &json!("attempt")));
        assert_eq!(lines[1]["gateway"], "one");
        assert_eq!(lines[0]["duration_ms"], 0);
    }
}
