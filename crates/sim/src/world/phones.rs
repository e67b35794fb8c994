//! Phones: the peers of worlds in which calls talk.

use super::{Event, World};
use crate::peers::{Doings, Habits, Phone, PhoneAct};
use crate::plan::Plan;
use crate::random::Random;
use crate::violation::Rule;
use std::net::SocketAddr;
use tandem_sip::Message;
use tandem_sip::time::Mono;

/// Streams of random numbers below this are others'.
const FIRST_STREAM: u64 = 1_000;

/// The phones that call.
pub(super) fn callers(seed: u64, plan: &Plan) -> Vec<Phone> {
    let phone = |number: usize| {
        let mut random = Random::new(seed, FIRST_STREAM + number as u64);
        let habits = Habits::of_caller(&mut random);
        let address = SocketAddr::from(([192, 0, 2, number as u8 + 1], 5060));
        Phone::caller(number, address, &plan.calls[number].dialled, habits, random)
    };
    (0..plan.calls.len()).map(phone).collect()
}

impl World {
    /// The phones that call begin to.
    pub(super) fn enter_phones(&mut self) {
        for number in 0..self.phones.len() {
            let at = Mono(self.plan.calls[number].at_ms);
            self.schedule.enter(at, Event::Phone(number, PhoneAct::Start));
        }
    }

    /// A datagram gets to where phones are called, or to one that calls.
    pub(super) fn reaches_place(&mut self, place: SocketAddr, message: &Message) {
        let call_id = String::from_utf8_lossy(message.call_id().unwrap_or_default());
        let is_meant = |phone: &Phone| phone.address == place && phone.call_id == call_id;
        let number = match self.phones.iter().position(is_meant) {
            Some(number) => number,
            None if message.status().is_none() && message.to_tag().is_none() => self.ring_up(place, message),
            None => return,
        };
        let does = self.phones[number].receive(message, self.now.0);
        self.phone_does(number, does);
    }

    /// A phone that is called for the first time.
    fn ring_up(&mut self, place: SocketAddr, invite: &Message) -> usize {
        let number = self.phones.len();
        let mut random = Random::new(self.seed, FIRST_STREAM + number as u64);
        let elsewhere: Vec<_> =
            self.plan.gateways.iter().flat_map(|gateway| gateway.own_places().to_vec()).collect();
        let habits = Habits::of_callee(&elsewhere, &mut random);
        self.note(None, |world| format!("{:>20}    is phone {number}: {habits:?}", world.name_of(place)));
        self.phones.push(Phone::callee((number, place), invite, habits, random));
        number
    }

    pub(super) fn phone_acts(&mut self, number: usize, act: PhoneAct) {
        if act.ends_call() {
            self.check_agreement(number);
        }
        let does = self.phones[number].act(act, self.now.0);
        self.phone_does(number, does);
    }

    fn phone_does(&mut self, number: usize, does: Doings<PhoneAct>) {
        let from = self.phones[number].address;
        does.sends.into_iter().for_each(|bytes| self.travel(from, bytes));
        for (after, act) in does.later {
            self.enter(after, Event::Phone(number, act));
        }
        if let Some(complaint) = self.phones[number].complaint() {
            self.fail(Rule::Agreement, None, format!("phone {number}: {complaint}"));
        }
    }

    /// When nothing has gone on for a while, both ends hold the session to be the same.
    fn check_agreement(&mut self, number: usize) {
        let call_id = self.phones[number].call_id.clone();
        let Some((call, ends)) = self.model.ends_of(call_id.as_bytes()) else { return };
        let find = |call_id: &[u8], place: Option<SocketAddr>| {
            let is_meant = |phone: &&Phone| {
                phone.call_id.as_bytes() == call_id && place.is_none_or(|place| phone.address == place)
            };
            self.phones.iter().find(is_meant)?.settled(self.now.0)
        };
        let (Some(caller), Some(callee)) = (find(&ends.caller, None), find(&ends.callee, Some(ends.place)))
        else {
            return;
        };
        if (caller.local, caller.remote) != (callee.remote, callee.local) {
            self.fail(
                Rule::Agreement,
                Some(call),
                format!("the caller holds {caller:?}, the callee {callee:?}"),
            );
        }
        self.model.agrees(call);
    }
}
