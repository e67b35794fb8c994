//! Calls of nodes that have gone, messages of calls that are not here, and drains.

use super::link::{ELSEWHERE, Frame};
use super::node::{Answer, Ask, Held, LoadWhy, Wanted, Why};
use super::slip::Slip;
use super::store::Stored;
use super::{Event, Happening, World};
use crate::violation::Rule;
use crate::world::through_bytes;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::{CallHost, DrainStage, Gone, HANDED_PER_SECOND, Recommit, Tenure, Turn, first_heir};
use tandem_sip::flow::Flow;
use tandem_sip::{Message, ResponseHead, StatusCode};
use tandem_switch::call::{CallId, Input, Moved, Snapshot, Stage, Token};
use tandem_switch::cdr::EndReason;

/// How often it is looked whether calls can be claimed, as long as there are some; and once none were found, in ms.
const LOOK: u64 = 100;
const LOOK_AGAIN: u64 = 5_000;

/// The pause between two batches of calls that are handed over.
const PAUSE: u64 = 50;

/// How often a message is looked after, half a second apart.
const TRIES: u32 = 10;

/// How often a message is passed on.
const HOPS_MAX: u8 = 2;

/// How long a drain may take altogether.
const PATIENCE: Duration = Duration::from_secs(150);

impl World {
    /// Has a node look for calls before long.
    pub(super) fn look_soon(&mut self, node: usize, after: u64) {
        if !std::mem::replace(&mut self.nodes[node].looking, true) {
            self.enter_at(node, after, Happening::LookForCalls);
        }
    }

    pub(super) fn look_for_calls(&mut self, node: usize) {
        self.nodes[node].looking = false;
        let now = self.mono(node);
        let lives = self.nodes[node].lives;
        let place = &mut self.nodes[node];
        let is_current = place.liveness.is_current(now) && place.lease.holds(now);
        if !is_current || self.nodes[node].hold.holds(lives, now) {
            return self.look_soon(node, LOOK);
        }
        let place = &mut self.nodes[node];
        let doubtful = std::mem::take(&mut place.doubtful);
        let gone: Vec<Gone> = place.past.iter().chain(place.gone.values()).cloned().collect();
        if !self.slips(Slip::DoubtfulClaimLost) {
            for id in doubtful {
                self.ask(node, Ask::Load { id, why: LoadWhy::Doubtful });
            }
        }
        for gone in gone {
            if !self.slips(Slip::NoTakeover) || gone.name == self.nodes[node].name {
                let name = gone.name.clone();
                self.ask(node, Ask::Owned { node: name, why: Wanted::Takeover(gone) });
            }
        }
    }

    /// Takes what is this node's share of the calls of one that has gone.
    pub(super) fn take_all(&mut self, node: usize, gone: &Gone, owned: Vec<(CallId, Stored)>) {
        let now = self.mono(node);
        let (name, boot) = (self.nodes[node].name.clone(), self.nodes[node].boot);
        // Who drains hands its calls over, and takes none.
        let others = self.nodes[node].places();
        if self.nodes[node].drain.is_begun() && !others.is_empty() {
            return;
        }
        let is_past = gone.name == name;
        let mut left = 0;
        for (id, stored) in owned {
            if !gone.is_turn_of(&name, &others, &id.0, now) {
                left += 1;
                continue;
            }
            let is_cut_off = || stored.snapshot.is_cut_off_at(&|flow, local| self.home(node, flow, local));
            let owner = (&*stored.owner.node, stored.owner.boot);
            match gone.turn((&name, boot), owner, now, is_cut_off) {
                Turn::Settled => {}
                Turn::Later => left += 1,
                Turn::Claim => {
                    left += 1;
                    let place = &mut self.nodes[node];
                    // It may be back by now.
                    if !is_past && place.is_alive(&gone.name) {
                        continue;
                    }
                    if !place.calls.contains_key(&id) && place.claiming.insert(id) {
                        let why = Why::Gone(gone.name.clone());
                        self.ask(node, Ask::Claim { id, seen_epoch: stored.epoch, why });
                    }
                }
            }
        }
        if left > 0 {
            return self.look_soon(node, LOOK);
        }
        if is_past {
            self.nodes[node].past = None;
        }
        if !self.nodes[node].gone.is_empty() {
            self.look_soon(node, LOOK_AGAIN);
        }
    }

    /// By which flow a node goes on with what another one has sent, and under which name of its own.
    fn home(&self, node: usize, flow: Flow, local: &Arc<str>) -> (Flow, Arc<str>) {
        let own = self.local_name(node);
        let is_elsewhere = flow.listener >= ELSEWHERE && own != *local;
        let listener = if is_elsewhere || flow.listener < ELSEWHERE { 0 } else { flow.listener };
        (Flow { listener, ..flow }, own)
    }

    pub(super) fn on_claimed(&mut self, node: usize, id: CallId, why: Why, answer: Answer) {
        self.nodes[node].claiming.remove(&id);
        let stored = match answer {
            Answer::Claimed(Ok(stored)) => stored,
            Answer::Claimed(Err(_)) => return self.answer_giver(node, &why, false),
            _ => {
                self.nodes[node].doubtful.insert(id);
                self.look_soon(node, LOOK);
                return self.answer_giver(node, &why, false);
            }
        };
        if self.nodes[node].calls.contains_key(&id) {
            return self.answer_giver(node, &why, false);
        }
        if let Why::Gone(name) = &why
            && *name != self.nodes[node].name
            && let Some(place) = self.place_of(name)
        {
            // It may have been about to come back: it has no other way to learn of it before it writes something.
            self.frame(node, place, Frame::Lost { id, epoch: stored.epoch });
        }
        self.restore(node, id, &stored);
        self.answer_giver(node, &why, true);
    }

    fn answer_giver(&mut self, node: usize, why: &Why, yes: bool) {
        if let Why::Handed(giver, question) = why {
            self.frame(node, *giver, Frame::Word { question: *question, yes });
        }
    }

    /// Goes on with a call that the store has given to this node.
    fn restore(&mut self, node: usize, id: CallId, stored: &Stored) {
        let mut snapshot: Snapshot = match through_bytes(&stored.snapshot) {
            Ok(snapshot) => snapshot,
            Err(why) => return self.fail(Rule::Takeover, self.judge.number(id), why),
        };
        let mut moved = snapshot.move_to(&|flow, local| self.home(node, flow, local));
        let is_answered = snapshot.is_answered();
        let what =
            if is_answered { "calls in conversation taken over" } else { "calls in set-up taken over" };
        self.coverage.count(what);
        if moved.is_any() {
            self.coverage.count("parties told where their call is");
        }
        if self.slips(Slip::NobodyTold) {
            moved = Moved::default();
        }
        let name = self.nodes[node].name.clone();
        self.note(self.judge.number(id), |_| {
            format!("{name} takes {id} over, epoch {}, {moved:?}", stored.epoch)
        });
        let forgets = self.slips(Slip::SlotsForgotten);
        let slots = if forgets { Vec::new() } else { snapshot.slots().collect() };
        let epoch = if self.slips(Slip::EpochNotRaised) { stored.epoch - 1 } else { stored.epoch };
        let now = self.now_of(node);
        let (host, effects) = CallHost::take_over(name, (epoch, stored.seq), snapshot, moved, now);
        let held = Held { host, tenure: Tenure::Own, wake_turn: 0, slots, ending: None, invite: None };
        self.nodes[node].calls.insert(id, held);
        self.perform_all(node, id, effects);
    }

    pub(super) fn on_loaded(&mut self, node: usize, id: CallId, why: LoadWhy, answer: Answer) {
        match (why, answer) {
            (LoadWhy::Doubtful, Answer::Loaded(stored)) => {
                let is_own = |stored: &Stored| stored.owner == self.nodes[node].owner();
                if let Some(stored) = stored.filter(is_own)
                    && !self.nodes[node].calls.contains_key(&id)
                {
                    let seen_epoch = stored.epoch - 1;
                    let why = Why::Gone(self.nodes[node].name.clone());
                    self.ask(node, Ask::Claim { id, seen_epoch, why });
                }
            }
            (LoadWhy::Ended(end), Answer::Loaded(None)) => drop(self.nodes[node].untold.remove(&end.id)),
            (LoadWhy::Ended(end), Answer::Loaded(Some(stored))) => {
                self.tell_this_owner(node, &stored.owner.node, end);
            }
            (LoadWhy::Ended(end), _) => self.enter_at(node, 1_000, Happening::TellOwner(end)),
            (LoadWhy::Doubtful, _) => {
                self.nodes[node].doubtful.insert(id);
                self.look_soon(node, LOOK);
            }
            (LoadWhy::Stray { flow, hops, bytes, tries }, Answer::Loaded(stored)) => match stored {
                None => self.ask_for_holder(node, id, (flow, hops), bytes),
                Some(stored) => {
                    let owner = stored.owner.node;
                    let is_other = owner != self.nodes[node].name;
                    let place = self.place_of(&owner).filter(|_| is_other && hops < HOPS_MAX);
                    let lives = self.nodes[node].is_alive(&owner);
                    let passes = place
                        .is_some_and(|place| lives && self.forward(node, place, (flow, hops), bytes.clone()));
                    if !passes {
                        self.again(node, (flow, hops), bytes, tries);
                    }
                }
            },
            (LoadWhy::Stray { flow, hops, bytes, tries }, _) => self.again(node, (flow, hops), bytes, tries),
        }
    }

    /// A message whose call is not here.
    pub(super) fn on_stray(&mut self, node: usize, (flow, hops): (Flow, u8), bytes: Bytes, tries: u32) {
        let Ok(message) = Message::parse(bytes.clone(), &self.limits) else { return };
        let token = match message.is_request() {
            true => message.to_tag().and_then(|tag| Token::parse(tag, &self.keys)),
            false => {
                let via = message.top_via().ok();
                via.and_then(|via| Token::of_branch(via.branch()?, &self.keys))
            }
        };
        let Some(token) = token else { return };
        if self.nodes[node].calls.contains_key(&token.id) {
            return self.on_message(node, flow, hops, bytes);
        }
        if self.slips(Slip::StraysRefused) {
            return self.is_nobodys(node, (flow, hops), &bytes);
        }
        let hinted = usize::from(token.hint).checked_sub(1).filter(|place| {
            hops == 0 && tries == 0 && *place != node && self.nodes[node].is_alive(&self.nodes[*place].name)
        });
        if hinted.is_some_and(|place| self.forward(node, place, (flow, hops), bytes.clone())) {
            return;
        }
        let now = self.mono(node);
        if hops == 0 && !self.nodes[node].lease.holds(now) {
            // One that is cut off cannot ask the store.
            let places = self.nodes[node].places();
            let other = first_heir(&token.id.0, &places).and_then(|name| self.place_of(name));
            if other.is_some_and(|other| self.forward(node, other, (flow, hops), bytes.clone())) {
                return;
            }
        }
        if tries < TRIES {
            self.load_for(node, token.id, (flow, hops, bytes, tries));
        }
    }

    /// A message for a call that is nobody's.
    pub(super) fn is_nobodys(&mut self, node: usize, (flow, _): (Flow, u8), bytes: &Bytes) {
        let Ok(message) = Message::parse(bytes.clone(), &self.limits) else { return };
        if message.is_request() && message.method() != Some(tandem_sip::Method::Ack) {
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            let response = ResponseHead::of(&message, flow.remote).respond(status, None).finish();
            self.send(node, flow, response);
        }
    }

    /// The node is to stop.
    pub(super) fn drain(&mut self, node: usize, returns_after: u64) {
        let now = self.mono(node);
        if !self.nodes[node].is_up || !self.nodes[node].drain.begin(now) {
            return;
        }
        let name = self.nodes[node].name.clone();
        self.note(None, |_| format!("{name} drains"));
        self.nodes[node].returns_after = Some(returns_after);
        self.hand_over(node);
    }

    /// Hands calls over, until the node is needed no more.
    pub(super) fn hand_over(&mut self, node: usize) {
        let now = self.mono(node);
        let calls = self.nodes[node].calls.len();
        let Some(progress) = self.nodes[node].drain.progress(now, calls) else { return };
        let took_too_long = now.since(progress.since) >= PATIENCE;
        if progress.stage == DrainStage::Done || took_too_long {
            return self.parts(node);
        }
        let places = self.nodes[node].places();
        let insists = self.nodes[node].drain.insists(now);
        let most = HANDED_PER_SECOND as usize * PAUSE as usize / 1_000;
        let ids: Vec<_> = self.nodes[node].calls.keys().copied().take(most).collect();
        for id in ids {
            if self.slips(Slip::DrainHangsUp) {
                self.tell(node, id, Input::HangUp(EndReason::Drained));
                continue;
            }
            let Some(heir) = first_heir(&id.0, &places).cloned() else { continue };
            let holds = self.nodes[node].lease.holds(now);
            let Some(held) = self.nodes[node].calls.get_mut(&id) else { continue };
            if held.tenure.give_to(heir, insists, holds, &held.host) == Recommit::Yes {
                self.tell(node, id, Input::StoreLost);
            }
        }
        self.enter_at(node, PAUSE, Happening::HandOver);
    }

    /// What is in conversation even now is left to heirs; the node says that it leaves.
    fn parts(&mut self, node: usize) {
        let calls: Vec<_> = self.nodes[node].calls.keys().copied().collect();
        for id in calls {
            let held = &self.nodes[node].calls[&id];
            let is_answered = held.host.call().is_some_and(|call| call.stage() == Stage::Answered);
            match is_answered && held.host.is_stored() {
                true => self.lose(node, id),
                false => self.tell(node, id, Input::HangUp(EndReason::Drained)),
            }
        }
        self.say(node, true);
    }

    /// The store knows that the node has left, or has not answered.
    pub(super) fn leaves(&mut self, node: usize) {
        let name = self.nodes[node].name.clone();
        self.note(None, |_| format!("{name} leaves"));
        let returns = self.nodes[node].returns_after;
        self.dies(node);
        if let Some(after) = returns {
            self.enter(after, Event::Starts(node));
            self.trouble_ends();
            if self.nodes[node].rolls {
                self.nodes[node].rolls = false;
                self.enter(after + 2_000, Event::Rolls(node + 1));
            }
        }
    }
}
