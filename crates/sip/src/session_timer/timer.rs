//! One leg's session timer.

use super::headers::{TimerHeaders, TimerLines};
use super::schedule::SessionPolicy;
use crate::header::{Refresher, SessionExpires};
use crate::status::StatusCode;
use crate::time::{Mono, Now, Wall};
use crate::{Message, Name};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most refreshes in a row that answer a 422 with a longer interval.
const MAX_LENGTHENINGS: u8 = 3;

/// The most refreshes between two that succeed which are put off by the peer (491, or Retry-After).
const MAX_DEFERRALS: u8 = 10;

/// A refresh that the peer put off by less waits this long.
const SHORTEST_DEFERRAL: Duration = Duration::from_secs(1);

/// A refresh that found its leg busy with another exchange waits this long.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// The shortest session interval that a peer's 2xx can impose, in seconds: below it a peer would have us send without
/// end.
const SHORTEST_INTERVAL: u32 = 30;

/// The longest session interval, in seconds (the largest `SS_SIP_SESSION_TTL`): beyond it a dead peer would be found
/// out too late.
const LONGEST_INTERVAL: u32 = 86_400;

/// Who refreshes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refreshes {
    /// We do.
    Us,
    /// The peer does.
    Peer,
}

/// What both ends hold to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The session interval, in seconds.
    pub interval_secs: u32,
    /// Who refreshes.
    pub refreshes: Refreshes,
}

/// The peer's Session-Expires is too small: 422 with this Min-SE, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// The smallest that is taken.
    pub min_se: u32,
}

/// What the session asks for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Send a refresh; its outcome comes back by [`SessionTimer::on_outcome`], or [`SessionTimer::on_busy`].
    Refresh,
    /// The session is over.
    End,
}

/// What came of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// 2xx.
    Success(TimerHeaders),
    /// 422, with its Min-SE.
    TooSmall(Option<u32>),
    /// 491: again after this random wait (RFC 3261 §14.1).
    Glare(Duration),
    /// 408 or 481: the peer no longer has the dialog (RFC 3261 §12.2.1.2).
    Gone,
    /// Another failure, perhaps with Retry-After.
    Refused(Option<Duration>),
    /// No answer at all, or it could not be delivered.
    Silent,
}

impl RefreshOutcome {
    /// What a final response means; `glare_wait` is for a 491.
    pub fn of(response: &Message, glare_wait: Duration) -> Self {
        let seconds = |secs: u32| Duration::from_secs(u64::from(secs));
        match response.status() {
            Some(status) if status.is_success() => {
                Self::Success(TimerHeaders::of(response).unwrap_or_default())
            }
            Some(StatusCode::SESSION_INTERVAL_TOO_SMALL) => {
                Self::TooSmall(response.number(Name::MinSe).and_then(Result::ok))
            }
            Some(StatusCode::REQUEST_PENDING) => Self::Glare(glare_wait),
            Some(StatusCode::REQUEST_TIMEOUT | StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST) => Self::Gone,
            Some(_) | None => {
                let after = response.retry_after().and_then(Result::ok);
                Self::Refused(after.map(|after| seconds(after.secs)))
            }
        }
    }
}

/// The session timer of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    policy: SessionPolicy,
    /// The largest Min-SE of either side, in seconds.
    min_se: u32,
    /// `None` where the peer takes no part.
    session: Option<Session>,
    lengthenings: u8,
    deferrals: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    interval: Duration,
    expires_at: Mono,
    refreshing: Refreshing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refreshing {
    /// The peer does.
    Peer,
    /// We shall, then.
    At(Mono),
    /// A refresh of ours is out.
    Open,
    /// There is no time left for another one.
    Spent,
}

/// A session timer in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenTimer {
    min_se: u32,
    session: Option<(Agreed, Wall)>,
}

impl SessionPolicy {
    /// What an INVITE of ours says that begins a session, where the peer wants at least `min_se` seconds.
    pub fn invite_lines(&self, min_se: u32) -> TimerLines {
        let min_se = min_se.clamp(self.min_se_secs, LONGEST_INTERVAL);
        let secs = self.interval_secs.max(min_se);
        TimerLines {
            expires: Some(SessionExpires { secs, refresher: Some(Refresher::Uac) }),
            min_se: Some(min_se),
            supported: true,
            required: false,
        }
    }

    /// Whether the session interval that a request asks for is long enough.
    ///
    /// # Errors
    /// It is not: 422.
    pub fn screen(&self, asked: &TimerHeaders) -> Result<(), TooSmall> {
        match asked.expires {
            Some(expires) if expires.secs < self.min_se_secs => Err(TooSmall { min_se: self.min_se_secs }),
            Some(_) | None => Ok(()),
        }
    }

    /// What our 2xx agrees to (RFC 4028 §9, table 2). Nobody else's interval is made longer, and none is made shorter
    /// than its Min-SE. We refresh unless the peer has said that it will.
    pub fn agree(&self, asked: &TimerHeaders) -> Option<Agreed> {
        if !asked.is_capable() {
            return None;
        }
        let floor = asked.min_se.unwrap_or_default().clamp(self.min_se_secs, LONGEST_INTERVAL);
        let own = self.interval_secs.max(floor);
        let interval_secs = asked.expires.map_or(own, |expires| own.min(expires.secs));
        let chosen = asked.expires.and_then(|expires| expires.refresher);
        // Whoever does not support timers cannot have chosen.
        let refreshes = match chosen.filter(|_| asked.supported) {
            Some(Refresher::Uac) => Refreshes::Peer,
            Some(Refresher::Uas) | None => Refreshes::Us,
        };
        Some(Agreed { interval_secs, refreshes })
    }
}

impl Agreed {
    /// What our 2xx says of it to a request with those headers.
    pub fn answer_lines(self, asked: &TimerHeaders) -> TimerLines {
        let refresher = match self.refreshes {
            Refreshes::Us => Refresher::Uas,
            Refreshes::Peer => Refresher::Uac,
        };
        TimerLines {
            expires: Some(SessionExpires { secs: self.interval_secs, refresher: Some(refresher) }),
            min_se: None,
            supported: true,
            // The peer has to know that it refreshes, or that it may hang up (§9).
            required: asked.supported,
        }
    }

    /// What the 2xx to a request of ours agrees to (§7.2). One that names nobody leaves it to us.
    pub fn of_answer(said: &TimerHeaders) -> Option<Self> {
        let expires = said.expires?;
        let refreshes = match expires.refresher {
            Some(Refresher::Uas) => Refreshes::Peer,
            Some(Refresher::Uac) | None => Refreshes::Us,
        };
        let interval_secs = expires.secs.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        Some(Self { interval_secs, refreshes })
    }

    fn interval(self) -> Duration {
        Duration::from_secs(u64::from(self.interval_secs))
    }
}

impl SessionTimer {
    /// The timer of a leg on which nothing has been agreed.
    pub fn new(policy: SessionPolicy) -> Self {
        Self { policy, min_se: policy.min_se_secs, session: None, lengthenings: 0, deferrals: 0 }
    }

    /// What is agreed on; `None` where the peer takes no part.
    pub fn agreed(&self) -> Option<Agreed> {
        self.session.map(|session| Agreed {
            interval_secs: session.interval.as_secs() as u32,
            refreshes: match session.refreshing {
                Refreshing::Peer => Refreshes::Peer,
                Refreshing::At(_) | Refreshing::Open | Refreshing::Spent => Refreshes::Us,
            },
        })
    }

    /// Whether the session interval that an INVITE or UPDATE of the peer asks for is long enough.
    ///
    /// # Errors
    /// It is not: 422.
    pub fn screen(&self, asked: &TimerHeaders) -> Result<(), TooSmall> {
        self.policy.screen(asked)
    }

    /// Our 2xx to an INVITE or UPDATE of the peer goes out: what it says. The session begins anew. A request that says
    /// nothing about timers leaves a session that runs as it is, and us to refresh it (table 2, first row).
    pub fn accept(&mut self, asked: &TimerHeaders, now: Mono) -> TimerLines {
        self.hear_min_se(asked.min_se);
        let running = self.agreed().map(|agreed| Agreed { refreshes: Refreshes::Us, ..agreed });
        let agreed = self.policy.agree(asked).or(running);
        self.begin(agreed, now);
        agreed.map_or_else(TimerLines::default, |agreed| agreed.answer_lines(asked))
    }

    /// What an INVITE or UPDATE of ours inside the dialog says. Roles stay as they are (§7.4).
    pub fn request_lines(&self) -> TimerLines {
        let expires = self.agreed().map(|agreed| SessionExpires {
            secs: agreed.interval_secs.max(self.min_se),
            refresher: Some(match agreed.refreshes {
                Refreshes::Us => Refresher::Uac,
                Refreshes::Peer => Refresher::Uas,
            }),
        });
        let min_se = expires.map(|_| self.min_se);
        TimerLines { expires, min_se, supported: true, required: false }
    }

    /// The 2xx to an INVITE or UPDATE of ours has come. Without Session-Expires the session no longer expires (§7.2).
    pub fn on_success(&mut self, said: &TimerHeaders, now: Mono) {
        self.begin(Agreed::of_answer(said), now);
    }

    /// A Min-SE of the peer's, in seconds, which later requests of ours respect.
    pub fn hear_min_se(&mut self, min_se: Option<u32>) {
        self.min_se = self.min_se.max(min_se.unwrap_or_default().min(LONGEST_INTERVAL));
    }

    fn begin(&mut self, agreed: Option<Agreed>, now: Mono) {
        (self.lengthenings, self.deferrals) = (0, 0);
        self.session = agreed.map(|agreed| self.session_until(agreed, now + agreed.interval()));
    }

    fn session_until(&self, agreed: Agreed, expires_at: Mono) -> Session {
        let interval = agreed.interval();
        let refreshing = match agreed.refreshes {
            Refreshes::Peer => Refreshing::Peer,
            Refreshes::Us => match self.policy.next_refresh(interval, Duration::ZERO) {
                Some(offset) => Refreshing::At(before(expires_at, interval - offset)),
                None => Refreshing::Spent,
            },
        };
        Session { interval, expires_at, refreshing }
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Mono) -> Due {
        let Some(session) = &mut self.session else { return Due::Nothing };
        if session.end(&self.policy) <= now {
            return Due::End;
        }
        match session.refreshing {
            Refreshing::At(at) if at <= now => {
                session.refreshing = Refreshing::Open;
                Due::Refresh
            }
            Refreshing::Peer | Refreshing::At(_) | Refreshing::Open | Refreshing::Spent => Due::Nothing,
        }
    }

    /// Something else is under way on the leg: the refresh has not been sent, and will be a little later.
    pub fn on_busy(&mut self, now: Mono) {
        if let Some(session) = &mut self.session
            && session.refreshing == Refreshing::Open
        {
            session.refreshing = Refreshing::At(now + BUSY_WAIT);
        }
    }

    /// Takes what came of a refresh.
    pub fn on_outcome(&mut self, outcome: RefreshOutcome, now: Mono) -> Due {
        match outcome {
            RefreshOutcome::Success(said) => {
                self.on_success(&said, now);
                Due::Nothing
            }
            RefreshOutcome::Gone => Due::End,
            RefreshOutcome::TooSmall(min_se) => self.on_too_small(min_se, now),
            RefreshOutcome::Glare(wait) => self.defer(wait, now),
            RefreshOutcome::Refused(Some(wait)) => self.defer(wait.max(SHORTEST_DEFERRAL), now),
            RefreshOutcome::Refused(None) => self.refresh_later(now),
            RefreshOutcome::Silent => match self.boundary(now) {
                Some(at) => self.refresh_at(at, now),
                // Nobody is there, and there is no time left to ask again (§10).
                None if self.session.is_some() => Due::End,
                None => Due::Nothing,
            },
        }
    }

    fn on_too_small(&mut self, min_se: Option<u32>, now: Mono) -> Due {
        let asked = self.agreed().map_or(0, |agreed| agreed.interval_secs).max(self.min_se);
        self.hear_min_se(min_se);
        // A 422 whose Min-SE was respected would get the same request again.
        if self.min_se <= asked || self.lengthenings >= MAX_LENGTHENINGS {
            return self.refresh_later(now);
        }
        self.lengthenings += 1;
        self.refresh_at(now, now)
    }

    fn defer(&mut self, wait: Duration, now: Mono) -> Due {
        if self.deferrals >= MAX_DEFERRALS {
            return self.refresh_later(now);
        }
        self.deferrals += 1;
        self.refresh_at(now + wait, now)
    }

    /// The peer is there but did not refresh: again at the next boundary, or once more as late as there is time.
    fn refresh_later(&mut self, now: Mono) -> Due {
        let last = self.session.map(|session| {
            before(session.expires_at, session.interval - SessionPolicy::last_refresh(session.interval))
        });
        match self.boundary(now).or(last.filter(|at| *at > now)) {
            Some(at) => self.refresh_at(at, now),
            None => {
                if let Some(session) = &mut self.session {
                    session.refreshing = Refreshing::Spent;
                }
                Due::Nothing
            }
        }
    }

    fn refresh_at(&mut self, at: Mono, now: Mono) -> Due {
        if let Some(session) = &mut self.session {
            session.refreshing = Refreshing::At(at);
        }
        self.on_timer(now)
    }

    /// The next time later than `now` at which the schedule refreshes the session.
    fn boundary(&self, now: Mono) -> Option<Mono> {
        let session = self.session?;
        let elapsed = session.interval.saturating_sub(session.expires_at.since(now));
        let offset = self.policy.next_refresh(session.interval, elapsed)?;
        Some(before(session.expires_at, session.interval - offset))
    }

    /// When [`on_timer`](Self::on_timer) has something to do.
    pub fn deadline(&self) -> Option<Mono> {
        let session = self.session?;
        let end = session.end(&self.policy);
        match session.refreshing {
            Refreshing::At(at) => Some(at.min(end)),
            Refreshing::Peer | Refreshing::Open | Refreshing::Spent => Some(end),
        }
    }

    /// What another owner of the call needs to go on with it.
    pub fn freeze(&self, now: Now) -> FrozenTimer {
        let expiry = self.session.map(|session| now.to_wall(session.expires_at));
        FrozenTimer { min_se: self.min_se, session: self.agreed().zip(expiry) }
    }

    /// Goes on with the timer of an earlier owner. A refresh whose time has come is due at once: whether the earlier
    /// owner sent it, and what came of it, is not known.
    pub fn thaw(policy: SessionPolicy, frozen: FrozenTimer, now: Now) -> Self {
        let mut timer = Self { min_se: frozen.min_se, ..Self::new(policy) };
        timer.session = frozen.session.map(|(agreed, expires_at)| {
            let expires_at = if expires_at >= now.wall {
                now.to_mono(expires_at, agreed.interval())
            } else {
                before(now.mono, now.wall.since(expires_at))
            };
            timer.session_until(agreed, expires_at)
        });
        timer
    }
}

impl Session {
    /// When it is over.
    fn end(&self, policy: &SessionPolicy) -> Mono {
        let end = match self.refreshing {
            Refreshing::Peer => policy.peer_end(self.interval),
            Refreshing::At(_) | Refreshing::Open | Refreshing::Spent => SessionPolicy::end(self.interval),
        };
        match end.checked_sub(self.interval) {
            Some(later) => self.expires_at + later,
            None => before(self.expires_at, self.interval - end),
        }
    }
}

/// A point so much before `at`; the clock's origin if that lies before it.
fn before(at: Mono, interval: Duration) -> Mono {
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    Mono(at.0.saturating_sub(millis))
}
