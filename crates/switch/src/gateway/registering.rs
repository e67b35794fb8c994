//! Our registration at a gateway that demands one (RFC 3261 §10.2).

use super::exchange::{Draft, Exchange, ExchangeFailure, Step, contact_uri};
use super::health::{HealthAction, HealthEvent, Located, Purpose};
use super::{Account, NonceCounts};
use crate::call::{Challenges, Names, Serial, Target};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::header::Contact;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_sip::transaction::ResendSchedule;
use tandem_sip::{Message, Method, Name, StatusCode, Uri};

/// After a failure it is tried again so soon, and after each further one twice as late, up to [`LONGEST_PAUSE`]. Of each
/// pause a part between half and all is waited, so that those who failed together do not come back together.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The longest Retry-After that is heeded.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(1800);

/// The longest lifetime that a Min-Expires can make us ask for, in seconds.
const MAX_EXPIRES_S: u32 = 604_800;

/// A registration is refreshed when a tenth of its life is left, but no less than so long before its end, and no earlier
/// than half-way.
const REFRESH_BEFORE: Duration = Duration::from_secs(5);

/// What our registration at a gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registering {
    /// The user part of our address-of-record.
    pub user: String,
    /// Its domain, which is the registrar's as well; unless given, the gateway's address.
    pub domain: Option<String>,
    /// The user part of our Contact: what the gateway's calls to us have in their Request-URI.
    pub contact: String,
    /// The lifetime that is asked for.
    pub expires: Duration,
    /// Whether the gateway gets no calls while we are not registered.
    pub required: bool,
}

/// How our registration at a gateway stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationReport {
    /// Our address-of-record.
    pub aor: String,
    /// Until when it stands, if it does.
    pub until: Option<Wall>,
    /// The lifetime that was granted last, in seconds.
    pub granted_s: Option<u32>,
    /// Since when it has stood without a gap.
    pub since: Option<Wall>,
    /// The last failure, unless a success followed.
    pub failure: Option<(Wall, ExchangeFailure)>,
}

#[derive(Debug)]
pub(super) struct Registration {
    settings: Registering,
    /// The registrar's URI.
    registrar: Arc<str>,
    aor: String,
    call_id: String,
    from_tag: String,
    cseq: u32,
    /// The lifetime that is asked for, in seconds.
    ask_s: u32,
    intent: Intent,
    state: State,
    challenges: Challenges,
    /// Failures in a row.
    failures: u32,
    bound: Option<Bound>,
    failure: Option<(Wall, ExchangeFailure)>,
}

/// What is wanted of the registrar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
    Stay,
    Leave,
}

#[derive(Debug)]
enum State {
    Waiting {
        until: Mono,
    },
    Asking(Box<Exchange>),
    /// The node stops, and the registrar has been told.
    Left,
}

/// A registration that stands.
#[derive(Clone, Debug)]
struct Bound {
    at: Target,
    until: Mono,
    granted_s: u32,
    since: Wall,
}

impl Registration {
    pub(super) fn new(settings: Registering, host: &str, names: &mut Names, now: Mono) -> Self {
        let domain = settings.domain.clone().unwrap_or_else(|| host.to_owned());
        let (call_id, from_tag) = (names.next(), names.next());
        Self {
            aor: format!("sip:{}@{domain}", settings.user),
            registrar: format!("sip:{domain}").into(),
            call_id: names.tag(call_id),
            from_tag: names.tag(from_tag),
            cseq: 0,
            ask_s: u32::try_from(settings.expires.as_secs()).unwrap_or(u32::MAX),
            intent: Intent::Stay,
            state: State::Waiting { until: now },
            challenges: Challenges::default(),
            failures: 0,
            bound: None,
            failure: None,
            settings,
        }
    }

    pub(super) fn is_required(&self) -> bool {
        self.settings.required
    }

    /// Whether it stands.
    pub(super) fn stands(&self, now: Mono) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.until > now)
    }

    /// Whether there is nothing left to tell the registrar.
    pub(super) fn has_left(&self) -> bool {
        matches!(self.state, State::Left)
    }

    pub(super) fn report(&self, now: Now) -> RegistrationReport {
        let bound = self.bound.as_ref().filter(|bound| bound.until > now.mono);
        RegistrationReport {
            aor: self.aor.clone(),
            until: bound.map(|bound| now.to_wall(bound.until)),
            granted_s: bound.map(|bound| bound.granted_s),
            since: bound.map(|bound| bound.since),
            failure: self.failure,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let own = match &self.state {
            State::Waiting { until } => Some(*until),
            State::Asking(exchange) => exchange.deadline(),
            State::Left => None,
        };
        let lapse = self.bound.as_ref().map(|bound| bound.until);
        own.into_iter().chain(lapse).min()
    }

    pub(super) fn on_timer(&mut self, tools: &mut Tools<'_>) {
        let now = tools.now;
        if self.bound.as_ref().is_some_and(|bound| bound.until <= now.mono) {
            self.bound = None;
            tools.out.push(HealthAction::Event(HealthEvent::RegistrationLapsed));
        }
        match &mut self.state {
            State::Waiting { until } if *until <= now.mono => {
                // Should nobody say where it is, it is asked again.
                *until = now.mono + FIRST_PAUSE;
                tools.out.push(HealthAction::Locate(Purpose::Registration));
            }
            State::Waiting { .. } | State::Left => {}
            State::Asking(exchange) => {
                let step = exchange.on_timer(tools.names, now.mono);
                self.on_step(step, None, tools);
            }
        }
    }

    pub(super) fn on_located(&mut self, located: Located, tools: &mut Tools<'_>) {
        match located {
            Located::Targets(targets) => self.ask(targets, tools),
            Located::NotYet => {}
        }
    }

    pub(super) fn on_response(&mut self, serial: Serial, response: &Message, tools: &mut Tools<'_>) {
        if let State::Asking(exchange) = &mut self.state {
            let step = exchange.on_response(serial, response, tools.names, tools.now.mono);
            self.on_step(step, Some(response), tools);
        }
    }

    pub(super) fn on_undeliverable(&mut self, serial: Serial, tools: &mut Tools<'_>) {
        if let State::Asking(exchange) = &mut self.state {
            let step = exchange.on_undeliverable(serial, tools.names, tools.now.mono);
            self.on_step(step, None, tools);
        }
    }

    /// Gives the registration back (§10.2.2). A request under way may have made one.
    pub(super) fn leave(&mut self, tools: &mut Tools<'_>) {
        if self.intent == Intent::Leave {
            return;
        }
        self.intent = Intent::Leave;
        let under_way = match &self.state {
            State::Asking(exchange) => Some(exchange.target().clone()),
            State::Waiting { .. } | State::Left => None,
        };
        match self.bound.as_ref().map(|bound| bound.at.clone()).or(under_way) {
            Some(target) => self.ask(vec![target], tools),
            None => self.state = State::Left,
        }
    }

    fn ask(&mut self, targets: Vec<Target>, tools: &mut Tools<'_>) {
        let lines = match self.authorization(tools) {
            Some(lines) => lines,
            None => return self.fail(ExchangeFailure::Status(StatusCode::UNAUTHORIZED), None, tools),
        };
        self.cseq = self.cseq.saturating_add(1);
        let expires_s = match self.intent {
            Intent::Stay => self.ask_s,
            Intent::Leave => 0,
        };
        let draft = Draft {
            method: Method::Register,
            uri: self.registrar.to_string(),
            from: Some(self.aor.clone()),
            from_tag: self.from_tag.clone(),
            to: self.aor.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            contact: Some((self.settings.contact.clone(), format!(";expires={expires_s}"))),
            lines: format!("Expires: {expires_s}\r\nSupported: path\r\n{lines}"),
        };
        match Exchange::begin(draft, targets, tools.schedule, tools.names, tools.now.mono) {
            Some((exchange, send)) => {
                self.state = State::Asking(Box::new(exchange));
                tools.out.push(HealthAction::send(send));
            }
            None => self.fail(ExchangeFailure::Nowhere, None, tools),
        }
    }

    /// The header lines that answer what the registrar has asked for; `None` if we cannot.
    fn authorization(&mut self, tools: &mut Tools<'_>) -> Option<String> {
        if self.challenges.is_empty() {
            return Some(String::new());
        }
        let serial = tools.names.next();
        let request = (Method::Register, self.registrar.clone(), Bytes::new());
        let unauthorized = self.challenges.ask(tools.names, serial, request);
        let authorization = tools.account?.authorize(tools.counts, &unauthorized)?;
        Some(String::from_utf8_lossy(&authorization.lines).into_owned())
    }

    fn on_step(&mut self, step: Step, response: Option<&Message>, tools: &mut Tools<'_>) {
        match step {
            Step::Nothing => {}
            Step::Send(send) => tools.out.push(HealthAction::send(send)),
            Step::Next { failed, send } => {
                tools.out.push(HealthAction::TargetFailed(failed));
                tools.out.push(HealthAction::send(send));
            }
            Step::Failed { last, why } => {
                tools.out.push(HealthAction::TargetFailed(last));
                self.fail(why, None, tools);
            }
            Step::Final(_) => {
                if let (Some(response), Some(target)) = (response, self.target()) {
                    self.on_final(response, target, tools);
                }
            }
        }
    }

    fn target(&self) -> Option<Target> {
        match &self.state {
            State::Asking(exchange) => Some(exchange.target().clone()),
            State::Waiting { .. } | State::Left => None,
        }
    }

    fn on_final(&mut self, response: &Message, target: Target, tools: &mut Tools<'_>) {
        let Some(status) = response.status() else { return };
        match status.code() {
            200..300 if self.intent == Intent::Leave => self.has_gone(tools),
            200..300 => self.on_success(response, target, tools),
            401 | 407 if tools.account.is_some() && self.challenges.take(response) => {
                self.ask(vec![target], tools);
            }
            423 if self.raise(response) => self.ask(vec![target], tools),
            _ => {
                let retry_after = response.retry_after().and_then(Result::ok);
                let pause = retry_after.map(|after| Duration::from_secs(after.secs.into()));
                self.fail(ExchangeFailure::Status(status), pause, tools);
            }
        }
    }

    /// Asks for more from now on, as a 423 says (§10.2.8). `false` if that is no more than was asked for.
    fn raise(&mut self, response: &Message) -> bool {
        let least = response.number(Name::MinExpires).and_then(Result::ok);
        match least.filter(|least| *least > self.ask_s && *least <= MAX_EXPIRES_S) {
            Some(least) if self.intent == Intent::Stay => {
                self.ask_s = least;
                true
            }
            Some(_) | None => false,
        }
    }

    fn on_success(&mut self, response: &Message, target: Target, tools: &mut Tools<'_>) {
        let now = tools.now;
        let own = contact_uri(&self.settings.contact, &target);
        let granted_s = granted_s(response, &own, self.ask_s);
        if granted_s == 0 {
            // It has taken the request, and not the binding.
            return self.fail(ExchangeFailure::NotBound, None, tools);
        }
        self.failures = 0;
        self.failure = None;
        self.challenges.renew_all();
        let life = Duration::from_secs(granted_s.into());
        let since = self.bound.as_ref().map_or(now.wall, |bound| bound.since);
        let is_new = self.bound.is_none();
        self.bound = Some(Bound { at: target, until: now.mono + life, granted_s, since });
        let before = REFRESH_BEFORE.max(life / 10).min(life / 2);
        self.state = State::Waiting { until: now.mono + (life - before) };
        if is_new {
            tools.out.push(HealthAction::Event(HealthEvent::Registered { granted_s }));
        }
    }

    fn fail(&mut self, why: ExchangeFailure, retry_after: Option<Duration>, tools: &mut Tools<'_>) {
        let now = tools.now;
        if self.intent == Intent::Leave {
            return self.has_gone(tools);
        }
        self.failures = self.failures.saturating_add(1);
        self.failure = Some((now.wall, why));
        // The registrar may want to start over.
        self.challenges = Challenges::default();
        let longest = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_PAUSE);
        let half_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX) / 2;
        let serial = tools.names.next();
        let drawn = Duration::from_millis(half_ms + tools.names.draw(serial) % (half_ms + 1));
        let pause = retry_after.map_or(drawn, |after| after.min(LONGEST_RETRY_AFTER).max(drawn));
        self.state = State::Waiting { until: now.mono + pause };
        tools.out.push(HealthAction::Event(HealthEvent::RegistrationFailed(why)));
    }

    fn has_gone(&mut self, tools: &mut Tools<'_>) {
        self.state = State::Left;
        if self.bound.take().is_some() {
            tools.out.push(HealthAction::Event(HealthEvent::Unregistered));
        }
    }
}

/// The lifetime of our binding: its own `expires`, else the Expires of the response, else what was asked for (§10.2.4). 0
/// if the response names several bindings and ours is not among them. A single one is taken for ours however it is
/// written, since registrars behind proxies write addresses anew, and so is a response that names none.
fn granted_s(response: &Message, own: &str, asked_s: u32) -> u32 {
    let own = Uri::parse(own.as_bytes()).ok();
    let addresses: Vec<_> = response
        .contacts()
        .filter_map(|contact| match contact {
            Ok(Contact::Addr(address)) => Some(address),
            Ok(Contact::Any) | Err(_) => None,
        })
        .collect();
    let is_ours = |uri: &[u8]| match (Uri::parse(uri).ok(), &own) {
        (Some(uri), Some(own)) => uri.is_equivalent(own),
        _ => false,
    };
    let ours = match &addresses[..] {
        [] => None,
        [only] => Some(only),
        several => match several.iter().find(|address| is_ours(address.uri)) {
            Some(ours) => Some(ours),
            None => return 0,
        },
    };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse::<u32>().ok();
    let of_binding = ours.and_then(|ours| ours.param("expires").flatten()).and_then(number);
    let of_response = || response.number(Name::Expires).and_then(Result::ok);
    of_binding.or_else(of_response).unwrap_or(asked_s)
}

/// What a registration works with.
pub(super) struct Tools<'a> {
    pub(super) names: &'a mut Names,
    pub(super) account: Option<&'a Account>,
    pub(super) counts: &'a mut NonceCounts,
    pub(super) schedule: ResendSchedule,
    pub(super) now: Now,
    pub(super) out: &'a mut Vec<HealthAction>,
}
