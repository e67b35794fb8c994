//! What befalls calls and gateways from outside.

use super::{Event, World};
use crate::coverage::Fault;
use crate::model::Heard;
use tandem_switch::call::Input;
use tandem_switch::cdr::EndReason;
use tandem_switch::gateway::GatewayState;

impl World {
    /// The call's machine panics between two inputs.
    pub(super) fn panic(&mut self, life: usize) {
        // What the store has lost only this memory has: an heir could not know better.
        if self.split.is_some() || self.lives[life].lost.is_some() {
            return self.enter(1_000, Event::Panic(life));
        }
        let now = self.now();
        let known = &mut self.lives[life];
        let Some(host) = known.host.as_mut().filter(|host| host.call().is_some()) else { return };
        let again = known.panicked;
        known.panicked = true;
        known.panics += 1;
        let effects = host.panicked(now);
        self.note(Some(life), |_| "panics".to_owned());
        self.fault(if again { Fault::SecondPanic } else { Fault::Panic });
        self.finish_step(life, effects);
    }

    pub(super) fn hang_up(&mut self, life: usize) {
        self.note(Some(life), |_| "the operator hangs up".to_owned());
        self.step(life, Heard::HangUp, Input::HangUp(EndReason::Admin));
    }

    /// Another node claims the call: what this one writes from now on is refused.
    pub(super) fn steal(&mut self, life: usize) {
        let id = self.lives[life].id;
        // With two masters the other node is heard by the one that will be left.
        let store = self.split.as_mut().unwrap_or(&mut self.store);
        if self.lives[life].host.is_some() && store.steal(id) {
            // What has ended here the other node has not heard of.
            self.lives[life].has_two_owners |= self.split.is_some() || self.lives[life].has_ended;
            self.fault(Fault::Stolen);
            self.model.stolen(life);
        }
    }

    /// A gateway's actor is started anew, and every call tells it which slots it holds.
    pub(super) fn restart(&mut self, gateway: usize) {
        self.fault(Fault::GatewayRestart);
        let limits = self.gateway_slots[gateway].limits();
        self.gateway_slots[gateway] = GatewayState::new(limits);
        self.model.gateway_restarted(gateway);
        for life in self.lives.iter().filter(|life| life.host.is_some()) {
            for (_, holder) in life.held.iter().filter(|(place, _)| *place == gateway) {
                self.gateway_slots[gateway].reclaim(*holder);
            }
        }
    }

    /// The operator ends every conversation that nobody else has ended.
    pub(super) fn sweep(&mut self) {
        for life in 0..self.lives.len() {
            if self.lives[life].host.is_some() && self.violation.is_none() {
                self.hang_up(life);
            }
        }
    }
}
