//! What nodes say to each other.

use super::node::{Ask, End, LoadWhy, Why};
use super::slip::Slip;
use super::{Event, Happening, LifeOf, NODES, World};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use tandem_cluster::{Recommit, is_store_away};
use tandem_sip::Message;
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::time::Mono;
use tandem_switch::call::{CallId, Input};

/// The first number of the listeners of other nodes.
pub(super) const ELSEWHERE: u16 = 0x8000;

/// How long another node may take to say whether it is blind, or has a call, in ms.
const ANSWER_LIMIT: u64 = 300;

/// How long an heir may take.
const HANDING_LIMIT: u64 = 3_000;

/// A frame of the link.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    /// A message that came to the sender.
    Forward {
        remote: SocketAddr,
        hops: u8,
        bytes: Bytes,
    },
    /// A message that is to be sent from where the addressee is reached.
    Send {
        remote: SocketAddr,
        bytes: Bytes,
    },
    AreYouBlind {
        question: u64,
    },
    Have {
        question: u64,
        id: CallId,
    },
    Yours {
        question: u64,
        id: CallId,
        epoch: u32,
    },
    Ended {
        question: u64,
        end: End,
    },
    Lost {
        id: CallId,
        epoch: u32,
    },
    Word {
        question: u64,
        yes: bool,
    },
}

/// What another node was asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// Whether it is blind, too: in which round.
    Blind { round: u64 },
    /// A round of those.
    Round { asked: Mono, members: usize, answers: Vec<bool>, open: usize },
    /// Whether it has a call that is over: for which message.
    Have { round: u64, node: usize },
    /// A round of those.
    Holder { flow: Flow, hops: u8, bytes: Bytes, open: usize },
    /// Whether it has taken a call.
    Taken { id: CallId },
    /// Whether it has taken note that a call had ended.
    Ended { end: End },
}

impl World {
    /// Tells another node something. `false` if it is known that it cannot be reached.
    pub(super) fn frame(&mut self, from: usize, to: usize, frame: Frame) -> bool {
        let (sender, taker) = (&self.nodes[from], &self.nodes[to]);
        if !taker.is_up || sender.mute_until > self.now || taker.deaf_until > self.now {
            return false;
        }
        let life = LifeOf { node: to, boot: taker.boot };
        let delay = 1 + self.chance.below(3);
        self.enter(delay, Event::At(life, Happening::Frame { from, frame }));
        true
    }

    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        (0..NODES).find(|node| *self.nodes[*node].name == *name)
    }

    fn question(&mut self, node: usize, question: Question) -> u64 {
        let place = &mut self.nodes[node];
        place.next_question += 1;
        place.questions.insert(place.next_question, question);
        place.next_question
    }

    pub(super) fn ask_whether_blind(&mut self, node: usize, asked: Mono) {
        let others = self.nodes[node].others_alive();
        let (members, open) = (others.len() + 1, others.len());
        let round = self.question(node, Question::Round { asked, members, answers: Vec::new(), open });
        for other in others {
            let question = self.question(node, Question::Blind { round });
            self.enter_at(node, ANSWER_LIMIT, Happening::Unanswered(question));
            if let Some(place) = self.place_of(&other) {
                self.frame(node, place, Frame::AreYouBlind { question });
            }
        }
        if open == 0 {
            self.close_round(node, round);
        }
    }

    fn close_round(&mut self, node: usize, round: u64) {
        match self.nodes[node].questions.remove(&round) {
            Some(Question::Round { asked, members, answers, .. }) => {
                self.others_have_said(node, asked, is_store_away(members, answers));
            }
            Some(Question::Holder { flow, hops, bytes, .. }) => self.is_nobodys(node, (flow, hops), &bytes),
            _ => {}
        }
    }

    /// Asks the others for a call that the store has no more.
    pub(super) fn ask_for_holder(&mut self, node: usize, id: CallId, (flow, hops): (Flow, u8), bytes: Bytes) {
        let others = self.nodes[node].others_alive();
        let open = others.len();
        let round = self.question(node, Question::Holder { flow, hops, bytes, open });
        for other in others {
            let Some(place) = self.place_of(&other) else { continue };
            let question = self.question(node, Question::Have { round, node: place });
            self.enter_at(node, ANSWER_LIMIT, Happening::Unanswered(question));
            self.frame(node, place, Frame::Have { question, id });
        }
        if open == 0 {
            self.close_round(node, round);
        }
    }

    /// Tells an heir that a call is its.
    pub(super) fn give(&mut self, node: usize, heir: &Arc<str>, id: CallId, epoch: u32) {
        let question = self.question(node, Question::Taken { id });
        self.enter_at(node, HANDING_LIMIT, Happening::Unanswered(question));
        if let Some(place) = self.place_of(heir) {
            self.frame(node, place, Frame::Yours { question, id, epoch });
        }
    }

    pub(super) fn on_frame(&mut self, node: usize, from: usize, frame: Frame) {
        match frame {
            Frame::Forward { remote, hops, bytes } => {
                let listener = ELSEWHERE + from as u16;
                self.on_message(node, Flow { transport: Transport::Udp, listener, remote }, hops, bytes);
            }
            Frame::Send { remote, bytes } => {
                self.coverage.count("messages sent by another node");
                self.sent_for_another(node, &bytes);
                self.transmit(node, remote, bytes);
            }
            Frame::AreYouBlind { question } => {
                let now = self.mono(node);
                // A claim that is under way may be answered yet.
                let place = &mut self.nodes[node];
                let yes = place.lease.is_blind(now) && place.claiming.is_empty();
                if yes {
                    self.nodes[node].hold.promise(now);
                }
                self.frame(node, from, Frame::Word { question, yes });
            }
            Frame::Have { question, id } => {
                let yes = self.nodes[node].calls.contains_key(&id);
                self.frame(node, from, Frame::Word { question, yes });
            }
            Frame::Yours { question, id, epoch } => match self.nodes[node].calls.contains_key(&id) {
                true => drop(self.frame(node, from, Frame::Word { question, yes: false })),
                false => {
                    self.ask(node, Ask::Claim { id, seen_epoch: epoch, why: Why::Handed(from, question) })
                }
            },
            Frame::Lost { id, epoch } => {
                if self.nodes[node].calls.get(&id).is_some_and(|held| held.host.epoch() < epoch) {
                    self.is_lost(node, id);
                }
            }
            Frame::Ended { question, end } => {
                let yes = self.nodes[node].calls.contains_key(&end.id);
                self.ended_before(node, end);
                self.frame(node, from, Frame::Word { question, yes });
            }
            Frame::Word { question, yes } => self.on_word(node, question, Some(yes)),
        }
    }

    /// Another node has answered, or has not.
    pub(super) fn on_word(&mut self, node: usize, question: u64, word: Option<bool>) {
        let Some(asked) = self.nodes[node].questions.remove(&question) else { return };
        match asked {
            Question::Ended { end } if word != Some(true) => {
                self.enter_at(node, 1_000, Happening::TellOwner(end))
            }
            Question::Ended { end } => drop(self.nodes[node].untold.remove(&end.id)),
            Question::Taken { id } => self.heir_has_said(node, id, word == Some(true)),
            Question::Blind { round } => {
                let Some(Question::Round { answers, open, .. }) = self.nodes[node].questions.get_mut(&round)
                else {
                    return;
                };
                answers.extend(word);
                *open -= 1;
                if *open == 0 {
                    self.close_round(node, round);
                }
            }
            Question::Have { round, node: holder } => {
                let place = &mut self.nodes[node];
                let Some(Question::Holder { flow, hops, bytes, open, .. }) = place.questions.get_mut(&round)
                else {
                    return;
                };
                *open -= 1;
                let (flow, hops, bytes, is_last) = (*flow, *hops, bytes.clone(), *open == 0);
                if word == Some(true) {
                    place.questions.remove(&round);
                    self.forward(node, holder, (flow, hops), bytes);
                } else if is_last {
                    self.close_round(node, round);
                }
            }
            Question::Round { .. } | Question::Holder { .. } => {}
        }
    }

    /// Whoever has been given a call is told that it had ended.
    pub(super) fn tell_owner(&mut self, node: usize, end: End) {
        self.nodes[node].untold.insert(end.id);
        if !self.slips(Slip::EndKeptToItself) {
            self.ask(node, Ask::Load { id: end.id, why: LoadWhy::Ended(end) });
        }
    }

    pub(super) fn tell_this_owner(&mut self, node: usize, owner: &str, end: End) {
        let question = self.question(node, Question::Ended { end: end.clone() });
        self.enter_at(node, 2_000, Happening::Unanswered(question));
        if let Some(place) = self.place_of(owner).filter(|place| *place != node) {
            self.frame(node, place, Frame::Ended { question, end });
        }
    }

    fn heir_has_said(&mut self, node: usize, id: CallId, is_taken: bool) {
        let now = self.mono(node);
        if is_taken {
            self.coverage.count("calls handed over");
            self.nodes[node].drain.handed(now);
            return self.lose(node, id);
        }
        let Some(held) = self.nodes[node].calls.get_mut(&id) else { return };
        if held.tenure.not_taken(&held.host) == Recommit::Yes {
            self.tell(node, id, Input::StoreLost);
        }
    }

    /// Passes a message on. `false` if the other node cannot be reached.
    pub(super) fn forward(&mut self, node: usize, to: usize, (flow, hops): (Flow, u8), bytes: Bytes) -> bool {
        let is_gone = self.frame(node, to, Frame::Forward { remote: flow.remote, hops: hops + 1, bytes });
        if is_gone {
            self.coverage.count("messages passed on to another node");
            let now = self.mono(node);
            self.nodes[node].drain.passed_on(now);
        }
        is_gone
    }

    fn sent_for_another(&mut self, node: usize, bytes: &Bytes) {
        let now = self.mono(node);
        self.nodes[node].drain.passed_on(now);
        let is_final = bytes.starts_with(b"SIP/2.0 ") && !bytes.starts_with(b"SIP/2.0 1");
        if is_final && self.nodes[node].drain.waits_for_answers() {
            let message = Message::parse(bytes.clone(), &self.limits);
            if let Some(id) = message.ok().and_then(|response| CallId::of(&response, &self.keys.current)) {
                self.nodes[node].drain.answered(id);
            }
        }
    }

    /// What is to be done with a message again, after a while.
    pub(super) fn again(&mut self, node: usize, (flow, hops): (Flow, u8), bytes: Bytes, tries: u32) {
        self.enter_at(node, 500, Happening::Stray { flow, hops, bytes, tries: tries + 1 });
    }

    pub(super) fn load_for(&mut self, node: usize, id: CallId, stray: (Flow, u8, Bytes, u32)) {
        let (flow, hops, bytes, tries) = stray;
        self.ask(node, Ask::Load { id, why: LoadWhy::Stray { flow, hops, bytes, tries } });
    }
}
