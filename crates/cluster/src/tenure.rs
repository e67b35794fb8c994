//! Whether a node that has a call may speak for it, beyond the lease of the node itself.

use crate::CallHost;
use std::sync::Arc;
use tandem_switch::call::Stage;

/// How a node stands to a call that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tenure {
    /// It is its owner.
    #[default]
    Own,
    /// It may be another node's by now: the store's answer to a commit above this number tells.
    Unsure(u64),
    /// It is its owner until the store has all of the call, and then that node is told.
    Giving(Arc<str>),
    /// The heir has been told, and has not answered yet.
    Given,
}

/// Whether the call is to be committed anew: it is told [`tandem_switch::call::Input::StoreLost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recommit {
    /// It is.
    Yes,
    /// It is not.
    No,
}

impl Tenure {
    /// Whether anything may be said for the call.
    pub fn may_speak(&self) -> bool {
        matches!(self, Tenure::Own | Tenure::Giving(_))
    }

    /// The node was silent for too long, and the store shows the call as its own, or does not. What it does not show may be
    /// another node's, or lost by the store: a commit tells.
    pub fn verified(&mut self, is_shown: bool, host: &CallHost) -> Recommit {
        // The heir's answer says whose a given call is.
        // An end that the store has taken is final.
        if is_shown || *self == Tenure::Given || !host.is_stored() || host.is_over() || host.has_ended() {
            return Recommit::No;
        }
        *self = Tenure::Unsure(host.seq());
        Recommit::Yes
    }

    /// The node drains, and the call is that one's as soon as it has come to rest; `insists`: even if it has not. `has_authority`
    /// is whether the node may speak for its calls at all.
    pub fn give_to(
        &mut self,
        heir: Arc<str>,
        insists: bool,
        has_authority: bool,
        host: &CallHost,
    ) -> Recommit {
        let is_ready = |call: &tandem_switch::call::Call| {
            call.is_at_rest() || (insists && call.stage() == Stage::Answered)
        };
        if *self != Tenure::Own || !has_authority || !host.call().is_some_and(is_ready) {
            return Recommit::No;
        }
        *self = Tenure::Giving(heir);
        Recommit::Yes
    }

    /// The heir that is to be told now, since it can go on from what the store has. Nothing is said for the call from then on.
    pub fn heir_to_tell(&mut self, host: &CallHost) -> Option<Arc<str>> {
        match std::mem::take(self) {
            // Of one that has ended there is nothing to give.
            Tenure::Giving(_) if host.has_ended() => None,
            Tenure::Giving(heir) if host.is_settled() => {
                *self = Tenure::Given;
                Some(heir)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// The heir has not said that it has the call, which may have it all the same.
    pub fn not_taken(&mut self, host: &CallHost) -> Recommit {
        if host.has_ended() {
            *self = Tenure::Own;
            return Recommit::No;
        }
        *self = Tenure::Unsure(host.seq());
        Recommit::Yes
    }

    /// The store has taken the write of that epoch and number, which the host has been told.
    pub fn stored(&mut self, (epoch, seq): (u32, u64), host: &CallHost) {
        let is_news = |above: u64| seq > above || host.has_ended();
        if epoch == host.epoch() && matches!(self, Tenure::Unsure(above) if is_news(*above)) {
            *self = Tenure::Own;
        }
    }
}
