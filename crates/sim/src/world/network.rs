//! Datagrams between the node and its peers, lost, doubled and delayed.

use super::{Event, Peer, World};
use crate::coverage::Fault;
use crate::peers::{CallerAct, CarrierAct, Doings};
use crate::plan::{Gateway, Kind, Reach};
use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::{Message, Name};

/// How late a datagram may be that others overtake, in ms.
const LATE_MS: u64 = 2_500;

/// The most of a datagram that ICMP quotes here.
const QUOTED_MAX: u64 = 548;

/// The transport refuses to send.
pub(super) struct NoRoute;

impl World {
    /// How long each copy of the next datagram is on its way; none if it is lost.
    fn passage(&mut self) -> Vec<u64> {
        let plan = self.plan.clone();
        let network = &plan.network;
        let forced = network.forced.contains(&self.datagrams);
        self.datagrams += 1;
        let delay = self.network.below(network.delay_ms);
        let dice = self.network.below(100);
        let lost = if forced { dice < 40 } else { dice < network.loss };
        if lost {
            self.fault(Fault::Loss);
            return Vec::new();
        }
        let dice = self.network.below(100);
        let late = if forced { dice < 50 } else { dice < network.late };
        if late {
            self.fault(Fault::Reorder);
            return vec![delay + self.network.below(LATE_MS)];
        }
        if forced || self.network.chance(network.duplicate) {
            self.fault(Fault::Duplicate);
            return vec![delay, delay + self.network.below(500)];
        }
        vec![delay]
    }

    fn peer_at(&self, address: SocketAddr) -> Option<Peer> {
        if self.plan.kind == Kind::Conversations {
            return Some(Peer::Place(address));
        }
        let caller = self.callers.iter().position(|caller| caller.address == address);
        let carrier = || self.carriers.iter().position(|carrier| carrier.address == address);
        caller.map(Peer::Caller).or_else(|| carrier().map(Peer::Carrier))
    }

    /// The node sends a datagram.
    pub(super) fn transmit(
        &mut self,
        call: Option<usize>,
        to: SocketAddr,
        message: &Message,
    ) -> Result<(), NoRoute> {
        self.note(call, |world| format!("{:>20} <- {}", world.name_of(to), describe(message)));
        let Some(peer) = self.peer_at(to) else { return Ok(()) };
        let reach = match peer {
            Peer::Carrier(place) => self.plan.gateways[place].reach,
            Peer::Caller(number) if self.callers[number].has_closed_port() => Reach::Icmp { from_ms: 0 },
            Peer::Caller(_) | Peer::Place(_) => Reach::Fine,
        };
        match reach {
            Reach::Icmp { from_ms } if from_ms <= self.now.0 => {
                let quoted = self.network.between(60, QUOTED_MAX).min(message.raw().len() as u64);
                let sent = message.raw().slice(..quoted as usize);
                self.fault(Fault::Icmp);
                let delay = 1 + self.network.below(60);
                self.enter(delay, Event::Unreachable(sent));
                Ok(())
            }
            Reach::NoRoute { from_ms } if from_ms <= self.now.0 => {
                self.fault(Fault::NoRoute);
                Err(NoRoute)
            }
            Reach::Fine | Reach::Icmp { .. } | Reach::NoRoute { .. } => {
                for delay in self.passage() {
                    self.enter(delay, Event::Reaches { to: peer, message: message.clone() });
                }
                Ok(())
            }
        }
    }

    /// A datagram gets to a peer, which does something about it.
    pub(super) fn reaches(&mut self, to: Peer, message: &Message) {
        match to {
            Peer::Caller(number) => {
                let does = self.callers[number].receive(message);
                self.caller_does(number, does);
            }
            Peer::Carrier(place) => {
                let (does, conduct) = self.carriers[place].receive(message);
                if let Some(conduct) = conduct {
                    self.coverage.carrier(conduct);
                    let name = format!("gateway{}", place + 1);
                    self.note(None, |_| format!("{name:>20}    {conduct}"));
                }
                self.carrier_does(place, does);
            }
            Peer::Place(place) => self.reaches_place(place, message),
        }
    }

    pub(super) fn caller_does(&mut self, number: usize, does: Doings<CallerAct>) {
        let from = self.callers[number].address;
        does.sends.into_iter().for_each(|bytes| self.travel(from, bytes));
        for (after, act) in does.later {
            self.enter(after, Event::Caller(number, act));
        }
    }

    pub(super) fn carrier_does(&mut self, place: usize, does: Doings<(usize, CarrierAct)>) {
        let from = self.carriers[place].address;
        does.sends.into_iter().for_each(|bytes| self.travel(from, bytes));
        for (after, act) in does.later {
            self.enter(after, Event::Carrier(place, act));
        }
    }

    /// A peer sends the node a datagram.
    pub(super) fn travel(&mut self, from: SocketAddr, bytes: Bytes) {
        for delay in self.passage() {
            self.enter(delay, Event::Arrives { from, bytes: bytes.clone() });
        }
        if self.network.chance(self.plan.network.garbage) {
            self.fault(Fault::Garbage);
            let cut = self.network.below(bytes.len().max(1) as u64) as usize;
            let delay = self.network.below(50);
            self.enter(delay, Event::Arrives { from, bytes: bytes.slice(..cut) });
        }
    }

    pub(super) fn name_of(&self, address: SocketAddr) -> String {
        match self.peer_at(address) {
            Some(Peer::Caller(number)) => format!("caller{number}"),
            Some(Peer::Carrier(place)) => format!("gateway{}", place + 1),
            Some(Peer::Place(place)) => self.name_of_place(place),
            None => address.to_string(),
        }
    }

    fn name_of_place(&self, place: SocketAddr) -> String {
        let is_there = |gateway: &Gateway| gateway.own_places().contains(&place);
        match self.plan.gateways.iter().position(is_there) {
            Some(gateway) => format!("gateway{} at {}", gateway + 1, place.ip()),
            None => match self.phones.iter().position(|phone| phone.address == place) {
                Some(number) => format!("caller{number}"),
                None => place.to_string(),
            },
        }
    }
}

/// A message in one line.
pub(super) fn describe(message: &Message) -> String {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let what = match message.status() {
        Some(status) => format!("{} ({})", status.code(), text(message.first(Name::CSeq))),
        None => format!("{} ({})", text(Some(message.method_name())), text(message.first(Name::CSeq))),
    };
    let tag = message.to_tag().map_or(String::new(), |tag| format!(" to {}", tail(&text(Some(tag)))));
    let branch = message.top_via().ok().and_then(|via| via.branch().map(|branch| tail(&text(Some(branch)))));
    let body = crate::peers::sdp_id(message.body()).map_or(String::new(), |id| format!(" sdp {id}"));
    format!("{what}{tag} branch {}{body}", branch.unwrap_or_default())
}

/// The end of a name, which tells ours apart.
fn tail(name: &str) -> String {
    let start = name.len().saturating_sub(14);
    name.get(start..)
        .map_or_else(|| name.to_owned(), |end| if start > 0 { format!("…{end}") } else { end.to_owned() })
}
