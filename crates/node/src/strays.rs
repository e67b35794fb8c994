//! Messages of calls that are not here: by their tokens they are of our cluster, and may be another node's, or nobody's
//! until one claims them.
//!
//! Such a message is never refused before the store has said that there is no such call. Until it has, and until the call
//! is found, the sender gets nothing, and repeats itself; an INVITE gets 100, since it would be sent too often (RFC 3261
//! §17.1.1.1).

use crate::call_actor::key_of;
use crate::dispatch::Dispatcher;
use crate::link::{EdgeFlow, Frame};
use crate::shared::Shared;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::flow::Flow;
use tandem_sip::{Message, Method, ResponseHead, StatusCode};
use tandem_store::StoreError;
use tandem_switch::call::CallId;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// How long a message waits for its call.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks for it.
const LOOK: Duration = Duration::from_millis(50);

/// How often the store is asked for it.
const ASK: Duration = Duration::from_millis(500);

/// Messages that wait; more are dropped, as if the network had lost them.
const WAITING_MAX: usize = 4_096;

/// How long another node may take to say whether it has a call.
const HOLDER_LIMIT: Duration = Duration::from_millis(300);

/// How often a message is passed on: to the node that the call was placed on, and from there to its owner.
const HOPS_MAX: u8 = 2;

/// Room for the messages that wait.
pub(crate) struct Strays {
    room: Arc<Semaphore>,
}

impl Default for Strays {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(WAITING_MAX)) }
    }
}

/// Whose a call is.
enum Whose {
    /// That node's, which may have gone; not this one's.
    Of(Arc<str>),
    /// There is none.
    Nobodys,
    /// The store does not say.
    Unknown,
}

impl Strays {
    /// Takes a message whose call is not here, as far as is known at the node of `hint`; it has been passed on `hops` times.
    pub(crate) fn take(
        &self,
        dispatcher: &Dispatcher,
        shared: &Arc<Shared>,
        (id, hint): (CallId, Option<u16>),
        (flow, hops, message): (Flow, u8, Message),
    ) {
        let placed_on = hint.filter(|_| hops == 0).and_then(|hint| shared.nodes.by_hint(&shared.name, hint));
        if placed_on.is_some_and(|node| shared.forward(&node, (flow, hops), &message)) {
            return;
        }
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            return shared.metrics.mailbox_overflow.inc();
        };
        if message.is_request() && message.method() == Some(Method::Invite) {
            let trying = ResponseHead::of(&message, flow.remote).respond(StatusCode::TRYING, None).finish();
            // Who gets none asks again.
            let _ = shared.send(flow, &trying);
        }
        let (dispatcher, shared) = (dispatcher.clone(), shared.clone());
        tokio::spawn(async move {
            let _place = place;
            find(&dispatcher, &shared, id, (flow, hops, message)).await;
        });
    }
}

/// Waits until the call is here, or is nobody's.
async fn find(
    dispatcher: &Dispatcher,
    shared: &Shared,
    id: CallId,
    (flow, hops, message): (Flow, u8, Message),
) {
    let began = Instant::now();
    let mut asked: Option<Instant> = None;
    while began.elapsed() < PATIENCE {
        if shared.calls.find(id).is_some() {
            return dispatcher.take_found(id, (flow, message));
        }
        if asked.is_none_or(|asked| asked.elapsed() >= ASK) {
            asked = Some(Instant::now());
            match whose(shared, id).await {
                Whose::Nobodys => match holder(shared, id).await.filter(|_| hops < HOPS_MAX) {
                    Some(node) if shared.forward(&node, (flow, hops), &message) => return,
                    Some(_) => {}
                    None => return dispatcher.take_nobodys((flow, &message)),
                },
                Whose::Of(node)
                    if hops < HOPS_MAX
                        && shared.nodes.is_alive(&node)
                        && shared.forward(&node, (flow, hops), &message) =>
                {
                    return;
                }
                Whose::Of(_) | Whose::Unknown => {}
            }
        }
        sleep(LOOK).await;
    }
    shared.metrics.strays_lost.inc();
    tracing::debug!(call = %id, "nobody has taken a call to which a message came");
}

/// The node that has a call which the store has not: one that has ended, and whose last transactions it still answers.
async fn holder(shared: &Shared, id: CallId) -> Option<Arc<str>> {
    let key = key_of(id).into();
    let ask = |node: Arc<str>| async move {
        let have = |question| Frame::Have { question, key };
        (shared.links.ask(&node, have, HOLDER_LIMIT).await == Some(true)).then_some(node)
    };
    let others = shared.nodes.others_alive(&shared.name);
    join_all(others.into_iter().map(ask)).await.into_iter().flatten().next()
}

async fn whose(shared: &Shared, id: CallId) -> Whose {
    let away = Err(StoreError::Away { step: "whose call" });
    match timeout(ASK, shared.store.load(key_of(id))).await.unwrap_or(away) {
        Ok(Some(stored)) if stored.owner.node != shared.name => Whose::Of(stored.owner.node),
        Ok(Some(_)) => Whose::Unknown,
        Ok(None) => Whose::Nobodys,
        Err(_) => Whose::Unknown,
    }
}

impl Shared {
    /// Passes a message on to another node. `false` if it cannot be reached now.
    pub(crate) fn forward(&self, node: &str, (flow, hops): (Flow, u8), message: &Message) -> bool {
        let (transport, listener, remote) = (flow.transport, flow.listener, flow.remote);
        let at = EdgeFlow { listener, transport, remote };
        let has_gone = self.links.tell(node, &Frame::Forward { flow: at, hops: hops + 1 }, message.raw());
        if has_gone {
            self.metrics.messages_forwarded.inc();
            self.handing_over.passed_on(self.clock.mono());
        }
        has_gone
    }
}
