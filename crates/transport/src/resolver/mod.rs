//! Locating SIP servers by name (RFC 3263): DNS is asked, and what it says is kept for as long as it is valid.
//!
//! Names that are [kept](Resolver::keep) are asked for again before their answers lapse, so that calls hardly ever wait.
//! While DNS is silent the last answers go on serving (RFC 8767).

mod dns;

use dns::Dns;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tandem_sip::locate::{
    ASK_AGAIN, Answer, Cache, FailedTargets, Known, LocateError, Located, Locator, Offers, Step, Target,
    Wanted,
};
use tandem_sip::time::Mono;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// The most names that are being looked up at a time. Beyond, kept names wait and others are not found.
pub const MAX_UNDER_WAY: usize = 64;

/// How long the steps of one look-up may take together.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(10);

/// How long a look-up is waited for; it goes on after that, for those who ask later.
pub const WAIT_LIMIT: Duration = Duration::from_secs(3);

/// How DNS is asked.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// The servers; without any, those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// How long the servers may take over one question; it is asked once more.
    pub timeout: Duration,
    /// How long a lapsed answer goes on serving while DNS is silent.
    pub serve_stale: Duration,
}

/// Why there is no resolver.
#[derive(Clone, Debug, Error)]
pub enum ResolverError {
    /// The system's configuration of DNS cannot be used.
    #[error("cannot find out the system's DNS servers (/etc/resolv.conf): {why}")]
    System {
        /// In the system's words.
        why: String,
    },
    /// There was no configuration of DNS when the node started.
    #[error("there are no DNS servers to ask (there were none when the node started)")]
    NoServers,
}

/// What a resolver has to tell, for metrics and logs.
#[derive(Clone, Debug)]
pub enum Seen<'a> {
    /// A valid answer was at hand.
    Fresh,
    /// A lapsed answer was at hand, and DNS is silent.
    Stale,
    /// No answer was at hand; somebody waits for one.
    Missing,
    /// A look-up is over.
    LookedUp {
        /// Of this name.
        wanted: &'a Wanted,
        /// What came of it.
        result: Result<(), LocateError>,
        /// How long it took.
        took: Duration,
    },
    /// Too many are under way to begin another.
    Busy,
}

/// Where a name leads, or why nowhere.
pub type Outcome = Result<Arc<Located>, LocateError>;

type Clock = Box<dyn Fn() -> Mono + Send + Sync>;
type Observer = Box<dyn Fn(Seen<'_>) + Send + Sync>;

/// Locates names. Shared by all who ask.
pub struct Resolver {
    /// `None`: there are no servers, and nothing is answered.
    dns: Option<Servers>,
    offers: Offers,
    clock: Clock,
    observer: Observer,
    state: Mutex<State>,
    /// Something is to be refreshed sooner than was thought.
    changed: Notify,
}

/// Whom to ask, and how that was found out.
struct Servers {
    settings: DnsSettings,
    dns: Mutex<Arc<Dns>>,
}

impl Servers {
    fn new(settings: &DnsSettings) -> Result<Self, ResolverError> {
        let dns = Mutex::new(Arc::new(Dns::new(settings)?));
        Ok(Self { settings: settings.clone(), dns })
    }

    fn dns(&self) -> MutexGuard<'_, Arc<Dns>> {
        self.dns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State {
    cache: Cache,
    failed: FailedTargets,
    under_way: BTreeMap<Wanted, watch::Receiver<Option<Outcome>>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver for a node whose listeners have what `offers` says; without settings it knows only addresses. `clock`
    /// tells the time, `observer` is told what happens.
    ///
    /// # Errors
    /// No servers are configured, and those of the system cannot be found out.
    pub fn new(
        settings: Option<&DnsSettings>,
        offers: Offers,
        clock: impl Fn() -> Mono + Send + Sync + 'static,
        observer: impl Fn(Seen<'_>) + Send + Sync + 'static,
    ) -> Result<Self, ResolverError> {
        let state = State {
            cache: Cache::new(settings.map_or(Duration::ZERO, |settings| settings.serve_stale)),
            failed: FailedTargets::default(),
            under_way: BTreeMap::new(),
        };
        Ok(Self {
            dns: settings.map(Servers::new).transpose()?,
            offers,
            clock: Box::new(clock),
            observer: Box::new(observer),
            state: Mutex::new(state),
            changed: Notify::new(),
        })
    }

    /// Reads anew what the system says of its DNS servers and hosts. What is known of names stays.
    ///
    /// # Errors
    /// The system's servers are wanted and cannot be found out: those before are asked on.
    pub fn reload(&self) -> Result<(), ResolverError> {
        if let Some(servers) = &self.dns {
            let dns = Arc::new(Dns::new(&servers.settings)?);
            *servers.dns() = dns;
        }
        Ok(())
    }

    /// What is known of a name without asking. `None`: it has to be [asked for](Self::locate).
    pub fn known(&self, wanted: &Wanted) -> Option<Outcome> {
        if wanted.address().is_some()
            && let (_, Step::Done(result, _)) = Locator::start(wanted.clone(), self.offers.clone())
        {
            return Some(result.map(Arc::new));
        }
        let known = self.state().cache.get(wanted, (self.clock)());
        let (outcome, seen) = match known {
            Known::Fresh(outcome) => (outcome, Seen::Fresh),
            Known::Stale(located) => (Ok(located), Seen::Stale),
            Known::Nothing => return None,
        };
        (self.observer)(seen);
        Some(outcome)
    }

    /// What is known of a name, to be shown: it counts for nothing.
    pub fn peek(&self, wanted: &Wanted) -> Option<Arc<Located>> {
        match self.state().cache.get(wanted, (self.clock)()) {
            Known::Fresh(outcome) => outcome.ok(),
            Known::Stale(located) => Some(located),
            Known::Nothing => None,
        }
    }

    /// Where a name leads: what is known, else what DNS says within [`WAIT_LIMIT`], else the last that was known.
    pub async fn locate(self: &Arc<Self>, wanted: &Wanted) -> Outcome {
        if let Some(known) = self.known(wanted) {
            return known;
        }
        (self.observer)(Seen::Missing);
        if let Some(mut under_way) = self.look_up(wanted) {
            let over = tokio::time::timeout(WAIT_LIMIT, under_way.wait_for(Option::is_some)).await;
            if let Ok(Ok(outcome)) = over {
                return outcome.clone().unwrap_or(Err(LocateError::Unanswered));
            }
        }
        self.state().cache.last(wanted, (self.clock)()).ok_or(LocateError::Unanswered)
    }

    /// Looks a name up from now on before its answer lapses.
    pub fn keep(&self, wanted: &Wanted) {
        self.state().cache.keep(wanted, (self.clock)());
        self.changed.notify_one();
    }

    /// Looks these names up from now on before their answers lapse, and no others.
    pub fn keep_only(&self, names: &[&Wanted]) {
        self.state().cache.keep_only(names, (self.clock)());
        self.changed.notify_one();
    }

    /// Whether there are servers to ask.
    pub fn can_ask(&self) -> bool {
        self.dns.is_some()
    }

    /// The targets of one request, best first; those that have failed of late are last. `seed` as in
    /// [`Located::targets`].
    pub fn targets(&self, located: &Located, seed: u64) -> Vec<Target> {
        let mut targets = located.targets(seed);
        self.state().failed.put_last(&mut targets, (self.clock)());
        targets
    }

    /// A request has failed at this target: it could not be delivered, or nothing answered it.
    pub fn note_failed(&self, target: Target) {
        self.state().failed.note(target, (self.clock)());
    }

    /// Whether a target has failed of late.
    pub fn has_failed(&self, target: &Target) -> bool {
        self.state().failed.has(target, (self.clock)())
    }

    /// Looks kept names up when they are due, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let now = (self.clock)();
            let (due, next) = {
                let mut state = self.state();
                let room = MAX_UNDER_WAY.saturating_sub(state.under_way.len());
                let due = state.cache.due(now, room);
                (due, state.cache.next_due().filter(|_| room > 0))
            };
            for wanted in &due {
                self.look_up(wanted);
            }
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep(next.since((self.clock)())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Begins a look-up, or joins the one that is under way. `None` if there are too many.
    fn look_up(self: &Arc<Self>, wanted: &Wanted) -> Option<watch::Receiver<Option<Outcome>>> {
        let over = {
            let mut state = self.state();
            if let Some(under_way) = state.under_way.get(wanted) {
                return Some(under_way.clone());
            }
            if state.under_way.len() < MAX_UNDER_WAY {
                let (over, receiver) = watch::channel(None);
                state.under_way.insert(wanted.clone(), receiver.clone());
                Some((over, receiver))
            } else {
                None
            }
        };
        let Some((over, receiver)) = over else {
            (self.observer)(Seen::Busy);
            return None;
        };
        let look_up = LookUp { resolver: self.clone(), wanted: wanted.clone() };
        tokio::spawn(async move {
            let outcome = look_up.run().await;
            drop(look_up);
            // Nobody may be waiting.
            let _ = over.send(Some(outcome));
        });
        Some(receiver)
    }

    async fn ask(self: Arc<Self>, wanted: Wanted) -> (Result<Located, LocateError>, Duration) {
        let (mut locator, mut step) = Locator::start(wanted, self.offers.clone());
        let mut asking = JoinSet::new();
        loop {
            match step {
                Step::Done(result, valid_for) => return (result, valid_for),
                Step::Ask(queries) => {
                    for query in queries {
                        let resolver = self.clone();
                        asking.spawn(async move {
                            let dns = resolver.dns.as_ref().map(|servers| servers.dns().clone());
                            let answer = match dns {
                                Some(dns) => dns.ask(&query).await,
                                None => Answer::Failed,
                            };
                            (query, answer)
                        });
                    }
                }
            }
            step = match asking.join_next().await {
                Some(Ok((query, answer))) => locator.on_answer(&query, &answer),
                // A question that panicked; which one is lost with it.
                Some(Err(_)) | None => return (Err(LocateError::Unanswered), ASK_AGAIN),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock held left maps that are whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look-up under way; it is no more once this is dropped, also by a panic.
struct LookUp {
    resolver: Arc<Resolver>,
    wanted: Wanted,
}

impl LookUp {
    async fn run(&self) -> Outcome {
        let Self { resolver, wanted } = self;
        let began = (resolver.clock)();
        let asked = tokio::time::timeout(LOOK_UP_LIMIT, resolver.clone().ask(wanted.clone())).await;
        let (result, valid_for) = asked.unwrap_or((Err(LocateError::Unanswered), ASK_AGAIN));
        let now = (resolver.clock)();
        let seen = result.as_ref().map(|_| ()).map_err(|why| *why);
        (resolver.observer)(Seen::LookedUp { wanted, result: seen, took: now.since(began) });
        let mut state = resolver.state();
        state.cache.put(wanted, result, valid_for, now);
        match state.cache.get(wanted, now) {
            Known::Fresh(outcome) => outcome,
            Known::Stale(located) => Ok(located),
            Known::Nothing => Err(LocateError::Unanswered),
        }
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        self.resolver.state().under_way.remove(&self.wanted);
        self.resolver.changed.notify_one();
    }
}
