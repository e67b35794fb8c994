//! Dialogs (RFC 3261 §12): what both ends remember of each other.

use crate::flow::Flow;
use crate::{Builder, Message, Method, Name, NameAddr, Uri};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use thiserror::Error;

/// The most Record-Route entries that become a route set.
pub const MAX_ROUTES: usize = 16;

/// One dialog, early or confirmed, as one of its two ends sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    call_id: Bytes,
    /// Our From or To value without its tag.
    local: Bytes,
    local_tag: Bytes,
    /// The peer's From or To value without its tag.
    remote: Bytes,
    /// Empty where the peer is of RFC 2543 and sent none.
    remote_tag: Bytes,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    remote_target: Bytes,
    /// In the order in which requests visit them.
    route_set: Vec<Bytes>,
    flow: Flow,
    side: Side,
    keeps_to_flow: bool,
}

/// Which end of a dialog is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Side {
    /// The peer's request began it.
    Server,
    /// Ours did.
    Client,
}

/// Why a message makes no dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DialogError {
    /// A Contact that cannot be read: requests would have no target (RFC 3261 §12.1).
    #[error("no usable Contact")]
    Contact,
    /// From or To cannot be read.
    #[error("no usable From or To")]
    Party,
    /// No Call-ID or CSeq.
    #[error("no usable Call-ID or CSeq")]
    Identity,
    /// More Record-Route entries than [`MAX_ROUTES`].
    #[error("more than {MAX_ROUTES} Record-Route entries")]
    Routes,
}

/// Whether an in-dialog request comes in order (RFC 3261 §12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Its CSeq is above the last one.
    InOrder,
    /// Its CSeq is not above the last one: 500.
    OutOfOrder,
}

impl Dialog {
    /// The dialog that answering `request` with `local_tag` makes (§12.1.1). A request without a Contact (RFC 2543) comes
    /// from whom its From names, at the address it was sent from.
    ///
    /// # Errors
    /// Says what the request lacks.
    pub fn as_server(request: &Message, local_tag: &str, flow: Flow) -> Result<Self, DialogError> {
        let from = request.from().map_err(|_| DialogError::Party)?;
        let to = request.to().map_err(|_| DialogError::Party)?;
        let cseq = request.cseq().map_err(|_| DialogError::Identity)?;
        Ok(Self {
            call_id: Bytes::copy_from_slice(request.call_id().ok_or(DialogError::Identity)?),
            local: without_tag(&to),
            local_tag: Bytes::copy_from_slice(local_tag.as_bytes()),
            remote: without_tag(&from),
            remote_tag: Bytes::copy_from_slice(from.tag().unwrap_or_default()),
            local_cseq: 0,
            remote_cseq: Some(cseq.number),
            remote_target: match request.contact() {
                Some(_) => target(request)?,
                None => sender(&from, flow.remote),
            },
            route_set: routes(request)?,
            flow,
            side: Side::Server,
            keeps_to_flow: false,
        })
    }

    /// The dialog that `response` to our request makes (§12.1.2). A response without a usable Contact leaves
    /// `request_uri` as the target.
    ///
    /// # Errors
    /// Says what the response lacks.
    pub fn as_client(response: &Message, flow: Flow, request_uri: &[u8]) -> Result<Self, DialogError> {
        let from = response.from().map_err(|_| DialogError::Party)?;
        let to = response.to().map_err(|_| DialogError::Party)?;
        let cseq = response.cseq().map_err(|_| DialogError::Identity)?;
        let mut route_set = routes(response)?;
        route_set.reverse();
        Ok(Self {
            call_id: Bytes::copy_from_slice(response.call_id().ok_or(DialogError::Identity)?),
            local: without_tag(&from),
            local_tag: Bytes::copy_from_slice(from.tag().unwrap_or_default()),
            remote: without_tag(&to),
            remote_tag: Bytes::copy_from_slice(to.tag().unwrap_or_default()),
            local_cseq: cseq.number,
            remote_cseq: None,
            remote_target: target(response).unwrap_or_else(|_| Bytes::copy_from_slice(request_uri)),
            route_set,
            flow,
            side: Side::Client,
            keeps_to_flow: false,
        })
    }

    /// Whether `request` belongs to this dialog: same Call-ID, its To tag ours, its From tag the peer's (§12.2.2).
    pub fn owns(&self, request: &Message) -> bool {
        request.call_id() == Some(&self.call_id[..])
            && request.to_tag() == Some(&self.local_tag[..])
            && request.from_tag().unwrap_or_default() == self.remote_tag
    }

    /// Whether `response` answers a request of ours in this dialog.
    pub fn is_answered_by(&self, response: &Message) -> bool {
        response.call_id() == Some(&self.call_id[..])
            && response.from_tag() == Some(&self.local_tag[..])
            && response.to_tag().unwrap_or_default() == self.remote_tag
    }

    /// The peer's tag.
    pub fn remote_tag(&self) -> &[u8] {
        &self.remote_tag
    }

    /// Our tag.
    pub fn local_tag(&self) -> &[u8] {
        &self.local_tag
    }

    /// Answers under another tag of ours from now on: towards the peer, another early dialog, in which its last
    /// sequence number is `remote_cseq`.
    pub fn turn_to(&mut self, tag: &str, remote_cseq: u32) {
        self.local_tag = Bytes::copy_from_slice(tag.as_bytes());
        self.remote_cseq = Some(remote_cseq);
    }

    /// Goes on with the sequence numbers of the early dialog that this one confirms.
    pub fn inherit(&mut self, early: &Self) {
        self.local_cseq = self.local_cseq.max(early.local_cseq);
        self.remote_cseq = self.remote_cseq.max(early.remote_cseq);
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &[u8] {
        &self.call_id
    }

    /// Takes the Contact of a target refresh request, or of the 2xx to one of ours, as the target from now on (§12.2.1.2,
    /// §12.2.2). `true` if that is another one; a message without a usable Contact changes nothing.
    pub fn refresh_target(&mut self, message: &Message) -> bool {
        match target(message) {
            Ok(target) if target != self.remote_target => {
                self.remote_target = target;
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Takes the sequence number of a request of the peer.
    pub fn receive(&mut self, cseq: u32) -> Order {
        match self.remote_cseq {
            Some(last) if cseq <= last => Order::OutOfOrder,
            Some(_) | None => {
                self.remote_cseq = Some(cseq);
                Order::InOrder
            }
        }
    }

    /// Raises our sequence number to at least `floor`: after a takeover nothing may repeat.
    pub fn raise_cseq(&mut self, floor: u32) {
        self.local_cseq = self.local_cseq.max(floor);
    }

    /// Takes our next sequence number, for a request that is not [made](Self::request) here.
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// Sends all requests by the flow that the dialog began with: nothing else leads to the peer, wherever it says it is.
    pub fn keep_to_flow(&mut self) {
        self.keeps_to_flow = true;
    }

    /// Goes on by another socket: `flow` says which, of the flow that the dialog began with.
    pub fn move_flow(&mut self, flow: impl FnOnce(Flow) -> Flow) {
        self.flow = flow(self.flow);
    }

    /// Our last sequence number.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// A new request in this dialog, up to and including its CSeq. `via` is the value of its Via.
    pub fn request(&mut self, method: Method, via: &str) -> Builder {
        let cseq = self.next_cseq();
        self.print(method, via, cseq)
    }

    /// The ACK of our INVITE with sequence number `cseq`: of the 2xx, with a `via` of its own (§13.2.2.4), or inside this
    /// dialog of another final response, with the INVITE's `via` and as long as the target is the same (§17.1.1.3).
    pub fn ack(&self, via: &str, cseq: u32) -> Builder {
        self.print(Method::Ack, via, cseq)
    }

    /// The CANCEL of our INVITE with sequence number `cseq` and this `via` (§9.1), as long as the target is the same.
    pub fn cancel(&self, via: &str, cseq: u32) -> Builder {
        self.print(Method::Cancel, via, cseq)
    }

    fn print(&self, request_method: Method, via: &str, cseq: u32) -> Builder {
        let strict = self.route_set.first().filter(|route| !is_loose(route));
        let uri = match strict {
            Some(route) => NameAddr::parse(route).map_or(&self.remote_target[..], |address| address.uri),
            None => &self.remote_target[..],
        };
        let mut builder = Builder::request(request_method, uri).header(Name::Via, via);
        let skipped = usize::from(strict.is_some());
        for route in &self.route_set[skipped..] {
            builder = builder.header(Name::Route, route);
        }
        if strict.is_some() {
            let target = [b"<", &self.remote_target[..], b">"].concat();
            builder = builder.header(Name::Route, target);
        }
        builder
            .header(Name::MaxForwards, "70")
            .header(Name::From, tagged(&self.local, &self.local_tag))
            .header(Name::To, tagged(&self.remote, &self.remote_tag))
            .header(Name::CallId, &self.call_id)
            .cseq(cseq, request_method)
    }

    /// Where requests of this dialog are sent: the first route or the target if it is an address, else where the
    /// peer's message came from. A peer that opened the connection itself is reached by it as long as it is at the same
    /// address: it may be behind a firewall, or listen nowhere. One that is reached by its flow only, by that.
    pub fn flow(&self) -> Flow {
        if self.keeps_to_flow {
            return self.flow;
        }
        let default_port = self.flow.transport.default_port();
        let next_hop = match self.route_set.first() {
            Some(route) => {
                NameAddr::parse(route).ok().and_then(|address| socket_addr(address.uri, default_port))
            }
            None => socket_addr(&self.remote_target, default_port),
        };
        let has_connected = self.side == Side::Server && self.flow.transport.is_reliable();
        match next_hop {
            Some(remote) if has_connected && remote.ip() == self.flow.remote.ip() => self.flow,
            Some(remote) if remote.is_ipv4() == self.flow.remote.is_ipv4() => Flow { remote, ..self.flow },
            Some(_) | None => self.flow,
        }
    }
}

fn socket_addr(uri: &[u8], default_port: u16) -> Option<SocketAddr> {
    Uri::parse(uri).ok()?.socket_addr(default_port)
}

fn is_loose(route: &[u8]) -> bool {
    NameAddr::parse(route)
        .ok()
        .and_then(|address| address.parse_uri().ok().map(|uri| uri.has_lr()))
        .unwrap_or(true)
}

fn target(message: &Message) -> Result<Bytes, DialogError> {
    let contact = message.contact().ok_or(DialogError::Contact)?.map_err(|_| DialogError::Contact)?;
    contact.parse_uri().map_err(|_| DialogError::Contact)?;
    Ok(Bytes::copy_from_slice(contact.uri))
}

fn sender(from: &NameAddr<'_>, remote: SocketAddr) -> Bytes {
    let user = from.parse_uri().ok().and_then(|uri| uri.user);
    let user = user.map(|user| [user, b"@"].concat()).unwrap_or_default();
    Bytes::from([b"sip:", &user[..], remote.to_string().as_bytes()].concat())
}

fn routes(message: &Message) -> Result<Vec<Bytes>, DialogError> {
    let routes: Vec<Bytes> =
        message.record_routes().take(MAX_ROUTES + 1).map(Bytes::copy_from_slice).collect();
    if routes.len() > MAX_ROUTES { Err(DialogError::Routes) } else { Ok(routes) }
}

fn tagged(party: &[u8], tag: &[u8]) -> Vec<u8> {
    if tag.is_empty() { party.to_vec() } else { [party, b";tag=", tag].concat() }
}

/// The address in name-addr form without any header parameter, so that a tag can be put behind it.
fn without_tag(party: &NameAddr<'_>) -> Bytes {
    let display = party.display.map_or(&b""[..], |display| display);
    let space: &[u8] = if display.is_empty() { b"" } else { b" " };
    Bytes::from([display, space, b"<", party.uri, b">"].concat())
}
