//! Gateways: as they are configured, and as they run.

mod account;
mod address;
mod availability;
mod exchange;
mod health;
#[cfg(test)]
mod health_tests;
mod probe;
mod registering;
mod share;
mod sources;
mod state;

pub use account::{Account, MAX_NONCES, NonceCounts};
pub use address::GatewayAddress;
pub use availability::Unavailable;
pub use exchange::ExchangeFailure;
pub use health::{
    Health, HealthAction, HealthEvent, HealthInput, HealthReport, HealthSettings, Located, Purpose,
};
pub use probe::{DOWN_AFTER, ProbeReport};
pub use registering::{Registering, RegistrationReport};
pub use share::{Share, WhenStoreAway, cps_share};
pub use sources::SourceTable;

pub use state::{
    GatewayState, Holder, LastFailure, MAX_HOLD, MAX_LAST_FAILURES, Outcome, Refusal, STATISTICS_WINDOW,
    Statistics,
};

use crate::parameters::{AttemptParameters, CallParameters};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tandem_sip::flow::Transport;
use tandem_sip::{Method, MethodSet};

/// The methods that a gateway's policy can pass to the other leg.
pub const PASSABLE: [Method; 2] = [Method::Info, Method::Message];

/// Those that pass unless the gateway says otherwise: INFO, which carries dialled digits.
pub const PASSED: MethodSet = MethodSet::of(&[Method::Info]);

/// A gateway's name: what operators, CDRs and metrics call it by.
pub type GatewayName = Arc<str>;

/// Where calls come from (a customer), known by source address.
#[derive(Clone, Debug)]
pub struct MappingGateway {
    /// Unique among the mapping gateways.
    pub name: GatewayName,
    /// The networks its requests come from. Where several gateways' networks hold an address, the longest prefix wins.
    pub sources: Vec<IpNet>,
    /// Concurrent calls and calls per second.
    pub limits: Limits,
    /// What each of its addresses may send.
    pub per_source: SourceLimits,
    /// Whether its identity headers are believed.
    pub trusted: bool,
    /// Headers of its messages that reach the other leg.
    pub pass_headers: Vec<String>,
    /// Methods of its requests inside a dialog that reach the other leg, of [`PASSABLE`].
    pub pass_methods: MethodSet,
    /// What is done to the called number before routing.
    pub number_rules: NumberRules,
    /// Statuses that its callers get instead of others.
    pub cause_map: BTreeMap<u16, u16>,
    /// The system's parameters with this gateway's overrides.
    pub parameters: CallParameters,
}

/// Where calls go to (a vendor).
#[derive(Clone, Debug)]
pub struct RoutingGateway {
    /// Unique among the routing gateways.
    pub name: GatewayName,
    /// Where its INVITEs are sent.
    pub address: GatewayAddress,
    /// How they are carried, where that was said; else an address is reached by UDP.
    pub transport: Option<Transport>,
    /// The name of the listener that they are sent from; else any that leads there.
    pub listen: Option<Arc<str>>,
    /// Prefixes of called numbers that it takes; an empty one matches all.
    pub prefixes: Vec<String>,
    /// Lower is tried first.
    pub priority: u32,
    /// Share of the calls among gateways of one priority.
    pub weight: u32,
    /// Concurrent calls and calls per second.
    pub limits: Limits,
    /// Whether identity headers are passed to it.
    pub trusted: bool,
    /// Headers of its messages that reach the other leg.
    pub pass_headers: Vec<String>,
    /// Methods of its requests inside a dialog that reach the other leg, of [`PASSABLE`].
    pub pass_methods: MethodSet,
    /// By what name and password its challenges are answered, if they are.
    pub account: Option<Account>,
    /// Where it may redirect calls to.
    pub redirects: Redirects,
    /// What is done to the called number on the way to it.
    pub number_rules: NumberRules,
    /// What becomes of its calls while nobody knows how many the whole cluster has.
    pub when_store_away: WhenStoreAway,
    /// Not called while set.
    pub disabled: bool,
    /// How its state is found out.
    pub health: HealthSettings,
    /// The system's parameters with this gateway's overrides.
    pub parameters: Arc<AttemptParameters>,
}

/// Where a gateway may redirect calls to (3xx).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Redirects {
    /// Nowhere: a redirection is a failure of the attempt.
    #[default]
    Refuse,
    /// To its own addresses, and to its own name.
    Gateway,
    /// Anywhere.
    Any,
}

/// Bounds on what a gateway carries; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent calls.
    pub max_calls: Option<u32>,
    /// New calls per second.
    pub cps: Option<u32>,
}

impl Limits {
    /// Whether there is any bound.
    pub fn is_bounded(&self) -> bool {
        self.max_calls.is_some() || self.cps.is_some()
    }
}

/// Bounds on what each address of a mapping gateway may send; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceLimits {
    /// Messages per second; more are dropped unread.
    pub messages: Option<u32>,
    /// New calls per second; more get 503.
    pub cps: Option<u32>,
}

/// Changes to a called number, in this order: strip, prepend, then the first regex that matches.
#[derive(Clone, Debug, Default)]
pub struct NumberRules {
    /// Leading characters taken away.
    pub strip: usize,
    /// Put in front.
    pub prepend: String,
    /// Patterns and their replacements (`$1`, `$name`).
    pub rewrite: Vec<(regex::Regex, String)>,
}

impl NumberRules {
    /// The number after these rules.
    pub fn apply(&self, number: &str) -> String {
        let stripped = number.char_indices().nth(self.strip).map_or("", |(at, _)| &number[at..]);
        let dialled = format!("{}{stripped}", self.prepend);
        match self.rewrite.iter().find(|(pattern, _)| pattern.is_match(&dialled)) {
            Some((pattern, replacement)) => pattern.replace(&dialled, replacement.as_str()).into_owned(),
            None => dialled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_rules_strip_then_prepend_then_rewrite() {
        let rules = NumberRules {
            strip: 2,
            prepend: "+".into(),
            rewrite: vec![(regex::Regex::new(r"^\+44(\d+)$").expect("a pattern"), "0$1".into())],
        };
        assert_eq!(rules.apply("00442071"), "02071");
        assert_eq!(rules.apply("0033123"), "+33123");
        assert_eq!(rules.apply("0"), "+");
    }
}
