//! What the node's shell does with what a call's host asks for.

use super::life::{Claimed, Mail, branch_of, through_bytes};
use super::{Event, World};
use crate::coverage::Fault;
use crate::model::{Claim, Heard, StoreAnswer};
use crate::peers::SWITCH;
use crate::plan::LookupPlan;
use crate::violation::Rule;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tandem_cluster::{CallHost, ClaimResult, Effect, WriteResult};
use tandem_sip::flow::{Flow, Transport};
use tandem_sip::time::{Mono, Now};
use tandem_sip::{Message, Uri};
use tandem_switch::call::{
    Candidate, Event as CallEvent, Input, Looked, Reach, Serial, Sought, Target, Unauthorized,
};
use tandem_switch::gateway::{GatewayName, Holder, Outcome, RoutingGateway};

/// More wake-ups than this at one instant mean a deadline that does not move.
const MAX_WAKES_AT_ONCE: u32 = 100;

impl World {
    /// Tells a call something, and does what comes of it.
    pub(super) fn step(&mut self, life: usize, heard: Heard, input: Input) {
        if self.lives[life].host.is_none() {
            return;
        }
        self.model.hear(life, heard.clone(), self.now.0);
        match &input {
            Input::Request { message, .. } | Input::Response(message) => self.model.hears(life, message),
            _ => {}
        }
        let mut effects = Vec::new();
        for input in self.saboteur.inputs(life, &heard, input) {
            effects.extend(self.with_host(life, |host, now| host.handle(input, now)));
        }
        self.finish_step(life, effects);
    }

    fn with_host(&mut self, life: usize, act: impl FnOnce(&mut CallHost, Now) -> Vec<Effect>) -> Vec<Effect> {
        let now = self.now();
        self.lives[life].host.as_mut().map_or_else(Vec::new, |host| act(host, now))
    }

    /// Performs effects in order, then those of their results, until nothing is left.
    pub(super) fn finish_step(&mut self, life: usize, effects: Vec<Effect>) {
        let effects = self.saboteur.effects(life, effects);
        let mut left = VecDeque::from(effects);
        while let Some(effect) = left.pop_front() {
            let more = self.perform(life, effect);
            left.extend(self.saboteur.effects(life, more));
        }
        if self.lives[life].host.as_ref().is_some_and(|host| host.call().is_none()) {
            self.model.finished(life);
        }
        let violation = self.model.settle(life);
        self.violation = self.violation.take().or(violation);
    }

    fn perform(&mut self, life: usize, effect: Effect) -> Vec<Effect> {
        match effect {
            Effect::Send(flow, message) => return self.send(life, flow.remote, message),
            Effect::Store { epoch, seq, write } => {
                self.note(Some(life), |_| {
                    format!("writes {epoch}.{seq}: {}", super::writes::describe(&write))
                });
                self.model.writes(life, epoch, seq, &write);
                return self.give_write(life, (epoch, seq), write);
            }
            Effect::Claim { seen_epoch } => self.claim(life, seen_epoch),
            Effect::Lookup { called, .. } => return self.look_up(life, &called),
            Effect::Admit(gateway, holder) => self.ask_gateway(life, &gateway, holder),
            Effect::Authorize(gateway, serial, request) => {
                self.authorize(life, (&gateway, serial), &request);
            }
            // No gateway asks for a pause here.
            Effect::Hold(..) => {}
            Effect::Resolve(attempt, sought) => self.resolve(life, attempt, &sought),
            Effect::Release(gateway, holder, outcome) => self.release(life, &gateway, holder, Some(outcome)),
            Effect::Wake(at) => self.set_wake(life, at),
            Effect::Observe(event) => self.observe(life, &event),
            Effect::Panicked => {
                self.lives[life].panics = match self.lives[life].panics.checked_sub(1) {
                    Some(left) => left,
                    None => {
                        self.fail(Rule::Panics, Some(life), "the machine panicked");
                        0
                    }
                };
                self.model.panicked(life);
            }
            Effect::GaveUpUnstored => {
                self.model.gave_up(life);
                self.unstored_answer(life);
            }
            Effect::Stop => self.stop(life),
        }
        Vec::new()
    }

    fn send(&mut self, life: usize, to: SocketAddr, bytes: Bytes) -> Vec<Effect> {
        let message = match Message::parse(bytes, &self.limits) {
            Ok(message) => message,
            Err(error) => {
                self.fail(Rule::Readable, Some(life), error.to_string());
                return Vec::new();
            }
        };
        self.model.sent(life, to, &message);
        if self.transmit(Some(life), to, &message).is_ok() || !message.is_request() {
            return Vec::new();
        }
        let Some(branch) = branch_of(message.raw()) else { return Vec::new() };
        let Some(serial) = Serial::of(&branch) else { return Vec::new() };
        self.model.hear(life, Heard::Undeliverable(branch), self.now.0);
        self.with_host(life, |host, now| host.handle(Input::Undeliverable(serial), now))
    }

    fn look_up(&mut self, life: usize, called: &str) -> Vec<Effect> {
        self.model.looks_up(life);
        let looked = self.looked(life, called);
        match self.plan.calls[self.lives[life].plan].lookup {
            LookupPlan::AtOnce => self.give_routes(life, looked),
            LookupPlan::After(ms) => {
                self.enter(ms, Event::Mail(life, Mail::Looked(looked)));
                Vec::new()
            }
            LookupPlan::Never => Vec::new(),
        }
    }

    fn give_routes(&mut self, life: usize, looked: Looked) -> Vec<Effect> {
        let place = |route: &Candidate| self.gateway_place(&route.gateway);
        let gateways = looked.routes.iter().map(place).collect();
        self.model.hear(life, Heard::Looked { gateways, called: looked.called.clone() }, self.now.0);
        self.with_host(life, |host, now| host.handle(Input::Looked(looked), now))
    }

    /// A gateway's actor has the password.
    fn authorize(&mut self, life: usize, (name, serial): (&GatewayName, Serial), request: &Unauthorized) {
        let place = self.gateway_place(name);
        let account = self.plan.gateways[place].account.clone();
        let nonces = &mut self.nonces[place];
        let authorization = account.and_then(|account| account.authorize(nonces, request));
        let authorization = self.saboteur.authorization(authorization);
        let delay = self.shell.below(50);
        self.enter(delay, Event::Mail(life, Mail::Told(Input::Authorized { serial, authorization })));
    }

    fn resolve(&mut self, life: usize, attempt: u16, sought: &Sought) {
        let places = match sought {
            Sought::Gateway(name) => self.plan.gateways[self.gateway_place(name)].own_places().to_vec(),
            Sought::Uri(uri) => {
                let uri = Uri::parse(uri.as_bytes()).ok();
                uri.and_then(|uri| uri.socket_addr(5060)).into_iter().collect()
            }
        };
        let targets = places.into_iter().map(target).collect();
        let delay = self.shell.below(200);
        self.enter(
            delay,
            Event::Mail(life, Mail::Told(Input::Resolved { attempt, of: sought.clone(), targets })),
        );
    }

    fn gateway_place(&self, name: &str) -> usize {
        self.plan.gateways.iter().position(|gateway| gateway.name == name).unwrap_or_default()
    }

    /// Number rules and the route table.
    fn looked(&self, life: usize, called: &str) -> Looked {
        let life = &self.lives[life];
        let called = self.mapping[life.mapping].number_rules.apply(called);
        let gateways = self.routes.candidates(&called, life.id.draw(), |_| true);
        let candidate = |gateway: &Arc<RoutingGateway>| {
            let is_named = !self.plan.gateways[self.gateway_place(&gateway.name)].places.is_empty();
            Some(Candidate {
                gateway: gateway.name.clone(),
                reach: if is_named {
                    Reach::Named(format!("{}.example", gateway.name).into())
                } else {
                    Reach::At(target(gateway.address.fixed()?))
                },
                called: gateway.number_rules.apply(&called),
                trusted: gateway.trusted,
                has_account: gateway.account.is_some(),
                redirects: self.saboteur.redirects(gateway.redirects),
                pass_headers: gateway.pass_headers.as_slice().into(),
                pass_methods: gateway.pass_methods,
                parameters: gateway.parameters.clone(),
            })
        };
        let mut routes: Vec<_> = gateways.iter().filter_map(candidate).collect();
        self.saboteur.routes(&mut routes);
        Looked { called, routes, ..Looked::default() }
    }

    /// A gateway's actor decides at once; its answer may take its time, or be lost with the actor.
    fn ask_gateway(&mut self, life: usize, name: &GatewayName, holder: Holder) {
        let place = self.gateway_place(name);
        self.model.asks(life, place, holder.attempt);
        let now = self.now();
        let result = self.gateway_slots[place].admit(now, holder);
        if result.is_ok() {
            self.lives[life].held.push((place, holder));
        }
        self.model.decides(life, (place, holder.attempt), result.is_ok(), self.now.0);
        let delay = match self.shell.below(200) {
            0 => {
                self.fault(Fault::LostAdmission);
                return self.model.admission_lost(life);
            }
            1..=3 => {
                self.fault(Fault::SlowAdmission);
                self.shell.below(3_000)
            }
            4..=60 => self.shell.below(5),
            _ => 0,
        };
        let admitted = Input::Admitted { gateway: name.clone(), attempt: holder.attempt, result };
        self.enter(delay, Event::Mail(life, Mail::Result(admitted)));
    }

    fn release(&mut self, life: usize, name: &GatewayName, holder: Holder, outcome: Option<Outcome>) {
        let place = self.gateway_place(name);
        self.note(Some(life), |_| format!("gives back slot {} of {name}", holder.attempt));
        self.model.releases(life, (place, holder.attempt), self.now.0);
        self.lives[life].held.retain(|held| *held != (place, holder));
        let now = self.now();
        self.gateway_slots[place].release(now, holder, outcome);
    }

    fn observe(&mut self, life: usize, event: &CallEvent) {
        self.note(Some(life), |_| format!("{event:?}"));
        self.model.observes(life, event);
        if matches!(event, CallEvent::Released(_)) && std::mem::take(&mut self.lives[life].admitted) {
            let (id, mapping) = (self.lives[life].id, self.lives[life].mapping);
            self.release_call(id, mapping);
        }
    }

    fn set_wake(&mut self, life: usize, at: Mono) {
        let turn = self.lives[life].wake_turn + 1;
        self.lives[life].wake_turn = turn;
        let late = self.shell.below(self.plan.lateness_ms + 1);
        let at = Mono(self.saboteur.wake(at.0 + late).max(self.now.0));
        self.schedule.enter(at, Event::Wake(life, turn));
    }

    pub(super) fn on_wake(&mut self, life: usize, turn: u32) {
        if self.lives[life].wake_turn != turn || self.lives[life].host.is_none() {
            return;
        }
        let (at, wakes) = self.lives[life].wakes;
        let wakes = if at == self.now.0 { wakes + 1 } else { 0 };
        self.lives[life].wakes = (self.now.0, wakes);
        if wakes > MAX_WAKES_AT_ONCE {
            return self.fail(Rule::Spinning, Some(life), "a deadline that does not move");
        }
        self.step(life, Heard::Timer, Input::Timer);
    }

    /// The actor is gone: its registration gives everything back.
    fn stop(&mut self, life: usize) {
        self.note(Some(life), |_| "is over".to_owned());
        self.model.stopped(life, self.now.0);
        self.lives[life].host = None;
        let now = self.now();
        for (place, holder) in std::mem::take(&mut self.lives[life].held) {
            self.gateway_slots[place].release(now, holder, None);
        }
        let (id, mapping) = (self.lives[life].id, self.lives[life].mapping);
        if std::mem::take(&mut self.lives[life].admitted) {
            self.release_call(id, mapping);
        }
        self.directory.remove(&id);
    }

    pub(super) fn on_mail(&mut self, life: usize, mail: Mail) {
        if self.lives[life].host.is_none() {
            return;
        }
        let effects = match mail {
            Mail::Result(input) => {
                let Input::Admitted { gateway, attempt, result } = &input else { return };
                let place = self.gateway_place(gateway);
                let (attempt, granted) = (*attempt, result.is_ok());
                return self.step(life, Heard::Admitted { gateway: place, attempt, granted }, input);
            }
            Mail::Looked(looked) => self.give_routes(life, looked),
            Mail::Told(input) => self.with_host(life, |host, now| host.handle(input, now)),
            Mail::Stored { epoch, seq, result } => self.stored(life, (epoch, seq), result),
            Mail::Claimed(claimed) => self.claimed(life, claimed),
        };
        self.finish_step(life, effects);
    }

    /// Tells a call what became of its write.
    pub(super) fn stored(
        &mut self,
        life: usize,
        (epoch, seq): (u32, u64),
        result: WriteResult,
    ) -> Vec<Effect> {
        self.note(Some(life), |_| format!("write {epoch}.{seq}: {result:?}"));
        let answer = match result {
            WriteResult::Stored => {
                self.lives[life].invite = None;
                self.note_stored(life, seq);
                StoreAnswer::Stored
            }
            WriteResult::Failed => StoreAnswer::Failed,
            WriteResult::Fenced => StoreAnswer::Fenced,
            WriteResult::Ended => StoreAnswer::Ended,
        };
        self.model.hear(life, Heard::Stored { epoch, seq, result: answer }, self.now.0);
        let result = self.saboteur.write_result(result);
        self.with_host(life, |host, now| host.on_stored((epoch, seq), result, now))
    }

    fn claimed(&mut self, life: usize, claimed: Claimed) -> Vec<Effect> {
        let (claim, result) = match claimed {
            Claimed::Away => (Claim::Away, ClaimResult::Away),
            Claimed::Lost => (Claim::Lost, ClaimResult::Lost),
            Claimed::Ours { epoch, seq, snapshot } => match through_bytes(&snapshot) {
                Ok(read) => {
                    let snapshot = Box::new(self.saboteur.snapshot(read));
                    (Claim::Claimed { epoch, seq }, ClaimResult::Claimed { epoch, seq, snapshot })
                }
                Err(detail) => {
                    self.fail(Rule::Takeover, Some(life), detail);
                    return Vec::new();
                }
            },
        };
        self.note(Some(life), |_| format!("{claim:?}"));
        self.model.claimed(life, claim, self.now.0);
        let result = self.saboteur.claim(result);
        self.with_host(life, |host, now| host.on_claimed(result, now))
    }
}

/// A place on the network, as calls reach it.
fn target(remote: SocketAddr) -> Target {
    let flow = Flow { transport: Transport::Udp, listener: 0, remote };
    Target { flow, local: SWITCH.into() }
}
