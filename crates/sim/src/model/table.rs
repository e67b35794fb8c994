//! The failover table, read once more and independently of the switch.

use super::belief::Failed;
use crate::coverage::Row;
use crate::knobs::{AttemptKnobs, CallKnobs};

/// What the table says of a failure.
pub(super) enum Verdict {
    Switch,
    End(&'static str),
}

/// What an attempt had shown before it failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    /// SDP of a provisional bound the call to it.
    pub(super) committed: bool,
    /// SDP came in a provisional.
    pub(super) described: bool,
    /// 180 came.
    pub(super) rang: bool,
}

pub(super) const SWITCH_LIMIT: &str = "switch limit";
pub(super) const EXHAUSTED: &str = "routes exhausted";

/// Which row an attempt's failure falls under, and what the row says.
pub(super) fn look_up(
    failed: Failed,
    signs: Signs,
    gateway: &AttemptKnobs,
    call: &CallKnobs,
) -> (Row, Verdict) {
    let end = |row, why| (row, Verdict::End(why));
    let switch = |row| (row, Verdict::Switch);
    match failed {
        Failed::Transport => switch(Row::TransportErrorSwitches),
        Failed::Trying => switch(Row::TryingTimeoutSwitches),
        Failed::Invite if gateway.stop_after_invite_timeout => end(Row::InviteTimeoutEnds, "invite timeout"),
        Failed::Invite if call.window_ms() < gateway.invite_ms => switch(Row::ResendsUsedUp),
        Failed::Invite => switch(Row::InviteTimeoutSwitches),
        Failed::Ringing if !gateway.until_connect => end(Row::RingingTimeoutEnds, "no answer"),
        Failed::Ringing if signs.committed => end(Row::RingingTimeoutCommitted, "media committed"),
        Failed::Ringing => switch(Row::RingingTimeoutSwitches),
        Failed::Progress if !gateway.until_connect => end(Row::ProgressTimeoutEnds, "no answer"),
        Failed::Progress if signs.committed => end(Row::ProgressTimeoutCommitted, "media committed"),
        Failed::Progress => switch(Row::ProgressTimeoutSwitches),
        Failed::Status(486 | 600) if call.stop_after_busy => end(Row::BusyEnds, "busy"),
        Failed::Status(status) if gateway.stop_codes.contains(&status) => end(Row::StopCodeEnds, "stop code"),
        Failed::Status(_) if signs.committed => end(Row::SdpCommits, "media committed"),
        Failed::Status(486 | 600) => switch(Row::BusySwitches),
        Failed::Status(_) if signs.described => switch(Row::SdpDoesNotCommit),
        Failed::Status(401 | 407) => switch(Row::ChallengeSwitches),
        Failed::Status(300..=399) => switch(Row::RedirectSwitches),
        Failed::Status(_) if signs.rang => switch(Row::RangThenSwitches),
        Failed::Status(_) => switch(Row::FailureSwitches),
    }
}

/// The status that the caller gets for the last failure, before the cause map; 503 where there was no attempt.
pub(super) fn status_for_caller(failed: Option<Failed>) -> u16 {
    match failed {
        None | Some(Failed::Transport) => 503,
        Some(Failed::Invite | Failed::Trying | Failed::Ringing | Failed::Progress) => 408,
        Some(Failed::Status(300..=399 | 401 | 407 | 503)) => 500,
        Some(Failed::Status(status)) => status,
    }
}

/// Who ended the call and why, as the CDR says it, once the hunt has stopped.
pub(super) fn blame(stop: &'static str, failed: Option<Failed>) -> (&'static str, &'static str) {
    let timed_out = matches!(failed, Some(Failed::Ringing | Failed::Progress));
    match stop {
        "busy" => ("callee", "busy"),
        "media committed" if timed_out => ("server", "no answer"),
        "stop code" | "media committed" => ("callee", "rejected"),
        "invite timeout" | "no answer" => ("server", "no answer"),
        other => ("server", other),
    }
}

/// The CDR's word for how an attempt failed.
pub(super) fn failure_name(failed: Failed) -> &'static str {
    match failed {
        Failed::Invite => "invite timeout",
        Failed::Transport => "transport error",
        Failed::Trying => "trying timeout",
        Failed::Ringing => "ringing timeout",
        Failed::Progress => "session progress timeout",
        Failed::Status(_) => "rejected",
    }
}
