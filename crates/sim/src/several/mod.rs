//! Worlds of several nodes that share a store: nodes are killed, paused, cut off and drained, clocks are set, and the store
//! stalls and loses what it had taken, while calls are made.
//!
//! The nodes run the machines of production: calls and their hosts, liveness, the lease of a node, heirs and claims, tenure of
//! calls, drains. What is written here is what production's shell does around them. The [judge] does not follow
//! each step, as the model of one node does; it holds the cluster to what no step may break.

mod judge;
mod link;
mod node;
mod party;
mod perform;
mod plan;
mod slip;
mod store;
mod takeover;
mod troubles;

pub use plan::{AddressModel, Trouble};
pub use slip::Slip;

use crate::random::Random;
use crate::schedule::Schedule;
use crate::trace::{Line, Trace};
use crate::violation::{Rule, Violation};
use bytes::Bytes;
use judge::Judge;
use link::Frame;
use node::{Answer, Ask, Node};
use party::{Party, Then};
use plan::{NODES, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use store::Store;
use tandem_sip::Limits;
use tandem_sip::time::Mono;
use tandem_switch::call::{CallId, Snapshot, TokenKeys};
use tandem_switch::gateway::MappingGateway;
use tandem_switch::parameters::AttemptParameters;

/// When the world ends, in ms: by then all troubles are long over, and all calls have been hung up.
const END: u64 = 175_000;

/// When no trouble is left, nobody hangs up any more, and what is not over is lost.
const CALM: u64 = 125_000;

/// The address of the gateway that answers all calls.
const GATEWAY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5060);

/// Slots of that gateway: more than there are calls.
const SLOTS: usize = 40;

/// Which life of which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LifeOf {
    node: usize,
    boot: u64,
}

/// Something that happens at its time.
enum Event {
    /// To a node, if it lives that life; once it is not paused any more.
    At(LifeOf, Happening),
    /// A node's request reaches the store.
    Store(LifeOf, u64, Ask),
    /// A datagram reaches a caller or the gateway.
    Reaches { to: SocketAddr, from: SocketAddr, bytes: Bytes },
    /// What a party was going to do.
    Party { callee: Option<usize>, number: usize, then: Then },
    /// Trouble begins.
    Trouble(usize),
    /// Trouble is over, or a step of it.
    Over(usize),
    /// Another server takes the store's place, with what it had.
    FailsOver(Box<Store>, i64),
    /// A node starts.
    Starts(usize),
    /// A roll goes on with that node.
    Rolls(usize),
    /// The sinks look for records.
    Sink,
    /// The judge looks around.
    Looks,
}

/// What happens to a node.
enum Happening {
    Datagram {
        from: SocketAddr,
        bytes: Bytes,
    },
    Wake {
        call: CallId,
        turn: u32,
    },
    /// The store's answer to a question, and which server it is from.
    Answer(u64, Answer, u64),
    /// The store has not answered in time.
    Silent(u64),
    Frame {
        from: usize,
        frame: Frame,
    },
    /// A question to another node has had its time.
    Unanswered(u64),
    Beat,
    AskOthers,
    LookForCalls,
    RenewSlots,
    HandOver,
    /// The owner of a call is told that it had ended.
    TellOwner(node::End),
    /// A message whose call is not here is looked after again: how often it was.
    Stray {
        flow: tandem_sip::flow::Flow,
        hops: u8,
        bytes: Bytes,
        tries: u32,
    },
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// What was reached.
    pub coverage: Coverage,
    /// The first rule that was broken, if one was.
    pub violation: Option<Violation>,
    /// What happened, if it was asked for.
    pub trace: Vec<Line>,
}

/// What worlds have been through.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    runs: u64,
    troubles: BTreeMap<Trouble, u64>,
    models: BTreeMap<AddressModel, u64>,
    counts: BTreeMap<&'static str, u64>,
}

/// What is counted, and has to be reached.
const COUNTS: [&str; 12] = [
    "calls answered",
    "calls in conversation taken over",
    "calls in set-up taken over",
    "calls handed over",
    "new calls placed on other nodes",
    "messages passed on to another node",
    "messages sent by another node",
    "messages withheld for want of a lease",
    "leases lapsed",
    "leases kept since all were blind",
    "parties told where their call is",
    "calls written again that the store had lost",
];

impl Coverage {
    /// Runs.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Adds those of others.
    pub fn add(&mut self, other: &Coverage) {
        self.runs += other.runs;
        other.troubles.iter().for_each(|(row, count)| *self.troubles.entry(*row).or_default() += count);
        other.models.iter().for_each(|(row, count)| *self.models.entry(*row).or_default() += count);
        other.counts.iter().for_each(|(row, count)| *self.counts.entry(row).or_default() += count);
    }

    /// Rows that were never reached.
    pub fn missing(&self) -> Vec<String> {
        let troubles = Trouble::ALL.iter().filter(|row| !self.troubles.contains_key(row));
        let models = AddressModel::ALL.iter().filter(|row| !self.models.contains_key(row));
        let counts = COUNTS.iter().filter(|row| !self.counts.contains_key(*row));
        let troubles = troubles.map(ToString::to_string);
        troubles.chain(models.map(ToString::to_string)).chain(counts.map(ToString::to_string)).collect()
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Several nodes: {} runs", self.runs)?;
        for (model, count) in &self.models {
            writeln!(f, "  {model:<66} {count:>9}")?;
        }
        for (trouble, count) in &self.troubles {
            writeln!(f, "  {trouble:<66} {count:>9}")?;
        }
        for (what, count) in &self.counts {
            writeln!(f, "  {what:<66} {count:>9}")?;
        }
        Ok(())
    }
}

/// Runs the world of a seed, with a slip in it or none, and writes down what happens if `trace` is set.
pub fn run(seed: u64, slip: Option<Slip>, trace: bool) -> Run {
    World::new(seed, slip, trace).run()
}

/// Every state of a call that the store of a seed's world is given.
pub fn snapshots(seed: u64) -> Vec<Arc<Snapshot>> {
    let mut world = World::new(seed, None, false);
    world.kept = Some(Vec::new());
    let mut kept = Vec::new();
    while let Some((at, event)) = world.schedule.next().filter(|(at, _)| at.0 <= END) {
        world.now = at.0;
        world.happen(event);
        kept.append(world.kept.get_or_insert_default());
    }
    kept
}

struct World {
    now: u64,
    schedule: Schedule<Event>,
    plan: Plan,
    limits: Limits,
    keys: TokenKeys,
    mapping: Arc<MappingGateway>,
    attempt: Arc<AttemptParameters>,
    nodes: Vec<Node>,
    store: Store,
    /// Which server it is.
    run_id: u64,
    store_stalls_until: u64,
    store_fails_until: u64,
    store_slow_until: u64,
    /// By how many ms its clock is ahead.
    store_skew: i64,
    callers: Vec<Party>,
    callees: Vec<Party>,
    /// Callees by the Call-ID that the switch has given them.
    by_call_id: BTreeMap<String, usize>,
    /// When a sink was written the records of each call, and what it remembers of that.
    written: BTreeMap<CallId, u64>,
    sink_knows: tandem_cluster::Written<CallId>,
    network: Random,
    chance: Random,
    datagrams: u64,
    /// Since when each node's datagrams are not to be trusted to reach it: which are cut off from peers.
    cut_from_peers: BTreeSet<usize>,
    /// When the last trouble was over, and the last one but that nodes are dead.
    calm_since: u64,
    disturbed_until: u64,
    /// States of calls, if somebody wants them.
    kept: Option<Vec<Arc<Snapshot>>>,
    slip: Option<Slip>,
    judge: Judge,
    coverage: Coverage,
    trace: Trace,
    violation: Option<Violation>,
}

impl World {
    fn new(seed: u64, slip: Option<Slip>, trace: bool) -> Self {
        let plan = Plan::draw(seed);
        let parameters = tandem_switch::parameters::Parameters::default();
        let mut chance = Random::new(seed, 52);
        let nodes = (0..NODES).map(|place| Node::new(place, &mut chance)).collect();
        let mut world = Self {
            now: 0,
            schedule: Schedule::default(),
            limits: Limits::default(),
            keys: TokenKeys { current: [7; 16], previous: None },
            mapping: Arc::new(mapping_gateway(&parameters)),
            attempt: Arc::new(parameters.attempt(&Default::default(), Vec::new())),
            nodes,
            store: Store::default(),
            run_id: 1,
            store_stalls_until: 0,
            store_fails_until: 0,
            store_slow_until: 0,
            store_skew: 0,
            callers: (0..plan.calls.len()).map(Party::caller).collect(),
            callees: Vec::new(),
            by_call_id: BTreeMap::new(),
            written: BTreeMap::new(),
            sink_knows: tandem_cluster::Written::default(),
            network: Random::new(seed, 51),
            chance,
            datagrams: 0,
            cut_from_peers: BTreeSet::new(),
            calm_since: 0,
            disturbed_until: 0,
            kept: None,
            slip,
            judge: Judge::default(),
            coverage: Coverage::default(),
            trace: Trace::new(trace),
            violation: None,
            plan,
        };
        world.enter_plan();
        world
    }

    fn enter_plan(&mut self) {
        let plan = self.plan.clone();
        *self.coverage.models.entry(plan.model).or_default() += 1;
        self.note(None, |_| format!("{}; {} % lost, {} % doubled", plan.model, plan.loses, plan.doubles));
        for node in 0..NODES {
            self.enter(node as u64 * 20, Event::Starts(node));
        }
        for (number, call) in plan.calls.iter().enumerate() {
            self.enter(2_000 + call.at, Event::Party { callee: None, number, then: Then::Invite });
        }
        for (place, trouble) in plan.troubles.iter().enumerate() {
            self.enter(trouble.at, Event::Trouble(place));
        }
        self.enter(500, Event::Sink);
        self.enter(1_000, Event::Looks);
    }

    fn run(mut self) -> Run {
        while self.violation.is_none()
            && let Some((at, event)) = self.schedule.next()
        {
            if at.0 > END {
                break;
            }
            self.now = at.0;
            self.happen(event);
        }
        if self.violation.is_none() {
            self.check_end();
        }
        self.coverage.runs = 1;
        Run { coverage: self.coverage, violation: self.violation, trace: self.trace.into_lines() }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::At(life, happening) => self.at_node(life, happening),
            Event::Store(life, question, ask) => self.at_store(life, question, ask),
            Event::Reaches { to, from, bytes } => self.reaches(to, from, bytes),
            Event::Party { callee, number, then } => self.party_acts(callee, number, then),
            Event::Trouble(place) => self.trouble(place),
            Event::Over(place) => self.trouble_is_over(place),
            Event::FailsOver(store, skew) => self.fails_over(*store, skew),
            Event::Starts(node) => self.start(node),
            Event::Rolls(node) => self.roll(node),
            Event::Sink => self.sink(),
            Event::Looks => self.look_around(),
        }
    }

    /// What happens to a node that is paused happens when it is not.
    fn at_node(&mut self, life: LifeOf, happening: Happening) {
        let node = &self.nodes[life.node];
        if !node.is_up || node.boot != life.boot {
            return;
        }
        if node.paused_until > self.now {
            let wait = node.paused_until - self.now;
            return self.enter(wait, Event::At(life, happening));
        }
        self.happens_to(life.node, happening);
    }

    fn enter(&mut self, after: u64, event: Event) {
        self.schedule.enter(Mono(self.now + after), event);
    }

    /// Has something happen to a node as it lives now.
    fn enter_at(&mut self, node: usize, after: u64, happening: Happening) {
        let life = LifeOf { node, boot: self.nodes[node].boot };
        self.enter(after, Event::At(life, happening));
    }

    fn note(&mut self, call: Option<usize>, text: impl FnOnce(&Self) -> String) {
        if self.trace.is_wanted() {
            let text = text(self);
            self.trace.note(self.now, call, text);
        }
    }

    fn fail(&mut self, rule: Rule, call: Option<usize>, detail: impl Into<String>) {
        self.violation.get_or_insert(Violation { rule, at_ms: self.now, call, detail: detail.into() });
    }

    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    /// Sinks are written each record once: they keep one row for a call.
    fn sink(&mut self) {
        self.enter(500, Event::Sink);
        if self.store_stalls_until > self.now {
            return;
        }
        let now = Mono(self.now);
        for id in std::mem::take(&mut self.store.records).into_keys() {
            if self.sink_knows.has(&id, now) {
                continue;
            }
            self.sink_knows.note([id].into_iter(), now);
            if self.written.insert(id, self.now).is_some() {
                self.fail(Rule::Cdr, self.judge.number(id), "a call has two records");
            }
        }
        self.store.forget(now);
    }

    /// A datagram of the switch reaches a caller or the gateway.
    fn reaches(&mut self, to: SocketAddr, from: SocketAddr, bytes: Bytes) {
        let Ok(message) = tandem_sip::Message::parse(bytes, &self.limits) else {
            return self.fail(Rule::Readable, None, format!("what {from} sent to {to}"));
        };
        let (place, number) = if to == GATEWAY {
            let call_id = String::from_utf8_lossy(message.call_id().unwrap_or_default()).into_owned();
            let place = match self.by_call_id.get(&call_id) {
                Some(place) => *place,
                None => match self.new_callee(&message, call_id) {
                    Some(place) => place,
                    None => return,
                },
            };
            (Some(place), self.callees[place].number)
        } else {
            (None, usize::from(to.port()) - 20_000)
        };
        self.note(Some(number), |world| {
            let who = if place.is_some() { "gateway" } else { "caller" };
            format!("{:>10} -> {who}: {}", world.name_of(from), describe(&message))
        });
        let now = self.now;
        let party = match place {
            Some(place) => &mut self.callees[place],
            None => &mut self.callers[number],
        };
        let before = party.standing;
        let doings = party.hear(from, &message, now);
        self.party_does(place, number, before, doings);
    }

    /// An INVITE to the gateway begins a party of its own.
    fn new_callee(&mut self, message: &tandem_sip::Message, call_id: String) -> Option<usize> {
        if message.method() != Some(tandem_sip::Method::Invite) || message.to_tag().is_some() {
            return None;
        }
        let number =
            tandem_sip::Uri::parse(message.request_uri()).ok()?.number().strip_prefix("44")?.parse().ok()?;
        let place = self.callees.len();
        self.callees.push(Party::callee(number, GATEWAY, message));
        self.by_call_id.insert(call_id, place);
        let rings = self.plan.calls.get(number)?.rings;
        self.enter(50, Event::Party { callee: Some(place), number, then: Then::Ring });
        self.enter(100 + rings, Event::Party { callee: Some(place), number, then: Then::Answer });
        Some(place)
    }

    fn party_acts(&mut self, callee: Option<usize>, number: usize, then: Then) {
        let node = match callee {
            None => self.address_for(self.plan.calls[number].node + self.callers[number].tries),
            Some(_) => GATEWAY,
        };
        let now = self.now;
        let party = match callee {
            Some(place) => &mut self.callees[place],
            None => &mut self.callers[number],
        };
        let before = party.standing;
        let doings = party.act(then, node, now);
        self.party_does(callee, number, before, doings);
    }

    fn party_does(
        &mut self,
        callee: Option<usize>,
        number: usize,
        before: party::Standing,
        doings: party::Doings,
    ) {
        let party = match callee {
            Some(place) => &self.callees[place],
            None => &self.callers[number],
        };
        let (from, standing) = (party.address(), party.standing);
        if let Some(fault) = doings.fault {
            self.fail(Rule::Names, Some(number), fault);
        }
        if before != standing && standing == party::Standing::Answered {
            self.is_answered(callee, number);
        }
        for (to, bytes) in doings.sends {
            self.party_sends(number, from, to, bytes);
        }
        for (after, then) in doings.later {
            self.enter(after, Event::Party { callee, number, then });
        }
    }

    /// Both ends talk from now on, until one of them hangs up.
    fn is_answered(&mut self, callee: Option<usize>, number: usize) {
        if callee.is_some() {
            return;
        }
        self.coverage.count("calls answered");
        self.judge.talks(number, &self.callers[number].their_tag, &self.keys);
        let call = self.plan.calls[number];
        let end = (self.now + call.talks).min(CALM - 30_000) - self.now.min(CALM - 30_000);
        if call.caller_ends {
            return self.enter(end, Event::Party { callee: None, number, then: Then::HangUp });
        }
        // Whichever of the callees it is: the others are not in conversation.
        let places: Vec<_> =
            (0..self.callees.len()).filter(|place| self.callees[*place].number == number).collect();
        for place in places {
            self.enter(end, Event::Party { callee: Some(place), number, then: Then::HangUp });
        }
    }

    /// Where a caller tries its luck next.
    fn address_for(&self, turn: usize) -> SocketAddr {
        match self.plan.model {
            AddressModel::Shared => node::SHARED,
            AddressModel::Returning | AddressModel::Vanishing => self.nodes[turn % NODES].address,
        }
    }

    fn party_sends(&mut self, number: usize, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        for _ in 0..self.copies() {
            let delay = self.delay();
            let Some(node) = self.node_at(to, from) else {
                self.note(Some(number), |_| format!("{:>10} -> {to}: nobody is there", "party"));
                continue;
            };
            if self.cut_from_peers.contains(&node) {
                continue;
            }
            let bytes = bytes.clone();
            self.enter_at(node, delay, Happening::Datagram { from, bytes });
        }
    }

    /// How often a datagram arrives.
    fn copies(&mut self) -> u64 {
        self.datagrams += 1;
        if self.network.chance(self.plan.loses) {
            0
        } else {
            1 + u64::from(self.network.chance(self.plan.doubles))
        }
    }

    fn delay(&mut self) -> u64 {
        let most = self.network.one_of(&[3, 10, 40]);
        1 + self.network.below(most)
    }

    /// Which node takes what is sent to an address.
    fn node_at(&self, address: SocketAddr, from: SocketAddr) -> Option<usize> {
        if address != node::SHARED {
            return self.nodes.iter().position(|node| node.is_up && node.address == address);
        }
        // A balancer notices after a while who is not there.
        let now = self.now;
        let takes = |node: &Node| node.is_up && (node.paused_until <= now || now < node.paused_at + 2_000);
        let nodes: Vec<_> = (0..NODES).filter(|node| takes(&self.nodes[*node])).collect();
        // It sends what comes from one peer to one node.
        let turn = if from == GATEWAY { 0 } else { usize::from(from.port()) };
        (!nodes.is_empty()).then(|| nodes[turn % nodes.len()])
    }

    fn name_of(&self, address: SocketAddr) -> String {
        let node = self.nodes.iter().find(|node| node.address == address);
        node.map_or_else(|| address.to_string(), |node| node.name.to_string())
    }
}

fn mapping_gateway(parameters: &tandem_switch::parameters::Parameters) -> MappingGateway {
    use tandem_switch::gateway::{Limits, NumberRules, SourceLimits};
    MappingGateway {
        name: "customer".into(),
        sources: Vec::new(),
        limits: Limits::default(),
        per_source: SourceLimits::default(),
        trusted: false,
        pass_headers: Vec::new(),
        pass_methods: Default::default(),
        number_rules: NumberRules::default(),
        cause_map: BTreeMap::new(),
        parameters: parameters.call(&Default::default()),
    }
}

/// A message in a few words.
fn describe(message: &tandem_sip::Message) -> String {
    let cseq =
        String::from_utf8_lossy(message.first(tandem_sip::Name::CSeq).unwrap_or_default()).into_owned();
    let call_id = String::from_utf8_lossy(message.call_id().unwrap_or_default()).into_owned();
    match message.status() {
        Some(status) => format!("{status} ({cseq}) {call_id}"),
        None => format!("{cseq} {call_id}"),
    }
}
