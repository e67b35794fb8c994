//! What bounds a conversation in time: each leg's session timer (RFC 4028), the caps on the call's length, and the
//! probes of parties without session timers.

use super::caller::CallerLeg;
use super::connected::Party;
use super::context::Context;
use crate::cdr::EndReason;
use crate::parameters::{AttemptParameters, CallParameters, NoTimerAction};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tandem_sip::session_timer::{
    Due, FrozenTimer, RefreshOutcome, SessionPolicy, SessionTimer, TimerHeaders, TimerLines, TooSmall,
};
use tandem_sip::time::{Mono, Now, Wall};

/// The longest conversation that is timed.
const LONGEST_CALL: Duration = Duration::from_secs(u32::MAX as u64);

/// A probe that found its leg busy with another exchange waits this long.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// The session timers of a conversation, and what else ends it.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    caller: Leg,
    callee: Leg,
    /// When the conversation has lasted long enough.
    max_at: Option<Mono>,
    /// The longest that a caller without session timers may talk.
    no_timer_cap: Option<Duration>,
    /// When it has.
    no_timer_at: Option<Mono>,
}

#[derive(Clone, Debug)]
struct Leg {
    timer: SessionTimer,
    /// Whether the party has refused an UPDATE, whatever its Allow says.
    refuses_update: bool,
    /// How often a party without session timers is probed.
    probe_interval: Option<Duration>,
    probe: Probe,
}

/// A re-INVITE that shows whether a party without session timers is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// None is needed.
    Off,
    /// The next one is sent then.
    At(Mono),
    /// One is out.
    Open,
}

/// What the conversation's time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// A refresh of a party's session: UPDATE if it takes that, else re-INVITE.
    Refresh(Party),
    /// A re-INVITE to a party without session timers.
    Probe(Party),
    /// The end.
    End(EndReason),
}

/// The session timers of a conversation in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrozenSessions {
    caller: FrozenLeg,
    callee: FrozenLeg,
    max_at: Option<Wall>,
    no_timer_at: Option<Wall>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FrozenLeg {
    timer: FrozenTimer,
    probe_at: Option<Wall>,
}

/// How the session of the callee's leg is kept up.
pub(super) fn callee_policy(call: &CallParameters, attempt: &AttemptParameters) -> SessionPolicy {
    SessionPolicy { interval_secs: attempt.session_expires_s, ..call.session }
}

/// What our 2xx to the caller's INVITE says.
pub(super) fn first_answer(call: &CallParameters, caller: &CallerLeg) -> TimerLines {
    SessionTimer::new(call.session).accept(&caller.timer, Mono(0))
}

impl Sessions {
    /// The timers of a call that is answered now, before either leg has agreed on anything.
    fn new(context: &Context, attempt: &AttemptParameters) -> Self {
        let call = context.parameters();
        let probes = call.no_timer_action == NoTimerAction::Probe && !context.emergency;
        let leg = |policy, interval: Option<Duration>| Leg {
            timer: SessionTimer::new(policy),
            refuses_update: false,
            probe_interval: interval.filter(|_| probes),
            probe: Probe::Off,
        };
        let caps = [call.no_timer, attempt.no_timer_cap];
        let capped = call.no_timer_action == NoTimerAction::Hangup && !context.emergency;
        Self {
            caller: leg(call.session, call.no_timer),
            callee: leg(callee_policy(call, attempt), attempt.no_timer),
            max_at: None,
            no_timer_cap: caps.into_iter().flatten().min().filter(|_| capped),
            no_timer_at: None,
        }
    }

    /// The call is answered: our 2xx to the caller goes out, and the callee's said `answered`.
    pub(super) fn begin(
        context: &Context,
        attempt: &AttemptParameters,
        answered: &TimerHeaders,
        now: Mono,
    ) -> Self {
        let mut sessions = Self::new(context, attempt);
        let limits = [context.parameters().max_duration, attempt.max_duration, context.max_duration];
        let longest = limits.into_iter().flatten().min().filter(|_| !context.emergency);
        sessions.max_at = longest.map(|longest| now + longest);
        sessions.accept(Party::Caller, &context.caller.timer, now);
        sessions.on_success(Party::Callee, answered, now);
        sessions
    }

    /// Whether the session interval that a party's INVITE or UPDATE asks for is long enough.
    ///
    /// # Errors
    /// It is not: 422.
    pub(super) fn screen(&self, party: Party, asked: &TimerHeaders) -> Result<(), TooSmall> {
        self.leg(party).timer.screen(asked)
    }

    /// Our 2xx to a party's INVITE or UPDATE goes out: what it says.
    pub(super) fn accept(&mut self, party: Party, asked: &TimerHeaders, now: Mono) -> TimerLines {
        let lines = self.leg_mut(party).timer.accept(asked, now);
        self.settle(party, now);
        lines
    }

    /// What an INVITE or UPDATE of ours to a party says.
    pub(super) fn request_lines(&self, party: Party) -> TimerLines {
        self.leg(party).timer.request_lines()
    }

    /// A party's 2xx to an INVITE or UPDATE of ours has come.
    pub(super) fn on_success(&mut self, party: Party, said: &TimerHeaders, now: Mono) {
        self.leg_mut(party).timer.on_success(said, now);
        self.settle(party, now);
    }

    /// A party's 422 to an INVITE or UPDATE that was passed on.
    pub(super) fn hear_min_se(&mut self, party: Party, min_se: Option<u32>) {
        self.leg_mut(party).timer.hear_min_se(min_se);
    }

    /// Begins or ends what a party without a session timer is bound to.
    fn settle(&mut self, party: Party, now: Mono) {
        let leg = self.leg_mut(party);
        let is_timed = leg.timer.agreed().is_some();
        leg.probe = match (is_timed, leg.probe, leg.probe_interval) {
            (true, _, _) | (false, _, None) => Probe::Off,
            (false, Probe::Off, Some(interval)) => Probe::At(now + interval),
            (false, probe @ (Probe::At(_) | Probe::Open), Some(_)) => probe,
        };
        if party == Party::Caller {
            let cap = self.no_timer_cap.filter(|_| !is_timed);
            self.no_timer_at = cap.map(|cap| self.no_timer_at.unwrap_or(now + cap));
        }
    }

    /// The first thing that is due at `now`.
    pub(super) fn on_timer(&mut self, now: Mono) -> Option<Demand> {
        let is_due = |at: Option<Mono>| at.is_some_and(|at| at <= now);
        if is_due(self.no_timer_at) && self.no_timer_at < self.max_at.or(Some(Mono(u64::MAX))) {
            return Some(Demand::End(EndReason::NoTimerCap));
        }
        if is_due(self.max_at) {
            return Some(Demand::End(EndReason::MaxDuration));
        }
        [Party::Caller, Party::Callee].into_iter().find_map(|party| {
            let leg = self.leg_mut(party);
            match leg.timer.on_timer(now) {
                Due::Refresh => return Some(Demand::Refresh(party)),
                Due::End => return Some(Demand::End(EndReason::SessionTimeout)),
                Due::Nothing => {}
            }
            match leg.probe {
                Probe::At(at) if at <= now => {
                    leg.probe = Probe::Open;
                    Some(Demand::Probe(party))
                }
                Probe::Off | Probe::At(_) | Probe::Open => None,
            }
        })
    }

    /// Something else is under way on the leg: the refresh or probe has not been sent, and will be a little later.
    pub(super) fn on_busy(&mut self, party: Party, now: Mono) {
        let leg = self.leg_mut(party);
        match leg.probe {
            Probe::Open => leg.probe = Probe::At(now + BUSY_WAIT),
            Probe::Off | Probe::At(_) => leg.timer.on_busy(now),
        }
    }

    /// Takes what came of a refresh or probe.
    pub(super) fn on_outcome(&mut self, party: Party, outcome: RefreshOutcome, now: Mono) -> Option<Demand> {
        let leg = self.leg_mut(party);
        if let (Probe::Open, Some(interval)) = (leg.probe, leg.probe_interval) {
            leg.probe = match outcome {
                RefreshOutcome::Gone | RefreshOutcome::Silent => {
                    return Some(Demand::End(EndReason::SessionTimeout));
                }
                RefreshOutcome::Glare(wait) => Probe::At(now + wait),
                RefreshOutcome::Success(said) => {
                    leg.probe = Probe::At(now + interval);
                    self.on_success(party, &said, now);
                    return None;
                }
                // Whoever refuses is there.
                RefreshOutcome::TooSmall(_) | RefreshOutcome::Refused(_) => Probe::At(now + interval),
            };
            return None;
        }
        let due = leg.timer.on_outcome(outcome, now);
        self.settle(party, now);
        match due {
            Due::Nothing => None,
            Due::Refresh => Some(Demand::Refresh(party)),
            Due::End => Some(Demand::End(EndReason::SessionTimeout)),
        }
    }

    /// A party does not take UPDATE: its session is refreshed by re-INVITE from now on.
    pub(super) fn refuses_update(&mut self, party: Party) {
        self.leg_mut(party).refuses_update = true;
    }

    /// Whether a party's session may be refreshed by UPDATE, if it allows that.
    pub(super) fn takes_update(&self, party: Party) -> bool {
        !self.leg(party).refuses_update
    }

    /// When [`on_timer`](Self::on_timer) has something to do.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let of_leg = |leg: &Leg| {
            let probe = match leg.probe {
                Probe::At(at) => Some(at),
                Probe::Off | Probe::Open => None,
            };
            [leg.timer.deadline(), probe].into_iter().flatten().min()
        };
        let times = [self.max_at, self.no_timer_at, of_leg(&self.caller), of_leg(&self.callee)];
        times.into_iter().flatten().min()
    }

    fn leg(&self, party: Party) -> &Leg {
        match party {
            Party::Caller => &self.caller,
            Party::Callee => &self.callee,
        }
    }

    fn leg_mut(&mut self, party: Party) -> &mut Leg {
        match party {
            Party::Caller => &mut self.caller,
            Party::Callee => &mut self.callee,
        }
    }

    /// What another owner of the call needs to go on with it.
    pub(super) fn freeze(&self, now: Now) -> FrozenSessions {
        let wall = |at: Option<Mono>| at.map(|at| now.to_wall(at));
        let leg = |leg: &Leg| FrozenLeg {
            timer: leg.timer.freeze(now),
            probe_at: match leg.probe {
                Probe::Off => None,
                Probe::At(at) => wall(Some(at)),
                // Its outcome will not be known.
                Probe::Open => Some(now.wall),
            },
        };
        FrozenSessions {
            caller: leg(&self.caller),
            callee: leg(&self.callee),
            max_at: wall(self.max_at),
            no_timer_at: wall(self.no_timer_at),
        }
    }

    /// Goes on with the timers of an earlier owner.
    pub(super) fn thaw(
        context: &Context,
        attempt: &AttemptParameters,
        frozen: FrozenSessions,
        now: Now,
    ) -> Self {
        let mono = |at: Option<Wall>| at.map(|at| now.to_mono(at, LONGEST_CALL));
        let call = context.parameters();
        let mut sessions = Self::new(context, attempt);
        let thaw = |leg: &mut Leg, policy, frozen: FrozenLeg| {
            leg.timer = SessionTimer::thaw(policy, frozen.timer, now);
            let longest = leg.probe_interval.unwrap_or_default();
            leg.probe = frozen.probe_at.map_or(Probe::Off, |at| Probe::At(now.to_mono(at, longest)));
        };
        thaw(&mut sessions.caller, call.session, frozen.caller);
        thaw(&mut sessions.callee, callee_policy(call, attempt), frozen.callee);
        sessions.max_at = mono(frozen.max_at);
        sessions.no_timer_at = mono(frozen.no_timer_at);
        sessions
    }
}
