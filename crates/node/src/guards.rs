//! The guards at the sockets: who may send how much, and who is not listened to for a while.

use crate::configured::Configured;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use tandem_config::Config;
use tandem_sip::time::Mono;
use tandem_switch::admission::{Allowance, Banned, Guard, SourceKey, Verdict};
use tandem_switch::gateway::{GatewayName, SourceTable};
use tandem_telemetry::{Counter, DropReason, Gauge, Metrics};

/// Parts of the sources with a lock of their own.
const SHARDS: usize = 64;

/// The guards of all listeners.
pub(crate) struct Guards {
    shards: Box<[Mutex<Guard>]>,
    bans: Counter,
    banned: Gauge,
    dropped_for_rate: Counter,
    dropped_as_banned: Counter,
}

impl Guards {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Guard::new(SHARDS))).collect(),
            bans: metrics.bans.clone(),
            banned: metrics.banned_sources.clone(),
            dropped_for_rate: metrics.datagrams_dropped.of(DropReason::Rate).clone(),
            dropped_as_banned: metrics.datagrams_dropped.of(DropReason::Acl).clone(),
        }
    }

    fn shard(&self, source: SourceKey) -> &Mutex<Guard> {
        &self.shards[source.share(SHARDS)]
    }

    /// Whether a message from there is read, and if so whether it is a stranger's. What is not is counted.
    pub(crate) fn admit(
        &self,
        now: Mono,
        source: IpAddr,
        configured: &ArcSwap<Configured>,
    ) -> Option<Sender> {
        let key = SourceKey::of(source);
        let allowance = || configured.load().allowance(source.to_canonical());
        let verdict = self.shard(key).lock().on_message(now, key, allowance);
        match verdict {
            Verdict::Pass => Some(Sender::Known),
            Verdict::PassStranger => Some(Sender::Stranger),
            Verdict::TooMany => {
                self.dropped_for_rate.inc();
                None
            }
            Verdict::Banned => {
                self.dropped_as_banned.inc();
                None
            }
        }
    }

    /// Asks anew what sources may do, since the configuration has changed. Bans stay.
    pub(crate) fn forget(&self) {
        self.shards.iter().for_each(|shard| shard.lock().forget());
    }

    /// Whether a source may begin one more call, at so many per second.
    pub(crate) fn admit_call(&self, now: Mono, source: IpAddr, per_second: u32) -> bool {
        let key = SourceKey::of(source);
        self.shard(key).lock().on_call(now, key, per_second)
    }

    /// A message from there was of no good.
    pub(crate) fn on_offence(&self, now: Mono, source: IpAddr) {
        let key = SourceKey::of(source);
        if self.shard(key).lock().on_offence(now, key) {
            self.bans.inc();
            tracing::debug!(source = %key, "banned for too many bad messages");
        }
    }

    /// A stranger knows what only those do with whom we have a call.
    pub(crate) fn vouch(&self, source: IpAddr) {
        let key = SourceKey::of(source);
        self.shard(key).lock().vouch(key);
    }

    /// The bans that hold, by source.
    pub(crate) fn bans(&self, now: Mono) -> Vec<Banned> {
        let mut all: Vec<_> =
            self.shards.iter().flat_map(|shard| shard.lock().bans(now).collect::<Vec<_>>()).collect();
        all.sort_by_key(|ban| ban.source);
        self.banned.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
        all
    }

    /// Lifts a ban. `false` if there is none.
    pub(crate) fn lift(&self, source: IpAddr) -> bool {
        let key = SourceKey::of(source);
        self.shard(key).lock().lift(key)
    }
}

/// What sources may send, by the configuration.
pub(crate) struct Allowances {
    strangers: Allowance,
    mapping: HashMap<GatewayName, Allowance>,
    /// Where routing gateways answer from.
    vendors: HashSet<IpAddr>,
}

impl Allowances {
    pub(crate) fn new(config: &Config) -> Self {
        let mapping = config.mapping_gateways.iter().map(|configured| {
            let gateway = &configured.gateway;
            let allowance = Allowance { messages: gateway.per_source.messages, ..Allowance::default() };
            (gateway.name.clone(), allowance)
        });
        // The hosts of a gateway by name are known from their first response on.
        let vendors = config.routing_gateways.iter();
        let vendors = vendors.filter_map(|configured| configured.gateway.address.fixed()).map(|at| at.ip());
        Self { strangers: config.limits.strangers, mapping: mapping.collect(), vendors: vendors.collect() }
    }

    /// What a source may send.
    pub(crate) fn of(&self, source: IpAddr, sources: &SourceTable) -> Allowance {
        if let Some(gateway) = sources.find(source) {
            return self.mapping.get(&gateway.name).copied().unwrap_or_default();
        }
        if self.vendors.contains(&source) { Allowance::default() } else { self.strangers }
    }
}

/// Who a message that is read comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A gateway, or somebody with whom there is a call.
    Known,
    /// Anybody else.
    Stranger,
}
