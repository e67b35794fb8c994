//! The metric table: every metric of a node, declared once. It makes the fields, the registration and the reference.

use crate::family::{
    Buckets, Counter, CounterBy, CounterByGateway, CounterByPair, Family, Gauge, GaugeBy, GaugeByGateway,
    Seconds,
};
use crate::labels::{
    AdmissionRefusal, AttemptOutcome, Authentication, CallState, ConnectionEvent, Direction, DnsResult,
    DnsSource, DropReason, EndReason, Method, Origin, ParseReject, Registration, Reload, StatusClass,
    Transport,
};
use parking_lot::Mutex;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};
use std::collections::HashSet;
use std::fmt::Write;

/// The most gateways that get time series of their own; the others share the label `(other)`.
pub const GATEWAYS_MAX: usize = 1_000;

/// The `gateway` label of all gateways beyond [`GATEWAYS_MAX`].
const OTHER_GATEWAYS: &str = "(other)";

/// Lengths of conversations.
#[derive(Debug)]
pub struct TalkBuckets;

impl Buckets for TalkBuckets {
    const BOUNDS_S: &'static [f64] =
        &[1.0, 6.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0];
}

/// Post-dial delay.
#[derive(Debug)]
pub struct PddBuckets;

impl Buckets for PddBuckets {
    const BOUNDS_S: &'static [f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0];
}

/// Round trips to the store.
#[derive(Debug)]
pub struct CommitBuckets;

impl Buckets for CommitBuckets {
    const BOUNDS_S: &'static [f64] =
        &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
}

/// How much later than asked for something ran.
#[derive(Debug)]
pub struct LatenessBuckets;

impl Buckets for LatenessBuckets {
    const BOUNDS_S: &'static [f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
}

/// How much later than its turn a keep-alive was sent.
#[derive(Debug)]
pub struct KeepAliveBuckets;

impl Buckets for KeepAliveBuckets {
    const BOUNDS_S: &'static [f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0];
}

/// Look-ups in DNS, of several steps each.
#[derive(Debug)]
pub struct DnsBuckets;

impl Buckets for DnsBuckets {
    const BOUNDS_S: &'static [f64] =
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
}

/// Round trips to gateways.
#[derive(Debug)]
pub struct ProbeBuckets;

impl Buckets for ProbeBuckets {
    const BOUNDS_S: &'static [f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0];
}

/// A line of the reference.
struct Row {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    labels: Vec<(&'static str, Option<&'static [&'static str]>)>,
}

macro_rules! metric_table {
    (
        $( #[doc = $help:literal] $visible:vis $field:ident: $family:ty = $name:literal; )+
    ) => {
        /// Every metric of a node, with its children ready: counting takes no look-up and no lock.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            gateways: Mutex<HashSet<Box<str>>>,
            $( #[doc = $help] $visible $field: $family, )+
        }

        impl Metrics {
            fn register(registry: Registry) -> Result<Metrics, prometheus::Error> {
                Ok(Metrics {
                    $( $field: <$family as Family>::register($name, $help.trim(), &registry)?, )+
                    gateways: Mutex::default(),
                    registry,
                })
            }
        }

        fn rows() -> Vec<Row> {
            vec![ $( Row {
                name: $name,
                kind: <$family as Family>::KIND,
                help: $help.trim(),
                labels: <$family as Family>::labels(),
            }, )+ ]
        }
    };
}

metric_table! {
    /// Calls in progress, by where they stand.
    pub calls_active: GaugeBy<CallState> = "tandem_calls_active";
    /// Calls that were admitted.
    pub calls_started: Counter = "tandem_calls_started_total";
    /// Calls that ended, by why and by whom.
    pub calls_ended: CounterByPair<EndReason, Origin> = "tandem_calls_ended_total";
    /// Calls that were answered.
    pub calls_answered: Counter = "tandem_calls_answered_total";
    /// New calls that were not admitted.
    pub admission_refused: CounterBy<AdmissionRefusal> = "tandem_admission_refused_total";
    /// Attempts at routing gateways that are over, by how they went.
    pub attempts: CounterBy<AttemptOutcome> = "tandem_attempts_total";
    /// Time from the INVITE to the first 18x or the answer (post-dial delay).
    pub pdd: Seconds<PddBuckets> = "tandem_pdd_seconds";

    /// Length of conversations, from the answer to the end; its sum over its count is the ACD.
    pub talked: Seconds<TalkBuckets> = "tandem_call_duration_seconds";

    /// SIP requests, resent ones included.
    pub requests: CounterByPair<Direction, Method> = "tandem_sip_requests_total";
    /// SIP responses, resent ones included.
    pub responses: CounterByPair<Direction, StatusClass> = "tandem_sip_responses_total";
    /// SIP messages that were sent or received again (timers A, E, G, and a peer's).
    pub resends: CounterBy<Direction> = "tandem_sip_resends_total";
    /// Messages refused before they came to a call.
    pub parse_rejects: CounterBy<ParseReject> = "tandem_sip_rejects_total";
    /// Datagrams dropped at the sockets.
    pub datagrams_dropped: CounterBy<DropReason> = "tandem_datagrams_dropped_total";
    /// Sources that were banned for bad messages.
    pub bans: Counter = "tandem_bans_total";
    /// Sources that are banned now.
    pub banned_sources: Gauge = "tandem_banned_sources";
    /// New calls that are shed because messages wait too long, in thousandths of all.
    pub new_calls_shed: Gauge = "tandem_new_calls_shed_per_mille";
    /// SIP messages at the sockets.
    pub transport_messages: CounterByPair<Direction, Transport> = "tandem_transport_messages_total";
    /// Bytes of SIP at the sockets, without what UDP, TCP and TLS put around them.
    pub transport_bytes: CounterByPair<Direction, Transport> = "tandem_transport_bytes_total";
    /// Connections that are open, those whose handshake is under way included.
    pub connections_open: GaugeBy<Transport> = "tandem_connections_open";
    /// What happened to connections.
    pub connections: CounterByPair<Transport, ConnectionEvent> = "tandem_connections_total";
    /// Messages not sent because the queue of their connection was full.
    pub messages_congested: Counter = "tandem_messages_congested_total";
    /// Certificates that were read anew because their files had changed, and those that could not be used.
    pub certificate_reloads: CounterBy<Reload> = "tandem_certificate_reloads_total";
    /// ICMP errors about datagrams of ours.
    pub unreachable: Counter = "tandem_unreachable_total";

    /// Bindings of endpoints that are good now.
    pub bindings: Gauge = "tandem_bindings";
    /// Addresses of record that were written again because the store had lost them.
    pub registrations_restored: Counter = "tandem_registrations_restored_total";
    /// Bindings that have lapsed because they were not refreshed.
    pub bindings_lapsed: Counter = "tandem_bindings_lapsed_total";
    /// REGISTER requests whose sender is known, by what came of them.
    pub registrations: CounterBy<Registration> = "tandem_registrations_total";
    /// Requests of endpoints that have to show credentials, by what came of it.
    pub authentications: CounterBy<Authentication> = "tandem_authentications_total";
    /// Sources and accounts that were suspended for wrong credentials.
    pub suspensions: Counter = "tandem_suspensions_total";
    /// Sources and accounts that are suspended now.
    pub suspended: Gauge = "tandem_suspended";

    /// Endpoints behind NATs that are sent keep-alives.
    pub nat_endpoints: Gauge = "tandem_nat_endpoints";
    /// Endpoints behind NATs whose last keep-alives did not arrive.
    pub nat_unreachable: Gauge = "tandem_nat_unreachable";
    /// Keep-alives sent to endpoints behind NATs.
    pub keep_alives: Counter = "tandem_keep_alives_total";
    /// Keep-alives that bounced: an ICMP error, or a connection that has gone.
    pub keep_alives_bounced: Counter = "tandem_keep_alives_bounced_total";
    /// How much later than its turn an endpoint's keep-alive was sent.
    pub keep_alive_lateness: Seconds<KeepAliveBuckets> = "tandem_keep_alive_lateness_seconds";
    /// The most endpoints that the configured pace of keep-alives serves in a period.
    pub keep_alive_ceiling: Gauge = "tandem_keep_alive_ceiling";
    /// Endpoints behind NATs beyond that: where it is not 0, each waits longer than the period.
    pub keep_alive_beyond_ceiling: Gauge = "tandem_keep_alive_beyond_ceiling";
    /// STUN binding requests that were answered.
    pub stun_answered: Counter = "tandem_stun_answered_total";

    /// Look-ups of names in DNS that are over, by what came of them.
    pub dns_look_ups: CounterBy<DnsResult> = "tandem_dns_look_ups_total";
    /// Time that look-ups of names in DNS took.
    pub dns_look_up_seconds: Seconds<DnsBuckets> = "tandem_dns_look_up_seconds";
    /// Questions of calls where a name leads, by where the answer was from.
    pub dns_answers: CounterBy<DnsSource> = "tandem_dns_answers_total";

    /// Calls in progress through a gateway.
    gateway_calls: GaugeByGateway = "tandem_gateway_calls";
    /// Slots of a gateway in use: calls, and attempts that were left but are not over.
    gateway_slots: GaugeByGateway = "tandem_gateway_slots";
    /// The limit of a gateway's slots; 0 without a limit.
    gateway_slots_limit: GaugeByGateway = "tandem_gateway_slots_limit";
    /// Slots of a gateway in use over the whole cluster, as this node has heard last; 0 where nothing has to be counted.
    gateway_cluster_slots: GaugeByGateway = "tandem_gateway_cluster_slots";
    /// Calls to a gateway with limits that were admitted while the store could not say how many it has.
    gateway_admitted_unsure: CounterByGateway = "tandem_gateway_admitted_unsure_total";
    /// Whether a gateway takes calls: 1 or 0.
    gateway_available: GaugeByGateway = "tandem_gateway_available";
    /// Pauses that a gateway asked for (503 with Retry-After).
    gateway_pauses: CounterByGateway = "tandem_gateway_pauses_total";
    /// Attempts at a gateway, or calls from it.
    gateway_attempts: CounterByGateway = "tandem_gateway_attempts_total";
    /// Attempts at a gateway, or calls from it, that were answered.
    gateway_answered: CounterByGateway = "tandem_gateway_answered_total";

    /// Probes (OPTIONS) of a gateway that are over.
    gateway_probes: CounterByGateway = "tandem_gateway_probes_total";
    /// Probes of a gateway that failed: no answer, or 408, 502, 503 or 504.
    gateway_probe_failures: CounterByGateway = "tandem_gateway_probe_failures_total";
    /// Time from a probe to its answer.
    pub probe_seconds: Seconds<ProbeBuckets> = "tandem_gateway_probe_seconds";
    /// PUBLISHes of a gateway that were accepted.
    gateway_publications: CounterByGateway = "tandem_gateway_publications_total";
    /// Publications of a gateway that were not refreshed in time.
    gateway_publications_lapsed: CounterByGateway = "tandem_gateway_publications_lapsed_total";
    /// Whether our registration at a gateway stands: 1 or 0; 0 as well where none is wanted.
    gateway_registered: GaugeByGateway = "tandem_gateway_registered";
    /// Our REGISTERs that a gateway refused or did not answer; challenges do not count.
    gateway_registration_failures: CounterByGateway = "tandem_gateway_registration_failures_total";

    /// Whether this node is being drained: 1 or 0.
    pub draining: Gauge = "tandem_draining";
    /// Nodes of the cluster that are alive, this one included; 0 for a node by itself.
    pub nodes_alive: Gauge = "tandem_nodes_alive";
    /// Calls that this node has taken over, by how far they had come.
    pub takeovers: CounterBy<CallState> = "tandem_takeovers_total";
    /// Calls that this node has handed to another one.
    pub calls_handed: Counter = "tandem_calls_handed_over_total";
    /// New calls that came here and were placed on another node.
    pub calls_placed: Counter = "tandem_calls_placed_total";
    /// Messages that were passed on to the node whose call they belong to.
    pub messages_forwarded: Counter = "tandem_messages_forwarded_total";
    /// Frames of other nodes that this release does not understand.
    pub link_frames_unread: Counter = "tandem_link_frames_unread_total";
    /// Milliseconds by which the machine's clock is ahead of the store's, by which the nodes of a cluster tell the time.
    pub clock_skew: Gauge = "tandem_clock_skew_milliseconds";
    /// Times this node was silent for so long that it had to ask which calls are still its own.
    pub leases_lapsed: Counter = "tandem_leases_lapsed_total";
    /// Messages to and from calls that were dropped because this node may not speak for them.
    pub messages_withheld: Counter = "tandem_messages_withheld_total";
    /// Messages of calls that no node has taken within 5 s.
    pub strays_lost: Counter = "tandem_strays_lost_total";
    /// Revision of the cluster's configuration that this node runs; 0 for that of its own file.
    pub config_revision: Gauge = "tandem_config_revision";
    /// Entries of the journal: what was acknowledged while the store was away, and it may not have yet.
    pub journal_entries: Gauge = "tandem_journal_entries";
    /// Times the journal was flushed to the disk.
    pub journal_flushes: Counter = "tandem_journal_flushes_total";
    /// Beats of this node that the store did not take.
    pub beats_failed: Counter = "tandem_beats_failed_total";
    /// Time from handing a commit to the store until its answer.
    pub commit_seconds: Seconds<CommitBuckets> = "tandem_store_commit_seconds";
    /// Calls whose state was committed again because the store may have lost it.
    pub calls_republished: Counter = "tandem_calls_republished_total";
    /// Commits that the store refused because the call has another owner.
    pub commits_fenced: Counter = "tandem_store_commits_fenced_total";
    /// Whether the store is left alone because it does not answer (the breaker is open): 1 or 0.
    pub store_away: Gauge = "tandem_store_away";
    /// Store requests that failed or were not answered in time.
    pub store_failures: Counter = "tandem_store_failures_total";
    /// CDRs written to a sink.
    pub cdrs_written: Counter = "tandem_cdrs_written_total";
    /// Failed writes to a CDR sink; the records are kept and written again.
    pub cdr_write_failures: Counter = "tandem_cdr_write_failures_total";
    /// CDRs that some sink has not confirmed.
    pub cdr_backlog: Gauge = "tandem_cdr_backlog";
    /// Seconds since the sink furthest behind had written all there was; 0 at a node that does not write for the cluster.
    pub cdr_lag: Gauge = "tandem_cdr_lag_seconds";

    /// How much later than asked for wake-ups of the timing wheel came.
    pub wheel_lateness: Seconds<LatenessBuckets> = "tandem_wheel_lateness_seconds";
    /// Wake-ups that are set in the timing wheel.
    pub wheel_wakeups: Gauge = "tandem_wheel_wakeups";
    /// Panics of call actors; the first one of a call is survived.
    pub call_panics: Counter = "tandem_call_panics_total";
    /// Messages dropped because an actor's mailbox was full.
    pub mailbox_overflow: Counter = "tandem_mailbox_overflow_total";
}

/// The metrics of one gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GatewayMetrics {
    /// Calls in progress.
    pub calls: Gauge,
    /// Slots in use.
    pub slots: Gauge,
    /// The limit of slots; 0 without a limit.
    pub slots_limit: Gauge,
    /// Slots in use over the whole cluster.
    pub cluster_slots: Gauge,
    /// Calls that were admitted while nobody could say how many it has.
    pub admitted_unsure: Counter,
    /// 1 if it takes calls, else 0.
    pub available: Gauge,
    /// Pauses that it asked for.
    pub pauses: Counter,
    /// Attempts at it, or calls from it.
    pub attempts: Counter,
    /// Those that were answered.
    pub answered: Counter,
}

/// What the health of one routing gateway is known from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HealthMetrics {
    /// Probes that are over.
    pub probes: Counter,
    /// Those that failed.
    pub probe_failures: Counter,
    /// PUBLISHes that were accepted.
    pub publications: Counter,
    /// Publications that were not refreshed in time.
    pub publications_lapsed: Counter,
    /// 1 while our registration at it stands, else 0.
    pub registered: Gauge,
    /// REGISTERs that it refused or did not answer.
    pub registration_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// A set of metrics in a registry of its own, with those of the process.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let process = registry.register(Box::new(ProcessCollector::for_self()));
        process
            .and_then(|()| Metrics::register(registry))
            .expect("the table's names are valid and each is there once, as its test proves")
    }

    /// The metrics of a gateway, by the name it has in the configuration. To be kept: this takes a look-up.
    ///
    /// Names beyond the first [`GATEWAYS_MAX`] share the label `(other)`.
    pub fn gateway(&self, name: &str) -> GatewayMetrics {
        let label = self.gateway_label(name);
        GatewayMetrics {
            calls: self.gateway_calls.of(label),
            slots: self.gateway_slots.of(label),
            slots_limit: self.gateway_slots_limit.of(label),
            cluster_slots: self.gateway_cluster_slots.of(label),
            admitted_unsure: self.gateway_admitted_unsure.of(label),
            available: self.gateway_available.of(label),
            pauses: self.gateway_pauses.of(label),
            attempts: self.gateway_attempts.of(label),
            answered: self.gateway_answered.of(label),
        }
    }

    /// The metrics of a routing gateway's health, as [`Metrics::gateway`].
    pub fn gateway_health(&self, name: &str) -> HealthMetrics {
        let label = self.gateway_label(name);
        HealthMetrics {
            probes: self.gateway_probes.of(label),
            probe_failures: self.gateway_probe_failures.of(label),
            publications: self.gateway_publications.of(label),
            publications_lapsed: self.gateway_publications_lapsed.of(label),
            registered: self.gateway_registered.of(label),
            registration_failures: self.gateway_registration_failures.of(label),
        }
    }

    fn gateway_label<'a>(&self, name: &'a str) -> &'a str {
        let mut known = self.gateways.lock();
        if known.contains(name) {
            name
        } else if known.len() < GATEWAYS_MAX {
            known.insert(name.into());
            name
        } else {
            OTHER_GATEWAYS
        }
    }

    /// The Prometheus text exposition of everything, for `/metrics`.
    pub fn encode(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("a registry gathers families that are whole and named, and a string takes any text")
    }
}

/// What the process collector adds, named as every Prometheus client does.
const PROCESS_METRICS: [(&str, &str, &str); 7] = [
    ("process_cpu_seconds_total", "counter", "User and system CPU time spent, in seconds."),
    ("process_max_fds", "gauge", "Most open file descriptors allowed."),
    ("process_open_fds", "gauge", "Open file descriptors."),
    ("process_resident_memory_bytes", "gauge", "Resident memory."),
    ("process_start_time_seconds", "gauge", "Start of the process, in seconds since the Unix epoch."),
    ("process_threads", "gauge", "Threads of the process."),
    ("process_virtual_memory_bytes", "gauge", "Virtual memory."),
];

/// The metric reference as a page of Markdown, made from the table.
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nServed at `/metrics` in the Prometheus text format. Every time series is there from the start, at 0, \
         except those of gateways. Numbers, Call-IDs and addresses are never labels.\n\n\
         | Metric | Type | Labels | Meaning |\n|---|---|---|---|\n",
    );
    let mut line = |name: &str, kind: &str, labels: &str, help: &str| {
        writeln!(page, "| `{name}` | {kind} | {labels} | {help} |").expect("a string takes any text");
    };
    for row in rows() {
        let labels: Vec<String> = row.labels.iter().map(|(name, values)| describe(name, *values)).collect();
        line(row.name, row.kind, &labels.join("; "), row.help);
    }
    for (name, kind, help) in PROCESS_METRICS {
        line(name, kind, "", help);
    }
    page
}

fn describe(label: &str, values: Option<&[&str]>) -> String {
    match values {
        Some(values) => format!("`{label}`: {}", values.join(", ")),
        None => format!(
            "`{label}`: the name in the configuration, at most {GATEWAYS_MAX}, then `{OTHER_GATEWAYS}`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::RaiseTo;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn names_served(metrics: &Metrics) -> BTreeSet<String> {
        metrics.registry.gather().iter().map(|family| family.name().to_owned()).collect()
    }

    #[test]
    fn the_reference_names_exactly_what_is_served() {
        let metrics = Metrics::new();
        metrics.gateway("vendor");
        metrics.gateway_health("vendor");
        let page = reference();
        let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let documented: BTreeSet<String> = cells.map(|(name, _)| name.to_owned()).collect();
        assert_eq!(documented, names_served(&metrics));
        assert_eq!(documented.len(), rows().len() + PROCESS_METRICS.len(), "each name once");
    }

    #[test]
    fn every_metric_is_named_by_the_conventions() {
        for row in rows() {
            assert!(row.name.starts_with("tandem_"), "{}", row.name);
            assert_eq!(row.kind == "counter", row.name.ends_with("_total"), "{}", row.name);
            // All histograms are of times; a gauge may be of one, too.
            assert!(row.kind != "histogram" || row.name.ends_with("_seconds"), "{}", row.name);
            assert!(row.help.ends_with('.') && !row.help.contains(['|', '\n']), "{}", row.name);
        }
    }

    #[test]
    fn every_label_value_has_a_counter_of_its_own() {
        let metrics = Metrics::new();
        metrics.calls_ended.of(EndReason::NoAnswer, Origin::Server).inc();
        metrics.requests.of(Direction::Sent, Method::Invite).inc_by(3);
        metrics.calls_active.of(CallState::Answered).set(12);
        let text = metrics.encode();
        for line in [
            "tandem_calls_ended_total{cause=\"no_answer\",origin=\"server\"} 1",
            "tandem_calls_ended_total{cause=\"no_answer\",origin=\"caller\"} 0",
            "tandem_calls_ended_total{cause=\"busy\",origin=\"server\"} 0",
            "tandem_sip_requests_total{direction=\"sent\",method=\"INVITE\"} 3",
            "tandem_sip_requests_total{direction=\"received\",method=\"INVITE\"} 0",
            "tandem_calls_active{state=\"answered\"} 12",
            "tandem_calls_active{state=\"setup\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn durations_land_in_buckets_of_seconds() {
        let metrics = Metrics::new();
        metrics.pdd.observe(Duration::from_millis(1_500));
        metrics.wheel_lateness.histogram().observe(0.004);
        let text = metrics.encode();
        assert!(text.contains("tandem_pdd_seconds_bucket{le=\"1\"} 0\n"));
        assert!(text.contains("tandem_pdd_seconds_bucket{le=\"2\"} 1\n"));
        assert!(text.contains("tandem_wheel_lateness_seconds_bucket{le=\"0.005\"} 1\n"));
    }

    #[test]
    fn the_same_gateway_has_the_same_counters() {
        let metrics = Metrics::new();
        metrics.gateway("vendor").attempts.inc();
        metrics.gateway("vendor").attempts.inc();
        metrics.gateway("other vendor").answered.inc();
        let text = metrics.encode();
        assert!(text.contains("tandem_gateway_attempts_total{gateway=\"vendor\"} 2\n"));
        assert!(text.contains("tandem_gateway_answered_total{gateway=\"other vendor\"} 1\n"));
    }

    #[test]
    fn gateways_beyond_the_limit_share_one_label() {
        let metrics = Metrics::new();
        for number in 0..GATEWAYS_MAX + 5 {
            metrics.gateway(&format!("gateway {number}")).attempts.inc();
        }
        let text = metrics.encode();
        assert!(text.contains("tandem_gateway_attempts_total{gateway=\"(other)\"} 5\n"));
        assert!(!text.contains(&format!("gateway {GATEWAYS_MAX}")));
        metrics.gateway("gateway 0").attempts.inc();
        assert!(metrics.encode().contains("tandem_gateway_attempts_total{gateway=\"gateway 0\"} 2\n"));
    }

    #[test]
    fn a_total_kept_elsewhere_never_goes_back() {
        let metrics = Metrics::new();
        let counter = metrics.datagrams_dropped.of(DropReason::SendBuffer);
        for total in [5, 3, 9] {
            counter.raise_to(total);
        }
        assert_eq!(counter.get(), 9);
    }
}
