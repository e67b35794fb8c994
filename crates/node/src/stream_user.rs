//! What comes in by connections goes to the dispatcher; what they could not deliver goes back to its call.

use crate::complaints::Complaints;
use crate::directory::CallHandle;
use crate::dispatch::{Dispatcher, Waiting};
use crate::shared::Shared;
use bytes::Bytes;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tandem_sip::FrameError;
use tandem_sip::flow::{Flow, Transport};
use tandem_transport::{Fate, Origin, Pause, Peer, StreamUser};

/// How often a full mailbox is tried again, and after which pause. Meanwhile the connection is not read.
const OFFERS: u32 = 100;
const OFFER_PAUSE: Duration = Duration::from_millis(10);

/// The node, to the connections of one listener. The node owns those, so it is held on to only while something is done.
pub(crate) struct Streams {
    pub(crate) shared: Weak<Shared>,
    pub(crate) transport: Transport,
    pub(crate) complaints: Complaints,
}

impl Streams {
    fn flow(&self, peer: &Peer) -> Flow {
        Flow { transport: self.transport, listener: peer.listener, remote: peer.remote }
    }

    /// A message that makes us panic is lost, and those behind it are not.
    fn guarded<T>(&self, shared: &Arc<Shared>, work: impl FnOnce(&Dispatcher) -> Option<T>) -> Option<T> {
        let dispatcher = Dispatcher::new(shared.clone());
        let done = catch_unwind(AssertUnwindSafe(|| work(&dispatcher)));
        done.unwrap_or_else(|_| {
            shared.metrics.call_panics.inc();
            tracing::error!("panicked over a message on a connection, which is lost");
            None
        })
    }
}

impl StreamUser for Streams {
    /// A connection counts as a message of its source, so that who is banned is not even heard.
    fn admits(&self, remote: SocketAddr) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        shared.guards.admit(shared.clock.mono(), remote.ip(), &shared.configured).is_some()
    }

    fn on_message(&self, from: &Peer, message: Bytes) -> Option<Pause> {
        let shared = self.shared.upgrade()?;
        let waiting = self.guarded(&shared, |dispatcher| dispatcher.on_message(self.flow(from), message))?;
        Some(Box::pin(offer_again(shared, waiting)))
    }

    fn on_broken(&self, from: &Peer, error: FrameError) {
        if let Some(shared) = self.shared.upgrade() {
            self.guarded(&shared, |dispatcher| {
                dispatcher.on_broken_stream(self.flow(from), error);
                None::<()>
            });
        }
    }

    fn on_handshake_failed(&self, peer: &Peer, why: &str) {
        let Some(shared) = self.shared.upgrade() else { return };
        match peer.origin {
            // Whoever scans the network fails, too.
            Origin::Accepted => tracing::debug!(source = %peer.remote, why, "a TLS handshake failed"),
            Origin::Opened if self.complaints.may_be_logged(shared.clock.mono()) => {
                tracing::warn!(remote = %peer.remote, why, "cannot set TLS up with a peer");
            }
            Origin::Opened => {}
        }
    }

    fn on_undelivered(&self, to: &Peer, message: Bytes, fate: Fate) {
        let Some(shared) = self.shared.upgrade() else { return };
        match fate {
            Fate::Lost if shared.send_again(self.flow(to), &message) => {}
            Fate::Lost | Fate::Undeliverable => {
                tracing::debug!(remote = %to.remote, "cannot deliver a message");
                self.guarded(&shared, |dispatcher| {
                    dispatcher.on_undeliverable(&message);
                    None::<()>
                });
            }
        }
    }
}

/// Hands a message over to its call once the call's mailbox has room, and drops it if that takes too long.
async fn offer_again(shared: Arc<Shared>, waiting: Box<Waiting>) {
    for _ in 0..OFFERS {
        tokio::time::sleep(OFFER_PAUSE).await;
        if waiting.call.has_room() {
            break;
        }
    }
    let Waiting { call, message } = *waiting;
    if !CallHandle::offer(&call, message) {
        shared.metrics.mailbox_overflow.inc();
    }
}
