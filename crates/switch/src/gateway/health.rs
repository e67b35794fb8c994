//! Whether a gateway can take calls: what it publishes, how it answers probes, and whether we are registered at it.
//!
//! A gateway that has published is governed by that alone and is not probed; one that never has is governed by its probe,
//! or taken as available. Registrations are facts besides: each that is needed has to stand as well.

use super::exchange::{ExchangeFailure, Outgoing};
use super::probe::{Probe, ProbeReport};
use super::registering::{Registering, Registration, RegistrationReport, Tools};
use super::{Account, NonceCounts, Unavailable};
use crate::call::{Names, Refused, Serial, Target, Token, TokenKeys};
use crate::parameters::Parameters;
use crate::publication::pidf::Basic;
use crate::publication::{Publication, Standing, publish};
use crate::registrar::Binding;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::Message;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_sip::transaction::ResendSchedule;

/// No binding lives longer, whatever the clock that wrote its end.
const LONGEST_BINDING: Duration = Duration::from_secs(366 * 86_400);

/// How a gateway's state is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// At which interval it is probed (OPTIONS), if it is.
    pub probe_interval: Option<Duration>,
    /// Our registration at it, if it demands one.
    pub register: Option<Registering>,
    /// Whether it registers to us, and is called where it is registered.
    pub registers: bool,
    /// The longest that a publication of it lives (`SS_SIP_PUBLISH_EXPIRE`).
    pub publish_expire: Duration,
    /// The waits between resends of our REGISTERs (`SS_SIP_RESEND_INTERVAL`).
    pub resend: ResendSchedule,
}

impl Default for HealthSettings {
    /// No probe, no registration, and the system's parameters as they are unless set.
    fn default() -> Self {
        let parameters = Parameters::default();
        Self {
            probe_interval: None,
            register: None,
            registers: false,
            publish_expire: parameters.publish_expire,
            resend: parameters.resend_schedule(),
        }
    }
}

/// What something is located for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A probe.
    Probe,
    /// Our registration.
    Registration,
}

/// Where a gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// There, best first; nowhere if there is none.
    Targets(Vec<Target>),
    /// It is being looked up; to be asked again.
    NotYet,
}

/// What happens to a gateway.
#[derive(Clone, Debug)]
pub enum HealthInput {
    /// The deadline has come.
    Timer,
    /// A response to one of its own requests.
    Response(Message),
    /// A request of its own was not delivered.
    Undeliverable(Serial),
    /// The answer to [`HealthAction::Locate`].
    Located(Purpose, Located),
    /// What stands now in the store.
    Published(Publication),
    /// Where it is registered now.
    Bound(Vec<Binding>),
    /// The node stops.
    Leave,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthAction {
    /// Send that.
    Send {
        /// By which socket, to whom.
        flow: Flow,
        /// The message.
        message: Bytes,
    },
    /// Say where the gateway is: [`HealthInput::Located`].
    Locate(Purpose),
    /// Nobody answers there.
    TargetFailed(Target),
    /// Something to count or to log.
    Event(HealthEvent),
}

/// What an observer may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// A probe is over.
    Probed(Result<Duration, ExchangeFailure>),
    /// We are registered, after a time in which we were not.
    Registered {
        /// For how long, in seconds.
        granted_s: u32,
    },
    /// The registrar did not do as asked.
    RegistrationFailed(ExchangeFailure),
    /// The registration was given back.
    Unregistered,
    /// The registration could not be refreshed in time.
    RegistrationLapsed,
    /// The gateway can take calls again, or not any more.
    Changed(Result<(), Unavailable>),
}

impl HealthAction {
    pub(super) fn send(outgoing: Outgoing) -> Self {
        Self::Send { flow: outgoing.flow, message: outgoing.message }
    }
}

/// What an operator is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Whether it gets calls.
    pub availability: Result<(), Unavailable>,
    /// Since when; `None`: since the start.
    pub changed: Option<Wall>,
    /// What it has published last, and how that stands.
    pub publication: Option<(Publication, Standing)>,
    /// The last probe; `None` if it is not probed, or not yet.
    pub probe: Option<ProbeReport>,
    /// Our registration at it.
    pub registration: Option<RegistrationReport>,
    /// Its bindings, best first, if it registers to us.
    pub bindings: Option<Vec<Binding>>,
}

/// The part of a gateway's actor that finds out whether it lives.
#[derive(Debug)]
pub struct Health {
    names: Names,
    /// The gateway's `host[:port]`, as URIs have it.
    host: String,
    disabled: bool,
    account: Option<Account>,
    publish_expire: Duration,
    resend: ResendSchedule,
    probe: Option<Probe>,
    registration: Option<Registration>,
    publication: Option<Held>,
    /// Its own registration, if it registers to us.
    bound: Option<Bound>,
    /// What was said last.
    told: Result<(), Unavailable>,
    changed: Option<Wall>,
    is_leaving: bool,
}

/// A publication, with its end on this node's clock.
#[derive(Debug)]
struct Held {
    publication: Publication,
    lapses_at: Mono,
    standing: Standing,
}

/// Bindings of a gateway, with the end of each on this node's clock.
#[derive(Debug, Default)]
struct Bound(Vec<(Mono, Binding)>);

impl Bound {
    fn new(mut bindings: Vec<Binding>, now: Now) -> Self {
        bindings.sort_by_key(|binding| std::cmp::Reverse(binding.q));
        let ends = |binding: Binding| (now.to_mono(binding.expires, LONGEST_BINDING), binding);
        Self(bindings.into_iter().map(ends).collect())
    }

    fn stands(&self, now: Mono) -> bool {
        self.0.iter().any(|(end, _)| *end > now)
    }

    fn pass(&mut self, now: Mono) {
        self.0.retain(|(end, _)| *end > now);
    }
}

impl Held {
    fn new(publication: Publication, lapses_at: Mono, now: Mono) -> Self {
        let standing = if publication.removed { Standing::Removed } else { Standing::Alive };
        let mut held = Self { publication, lapses_at, standing };
        held.pass(now);
        held
    }

    fn pass(&mut self, now: Mono) {
        if self.standing == Standing::Alive && self.lapses_at <= now {
            self.standing = Standing::Lapsed;
        }
    }
}

impl Health {
    /// The health of a gateway at `host`; `names` are the token and the number of its actor's start.
    pub fn new(
        (host, disabled): (String, bool),
        account: Option<Account>,
        settings: &HealthSettings,
        (token, keys, start): (Token, &TokenKeys, u32),
        now: Now,
    ) -> Self {
        let mut names = Names::new(token.print(keys), start);
        let probe = settings
            .probe_interval
            .filter(|_| !disabled)
            .map(|interval| Probe::new(interval, token.id.draw(), now.mono));
        let register = settings.register.clone().filter(|_| !disabled);
        let registration = register.map(|register| Registration::new(register, &host, &mut names, now.mono));
        let mut health = Self {
            names,
            host,
            disabled,
            account,
            publish_expire: settings.publish_expire,
            resend: settings.resend,
            probe,
            registration,
            publication: None,
            bound: settings.registers.then(Bound::default),
            told: Ok(()),
            changed: None,
            is_leaving: false,
        };
        health.told = health.availability(now);
        health
    }

    /// Whether the gateway gets calls, or why not.
    pub fn availability(&self, now: Now) -> Result<(), Unavailable> {
        if self.disabled {
            return Err(Unavailable::Disabled);
        }
        match &self.publication {
            Some(held) => match (held.standing, held.publication.basic) {
                (Standing::Removed, _) => return Err(Unavailable::Removed),
                (Standing::Lapsed, _) => return Err(Unavailable::Lapsed),
                (Standing::Alive, Basic::Closed) => return Err(Unavailable::Closed),
                (Standing::Alive, Basic::Open) => {}
            },
            None if self.probe.as_ref().is_some_and(Probe::is_down) => return Err(Unavailable::Down),
            None => {}
        }
        if self.bound.as_ref().is_some_and(|bound| !bound.stands(now.mono)) {
            return Err(Unavailable::Absent);
        }
        match &self.registration {
            Some(registration) if registration.is_required() && !registration.stands(now.mono) => {
                Err(Unavailable::NotRegistered)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How many calls it takes at once by what it has published.
    pub fn capacity(&self) -> Option<u32> {
        let held = self.publication.as_ref().filter(|held| held.standing == Standing::Alive)?;
        held.publication.capacity
    }

    /// What would stand after this PUBLISH. It counts once it is stored: [`HealthInput::Published`].
    ///
    /// # Errors
    /// Says with which status it is refused.
    pub fn publish(&mut self, request: &Message, now: Now) -> Result<Publication, Refused> {
        let serial = self.names.next();
        let etag: Arc<str> = self.names.tag(serial).into();
        let current = self.publication.as_ref().map(|held| &held.publication);
        publish(request, current, self.publish_expire, now.wall, etag)
    }

    /// A tag for a response of ours.
    pub fn tag(&mut self) -> String {
        let serial = self.names.next();
        self.names.tag(serial)
    }

    /// Whether nothing is left to be told to a registrar.
    pub fn has_left(&self) -> bool {
        self.registration.as_ref().is_none_or(Registration::has_left)
    }

    /// When [`HealthInput::Timer`] is due.
    pub fn deadline(&self) -> Option<Mono> {
        let lapse = self.publication.as_ref().filter(|held| held.standing == Standing::Alive);
        let lapse = lapse.map(|held| held.lapses_at);
        let probe = self.probe.as_ref().filter(|_| self.is_probed()).and_then(Probe::deadline);
        let registration = self.registration.as_ref().and_then(Registration::deadline);
        let bound = self.bound.iter().flat_map(|bound| &bound.0).map(|(end, _)| *end);
        lapse.into_iter().chain(probe).chain(registration).chain(bound).min()
    }

    fn is_probed(&self) -> bool {
        self.publication.is_none() && !self.is_leaving
    }

    /// What is shown to an operator.
    pub fn report(&self, now: Now) -> HealthReport {
        let publication = self.publication.as_ref().map(|held| (held.publication.clone(), held.standing));
        HealthReport {
            availability: self.availability(now),
            changed: self.changed,
            publication,
            probe: self.probe.as_ref().filter(|_| self.is_probed()).and_then(Probe::last),
            registration: self.registration.as_ref().map(|registration| registration.report(now)),
            bindings: self.bound.as_ref().map(|bound| {
                let standing = bound.0.iter().filter(|(end, _)| *end > now.mono);
                standing.map(|(_, binding)| binding.clone()).collect()
            }),
        }
    }

    /// Takes an input; returns what is to be done, in order.
    pub fn handle(&mut self, input: HealthInput, counts: &mut NonceCounts, now: Now) -> Vec<HealthAction> {
        let mut out = Vec::new();
        if let Some(held) = &mut self.publication {
            held.pass(now.mono);
        }
        if let Some(bound) = &mut self.bound {
            bound.pass(now.mono);
        }
        match input {
            HealthInput::Timer => {
                self.with_probe(&mut out, |probe, names, out| probe.on_timer(names, now, out));
                self.with_registration(counts, now, &mut out, Registration::on_timer);
            }
            HealthInput::Response(response) => self.on_response(&response, counts, now, &mut out),
            HealthInput::Undeliverable(serial) => {
                self.with_probe(&mut out, |probe, names, out| {
                    probe.on_undeliverable(serial, names, now, out);
                });
                self.with_registration(counts, now, &mut out, |registration, tools| {
                    registration.on_undeliverable(serial, tools);
                });
            }
            HealthInput::Located(Purpose::Probe, located) => {
                let host = self.host.clone();
                self.with_probe(&mut out, |probe, names, out| {
                    probe.on_located(&host, located, names, now, out);
                });
            }
            HealthInput::Located(Purpose::Registration, located) => {
                self.with_registration(counts, now, &mut out, |registration, tools| {
                    registration.on_located(located, tools);
                });
            }
            HealthInput::Published(publication) => {
                let lapses_at = now.to_mono(publication.expires, self.publish_expire);
                self.publication = Some(Held::new(publication, lapses_at, now.mono));
                if let Some(probe) = &mut self.probe {
                    probe.rest(now.mono);
                }
            }
            HealthInput::Bound(bindings) => {
                if let Some(bound) = &mut self.bound {
                    *bound = Bound::new(bindings, now);
                    bound.pass(now.mono);
                }
            }
            HealthInput::Leave => {
                self.is_leaving = true;
                self.with_registration(counts, now, &mut out, Registration::leave);
            }
        }
        self.tell(now, &mut out);
        out
    }

    fn on_response(
        &mut self,
        response: &Message,
        counts: &mut NonceCounts,
        now: Now,
        out: &mut Vec<HealthAction>,
    ) {
        let branch = response.top_via().ok().and_then(|via| via.branch());
        let Some(serial) = branch.and_then(Serial::of) else { return };
        self.with_probe(out, |probe, names, out| probe.on_response(serial, response, names, now, out));
        self.with_registration(counts, now, out, |registration, tools| {
            registration.on_response(serial, response, tools);
        });
    }

    fn with_probe(
        &mut self,
        out: &mut Vec<HealthAction>,
        work: impl FnOnce(&mut Probe, &mut Names, &mut Vec<HealthAction>),
    ) {
        if self.is_probed()
            && let Some(probe) = &mut self.probe
        {
            work(probe, &mut self.names, out);
        }
    }

    fn with_registration(
        &mut self,
        counts: &mut NonceCounts,
        now: Now,
        out: &mut Vec<HealthAction>,
        work: impl FnOnce(&mut Registration, &mut Tools<'_>),
    ) {
        let Some(registration) = &mut self.registration else { return };
        let (names, account, schedule) = (&mut self.names, self.account.as_ref(), self.resend);
        work(registration, &mut Tools { names, account, counts, schedule, now, out });
    }

    /// Says when the gateway can take calls again, or not any more.
    fn tell(&mut self, now: Now, out: &mut Vec<HealthAction>) {
        let availability = self.availability(now);
        if availability != self.told {
            self.told = availability;
            self.changed = Some(now.wall);
            out.push(HealthAction::Event(HealthEvent::Changed(availability)));
        }
    }
}
