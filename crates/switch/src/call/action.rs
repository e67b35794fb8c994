//! What goes into a call and what comes out of it.

use super::CallId;
use super::snapshot::Snapshot;
use crate::cdr::{EndReason, Release};
use crate::failover::Failure;
use crate::gateway::{GatewayName, Holder, MappingGateway, Outcome, Redirects, Refusal};
use crate::parameters::AttemptParameters;
use crate::registrar::Aor;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::digest::Challenge;
use tandem_sip::flow::Flow;
use tandem_sip::time::Mono;
use tandem_sip::{Message, Method, MethodSet};

use super::identity::Serial;

/// What a call begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The call's id.
    pub id: CallId,
    /// Its token, for the names it gives.
    pub token: String,
    /// The node that owns it.
    pub node: Arc<str>,
    /// The caller's INVITE, [screened](super::screen).
    pub invite: Message,
    /// Where it came from.
    pub flow: Flow,
    /// Our `host:port` in what the caller is sent.
    pub local: Arc<str>,
    /// The listener by which the caller is sent requests: that of `flow`, unless its INVITE came by another node.
    pub home: u16,
    /// Whom it came from.
    pub mapping_gateway: Arc<MappingGateway>,
    /// The endpoint that calls, if it is one.
    pub endpoint: Option<CallingEndpoint>,
}

/// A caller who has proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallingEndpoint {
    /// Its number, which stands in place of what its From says.
    pub number: Arc<str>,
    /// Whether nothing but the flow of its INVITE leads to it: it is behind a NAT, or has opened a connection.
    pub by_flow: bool,
}

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Input {
    /// A request of one of the parties; `flow.remote` is its source.
    Request {
        /// The request.
        message: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// A response to something that the call sent.
    Response(Message),
    /// The transport could not deliver the request that carried this serial in its branch.
    Undeliverable(Serial),
    /// The answer to [`Action::Lookup`].
    Looked(Looked),
    /// The answer to [`Action::Admit`].
    Admitted {
        /// The gateway that was asked.
        gateway: GatewayName,
        /// For which attempt.
        attempt: u16,
        /// Whether the gateway takes it.
        result: Result<(), Refusal>,
    },
    /// The answer to [`Action::Resolve`].
    Resolved {
        /// For which attempt.
        attempt: u16,
        /// What was to be resolved: an answer that comes late is not taken for that to another question.
        of: Sought,
        /// Where to, best first; empty if there is no way. No more than [`MAX_TARGETS`] are used.
        targets: Vec<Target>,
    },
    /// The answer to [`Action::Authorize`].
    Authorized {
        /// The request that is to carry it.
        serial: Serial,
        /// The header lines; `None` if there are none to be had.
        authorization: Option<Authorization>,
    },
    /// End the call, for a reason of the switch's own.
    HangUp(EndReason),
    /// A deadline may have passed.
    Timer,
    /// The store may have lost the call's state: it is to be committed again.
    StoreLost,
}

/// Where a call may go, and on what terms.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// The called number after the mapping gateway's rules.
    pub called: String,
    /// The gateways, in order.
    pub routes: Vec<Candidate>,
    /// The longest conversation allowed, over and above the parameters.
    pub max_duration: Option<Duration>,
    /// Whether it goes to an emergency service: then no limit on its length holds.
    pub emergency: bool,
    /// Header lines (name, value) that the callee's side gets besides.
    pub headers: Vec<(String, String)>,
    /// Whether it is for an endpoint that is registered nowhere: 480 where no route is left.
    pub absent: bool,
}

/// One gateway that a call may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate<P = Arc<AttemptParameters>> {
    /// Its name.
    pub gateway: GatewayName,
    /// How it is reached.
    pub reach: Reach,
    /// The called number after its rules.
    pub called: String,
    /// Whether identity headers are passed to it.
    pub trusted: bool,
    /// Whether its challenges can be answered ([`Action::Authorize`]).
    pub has_account: bool,
    /// Where it may redirect calls to.
    pub redirects: Redirects,
    /// Headers of its messages that reach the caller.
    pub pass_headers: Arc<[String]>,
    /// Methods of its requests inside the dialog that reach the caller.
    pub pass_methods: MethodSet,
    /// The parameters that its attempts go by.
    pub parameters: P,
}

impl<P> Candidate<P> {
    /// Whether its calls hold slots, which it is asked for and given back.
    pub(super) fn has_slots(&self) -> bool {
        match self.reach {
            Reach::At(_) | Reach::Named(_) | Reach::Registered(_) => true,
            Reach::Bindings(_) => false,
        }
    }

    /// The place that it stands for, if it is one of an endpoint's.
    pub(super) fn binding(&self) -> Option<&Branch> {
        match &self.reach {
            Reach::At(_) | Reach::Named(_) | Reach::Registered(_) => None,
            Reach::Bindings(bindings) => bindings.branches.first(),
        }
    }

    /// The binding by which it is called at this target.
    pub(super) fn binding_at(&self, target: &Target) -> Option<&Branch> {
        match &self.reach {
            Reach::At(_) | Reach::Named(_) | Reach::Bindings(_) => self.binding(),
            Reach::Registered(branches) => branches.iter().find(|branch| branch.targets.contains(target)),
        }
    }

    /// With other parameters, or what stands for them.
    pub(super) fn with_parameters<Q>(self, parameters: Q) -> Candidate<Q> {
        Candidate {
            gateway: self.gateway,
            reach: self.reach,
            called: self.called,
            trusted: self.trusted,
            has_account: self.has_account,
            redirects: self.redirects,
            pass_headers: self.pass_headers,
            pass_methods: self.pass_methods,
            parameters,
        }
    }
}

/// The most targets of one name that an attempt tries.
pub const MAX_TARGETS: usize = 8;

/// One place where a gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// By which socket, at which address.
    pub flow: Flow,
    /// Our `host:port` in what is sent there.
    pub local: Arc<str>,
}

/// How a gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// At an address.
    At(Target),
    /// By a name, which is resolved when it is called (RFC 3263): `host` or `host:port`, as its URIs have it.
    Named(Arc<str>),
    /// Where an endpoint has registered. It has no slots: its calls are not limited.
    Bindings(Bindings),
    /// Where a gateway that registers to us is registered, best first: one place after the other, by the called number.
    Registered(Vec<Branch>),
}

/// Where an endpoint is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    /// Its address of record.
    pub aor: Aor,
    /// Its bindings, in any order. Those of equal preference are called at once; no more than
    /// [`MAX_BRANCHES`](super::MAX_BRANCHES) in all.
    pub branches: Vec<Branch>,
}

/// One binding of an endpoint, as a call to it goes there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Its Contact as registered: the Request-URI.
    pub uri: Arc<str>,
    /// Its preference, in thousandths.
    pub q: u16,
    /// The values of Route (RFC 3327 Path), in the order in which they are visited.
    pub route: Vec<Arc<str>>,
    /// Where it is sent: its flow, or where its route or Contact leads, best first. No more than [`MAX_TARGETS`] are
    /// used.
    pub targets: Vec<Target>,
    /// Whether requests inside the dialog go there as well, whatever Contact it has: nothing else leads to it.
    pub by_flow: bool,
}

/// What is to be resolved (RFC 3263 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The address of a gateway that is configured by name.
    Gateway(GatewayName),
    /// The `sip:` or `sips:` URI that a gateway has redirected to.
    Uri(Arc<str>),
}

/// A request that a gateway has challenged (RFC 3261 §22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unauthorized {
    /// Its method.
    pub method: Method,
    /// Its Request-URI.
    pub uri: Arc<str>,
    /// Its body.
    pub body: Bytes,
    /// What is to be answered, one for each realm; with the nonce count of an answer that is to come out the same again.
    pub challenges: Vec<(Challenge, Option<u32>)>,
    /// The client's nonce.
    pub cnonce: String,
}

/// What a challenged request carries when it goes out again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Header lines, each with its line end.
    pub lines: Bytes,
    /// The nonce count of each.
    pub counts: Vec<u32>,
}

/// Numbers the commits of a call.
pub type Seq = u64;

/// What a call wants done, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a message, after the commit with that number if there is one.
    Send {
        /// By which socket, to whom.
        flow: Flow,
        /// The message.
        message: Bytes,
        /// The commit it waits for.
        after: Option<Seq>,
    },
    /// Write the call's state.
    Commit {
        /// Its number.
        seq: Seq,
        /// The state.
        snapshot: Box<Snapshot>,
    },
    /// Remove the call's state and write its records, in one step.
    End {
        /// Its number among the commits.
        seq: Seq,
        /// CDRs as JSON, one object each.
        records: Vec<Vec<u8>>,
    },
    /// Find out where the call may go; answered by [`Input::Looked`].
    Lookup {
        /// The mapping gateway.
        mapping_gateway: GatewayName,
        /// The caller's number.
        caller: String,
        /// The called number as received.
        called: String,
        /// The Request-URI as received.
        uri: Arc<str>,
    },
    /// Ask a gateway for a slot; answered by [`Input::Admitted`].
    Admit {
        /// The gateway.
        gateway: GatewayName,
        /// Who would hold it.
        holder: Holder,
    },
    /// Find out where that is reached; answered by [`Input::Resolved`].
    Resolve {
        /// For which attempt.
        attempt: u16,
        /// What.
        of: Sought,
    },
    /// Answer a gateway's challenges; answered by [`Input::Authorized`].
    Authorize {
        /// The gateway.
        gateway: GatewayName,
        /// The request that is to carry the answer.
        serial: Serial,
        /// What it is.
        request: Box<Unauthorized>,
    },
    /// A gateway wants no new calls for that long (Retry-After).
    Hold {
        /// The gateway.
        gateway: GatewayName,
        /// For how long.
        pause: Duration,
    },
    /// Give a slot back, after the commit with that number if there is one.
    ReleaseSlot {
        /// The gateway.
        gateway: GatewayName,
        /// Who holds it.
        holder: Holder,
        /// How the attempt went.
        outcome: Outcome,
        /// The commit it waits for.
        after: Option<Seq>,
    },
    /// Wake the call at this time, instead of any earlier request.
    SetTimer(Mono),
    /// Something to count or to log.
    Emit(Event),
    /// The call is over and nothing of it can arrive any more.
    Stop,
}

/// What makes an attempt send its INVITE again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// 401 or 407 (RFC 3261 §22).
    Challenge,
    /// 3xx (§8.1.3.4).
    Redirect,
    /// 422 (RFC 4028 §7.3).
    SessionInterval,
    /// The place before it did not respond, could not be reached, or answered 503 (RFC 3263 §4.3).
    NextTarget,
}

/// What an observer may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An INVITE goes to a gateway.
    Attempted(GatewayName),
    /// The INVITE of an attempt goes out once more within it.
    InvitedAgain {
        /// To which gateway.
        gateway: GatewayName,
        /// Why.
        why: Again,
    },
    /// One place of a gateway's did not respond, or could not be reached.
    TargetFailed {
        /// Which gateway.
        gateway: GatewayName,
        /// The place.
        flow: Flow,
    },
    /// An attempt failed.
    AttemptFailed {
        /// At which gateway.
        gateway: GatewayName,
        /// How.
        failure: Failure,
    },
    /// A gateway did not take the call.
    Refused {
        /// Which.
        gateway: GatewayName,
        /// Why.
        refusal: Refusal,
    },
    /// The caller hears that it rings, for the first time.
    Ringing {
        /// Since the INVITE.
        pdd: Duration,
    },
    /// The callee answered.
    Answered,
    /// A message was sent again.
    Resent,
    /// The call ended, exactly once.
    Released(Release),
    /// A message of a peer was of no use and was dropped.
    Dropped {
        /// From where.
        source: Option<SocketAddr>,
        /// Why.
        why: &'static str,
    },
}
