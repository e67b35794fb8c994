//! One actor per listener: it runs the socket's receive loop and fails with it, to be started again.

use crate::dispatch::Dispatcher;
use crate::shared::Shared;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::io;
use std::sync::Arc;
use tokio::task::JoinHandle;

pub(crate) struct ListenerActor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dispatcher: Dispatcher,
    /// Its place in the configuration.
    pub(crate) place: u16,
}

pub(crate) enum ListenerMessage {
    /// The socket cannot be read any more.
    Broken(io::Error),
}

/// Ends the receive loop with the actor.
pub(crate) struct ReceiveLoop(JoinHandle<()>);

impl Drop for ReceiveLoop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for ListenerActor {
    type Msg = ListenerMessage;
    type State = ReceiveLoop;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let (shared, dispatcher, place) = (self.shared.clone(), self.dispatcher.clone(), self.place);
        Ok(ReceiveLoop(tokio::spawn(async move {
            let Some(listener) = shared.listeners.get(usize::from(place)) else { return };
            let error = listener
                .socket
                .run(|events| {
                    for event in events.drain(..) {
                        dispatcher.on_event(event);
                    }
                })
                .await;
            // Without an actor to tell, the node is stopping.
            let _ = myself.cast(ListenerMessage::Broken(error));
        })))
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        ListenerMessage::Broken(error): Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        Err(error.into())
    }
}
