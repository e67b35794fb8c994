//! Gateways by name, and where their names lead at present (RFC 3263).

use crate::clock::Clock;
use crate::complaints::Complaints;
use std::sync::Arc;
use tandem_config::Config;
use tandem_sip::flow::Transport;
use tandem_sip::locate::{LocateError, Located, Offers, Target, Wanted};
use tandem_switch::gateway::{GatewayAddress, RoutingGateway};
use tandem_telemetry::{DnsResult, DnsSource, Metrics};
use tandem_transport::{DnsSettings, Outcome, Resolver, ResolverError, Seen};

/// Where a gateway's calls are sent at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayTarget {
    /// How and where.
    pub target: Target,
    /// A call has failed there a short while ago, so it comes after the others.
    pub failed: bool,
}

/// Where names lead.
#[derive(Debug)]
pub(crate) struct Locations {
    resolver: Arc<Resolver>,
}

impl Locations {
    /// Begins to know the gateways' names, for listeners that have what `offers` says.
    ///
    /// # Errors
    /// A gateway has a name, and there are no DNS servers to ask.
    pub(crate) fn new(
        config: &Config,
        offers: &Offers,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Self, ResolverError> {
        let names = names_of(config);
        let settings = DnsSettings {
            servers: config.dns.servers.clone(),
            timeout: config.dns.timeout,
            serve_stale: config.dns.serve_stale,
        };
        let with = |settings| {
            let (times, observes) = (clock.clone(), clock.clone());
            Resolver::new(settings, offers.clone(), move || times.mono(), observer(observes, metrics))
        };
        let resolver = match with(Some(&settings)) {
            Err(error) if names.is_empty() => {
                tracing::debug!(%error, "names are not looked up");
                with(None)?
            }
            resolver => resolver?,
        };
        resolver.keep_only(&names);
        Ok(Self { resolver: Arc::new(resolver) })
    }

    /// Whether the names of a configuration's gateways can be looked up.
    ///
    /// # Errors
    /// There are some, and no DNS servers to ask.
    pub(crate) fn check(&self, config: &Config) -> Result<(), ResolverError> {
        let can = names_of(config).is_empty() || self.resolver.can_ask();
        if can { Ok(()) } else { Err(ResolverError::NoServers) }
    }

    /// Looks the names of these gateways up ahead from now on, and no others.
    pub(crate) fn configure(&self, config: &Config) {
        self.resolver.keep_only(&names_of(config));
    }

    /// Looks the gateways' names up before their answers lapse, for ever.
    pub(crate) async fn run(&self) {
        self.resolver.clone().run().await;
    }

    /// Reads anew what the system says of its DNS servers. `false` if that cannot be found out.
    pub(crate) fn reload(&self) -> bool {
        let reloaded = self.resolver.reload();
        if let Err(error) = &reloaded {
            tracing::warn!(%error, "the DNS servers stay as they are");
        }
        reloaded.is_ok()
    }

    /// Where a name leads, if that is known without asking.
    pub(crate) fn known(&self, wanted: &Wanted) -> Option<Outcome> {
        self.resolver.known(wanted)
    }

    /// Where a name leads, by asking if need be.
    pub(crate) async fn locate(&self, wanted: Wanted) -> Outcome {
        self.resolver.locate(&wanted).await
    }

    /// The targets of one request, best first. `seed` as in [`Located::targets`].
    pub(crate) fn targets(&self, located: &Located, seed: u64) -> Vec<Target> {
        self.resolver.targets(located, seed)
    }

    /// A request has failed at this target.
    pub(crate) fn note_failed(&self, target: Target) {
        self.resolver.note_failed(target);
    }

    /// Where a gateway's calls are sent at present; empty if it is not known.
    pub(crate) fn report(&self, gateway: &RoutingGateway) -> Vec<GatewayTarget> {
        let wanted = match &gateway.address {
            GatewayAddress::At(address) => {
                let transport = gateway.transport.unwrap_or(Transport::Udp);
                let target = Target { transport, address: *address };
                return vec![GatewayTarget { target, failed: false }];
            }
            GatewayAddress::Named(wanted) => wanted,
            GatewayAddress::Endpoint(_) => return Vec::new(),
        };
        let located = self.resolver.peek(wanted);
        let targets = located.map(|located| self.resolver.targets(&located, 0)).unwrap_or_default();
        let shown = |target| GatewayTarget { target, failed: self.resolver.has_failed(&target) };
        targets.into_iter().map(shown).collect()
    }
}

/// The names of a configuration's gateways.
fn names_of(config: &Config) -> Vec<&Wanted> {
    config.routing_gateways.iter().filter_map(|configured| configured.gateway.address.named()).collect()
}

/// Counts what the resolver sees, and says what an operator can do something about.
fn observer(clock: Clock, metrics: &Metrics) -> impl Fn(Seen<'_>) + Send + Sync + 'static {
    let (answers, look_ups) = (metrics.dns_answers.clone(), metrics.dns_look_ups.clone());
    let seconds = metrics.dns_look_up_seconds.histogram().clone();
    let complaints = Complaints::default();
    move |seen| match seen {
        Seen::Fresh => answers.of(DnsSource::Cache).inc(),
        Seen::Stale => answers.of(DnsSource::Stale).inc(),
        Seen::Missing => answers.of(DnsSource::Waited).inc(),
        Seen::Busy => look_ups.of(DnsResult::Busy).inc(),
        Seen::LookedUp { wanted, result, took } => {
            seconds.observe(took.as_secs_f64());
            match result {
                Ok(()) => look_ups.of(DnsResult::Found).inc(),
                Err(error) => {
                    look_ups.of(result_label(error)).inc();
                    if complaints.may_be_logged(clock.mono()) {
                        tracing::warn!(name = %wanted, %error, "a name is not found");
                    }
                }
            }
        }
    }
}

fn result_label(error: LocateError) -> DnsResult {
    match error {
        LocateError::NoAddress | LocateError::NotOffered | LocateError::NoTransport => DnsResult::Absent,
        LocateError::Unanswered => DnsResult::Unanswered,
    }
}
