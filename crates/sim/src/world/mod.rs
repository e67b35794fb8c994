//! A world with one node in it: the very machines that production runs, on a clock, a network and a store of the
//! world's own.

mod dispatch;
mod faults;
mod life;
mod losses;
mod network;
mod perform;
mod phones;
mod store;
mod writes;

pub(crate) use life::through_bytes;

use crate::coverage::{Coverage, Fault};
use crate::model::{Model, WALL_START};
use crate::peers::{Caller, CallerAct, Carrier, CarrierAct, Phone, PhoneAct};
use crate::plan::{CALLS_MIN, FAULTS_MIN, Kind, Loss, Plan};
use crate::random::Random;
use crate::saboteur::Saboteur;
use crate::schedule::Schedule;
use crate::trace::{Line, Trace};
use crate::violation::{Rule, Violation};
use bytes::Bytes;
use life::{End, Life, Mail};
use losses::Sink;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use store::Store;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_sip::{Limits, Message};
use tandem_switch::call::{CallId, TokenKeys};
use tandem_switch::gateway::{GatewayState, MappingGateway, NonceCounts, SourceTable};
use tandem_switch::routing::RouteTable;
use writes::StoreEvent;

/// The node's name.
const NODE: &str = "n1";

/// When the operator ends every conversation that nobody else has ended, in ms: by then all that was planned is over.
const SWEEP_AT: u64 = 600_000;

/// The same where calls talk.
const SWEEP_TALKS_AT: u64 = 3_000_000;

/// No world lasts longer than that, in ms.
const END_OF_TIME: u64 = 7_200_000;

/// Something that happens at its time.
enum Event {
    /// A datagram arrives at the node.
    Arrives {
        from: SocketAddr,
        bytes: Bytes,
    },
    /// A datagram arrives at a caller or a carrier.
    Reaches {
        to: Peer,
        message: Message,
    },
    /// ICMP arrives at the node and quotes what it had sent.
    Unreachable(Bytes),
    Caller(usize, CallerAct),
    Carrier(usize, (usize, CarrierAct)),
    Phone(usize, PhoneAct),
    /// A result reaches a call.
    Mail(usize, Mail),
    /// A call's wake-up, unless it has been moved since.
    Wake(usize, u32),
    Store(StoreEvent),
    /// A call's machine panics.
    Panic(usize),
    /// The operator hangs up.
    HangUp(usize),
    /// Another node claims a call.
    Steal(usize),
    /// A gateway's actor is started anew.
    Restart(usize),
    /// The store begins to lose something.
    Loses(Loss),
    /// Another server takes its place.
    FailsOver,
    /// A call hears that the store may have lost it.
    Lost(usize),
    /// What was lost of a call is to be there again.
    IsWhole(usize),
    /// The store is told again of calls that have ended.
    TellEnds,
    /// The sink looks for records.
    Drains,
    /// The operator ends what is left.
    Sweep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Caller(usize),
    Carrier(usize),
    /// The phones that are called there, or call from there.
    Place(SocketAddr),
}

pub(crate) struct World {
    now: Mono,
    schedule: Schedule<Event>,
    plan: Rc<Plan>,
    limits: Limits,
    keys: TokenKeys,
    sources: SourceTable,
    mapping: Vec<Arc<MappingGateway>>,
    routes: RouteTable,
    /// The slots of the node, of each mapping gateway, and of each routing gateway.
    node_slots: GatewayState,
    mapping_slots: Vec<GatewayState>,
    gateway_slots: Vec<GatewayState>,
    lives: Vec<Life>,
    /// The life of each call that the node has.
    directory: BTreeMap<CallId, usize>,
    store: Store,
    /// The server that will take the store's place, while there are two.
    split: Option<Store>,
    /// What the store has been told of ended calls: the very memory that production has.
    ended: tandem_cluster::Ended<End>,
    sink: Sink,
    callers: Vec<Caller>,
    carriers: Vec<Carrier>,
    phones: Vec<Phone>,
    /// How often the nonces of each gateway have been used.
    nonces: Vec<NonceCounts>,
    seed: u64,
    network: Random,
    shell: Random,
    /// What becomes of the store, apart from the others: worlds without losses are as they were.
    misfortune: Random,
    /// Datagrams sent so far.
    datagrams: u64,
    model: Model,
    coverage: Coverage,
    trace: Trace,
    saboteur: Saboteur,
    violation: Option<Violation>,
}

/// What came of a run.
pub(crate) struct Ended {
    pub(crate) coverage: Coverage,
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: Vec<Line>,
}

impl World {
    pub(crate) fn new(seed: u64, saboteur: Saboteur, trace: bool) -> Self {
        let plan = Rc::new(Plan::draw(seed));
        let mapping: Vec<_> = plan
            .sources
            .iter()
            .map(|source| Arc::new(saboteur.mapping_gateway(source.configured())))
            .collect();
        let gateways: Vec<_> = plan
            .gateways
            .iter()
            .map(|gateway| Arc::new(gateway.configured(saboteur.attempt_parameters(&gateway.parameters))))
            .collect();
        let gateway_slots =
            gateways.iter().map(|gateway| GatewayState::new(saboteur.limits(gateway.limits))).collect();
        let talks = plan.kind == Kind::Conversations;
        let carriers = plan.gateways.iter().enumerate().filter(|_| !talks);
        let callers = plan.calls.iter().enumerate().filter(|_| !talks);
        let phones = if talks { phones::callers(seed, &plan) } else { Vec::new() };
        let node_limits = tandem_switch::gateway::Limits { max_calls: plan.node_max_calls, cps: None };
        let mut world = Self {
            now: Mono(0),
            schedule: Schedule::default(),
            limits: Limits::default(),
            keys: TokenKeys { current: [7; 16], previous: None },
            sources: SourceTable::new(&mapping),
            mapping_slots: mapping.iter().map(|gateway| GatewayState::new(gateway.limits)).collect(),
            mapping,
            routes: RouteTable::new(gateways),
            node_slots: GatewayState::new(node_limits),
            gateway_slots,
            lives: Vec::new(),
            directory: BTreeMap::new(),
            store: Store::default(),
            split: None,
            ended: tandem_cluster::Ended::default(),
            sink: Sink::default(),
            callers: callers.map(|(number, call)| Caller::new(number, call)).collect(),
            carriers: carriers
                .map(|(place, gateway)| Carrier::new(place, gateway, Random::new(seed, 100 + place as u64)))
                .collect(),
            phones,
            nonces: plan.gateways.iter().map(|_| NonceCounts::default()).collect(),
            seed,
            network: Random::new(seed, 2),
            shell: Random::new(seed, 3),
            misfortune: Random::new(seed, 4),
            datagrams: 0,
            model: Model::new(plan.clone()),
            coverage: Coverage::default(),
            trace: Trace::new(trace),
            saboteur,
            violation: None,
            plan,
        };
        world.describe_plan();
        world.enter_plan();
        world
    }

    /// What the world is like, at the top of its trace.
    fn describe_plan(&mut self) {
        let plan = self.plan.clone();
        for source in &plan.sources {
            self.note(None, |_| source.describe());
        }
        for gateway in &plan.gateways {
            self.note(None, |_| gateway.describe());
        }
        self.note(None, |_| plan.describe());
    }

    fn enter_plan(&mut self) {
        let plan = self.plan.clone();
        for number in 0..self.callers.len() {
            let call = &plan.calls[number];
            self.schedule.enter(Mono(call.at_ms), Event::Caller(number, CallerAct::Start));
            self.coverage.caller(call.conduct);
        }
        self.enter_phones();
        self.enter_losses();
        for (at_ms, gateway) in &plan.restarts {
            self.schedule.enter(Mono(*at_ms), Event::Restart(gateway % plan.gateways.len()));
        }
        let sweep = match plan.kind {
            Kind::SetUps => SWEEP_AT,
            Kind::Conversations => SWEEP_TALKS_AT,
        };
        self.schedule.enter(Mono(sweep), Event::Sweep);
    }

    /// Lets everything happen that is going to happen, or stops at the first broken rule.
    pub(crate) fn run(mut self) -> Ended {
        while self.violation.is_none()
            && let Some((at, event)) = self.schedule.next()
        {
            self.now = at;
            if at.0 > END_OF_TIME {
                self.fail(Rule::Spinning, None, "the world does not come to an end");
                break;
            }
            self.happen(event);
        }
        if self.violation.is_none() {
            self.check_quiet();
        }
        self.model.count(&mut self.coverage);
        self.coverage.run();
        Ended { coverage: self.coverage, violation: self.violation, trace: self.trace.into_lines() }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives { from, bytes } => self.on_datagram(from, bytes),
            Event::Reaches { to, message } => self.reaches(to, &message),
            Event::Unreachable(sent) => self.on_unreachable(&sent),
            Event::Caller(number, act) => {
                let does = self.callers[number].act(act);
                self.caller_does(number, does);
            }
            Event::Carrier(place, (dialog, act)) => {
                let does = self.carriers[place].act(dialog, act);
                self.carrier_does(place, does);
            }
            Event::Phone(number, act) => self.phone_acts(number, act),
            Event::Mail(life, mail) => self.on_mail(life, mail),
            Event::Wake(life, turn) => self.on_wake(life, turn),
            Event::Store(event) => self.on_store(event),
            Event::Panic(life) => self.panic(life),
            Event::HangUp(life) => self.hang_up(life),
            Event::Steal(life) => self.steal(life),
            Event::Restart(gateway) => self.restart(gateway),
            Event::Loses(loss) => self.loses(loss),
            Event::FailsOver => self.fails_over(),
            Event::Lost(life) => self.is_lost(life),
            Event::IsWhole(life) => self.is_whole(life),
            Event::TellEnds => self.tell_ends(),
            Event::Drains => self.drains(),
            Event::Sweep => self.sweep(),
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: Wall(WALL_START + self.now.0) }
    }

    fn enter(&mut self, after_ms: u64, event: Event) {
        self.schedule.enter(Mono(self.now.0 + after_ms), event);
    }

    /// Writes a line down, which is not made up if nobody wants it.
    fn note(&mut self, call: Option<usize>, text: impl FnOnce(&Self) -> String) {
        if self.trace.is_wanted() {
            let text = text(self);
            self.trace.note(self.now.0, call, text);
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.coverage.fault(fault);
        self.note(None, |_| format!("{:>20}    fault: {fault}", ""));
    }

    fn fail(&mut self, rule: Rule, call: Option<usize>, detail: impl Into<String>) {
        self.violation.get_or_insert(Violation { rule, at_ms: self.now.0, call, detail: detail.into() });
    }

    /// When nothing is going to happen any more, nothing is left.
    fn check_quiet(&mut self) {
        if let Some(left) = self.model.leftover() {
            return self.fail(Rule::Leftover, None, left);
        }
        if !self.directory.is_empty() {
            let left: Vec<_> = self.directory.values().collect();
            return self.fail(Rule::Leftover, None, format!("calls {left:?} are in the directory"));
        }
        let counts = [("node", self.node_slots.calls()), ("store", self.store.held())];
        let mapping = self.mapping_slots.iter().map(|slots| ("mapping gateway", slots.calls()));
        let gateways = self.gateway_slots.iter().map(|slots| ("gateway", slots.calls()));
        let left = counts.into_iter().chain(mapping).chain(gateways).find(|(_, calls)| *calls > 0);
        if let Some((what, calls)) = left {
            return self.fail(Rule::Leftover, None, format!("{what}: {calls} calls are left"));
        }
        for (call, life) in self.lives.iter().enumerate() {
            let (records, due) = (self.sink.records_of(life.id), self.model.records(call));
            let due = due.filter(|_| !life.has_two_owners);
            if records > 1 || due.is_some_and(|due| due != records) {
                let detail = format!("its records were written {records} times, not {due:?}");
                return self.fail(Rule::Cdr, Some(call), detail);
            }
        }
        let (calls, faults) = (self.plan.calls.len() as u64, self.coverage.faults());
        if calls < CALLS_MIN || faults < FAULTS_MIN {
            self.fail(Rule::FewFaults, None, format!("{calls} calls, {faults} faults"));
        }
    }
}
