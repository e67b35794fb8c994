//! One actor per endpoint behind a NAT: it sends what keeps the NAT's binding open, and knows whether that arrives.

use crate::nat::{EMPTY_LINE, NatHandle};
use crate::nat_pacer::PacerMessage;
use crate::shared::Shared;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::flow::Flow;
use tandem_sip::time::Wall;
use tandem_transport::Sent;

/// How long after a keep-alive an ICMP error can be about it.
const BOUNCE_LIMIT: Duration = Duration::from_secs(5);

/// What an endpoint's actor is told.
#[derive(Debug)]
pub(crate) enum NatMessage {
    /// By what it is found: said once, before anything else.
    Begin(Arc<NatHandle>),
    /// Its turn has come.
    KeepAlive,
    /// It has registered again.
    Registered,
    /// A datagram did not reach it.
    Bounced,
    /// An operator asks.
    Report(RpcReplyPort<NatReport>),
}

/// What an operator is shown of an endpoint behind a NAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatReport {
    /// When it was last sent a keep-alive.
    pub kept_alive: Option<Wall>,
    /// Since when nothing reaches it.
    pub unreachable_since: Option<Wall>,
}

pub(crate) struct NatEndpoint {
    pub(crate) shared: Arc<Shared>,
    pub(crate) flow: Flow,
}

/// How it stands. It counts itself as long as it is there.
pub(crate) struct Standing {
    shared: Arc<Shared>,
    handle: Option<Arc<NatHandle>>,
    report: NatReport,
}

impl Standing {
    fn mark(&mut self, unreachable_since: Option<Wall>) {
        let change =
            i64::from(unreachable_since.is_some()) - i64::from(self.report.unreachable_since.is_some());
        self.shared.metrics.nat_unreachable.add(change);
        self.report.unreachable_since = unreachable_since;
        if let Some(handle) = &self.handle {
            handle.mark(unreachable_since);
        }
    }

    fn is_unreachable(&mut self) {
        self.shared.metrics.keep_alives_bounced.inc();
        if self.report.unreachable_since.is_none() {
            self.mark(Some(self.shared.clock.now().wall));
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.mark(None);
    }
}

impl NatEndpoint {
    /// Whatever it is, it is no SIP: it is not traced, and not counted as a message.
    fn keep_alive(&self, standing: &mut Standing) {
        let Some(rules) = self.shared.nat.rules() else { return };
        let payload = if self.flow.transport.is_reliable() { &EMPTY_LINE } else { &rules.message };
        match self.shared.send_raw(self.flow, payload) {
            Ok(Sent::Now) => {
                self.shared.metrics.keep_alives.inc();
                standing.report.kept_alive = Some(self.shared.clock.now().wall);
            }
            Ok(Sent::Dropped) => self.shared.nat.tell_pacer(PacerMessage::Again(self.flow)),
            Err(error) => {
                tracing::debug!(%error, "cannot keep an endpoint's NAT binding alive");
                standing.is_unreachable();
            }
        }
    }

    fn on_bounced(&self, standing: &mut Standing) {
        let now = self.shared.clock.now().wall;
        let is_recent = |sent: Wall| now.since(sent) < BOUNCE_LIMIT;
        if standing.report.kept_alive.is_some_and(is_recent) {
            standing.is_unreachable();
        }
    }
}

impl Actor for NatEndpoint {
    type Msg = NatMessage;
    type State = Standing;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        Ok(Standing { shared: self.shared.clone(), handle: None, report: NatReport::default() })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        standing: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NatMessage::Begin(handle) => standing.handle = Some(handle),
            NatMessage::KeepAlive => self.keep_alive(standing),
            NatMessage::Registered => standing.mark(None),
            NatMessage::Bounced => self.on_bounced(standing),
            NatMessage::Report(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(standing.report);
            }
        }
        Ok(())
    }
}
