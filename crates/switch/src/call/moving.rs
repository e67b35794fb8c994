//! A call goes on at another node, which may be reached elsewhere.
//!
//! What peers were told stays in what they have yet to answer: they send their answers there. What is sent from now on
//! says where the call is now; in a conversation each party is told by a target refresh (RFC 3261 §12.2.2).

use super::action::{Branch, Candidate, Reach, Target};
use super::attempt::SentInvites;
use super::caller::CallerLeg;
use super::snapshot::{Phase, Snapshot};
use crate::gateway::{GatewayName, Holder};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::flow::Flow;

/// By which socket of its own a node sends what another node has sent by a flow, and its own `host:port` in what is sent
/// there; given the other's.
pub type Home<'a> = dyn Fn(Flow, &Arc<str>) -> (Flow, Arc<str>) + 'a;

/// Which parties do not know where a call is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The caller does not.
    pub caller: bool,
    /// The callee does not.
    pub callee: bool,
    /// How long they may wait until they are told: not all calls of a node tell theirs at once.
    pub wait: Duration,
}

impl Moved {
    /// Whether anybody has to be told.
    pub fn is_any(self) -> bool {
        self.caller || self.callee
    }
}

impl Snapshot {
    /// Has the call go on at `home`. Who does not know that yet.
    pub fn move_to(&mut self, home: &Home<'_>) -> Moved {
        let caller = self.caller.move_to(home);
        for attempt in &mut self.left {
            attempt.candidate.move_to(home);
            attempt.sent.move_flows(home);
            for (dialog, _) in &mut attempt.ending {
                let local = attempt.sent.current.head.target.local.clone();
                dialog.move_flow(|flow| home(flow, &local).0);
            }
        }
        let callee = match &mut self.phase {
            Phase::Hunting(hunting) => hunting.move_to(home),
            Phase::Connected(connected) => {
                connected.candidate.move_to(home);
                let sent = &mut connected.sent;
                let local = sent.current.head.target.local.clone();
                connected.callee.move_flow(|flow| home(flow, &local).0);
                sent.earlier.iter_mut().for_each(|sent| sent.head.target.move_flow(home));
                sent.current.head.target.move_to(home)
            }
            Phase::Clearing(_) => false,
        };
        Moved { caller, callee, wait: Duration::ZERO }
    }

    /// Whether some of its peers will never reach it at `home`, which is waiting for their answers: it is being set up.
    pub fn is_cut_off_at(&self, home: &Home<'_>) -> bool {
        match &self.phase {
            Phase::Hunting(hunting) => hunting.is_cut_off_at(home),
            Phase::Connected(_) | Phase::Clearing(_) => false,
        }
    }

    /// Whether it is answered.
    pub fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Connected(_))
    }

    /// The slots that it holds.
    pub fn slots(&self) -> impl Iterator<Item = (GatewayName, Holder)> {
        let open = match &self.phase {
            Phase::Hunting(hunting) => Some(hunting.open()),
            Phase::Connected(connected) => Some((connected.index, &connected.candidate)),
            Phase::Clearing(_) => None,
        };
        let left = self.left.iter().map(|attempt| (attempt.index, &attempt.candidate));
        let held = open.into_iter().chain(left).filter(|(_, candidate)| candidate.has_slots());
        held.map(|(attempt, candidate)| (candidate.gateway.clone(), Holder { call: self.id(), attempt }))
    }

    /// The mapping gateway that it came from, and the called number after that one's rules.
    pub fn route(&self) -> (&GatewayName, &str) {
        (&self.record.mapping_gateway, self.record.called_routed.as_deref().unwrap_or(&self.record.called))
    }
}

impl CallerLeg {
    fn move_to(&mut self, home: &Home<'_>) -> bool {
        let (flow, local) = home(self.flow, &self.local);
        let before = std::mem::replace(&mut self.local, local);
        self.flow = flow;
        self.dialog.move_flow(|flow| home(flow, &before).0);
        self.local != before
    }
}

impl<P> Candidate<P> {
    pub(super) fn move_to(&mut self, home: &Home<'_>) {
        match &mut self.reach {
            Reach::At(target) => {
                target.move_to(home);
            }
            Reach::Named(_) => {}
            Reach::Bindings(bindings) => bindings.branches.iter_mut().for_each(|branch| branch.move_to(home)),
            Reach::Registered(branches) => branches.iter_mut().for_each(|branch| branch.move_to(home)),
        }
    }
}

impl Branch {
    pub(super) fn move_to(&mut self, home: &Home<'_>) {
        for target in &mut self.targets {
            target.move_to(home);
        }
    }
}

impl Target {
    /// Whether it is another `host:port` of ours than before.
    fn move_to(&mut self, home: &Home<'_>) -> bool {
        let (flow, local) = home(self.flow, &self.local);
        self.flow = flow;
        std::mem::replace(&mut self.local, local) != self.local
    }

    /// What was sent there names where it came from.
    fn move_flow(&mut self, home: &Home<'_>) {
        self.flow = home(self.flow, &self.local).0;
    }

    /// Whether answers to what was sent there do not come to `home`.
    pub(super) fn is_cut_off_at(&self, home: &Home<'_>) -> bool {
        home(self.flow, &self.local).1 != self.local
    }
}

impl SentInvites {
    pub(super) fn move_flows(&mut self, home: &Home<'_>) {
        self.current.head.target.move_flow(home);
        self.earlier.iter_mut().for_each(|sent| sent.head.target.move_flow(home));
    }
}
