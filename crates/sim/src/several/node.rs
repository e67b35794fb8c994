//! A node of the world: what it knows, its beats and its lease, and its way to the store.

use super::link::Question;
use super::slip::Slip;
use super::store::{Owner, Refused, Says, Stored};
use super::{AddressModel, Event, Happening, LifeOf, World};
use crate::model::WALL_START;
use crate::random::Random;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tandem_cluster::{
    BEAT, CallHost, ClaimHold, Drain, Ended, Gone, LeaseStanding, Liveness, OwnLease, Recommit, Seen,
    Standing, StoreClock, Tenure, Write,
};
use tandem_sip::Message;
use tandem_sip::flow::Flow;
use tandem_sip::time::{Mono, Now, Wall};
use tandem_switch::call::{CallId, Input, Stage};
use tandem_switch::gateway::{GatewayName, Holder};

/// The address of all nodes where they share one.
pub(super) const SHARED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 100)), 5060);

/// How long the store may take over one request, in ms.
const STORE_LIMIT: u64 = 2_000;

/// How long a beat may take.
const BEAT_LIMIT: u64 = 1_000;

/// How often a node without contact asks the others.
const ASK_OTHERS: u64 = 200;

/// A gap in contact after which the store may have lost something.
const GAP: u64 = 1_000;

/// How often slots are renewed.
const RENEW: u64 = 10_000;

/// A call that a node has.
pub(super) struct Held {
    pub(super) host: CallHost,
    pub(super) tenure: Tenure,
    pub(super) wake_turn: u32,
    /// Slots that it holds or was asked for.
    pub(super) slots: Vec<(GatewayName, Holder)>,
    /// The write that ends it, and what it says.
    pub(super) ending: Option<((u32, u64), End)>,
    /// The caller's INVITE until the first commit.
    pub(super) invite: Option<(Message, Flow)>,
}

/// The end of a call as the store is told it.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) id: CallId,
    pub(super) epoch: u32,
    pub(super) records: Option<Bytes>,
}

pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) boot: u64,
    pub(super) is_up: bool,
    pub(super) started_at: u64,
    pub(super) paused_at: u64,
    pub(super) paused_until: u64,
    pub(super) address: SocketAddr,
    /// Its monotonic clock at the beginning of the world.
    origin: u64,
    /// By how many ms its wall clock is ahead.
    pub(super) skew: i64,
    pub(super) calls: BTreeMap<CallId, Held>,
    /// Until when nothing gets from it to the store, from the store to it, and from others to it.
    pub(super) asks_lost_until: u64,
    pub(super) answers_lost_until: u64,
    pub(super) deaf_until: u64,
    pub(super) mute_until: u64,
    pub(super) lease: OwnLease,
    pub(super) liveness: Liveness,
    clock: StoreClock,
    pub(super) known: BTreeMap<Arc<str>, Says>,
    pub(super) gone: BTreeMap<Arc<str>, Gone>,
    /// Calls of its own earlier life are to be taken.
    pub(super) past: Option<Gone>,
    pub(super) hold: ClaimHold,
    /// How often the store may have lost something.
    pub(super) lives: u64,
    run_id: u64,
    heard_at: u64,
    ended: Ended<End>,
    pub(super) drain: Drain,
    /// Whether it starts again once it has left, and after how long.
    pub(super) returns_after: Option<u64>,
    /// Whether the next node of a roll is to be drained then.
    pub(super) rolls: bool,
    counter: u64,
    verifying: bool,
    asking_others: bool,
    pub(super) looking: bool,
    /// Claims under way, and those whose answers were lost.
    pub(super) claiming: BTreeSet<CallId>,
    pub(super) doubtful: BTreeSet<CallId>,
    /// Calls that had ended here, and whose owners have yet to be told.
    pub(super) untold: BTreeSet<CallId>,
    /// What the store was asked and has not answered.
    pending: BTreeMap<u64, Pending>,
    /// What other nodes were asked.
    pub(super) questions: BTreeMap<u64, Question>,
    pub(super) next_question: u64,
}

/// What the store is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Beat(Says),
    Write {
        id: CallId,
        epoch: u32,
        seq: u64,
        write: Write,
    },
    /// An end, told again.
    End(End),
    Claim {
        id: CallId,
        seen_epoch: u32,
        why: Why,
    },
    Owned {
        node: Arc<str>,
        why: Wanted,
    },
    Load {
        id: CallId,
        why: LoadWhy,
    },
    TakeSlot {
        id: CallId,
        holder: Holder,
        gateway: GatewayName,
    },
    ReleaseSlot(Holder),
    RenewSlots(Vec<Holder>),
}

/// Why a call is claimed.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// That node has gone.
    Gone(Arc<str>),
    /// It was handed over: by which node, in answer to which question.
    Handed(usize, u64),
    /// Its machine panicked.
    Panic,
}

/// Why a node's calls are asked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// To be taken over.
    Takeover(Gone),
    /// They may be this node's no more.
    Verify(Mono),
}

/// Why a call is looked at.
#[derive(Clone, Debug)]
pub(super) enum LoadWhy {
    /// A message came for it.
    Stray { flow: Flow, hops: u8, bytes: Bytes, tries: u32 },
    /// A claim of it was not answered.
    Doubtful,
    /// It had ended before it was given to another.
    Ended(End),
}

/// A question to the store that has not been answered.
#[derive(Clone, Debug)]
struct Pending {
    asked: Mono,
    ask: Ask,
}

/// What the store answers.
pub(super) enum Answer {
    Beat {
        at: Wall,
        all: Vec<(Arc<str>, Says)>,
    },
    Written(Result<(), Refused>),
    Claimed(Result<Stored, Refused>),
    Owned(Vec<(CallId, Stored)>),
    Loaded(Option<Stored>),
    Slot(bool),
    /// It has failed.
    Failed,
}

impl Node {
    pub(super) fn new(place: usize, chance: &mut Random) -> Self {
        Self {
            name: format!("n{}", place + 1).into(),
            boot: 0,
            is_up: false,
            started_at: 0,
            paused_at: 0,
            paused_until: 0,
            address: SocketAddr::from(([203, 0, 113, place as u8 + 1], 5060)),
            origin: chance.below(1_000_000),
            skew: chance.below(2_000) as i64 - 1_000,
            calls: BTreeMap::new(),
            asks_lost_until: 0,
            answers_lost_until: 0,
            deaf_until: 0,
            mute_until: 0,
            lease: OwnLease::new(Mono(0)),
            liveness: Liveness::default(),
            clock: StoreClock::default(),
            known: BTreeMap::new(),
            gone: BTreeMap::new(),
            past: None,
            hold: ClaimHold::default(),
            lives: 0,
            run_id: 0,
            heard_at: 0,
            ended: Ended::default(),
            drain: Drain::default(),
            returns_after: None,
            rolls: false,
            counter: 0,
            verifying: false,
            asking_others: false,
            looking: false,
            claiming: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            untold: BTreeSet::new(),
            pending: BTreeMap::new(),
            questions: BTreeMap::new(),
            next_question: 0,
        }
    }

    pub(super) fn owner(&self) -> Owner {
        Owner { node: self.name.clone(), boot: self.boot }
    }

    /// Nodes that live, as far as it knows, without itself.
    pub(super) fn others_alive(&self) -> Vec<Arc<str>> {
        let lives =
            |name: &&Arc<str>| **name != self.name && self.liveness.standing(name) == Some(Standing::Alive);
        self.known.keys().filter(lives).cloned().collect()
    }

    /// Nodes that take new calls, without itself.
    pub(super) fn places(&self) -> Vec<Arc<str>> {
        self.others_alive().into_iter().filter(|name| !self.known[name].draining).collect()
    }

    pub(super) fn is_alive(&self, name: &str) -> bool {
        self.liveness.standing(name) == Some(Standing::Alive)
    }
}

impl World {
    /// A node's monotonic time.
    pub(super) fn mono(&self, node: usize) -> Mono {
        Mono(self.now + self.nodes[node].origin)
    }

    /// A node's clocks.
    pub(super) fn now_of(&self, node: usize) -> Now {
        let mono = self.mono(node);
        let own = Wall((WALL_START + self.now).saturating_add_signed(self.nodes[node].skew));
        let common = self.nodes[node].clock.at(mono).filter(|_| !self.slips(Slip::OwnClock));
        Now { mono, wall: common.unwrap_or(own) }
    }

    /// When a node's time is that.
    pub(super) fn world_time(&self, node: usize, at: Mono) -> u64 {
        at.0.saturating_sub(self.nodes[node].origin).max(self.now)
    }

    /// A node starts a new life.
    pub(super) fn start(&mut self, node: usize) {
        let place = &self.nodes[node];
        if place.is_up {
            return;
        }
        let (boot, skew, rolls) = (place.boot + 1, place.skew, place.rolls);
        let mut fresh = Node::new(node, &mut self.chance);
        (fresh.boot, fresh.skew, fresh.rolls, fresh.is_up) = (boot, skew, rolls, true);
        // What does not get through the network does not do so for the next life either.
        (fresh.asks_lost_until, fresh.answers_lost_until) = (place.asks_lost_until, place.answers_lost_until);
        (fresh.deaf_until, fresh.mute_until) = (place.deaf_until, place.mute_until);
        if self.plan.model == AddressModel::Vanishing && boot > 1 {
            fresh.address =
                SocketAddr::from(([203, 0, 113, 10 * (node as u8 + 1) + (boot % 10) as u8], 5060));
        }
        let now = Mono(self.now + fresh.origin);
        fresh.lease = OwnLease::new(now);
        (fresh.run_id, fresh.heard_at, fresh.started_at) = (self.run_id, self.now, self.now);
        if boot > 1 && !self.slips(Slip::PastForgotten) {
            fresh.past = Some(Gone { name: fresh.name.clone(), boot, since: now });
        }
        self.nodes[node] = fresh;
        self.note(None, |world| {
            format!("{} starts, life {boot}, at {}", world.nodes[node].name, world.nodes[node].address)
        });
        self.enter_at(node, 0, Happening::Beat);
        self.enter_at(node, ASK_OTHERS, Happening::AskOthers);
        self.enter_at(node, RENEW, Happening::RenewSlots);
        self.look_soon(node, 0);
    }

    /// The process ends without a word.
    pub(super) fn dies(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        (place.is_up, place.paused_until) = (false, 0);
        let ending: Vec<_> = (place.calls.iter())
            .filter(|(_, held)| held.host.call().is_none_or(|call| call.stage() == Stage::Ending))
            .map(|(id, _)| *id)
            .collect();
        let untold = std::mem::take(&mut place.untold);
        place.calls.clear();
        // Who has not heard yet that it was ended hears it from nobody.
        ending.into_iter().chain(untold).for_each(|id| self.judge.excuse(id));
    }

    pub(super) fn happens_to(&mut self, node: usize, happening: Happening) {
        match happening {
            Happening::Datagram { from, bytes } => self.on_datagram(node, from, bytes),
            Happening::Wake { call, turn } => self.on_wake(node, call, turn),
            Happening::Answer(question, answer, server) => self.on_answer(node, question, answer, server),
            Happening::Silent(question) => self.on_answer(node, question, Answer::Failed, 0),
            Happening::Frame { from, frame } => self.on_frame(node, from, frame),
            Happening::Unanswered(question) => self.on_word(node, question, None),
            Happening::Beat => self.beat(node),
            Happening::AskOthers => self.ask_others(node),
            Happening::LookForCalls => self.look_for_calls(node),
            Happening::RenewSlots => self.renew_slots(node),
            Happening::TellOwner(end) => self.tell_owner(node, end),
            Happening::HandOver => self.hand_over(node),
            Happening::Stray { flow, hops, bytes, tries } => self.on_stray(node, (flow, hops), bytes, tries),
        }
    }

    /// Asks the store something; answered by [`World::on_answer`].
    pub(super) fn ask(&mut self, node: usize, ask: Ask) {
        let asked = self.mono(node);
        let place = &mut self.nodes[node];
        place.next_question += 1;
        let question = place.next_question;
        let life = LifeOf { node, boot: place.boot };
        let limit = if matches!(ask, Ask::Beat(_)) { BEAT_LIMIT } else { STORE_LIMIT };
        place.pending.insert(question, Pending { asked, ask: ask.clone() });
        self.enter(limit, Event::At(life, Happening::Silent(question)));
        if self.nodes[node].asks_lost_until <= self.now {
            let delay = self.way_to_store();
            self.enter(delay, Event::Store(life, question, ask));
        }
    }

    fn way_to_store(&mut self) -> u64 {
        let slow = self.store_slow_until > self.now;
        1 + if slow { self.chance.below(600) } else { self.chance.below(3) }
    }

    /// A request reaches the store, and is done.
    pub(super) fn at_store(&mut self, life: LifeOf, question: u64, ask: Ask) {
        if self.store_stalls_until > self.now {
            let wait = self.store_stalls_until - self.now;
            return self.enter(wait, Event::Store(life, question, ask));
        }
        let fails = self.store_fails_until > self.now && self.chance.chance(30);
        // Some are done, and nobody hears of it.
        if fails && self.chance.chance(50) {
            return self.answers(life, question, Answer::Failed);
        }
        let owner = Owner { node: self.nodes[life.node].name.clone(), boot: life.boot };
        let answer = self.done(owner, ask);
        self.answers(life, question, if fails { Answer::Failed } else { answer });
    }

    fn answers(&mut self, life: LifeOf, question: u64, answer: Answer) {
        if self.nodes[life.node].answers_lost_until <= self.now {
            let delay = self.way_to_store();
            self.enter(delay, Event::At(life, Happening::Answer(question, answer, self.run_id)));
        }
    }

    fn done(&mut self, owner: Owner, ask: Ask) -> Answer {
        let now = Mono(self.now);
        let fences = !self.slips(Slip::NoFence);
        match ask {
            Ask::Beat(says) => {
                self.store.nodes.insert(owner.node, says);
                let at = Wall((WALL_START + self.now).saturating_add_signed(self.store_skew));
                let all = self.store.nodes.iter().map(|(name, says)| (name.clone(), says.clone())).collect();
                Answer::Beat { at, all }
            }
            Ask::Write { id, epoch, seq, write } => {
                if let (Write::Commit(snapshot), Some(kept)) = (&write, &mut self.kept) {
                    kept.push(snapshot.clone());
                }
                let changes = self.store.calls.contains_key(&id);
                let done = self.store.write(id, (owner, epoch, seq), write, fences, now);
                if done.is_ok() && changes {
                    self.stale_write(id, epoch);
                }
                Answer::Written(done)
            }
            Ask::End(End { id, epoch, records }) => {
                // One that is another node's by now has its record from there.
                Answer::Written(self.store.write(id, (owner, epoch, 0), Write::End(records), true, now))
            }
            Ask::Claim { id, seen_epoch, .. } => {
                let claimed = self.store.claim(id, seen_epoch, owner);
                if let Ok(stored) = &claimed {
                    self.judge.granted(id, stored.epoch);
                }
                Answer::Claimed(claimed)
            }
            Ask::Owned { node, .. } => Answer::Owned(self.store.owned(&node)),
            Ask::Load { id, .. } => Answer::Loaded(self.store.calls.get(&id).cloned()),
            Ask::TakeSlot { holder, .. } => Answer::Slot(self.store.take_slot(holder, super::SLOTS, now)),
            Ask::ReleaseSlot(holder) => {
                self.store.release_slot(holder);
                Answer::Slot(true)
            }
            Ask::RenewSlots(holders) => {
                holders.into_iter().for_each(|holder| self.store.renew_slot(holder, now));
                Answer::Slot(true)
            }
        }
    }

    fn on_answer(&mut self, node: usize, question: u64, answer: Answer, server: u64) {
        let Some(Pending { asked, ask }) = self.nodes[node].pending.remove(&question) else { return };
        if !matches!(answer, Answer::Failed) {
            self.hears_the_store(node, server);
        }
        match (ask, answer) {
            (Ask::Beat(_), Answer::Beat { at, all }) => self.beat_was_taken(node, asked, at, all),
            (Ask::Beat(says), _) if says.left => self.leaves(node),
            (Ask::Write { id, epoch, seq, .. }, answer) => self.on_written(node, id, (epoch, seq), &answer),
            (Ask::Claim { id, why, .. }, answer) => self.on_claimed(node, id, why, answer),
            (Ask::Owned { why, .. }, answer) => self.on_owned(node, why, answer),
            (Ask::Load { id, why }, answer) => self.on_loaded(node, id, why, answer),
            (Ask::TakeSlot { id, holder, gateway }, answer) => {
                self.on_slot(node, id, holder, gateway, &answer)
            }
            (Ask::Beat(_) | Ask::End(_) | Ask::ReleaseSlot(_) | Ask::RenewSlots(_), _) => {}
        }
    }

    /// The store has answered. If it was silent for long, or is another server, it may have lost what it had.
    fn hears_the_store(&mut self, node: usize, run_id: u64) {
        let now = self.now;
        let place = &mut self.nodes[node];
        // A late answer of the last server is no news.
        let is_other = place.run_id < run_id || now - place.heard_at > GAP;
        (place.run_id, place.heard_at) = (run_id.max(place.run_id), now);
        if !is_other {
            return;
        }
        place.lives += 1;
        let mono = Mono(now + place.origin);
        // It is asked when calls are looked for, too; but the time counts from here.
        place.hold.holds(place.lives, mono);
        if !self.slips(Slip::EndsNotToldAgain) {
            for end in self.nodes[node].ended.of_late(mono) {
                self.ask(node, Ask::End(end));
            }
        }
        if self.slips(Slip::LossIgnored) || self.slips(Slip::NotVerified) {
            return;
        }
        let calls: Vec<_> = self.nodes[node].calls.keys().copied().collect();
        for id in calls {
            self.coverage.count("calls written again that the store had lost");
            self.tell(node, id, Input::StoreLost);
        }
        self.look_soon(node, 0);
    }

    /// The store has taken a call's end.
    pub(super) fn note_end(&mut self, node: usize, end: End) {
        let now = self.mono(node);
        self.nodes[node].ended.note(end, now);
    }

    fn beat(&mut self, node: usize) {
        self.enter_at(node, BEAT.as_millis() as u64, Happening::Beat);
        self.say(node, false);
    }

    /// Says that the node lives, or leaves.
    pub(super) fn say(&mut self, node: usize, left: bool) {
        let place = &mut self.nodes[node];
        place.counter += 1;
        let (boot, counter, draining) = (place.boot, place.counter, place.drain.is_begun());
        self.ask(node, Ask::Beat(Says { boot, counter, left, draining }));
    }

    fn beat_was_taken(&mut self, node: usize, asked: Mono, at: Wall, all: Vec<(Arc<str>, Says)>) {
        let now = self.mono(node);
        let trusts = self.slips(Slip::NotVerified);
        let place = &mut self.nodes[node];
        place.clock.heard(at, asked, now);
        let standing = place.lease.acknowledged(asked, now);
        if standing != LeaseStanding::Owner && trusts {
            place.lease.verified(asked);
        } else if standing == LeaseStanding::ToVerify && !std::mem::replace(&mut place.verifying, true) {
            let name = place.name.clone();
            self.coverage.count("leases lapsed");
            self.note(None, |_| format!("{name}: its lease has lapsed; what is its own?"));
            self.ask(node, Ask::Owned { node: name, why: Wanted::Verify(now) });
        }
        if all.iter().any(|(name, says)| *name == self.nodes[node].name && says.left) {
            return self.leaves(node);
        }
        self.note_others(node, all, now);
    }

    fn note_others(&mut self, node: usize, all: Vec<(Arc<str>, Says)>, now: Mono) {
        let hasty = self.slips(Slip::DeadAtOnce);
        let place = &mut self.nodes[node];
        let seen = |(name, says): &(Arc<str>, Says)| Seen {
            name: name.clone(),
            boot: says.boot,
            counter: says.counter,
            left: says.left
                || (hasty && place.known.get(name).is_some_and(|known| known.counter == says.counter)),
        };
        let looks: Vec<_> = all.iter().map(seen).collect();
        let changes = place.liveness.look(now, &looks);
        for change in &changes {
            match change.standing {
                Some(Standing::Dead | Standing::Left) if change.name != place.name => {
                    let says = all.iter().find(|(name, _)| *name == change.name);
                    let boot = says.map_or(0, |(_, says)| says.boot);
                    let gone = Gone { name: change.name.clone(), boot, since: now };
                    place.gone.insert(change.name.clone(), gone);
                }
                _ => drop(place.gone.remove(&change.name)),
            }
        }
        place.known.retain(|name, _| place.liveness.standing(name).is_some());
        place.known.extend(all);
        if !changes.is_empty() {
            self.look_soon(node, 0);
        }
    }

    /// A node without contact asks the others whether they have any.
    fn ask_others(&mut self, node: usize) {
        self.enter_at(node, ASK_OTHERS, Happening::AskOthers);
        let now = self.mono(node);
        if !self.nodes[node].lease.is_blind(now) || self.nodes[node].asking_others {
            return;
        }
        if self.slips(Slip::BlindAlone) {
            return self.nodes[node].lease.all_blind(now, now);
        }
        self.nodes[node].asking_others = true;
        self.ask_whether_blind(node, now);
    }

    /// What the others have said of it.
    pub(super) fn others_have_said(&mut self, node: usize, asked: Mono, is_away: bool) {
        let now = self.mono(node);
        let place = &mut self.nodes[node];
        place.asking_others = false;
        if is_away {
            place.lease.all_blind(asked, now);
            self.coverage.count("leases kept since all were blind");
        }
    }

    /// The store has said which calls are this node's, or has not.
    fn on_owned(&mut self, node: usize, why: Wanted, answer: Answer) {
        match (why, answer) {
            (Wanted::Takeover(gone), Answer::Owned(owned)) => self.take_all(node, &gone, owned),
            (Wanted::Takeover(_), _) => self.look_soon(node, 100),
            (Wanted::Verify(asked), Answer::Owned(owned)) => {
                let shown: BTreeSet<_> = owned.into_iter().map(|(id, _)| id).collect();
                let calls: Vec<_> = self.nodes[node].calls.keys().copied().collect();
                for id in calls {
                    let Some(held) = self.nodes[node].calls.get_mut(&id) else { continue };
                    if held.tenure.verified(shown.contains(&id), &held.host) == Recommit::Yes {
                        self.tell(node, id, Input::StoreLost);
                    }
                }
                self.nodes[node].lease.verified(asked);
                self.nodes[node].verifying = false;
            }
            (Wanted::Verify(_), _) => self.nodes[node].verifying = false,
        }
    }

    fn renew_slots(&mut self, node: usize) {
        self.enter_at(node, RENEW, Happening::RenewSlots);
        let held = self.nodes[node].calls.values().flat_map(|held| &held.slots);
        let holders: Vec<_> = held.map(|(_, holder)| *holder).collect();
        if !holders.is_empty() {
            self.ask(node, Ask::RenewSlots(holders));
        }
    }

    /// Whether a node may speak for a call.
    pub(super) fn may_speak(&mut self, node: usize, id: CallId) -> bool {
        let (now, ignores) = (self.mono(node), self.slips(Slip::LeaseIgnored));
        let place = &mut self.nodes[node];
        let holds = place.lease.holds(now) || ignores;
        let tenure = place.calls.get(&id).map(|held| &held.tenure);
        holds && tenure.is_none_or(Tenure::may_speak)
    }
}
