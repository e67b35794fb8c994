//! Session timers and caps: when a session is refreshed and when it ends, worked out again from what the messages say.

use super::{CALLEE, CALLER, Stage, TOLERANCE_MS, Watch};
use crate::coverage::Talk;
use crate::knobs::SessionKnobs;
use crate::violation::Rule;
use tandem_sip::header::Refresher;
use tandem_sip::{Message, Name};

/// A leg that was busy when its refresh was due is looked at again after that.
const BUSY_WAIT_MS: u64 = 2_000;

/// A third of an interval need not be a whole number of milliseconds.
const ROUNDING_MS: u64 = 1;

/// What both ends hold to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// When it was agreed on, or refreshed.
    since: u64,
    interval_ms: u64,
    /// Whether the switch refreshes it.
    is_ours: bool,
    /// When the switch last asked for a refresh.
    asked_at: Option<u64>,
    /// The party has said that the dialog is gone.
    is_gone: bool,
}

/// What bounds a conversation whatever its parties do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caps {
    max_at: Option<u64>,
    pub(super) no_timer_at: Option<u64>,
}

impl Session {
    fn new(interval_ms: u64, is_ours: bool, since: u64) -> Self {
        Self { since, interval_ms, is_ours, asked_at: None, is_gone: false }
    }

    /// When it is given up.
    fn end(&self, knobs: &SessionKnobs) -> u64 {
        let interval = self.interval_ms;
        let end = interval - (interval / 3).min(32_000);
        let end = match (self.is_ours, knobs.is_margin) {
            (true, _) => end,
            (false, false) => end + knobs.early_hangup_ms,
            (false, true) => end.saturating_sub(knobs.early_hangup_ms).max(interval * 2 / 3),
        };
        self.since + end
    }

    /// When it is refreshed for the first time.
    fn refresh(&self, knobs: &SessionKnobs) -> u64 {
        let interval = self.interval_ms;
        let last = (interval - (interval / 3).min(32_000)).saturating_sub(10_000);
        let part = if knobs.is_late { knobs.segment - 1 } else { 1 };
        self.since + (interval * part / knobs.segment).min(last)
    }
}

impl Watch {
    /// A 2xx that was heard, or sent, begins a session on a leg.
    pub(super) fn begin_session(&mut self, leg: usize, message: &Message, is_heard: bool) {
        self.begin_session_at(leg, message, (is_heard, self.now));
    }

    /// The same, from another time on.
    pub(super) fn begin_session_at(&mut self, leg: usize, message: &Message, (is_heard, since): (bool, u64)) {
        let said = message.session_expires().and_then(Result::ok);
        let session = said.map(|said| {
            let seconds = if is_heard { said.secs.clamp(30, 86_400) } else { said.secs };
            let by_server = said.refresher == Some(Refresher::Uas);
            Session::new(u64::from(seconds) * 1000, by_server != is_heard, since)
        });
        self.legs[leg].session = session;
        if let Some(session) = session {
            self.row(match (leg, session.is_ours) {
                (CALLER, true) => Talk::WeRefreshCaller,
                (CALLER, false) => Talk::CallerRefreshes,
                (_, true) => Talk::WeRefreshCallee,
                (_, false) => Talk::CalleeRefreshes,
            });
        } else {
            self.row(if leg == CALLER { Talk::UntimedCaller } else { Talk::UntimedCallee });
        }
        if leg == CALLER {
            let cap = self.no_timer_cap().filter(|_| session.is_none());
            self.caps.no_timer_at = cap.map(|cap| self.caps.no_timer_at.unwrap_or(since + cap));
        }
    }

    /// The longest conversation of a caller without a session timer.
    fn no_timer_cap(&self) -> Option<u64> {
        let knobs = self.knobs().session;
        let caps = [knobs.no_timer_ms, self.gateway_knobs().no_timer_ms];
        caps.into_iter().flatten().min().filter(|_| !knobs.probes)
    }

    pub(super) fn begin_caps(&mut self) {
        let limits = [self.knobs().max_duration_ms, self.gateway_knobs().max_duration_ms];
        self.caps.max_at = limits.into_iter().flatten().min().map(|longest| self.now + longest);
    }

    /// A request of ours that refreshes a leg's session goes out.
    pub(super) fn asks_to_refresh(&mut self, leg: usize, message: &Message) {
        let now = self.now;
        if let Some(session) = &mut self.legs[leg].session {
            session.asked_at = Some(now);
            if session.is_ours && message.first(Name::SessionExpires).is_none() {
                self.fail(Rule::Session, "a refresh that says nothing of the session's interval");
            }
        }
    }

    /// The party says that it has no such dialog.
    pub(super) fn is_gone(&mut self, leg: usize) {
        if let Some(session) = &mut self.legs[leg].session {
            session.is_gone = true;
        }
    }

    /// Nothing that has its time is late.
    pub(super) fn check_times(&mut self) {
        match self.stage {
            Stage::SettingUp => self.check_setup_times(),
            Stage::Talking => self.check_talk_times(),
            Stage::Ended => {}
        }
    }

    fn check_talk_times(&mut self) {
        let (now, knobs) = (self.now, self.knobs().session);
        let bounds = [("max duration", self.caps.max_at), ("no-timer cap", self.caps.no_timer_at)];
        let ends = [CALLER, CALLEE].map(|leg| {
            let end = self.legs[leg].session.map(|session| session.end(&knobs));
            (if leg == CALLER { "the caller's session" } else { "the callee's session" }, end)
        });
        for (what, at) in bounds.into_iter().chain(ends) {
            if let Some(at) = at.filter(|at| now > (*at).max(self.restored_at) + TOLERANCE_MS) {
                self.fail(Rule::Session, format!("{what} was over at {at} ms, and the call goes on"));
            }
        }
        for leg in [CALLER, CALLEE] {
            self.check_refresh(leg);
        }
    }

    /// A refresh of ours is not late, unless something else was open.
    fn check_refresh(&mut self, leg: usize) {
        let knobs = self.knobs().session;
        let Some(session) = self.legs[leg].session.filter(|session| session.is_ours) else { return };
        let due = session.refresh(&knobs);
        if self.has_no_room()
            || self.busy_at == u64::MAX
            || session.asked_at.is_some_and(|asked| asked >= due)
        {
            return;
        }
        // The heir of a call sends its 2xx again, and waits for the ACK.
        let restored = if self.panicked { self.restored_at + 32_000 + BUSY_WAIT_MS } else { 0 };
        let latest = due.max(self.busy_at + BUSY_WAIT_MS).max(restored) + TOLERANCE_MS;
        if self.now > latest {
            let detail = format!("leg {leg}: the refresh due at {due} ms has not been sent: {session:?}");
            self.fail(Rule::Session, detail);
        }
    }

    /// A conversation has ended: it may have, for that reason.
    pub(super) fn check_end(&mut self, reason: &str) {
        self.check_talk_times();
        let (now, knobs) = (self.now, self.knobs().session);
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let is_right = match reason {
            "max duration" => is_due(self.caps.max_at),
            "no-timer cap" => is_due(self.caps.no_timer_at),
            "session timeout" => self.may_time_out(now, &knobs),
            _ => true,
        };
        if !is_right {
            let sessions = self.legs.each_ref().map(|leg| leg.session);
            self.fail(Rule::Session, format!("{reason} out of turn: {sessions:?}, {:?}", self.caps));
        }
        let lapsed = |leg: usize| {
            self.legs[leg]
                .session
                .is_some_and(|session| !session.is_ours && session.end(&knobs) <= now + ROUNDING_MS)
        };
        let row = match reason {
            "max duration" => Some(Talk::MaxDuration),
            "no-timer cap" => Some(Talk::NoTimerCap),
            "session timeout" if lapsed(CALLER) => Some(Talk::CallerSilent),
            "session timeout" if lapsed(CALLEE) => Some(Talk::CalleeSilent),
            "session timeout" if self.legs.iter().any(|leg| leg.session.is_none()) => Some(Talk::ProbeFails),
            "session timeout" => Some(Talk::RefreshFails),
            _ => None,
        };
        self.rows.extend(row);
    }

    fn may_time_out(&self, now: u64, knobs: &SessionKnobs) -> bool {
        self.legs.iter().any(|leg| match leg.session {
            Some(session) if session.end(knobs) <= now + ROUNDING_MS => true,
            // Our refresh has failed, or found nobody.
            Some(session) => session.is_ours && (session.asked_at.is_some() || session.is_gone),
            // A probe has.
            None => knobs.probes && leg.ours.iter().any(|ours| ours.is_probe()),
        })
    }
}
