//! Whether a request is an endpoint's: digest credentials (RFC 7616, RFC 8760), and who has guessed too often.

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tandem_config::Config;
use tandem_sip::digest::{Judgement, Nonce, NonceKeys, NonceUses, Server};
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now};
use tandem_sip::uri::unescape;
use tandem_sip::{Message, Method, Name, StatusCode};
use tandem_switch::admission::SourceKey;
use tandem_switch::call::Refused;
use tandem_switch::registrar::{Endpoint, Endpoints, Offender, Suspended, SuspensionRules, Suspensions};
use tandem_telemetry::{Authentication, Counter, CounterBy, Gauge, Metrics};

/// Parts of the nonces with a lock of their own.
const SHARDS: usize = 16;

/// The most nonces whose uses are counted; those that are issued first are forgotten first, and answered with `stale`.
const NONCES_MAX: usize = 262_144;

/// Characters of the name of an account that is suspended.
const NAME_MAX: usize = 64;

/// What becomes of a request.
pub(crate) enum Verdict {
    /// It is this endpoint's.
    Passed {
        endpoint: Arc<Endpoint>,
        /// Whether the endpoint was not seen at this source before.
        at_new_source: bool,
    },
    /// Its sender is asked for credentials.
    Challenge(Refused),
    /// It is not looked at.
    Denied(Refused),
}

/// Checks the credentials of endpoints.
pub(crate) struct Authenticator {
    terms: ArcSwap<Terms>,
    next_serial: AtomicU64,
    /// Makes one number of what stands for a request.
    request_key: [u8; 16],
    suspensions: Mutex<Suspensions>,
    /// How many suspensions there may be; while there is none, the lock is spared.
    suspended: AtomicUsize,
    results: CounterBy<Authentication>,
    suspensions_total: Counter,
    suspended_now: Gauge,
}

/// What endpoints are judged by, and what is known of them: of one configuration.
struct Terms {
    server: Server,
    endpoints: Arc<Endpoints>,
    /// Without it everybody is who it says.
    asks: bool,
    suspension: SuspensionRules,
    uses: Arc<[Mutex<NonceUses>]>,
    /// By user, the source at which it was seen last; 0 for none.
    homes: HashMap<Arc<str>, AtomicU64>,
}

impl Terms {
    /// Those of a configuration. What is known of endpoints stays known.
    fn new(config: &Config, (node, keys, now): (u16, NonceKeys, Now), before: Option<&Terms>) -> Self {
        let registrar = &config.registrar;
        let same_life = before.filter(|before| before.server.nonce_life == registrar.nonce_life);
        let uses = || Mutex::new(NonceUses::new(NONCES_MAX / SHARDS, registrar.nonce_life));
        let home = |user: &Arc<str>| {
            let known = before.and_then(|before| before.homes.get(user));
            known.map_or(0, |known| known.load(Ordering::Relaxed))
        };
        let homes = config.endpoints.iter().map(|endpoint| &endpoint.user);
        Self {
            server: Server {
                realm: registrar.realm.clone(),
                hashes: registrar.hashes.clone(),
                keys,
                node,
                // How often older ones were used is not known.
                since: same_life.map_or(now.wall, |before| before.server.since),
                nonce_life: registrar.nonce_life,
            },
            endpoints: config.endpoints.clone(),
            asks: registrar.authenticate,
            suspension: registrar.suspension,
            uses: same_life
                .map_or_else(|| (0..SHARDS).map(|_| uses()).collect(), |before| before.uses.clone()),
            homes: homes.map(|user| (user.clone(), AtomicU64::new(home(user)))).collect(),
        }
    }

    /// Nobody is asked: a REGISTER is that of the user in To, anything else that of the user in From.
    fn believe(&self, request: &Message) -> Verdict {
        let address = match request.method() {
            Some(Method::Register) => request.to(),
            Some(_) | None => request.from(),
        };
        let uri = address.ok().and_then(|address| address.parse_uri().ok());
        let user = uri.and_then(|uri| String::from_utf8(unescape(uri.user?)).ok());
        match user.and_then(|user| self.endpoints.by_user(&user)) {
            Some(endpoint) => Verdict::Passed { endpoint: endpoint.clone(), at_new_source: false },
            None => Verdict::Denied(Refused::with(StatusCode::FORBIDDEN)),
        }
    }
}

impl Authenticator {
    /// `node` is the node's short name, `keys` makes nonces and stands for requests.
    pub(crate) fn new(
        config: &Config,
        node: u16,
        keys: ([u8; 16], [u8; 16]),
        now: Now,
        metrics: &Metrics,
    ) -> Self {
        let nonce_keys = NonceKeys { current: keys.0, previous: None };
        let terms = Terms::new(config, (node, nonce_keys, now), None);
        Self {
            next_serial: AtomicU64::new(1),
            request_key: keys.1,
            suspensions: Mutex::new(Suspensions::new(terms.suspension)),
            suspended: AtomicUsize::new(0),
            terms: ArcSwap::from_pointee(terms),
            results: metrics.authentications.clone(),
            suspensions_total: metrics.suspensions.clone(),
            suspended_now: metrics.suspended.clone(),
        }
    }

    /// Goes by another configuration from now on. Other rules of suspension begin without any.
    pub(crate) fn configure(&self, config: &Config, now: Now) {
        let before = self.terms.load_full();
        let names = (before.server.node, before.server.keys.clone(), now);
        let terms = Terms::new(config, names, Some(&before));
        if terms.suspension != before.suspension {
            *self.suspensions.lock() = Suspensions::new(terms.suspension);
            self.suspended.store(0, Ordering::Relaxed);
            self.suspended_now.set(0);
        }
        self.terms.store(Arc::new(terms));
    }

    /// Whose request this is.
    pub(crate) fn check(&self, request: &Message, flow: Flow, now: Now) -> Verdict {
        let terms = &**self.terms.load();
        if !terms.asks {
            return terms.believe(request);
        }
        let Some(credentials) = terms.server.credentials(request) else {
            return self.challenge(terms, now, Authentication::Challenged);
        };
        let source = SourceKey::of(flow.remote.ip());
        let user = std::str::from_utf8(&credentials.username).unwrap_or_default();
        let home = terms.homes.get(user);
        let is_home = home.is_some_and(|home| home.load(Ordering::Relaxed) == source.number());
        if let Some(until) = self.suspended_until(now.mono, source, user, is_home) {
            self.results.of(Authentication::Suspended).inc();
            return Verdict::Denied(wait_until(until, now.mono));
        }
        let endpoint = terms.endpoints.by_user(user);
        let ha1 = endpoint.map(|endpoint| &endpoint.ha1);
        let count = |nonce: &Nonce, count| {
            let request = self.number_of(request, flow);
            terms.uses[nonce.serial as usize % SHARDS].lock().take(nonce, count, request, now.wall)
        };
        match (terms.server.judge((&credentials, ha1), request, now.wall, count), endpoint) {
            (Judgement::Right | Judgement::Repeated, Some(endpoint)) => {
                self.results.of(Authentication::Passed).inc();
                let before = home.map(|home| home.swap(source.number(), Ordering::Relaxed));
                let at_new_source = before != Some(source.number());
                Verdict::Passed { endpoint: endpoint.clone(), at_new_source }
            }
            (Judgement::Stale, Some(_)) => self.challenge(terms, now, Authentication::Stale),
            (Judgement::Wrong, _) | (Judgement::Right | Judgement::Repeated | Judgement::Stale, None) => {
                self.note_failure(now.mono, source, user, is_home);
                self.challenge(terms, now, Authentication::Wrong)
            }
        }
    }

    /// Who is suspended, sources first.
    pub(crate) fn suspensions(&self, now: Mono) -> Vec<Suspended> {
        let mut suspensions = self.suspensions.lock();
        let all: Vec<_> = suspensions.all(now).cloned().collect();
        self.suspended.store(all.len(), Ordering::Relaxed);
        self.suspended_now.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
        all
    }

    /// Hears somebody again whose suspension is shown by this name. `false` if there is none.
    pub(crate) fn lift(&self, now: Mono, name: &str) -> bool {
        let mut suspensions = self.suspensions.lock();
        let found = suspensions.all(now).find(|suspended| suspended.offender.to_string() == name);
        let found = found.map(|suspended| suspended.offender.clone());
        found.is_some_and(|offender| suspensions.lift(&offender))
    }

    fn challenge(&self, terms: &Terms, now: Now, why: Authentication) -> Verdict {
        self.results.of(why).inc();
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let values = terms.server.challenges(serial, now.wall, why == Authentication::Stale);
        let headers = values.map(|value| (Name::WwwAuthenticate, value)).collect();
        Verdict::Challenge(Refused { status: StatusCode::UNAUTHORIZED, headers })
    }

    /// The same for each copy of a request that its transaction sends.
    fn number_of(&self, request: &Message, flow: Flow) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.request_key);
        let branch = request.top_via().ok().and_then(|via| via.branch());
        for part in [request.call_id(), branch] {
            let part = part.unwrap_or_default();
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.write_u32(request.cseq().map_or(0, |cseq| cseq.number));
        hasher.write_u64(SourceKey::of(flow.remote.ip()).number());
        hasher.write_u16(flow.remote.port());
        hasher.write_u16(flow.listener);
        hasher.finish()
    }

    fn suspended_until(&self, now: Mono, source: SourceKey, user: &str, is_home: bool) -> Option<Mono> {
        if self.suspended.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let suspensions = self.suspensions.lock();
        let offenders = offenders(source, user, is_home);
        offenders.iter().filter_map(|offender| suspensions.until(now, offender)).max()
    }

    fn note_failure(&self, now: Mono, source: SourceKey, user: &str, is_home: bool) {
        let mut suspensions = self.suspensions.lock();
        for offender in offenders(source, user, is_home) {
            if suspensions.on_failure(now, &offender) {
                self.suspensions_total.inc();
                tracing::debug!(%offender, "suspended for too many wrong credentials");
                let all = suspensions.all(now).count();
                self.suspended.store(all, Ordering::Relaxed);
                self.suspended_now.set(i64::try_from(all).unwrap_or(i64::MAX));
            }
        }
    }
}

/// Who is to blame for wrong credentials: the source and the account or, where the user is at home, only both together.
fn offenders(source: SourceKey, user: &str, is_home: bool) -> Vec<Offender> {
    match is_home {
        true => vec![Offender::Home(source, user.into())],
        false => {
            // No user has a longer name, and what is kept is not to grow with what is sent.
            let name: String = user.chars().take(NAME_MAX).collect();
            vec![Offender::Source(source), Offender::Account(name.into())]
        }
    }
}

/// 503 with Retry-After: to most phones it says to come back, where 403 would make some of them give up.
fn wait_until(until: Mono, now: Mono) -> Refused {
    let seconds = until.since(now).as_millis().div_ceil(1000);
    Refused::and(StatusCode::SERVICE_UNAVAILABLE, Name::RetryAfter, seconds.to_string())
}
