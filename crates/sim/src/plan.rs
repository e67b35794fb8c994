//! What a run is going to be: drawn whole from its seed before anything happens.

use crate::knobs::{AttemptKnobs, CallKnobs, SystemKnobs};
use crate::peers::{ACCOUNT, CallerConduct, CarrierConduct};
use crate::random::Random;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tandem_switch::Secret;
use tandem_switch::gateway::{
    Account, GatewayAddress, Limits, MappingGateway, NumberRules, Redirects, RoutingGateway, SourceLimits,
};
use tandem_switch::parameters::{AttemptParameters, CallParameters};

/// The fewest calls of a run.
pub(crate) const CALLS_MIN: u64 = 20;

/// The fewest faults of a run.
pub(crate) const FAULTS_MIN: u64 = 5;

/// One world in so many is about conversations.
const CONVERSATIONS_EVERY: u64 = 3;

/// Datagrams among which the faults lie that every run has.
const FORCED_WITHIN: u64 = 40;

pub(crate) struct Plan {
    pub(crate) sources: Vec<Source>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) calls: Vec<CallPlan>,
    pub(crate) network: NetworkPlan,
    pub(crate) store: StorePlan,
    /// When gateways' actors are started anew: time and gateway.
    pub(crate) restarts: Vec<(u64, usize)>,
    /// When the store loses what it had taken, and how.
    pub(crate) losses: Vec<(u64, Loss)>,
    pub(crate) node_max_calls: Option<u32>,
    /// How late a wake-up may come.
    pub(crate) lateness_ms: u64,
    /// Calls that are set up and ended, or calls that talk.
    pub(crate) kind: Kind,
}

/// What a world is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// How calls come about and end, step by step; nothing bounds a conversation but its longest duration.
    SetUps,
    /// What goes on in calls besides that: session timers, reliable provisional responses, offers, challenges and
    /// redirections.
    Conversations,
}

/// A mapping gateway.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) network: &'static str,
    pub(crate) limits: Limits,
    pub(crate) strip: usize,
    pub(crate) prepend: &'static str,
    pub(crate) cause_map: BTreeMap<u16, u16>,
    pub(crate) knobs: CallKnobs,
    pub(crate) parameters: CallParameters,
}

/// A routing gateway and the carrier behind it.
pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) prefix: &'static str,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) limits: Limits,
    pub(crate) disabled: bool,
    pub(crate) strip: usize,
    pub(crate) prepend: &'static str,
    pub(crate) knobs: AttemptKnobs,
    pub(crate) parameters: Arc<AttemptParameters>,
    /// What it mostly does.
    pub(crate) persona: Option<CarrierConduct>,
    pub(crate) reach: Reach,
    /// Where its name leads, best first, if it is known by one.
    pub(crate) places: Vec<SocketAddr>,
    pub(crate) account: Option<Account>,
    pub(crate) redirects: Redirects,
}

/// How a carrier's address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Fine,
    /// From that time on nobody listens at its port, and ICMP comes back.
    Icmp {
        from_ms: u64,
    },
    /// From that time on the transport refuses to send.
    NoRoute {
        from_ms: u64,
    },
}

pub(crate) struct CallPlan {
    pub(crate) at_ms: u64,
    pub(crate) source: Option<usize>,
    pub(crate) conduct: CallerConduct,
    pub(crate) dialled: String,
    pub(crate) offers: bool,
    /// From the answer to hanging up, where it is the caller that hangs up.
    pub(crate) talk_ms: u64,
    /// From the INVITE to whatever the conduct does on its own account.
    pub(crate) whim_ms: u64,
    /// From the INVITE to panics of the call's machine.
    pub(crate) panics_ms: Vec<u64>,
    /// From the INVITE to the operator's hang-up.
    pub(crate) hang_up_ms: Option<u64>,
    /// From the INVITE to another node's claim.
    pub(crate) stolen_ms: Option<u64>,
    pub(crate) lookup: LookupPlan,
}

/// How the question for routes is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupPlan {
    AtOnce,
    After(u64),
    Never,
}

/// What happens to datagrams, in percent.
pub(crate) struct NetworkPlan {
    pub(crate) loss: u64,
    pub(crate) duplicate: u64,
    pub(crate) late: u64,
    pub(crate) garbage: u64,
    pub(crate) delay_ms: u64,
    /// Datagrams, counted from the first, that have a fault for certain.
    pub(crate) forced: Vec<u64>,
}

/// How the store behaves, and spells in which it behaves otherwise.
pub(crate) struct StorePlan {
    pub(crate) mood: StoreMood,
    pub(crate) spells: Vec<(u64, u64, StoreMood)>,
}

/// How a store loses what it had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It comes back with nothing.
    Emptied,
    /// Another server takes its place, which lacks the writes of the last milliseconds.
    FailedOver(u64),
    /// The same, and for that long the other one took writes of other nodes.
    TwoMasters(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreMood {
    /// Done when asked, as a store in memory is.
    Immediate,
    /// Within that many milliseconds.
    Within(u64),
    /// Not before the spell is over.
    Stalled,
    /// Fails, within that many milliseconds; some writes are made all the same.
    Failing(u64),
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, 1);
        if seed % CONVERSATIONS_EVERY == CONVERSATIONS_EVERY - 1 {
            return Self::draw_conversations(seed, &mut random);
        }
        let random = &mut random;
        let system = SystemKnobs::draw(random);
        let sources = vec![
            Source::draw(&system, ("customer", "192.0.2.0/25"), (0, ""), random),
            Source::draw(&system, ("reseller", "192.0.2.128/25"), (2, ""), random),
        ];
        let gateways =
            (0..random.between(2, 6) as usize).map(|place| Gateway::draw(&system, place, random)).collect();
        let length_ms = random.between(5, 90) * 1000;
        let calls: Vec<CallPlan> = (0..random.between(CALLS_MIN + 2, CALLS_MIN + 6))
            .map(|_| CallPlan::draw(length_ms, random))
            .collect();
        let network = NetworkPlan::draw(random);
        let store = StorePlan::draw(length_ms + 60_000, random);
        let restarts = if random.chance(20) {
            vec![(random.below(length_ms + 30_000), random.below(6) as usize)]
        } else {
            Vec::new()
        };
        let node_max_calls = random.chance(5).then_some(8);
        let lateness_ms = random.one_of(&[0, 0, 0, 10, 300]);
        let kind = Kind::SetUps;
        let losses = draw_losses(length_ms + 30_000, &mut Random::new(seed, 9));
        Self { sources, gateways, calls, network, store, restarts, losses, node_max_calls, lateness_ms, kind }
    }

    fn draw_conversations(seed: u64, random: &mut Random) -> Self {
        let system = SystemKnobs::draw_conversations(random);
        let source = Source::configure(("customer", "192.0.2.0/24"), system.customer());
        let gateways =
            (0..random.between(2, 4) as usize).map(|place| Gateway::vendor(&system, place, random));
        let gateways = gateways.collect();
        let length_ms = random.between(5, 400) * 1000;
        let calls: Vec<CallPlan> = (0..random.between(CALLS_MIN + 2, CALLS_MIN + 6))
            .map(|_| CallPlan::talks(length_ms, random))
            .collect();
        let network =
            NetworkPlan { loss: random.one_of(&[0, 2, 10, 20]), garbage: 0, ..NetworkPlan::draw(random) };
        let store = StorePlan::draw(length_ms + 600_000, random);
        let lateness_ms = random.one_of(&[0, 0, 10, 100]);
        Self {
            sources: vec![source],
            gateways,
            calls,
            network,
            store,
            restarts: Vec::new(),
            losses: draw_losses(length_ms + 200_000, &mut Random::new(seed, 9)),
            node_max_calls: None,
            lateness_ms,
            kind: Kind::Conversations,
        }
    }
}

impl Plan {
    /// Network, store and clock, in a line.
    pub(crate) fn describe(&self) -> String {
        let NetworkPlan { loss, duplicate, late, delay_ms, .. } = &self.network;
        format!(
            "network: {loss} % lost, {duplicate} % doubled, {late} % late, up to {delay_ms} ms; wake-ups up to {} ms late; \
             store: {:?}, spells {:?}, losses {:?}",
            self.lateness_ms, self.store.mood, self.store.spells, self.losses
        )
    }
}

impl Source {
    /// The mapping gateway in a line.
    pub(crate) fn describe(&self) -> String {
        format!("{}: {:?}, cause map {:?}, {:?}", self.name, self.limits, self.cause_map, self.knobs)
    }

    fn draw(
        system: &SystemKnobs,
        (name, network): (&'static str, &'static str),
        (strip, prepend): (usize, &'static str),
        random: &mut Random,
    ) -> Self {
        let (knobs, parameters) = system.mapping_gateway(random);
        let cause_map = if random.chance(20) {
            BTreeMap::from([(486, 480), (500, 502), (408, 504), (503, 200)])
        } else {
            BTreeMap::new()
        };
        let limits = Limits {
            max_calls: random.chance(10).then(|| random.between(4, 10) as u32),
            cps: random.chance(5).then_some(3),
        };
        Self { name, network, limits, strip, prepend, cause_map, knobs, parameters }
    }

    fn configure(
        (name, network): (&'static str, &'static str),
        (knobs, parameters): (CallKnobs, CallParameters),
    ) -> Self {
        let (limits, cause_map) = (Limits::default(), BTreeMap::new());
        Self { name, network, limits, strip: 0, prepend: "", cause_map, knobs, parameters }
    }

    /// As the switch has it.
    pub(crate) fn configured(&self) -> MappingGateway {
        MappingGateway {
            name: self.name.into(),
            sources: vec![self.network.parse().expect("a network")],
            limits: self.limits,
            per_source: SourceLimits::default(),
            trusted: false,
            pass_headers: Vec::new(),
            pass_methods: Default::default(),
            number_rules: NumberRules {
                strip: self.strip,
                prepend: self.prepend.to_owned(),
                rewrite: Vec::new(),
            },
            cause_map: self.cause_map.clone(),
            parameters: self.parameters,
        }
    }
}

impl Gateway {
    /// The routing gateway in a line.
    pub(crate) fn describe(&self) -> String {
        let Self { name, prefix, priority, weight, limits, knobs, reach, .. } = self;
        format!(
            "{name}: prefix {prefix:?}, priority {priority}, weight {weight}, {limits:?}, {reach:?}, {knobs:?}"
        )
    }

    fn draw(system: &SystemKnobs, place: usize, random: &mut Random) -> Self {
        let (knobs, parameters) = system.routing_gateway(random);
        let prefix = match random.below(10) {
            0 => "4420",
            1 => "33",
            2 => "",
            _ => "44",
        };
        let reach = match random.below(20) {
            0 => Reach::Icmp { from_ms: 0 },
            1 => Reach::NoRoute { from_ms: 0 },
            2 => Reach::Icmp { from_ms: random.below(90_000) },
            3 => Reach::NoRoute { from_ms: random.below(90_000) },
            _ => Reach::Fine,
        };
        Self {
            name: format!("gateway{}", place + 1),
            address: SocketAddr::from(([198, 51, 100, place as u8 + 1], 5060)),
            prefix,
            priority: random.between(1, 2) as u32,
            weight: random.below(4) as u32,
            limits: Limits {
                max_calls: random.chance(40).then(|| random.between(1, 5) as u32),
                cps: random.chance(15).then(|| random.between(1, 2) as u32),
            },
            disabled: random.chance(4),
            strip: random.below(3) as usize,
            prepend: random.one_of(&["", "", "00", "77"]),
            knobs,
            parameters,
            persona: random.chance(50).then(|| random.one_of(CarrierConduct::ALL)),
            reach,
            places: Vec::new(),
            account: None,
            redirects: Redirects::Refuse,
        }
    }

    /// A gateway in a world of conversations: of up to three places, all of them fine.
    fn vendor(system: &SystemKnobs, place: usize, random: &mut Random) -> Self {
        let (knobs, parameters) = system.vendor(random);
        let at = |host: u8| SocketAddr::from(([198, 51, 100 + host, place as u8 + 1], 5060));
        let is_named = random.chance(40);
        let account = Account {
            username: ACCOUNT.0.to_owned(),
            password: Secret::new(ACCOUNT.2.to_owned()),
            realm: None,
        };
        Self {
            name: format!("gateway{}", place + 1),
            address: at(0),
            prefix: "44",
            priority: random.between(1, 2) as u32,
            weight: 1,
            limits: Limits::default(),
            disabled: false,
            strip: 0,
            prepend: "",
            knobs,
            parameters,
            persona: None,
            reach: Reach::Fine,
            places: if is_named { (0..random.between(1, 3) as u8).map(at).collect() } else { Vec::new() },
            account: random.chance(80).then_some(account),
            redirects: random.one_of(&[
                Redirects::Any,
                Redirects::Gateway,
                Redirects::Any,
                Redirects::Refuse,
            ]),
        }
    }

    /// All places that are its own.
    pub(crate) fn own_places(&self) -> &[SocketAddr] {
        if self.places.is_empty() { std::slice::from_ref(&self.address) } else { &self.places }
    }

    /// As the switch has it, with parameters that need not be the plan's.
    pub(crate) fn configured(&self, parameters: Arc<AttemptParameters>) -> RoutingGateway {
        RoutingGateway {
            name: self.name.as_str().into(),
            address: GatewayAddress::At(self.address),
            transport: None,
            listen: None,
            prefixes: vec![self.prefix.to_owned()],
            priority: self.priority,
            weight: self.weight,
            limits: self.limits,
            trusted: false,
            pass_headers: Vec::new(),
            pass_methods: Default::default(),
            account: self.account.clone(),
            redirects: self.redirects,
            number_rules: NumberRules {
                strip: self.strip,
                prepend: self.prepend.to_owned(),
                rewrite: Vec::new(),
            },
            when_store_away: Default::default(),
            disabled: self.disabled,
            health: Default::default(),
            parameters,
        }
    }
}

impl CallPlan {
    fn talks(length_ms: u64, random: &mut Random) -> Self {
        let mut panics_ms = Vec::new();
        if random.chance(15) {
            // Some while everybody makes offers.
            let (from, within) = random.one_of(&[(0, 2_000), (0, 8_000), (19_500, 6_000), (0, 600_000)]);
            panics_ms.push(from + random.below(within));
        }
        Self {
            at_ms: random.below(length_ms),
            source: Some(0),
            conduct: CallerConduct::Talks,
            dialled: format!("441{:03}", random.below(1000)),
            offers: true,
            talk_ms: 0,
            whim_ms: 0,
            panics_ms,
            hang_up_ms: None,
            stolen_ms: None,
            lookup: LookupPlan::AtOnce,
        }
    }

    fn draw(length_ms: u64, random: &mut Random) -> Self {
        let conduct =
            if random.chance(45) { CallerConduct::Talks } else { random.one_of(CallerConduct::ALL) };
        let source = if random.chance(1) { None } else { Some(random.below(4).min(1) as usize) };
        let number = match random.below(12) {
            0 => format!("4420{:03}", random.below(1000)),
            1 => format!("33{:03}", random.below(1000)),
            2 => format!("7{:03}", random.below(1000)),
            _ => format!("441{:03}", random.below(1000)),
        };
        let dialled = if source == Some(1) { format!("99{number}") } else { number };
        let whim_ms = match random.below(4) {
            0 => random.below(300),
            1 => random.below(3_000),
            _ => random.below(30_000),
        };
        let mut panics_ms = Vec::new();
        if random.chance(8) {
            let within = random.one_of(&[500, 5_000, 40_000]);
            panics_ms.push(random.below(within));
            if random.chance(20) {
                panics_ms.push(panics_ms[0] + random.below(20_000));
            }
        }
        Self {
            at_ms: random.below(length_ms),
            source,
            conduct,
            dialled,
            offers: random.chance(85),
            talk_ms: random.below(40_000),
            whim_ms,
            panics_ms,
            hang_up_ms: random.chance(4).then(|| random.below(40_000)),
            stolen_ms: random.chance(1).then(|| random.below(20_000)),
            lookup: match random.below(60) {
                0 => LookupPlan::Never,
                1 | 2 => LookupPlan::After(random.below(5_000)),
                _ => LookupPlan::AtOnce,
            },
        }
    }
}

impl NetworkPlan {
    fn draw(random: &mut Random) -> Self {
        let mut forced = Vec::new();
        while forced.len() < FAULTS_MIN as usize {
            let place = random.below(FORCED_WITHIN);
            if !forced.contains(&place) {
                forced.push(place);
            }
        }
        Self {
            loss: random.below(12),
            duplicate: random.below(6),
            late: random.below(6),
            garbage: random.below(2),
            delay_ms: random.between(1, 60),
            forced,
        }
    }
}

/// In some worlds the store loses something, once or twice.
fn draw_losses(length_ms: u64, random: &mut Random) -> Vec<(u64, Loss)> {
    let count = random.one_of(&[0, 0, 1, 1, 2]);
    let draw = |_| {
        let kind = random.below(3);
        let ms = random.between(50, 3_000);
        let loss = match kind {
            0 => Loss::Emptied,
            1 => Loss::FailedOver(ms),
            _ => Loss::TwoMasters(ms),
        };
        (random.between(5_000, length_ms.max(6_000)), loss)
    };
    let mut losses: Vec<_> = (0..count).map(draw).collect();
    losses.sort_by_key(|(at, _)| *at);
    // One after the other.
    losses.dedup_by(|later, first| later.0 < first.0 + 20_000);
    losses
}

impl StorePlan {
    /// When the store will have answered without failing for that long, if nothing else befalls it; at the earliest.
    pub(crate) fn calm_since(&self, from_ms: u64, for_ms: u64) -> u64 {
        let is_bad = |mood: &StoreMood| matches!(mood, StoreMood::Stalled | StoreMood::Failing(_));
        let mut calm = from_ms;
        let mut bad: Vec<_> = self.spells.iter().filter(|(.., mood)| is_bad(mood)).collect();
        bad.sort_by_key(|(from, ..)| *from);
        for (from, to, _) in bad {
            if *from < calm + for_ms && *to > calm {
                calm = *to;
            }
        }
        calm + for_ms
    }

    fn draw(length_ms: u64, random: &mut Random) -> Self {
        let mood = match random.below(4) {
            0 | 1 => StoreMood::Immediate,
            2 => StoreMood::Within(20),
            _ => StoreMood::Within(400),
        };
        let mut spells = Vec::new();
        for _ in 0..random.below(4) {
            let from = random.below(length_ms);
            let other = match random.below(4) {
                0 => StoreMood::Stalled,
                1 => StoreMood::Failing(0),
                2 => StoreMood::Failing(200),
                _ => StoreMood::Within(1_500),
            };
            spells.push((from, from + random.between(500, 8_000), other));
        }
        Self { mood, spells }
    }

    /// The mood at a time, and until when it lasts if it is a spell.
    pub(crate) fn mood_at(&self, at_ms: u64) -> (StoreMood, u64) {
        let spell = self.spells.iter().find(|(from, to, _)| (*from..*to).contains(&at_ms));
        spell.map_or((self.mood, at_ms), |(_, to, mood)| (*mood, *to))
    }
}
