//! One actor per listener: it runs the socket's receive loop and fails with it, to be started again.

use crate::complaints::Complaints;
use crate::dispatch::Dispatcher;
#[cfg(feature = "fault-injection")]
use crate::faults::Fault;
use crate::listeners::Socket;
use crate::shared::Shared;
use crate::stream_user::Streams;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tandem_transport::{Event, UdpListener};
use tokio::task::JoinHandle;

#[derive(Clone)]
pub(crate) struct ListenerActor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dispatcher: Dispatcher,
    /// Its place in the configuration.
    pub(crate) place: u16,
}

pub(crate) enum ListenerMessage {
    /// Nobody reads the socket any more.
    LoopEnded,
}

/// Ends the receive loop with the actor.
pub(crate) struct ReceiveLoop(JoinHandle<()>);

impl Drop for ReceiveLoop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells the actor that the receive loop has ended, however it did.
struct Farewell(ActorRef<ListenerMessage>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Without an actor to tell, the node is stopping.
        let _ = self.0.cast(ListenerMessage::LoopEnded);
    }
}

impl ListenerActor {
    async fn receive(self, farewell: Farewell) {
        let Some(listener) = self.shared.listeners.get(usize::from(self.place)) else { return };
        let error = match &listener.socket {
            Socket::Udp(socket) => self.receive_datagrams(socket).await,
            Socket::Stream(socket) => {
                let transport = listener.socket.transport();
                let complaints = Complaints::default();
                let user = Streams { shared: Arc::downgrade(&self.shared), transport, complaints };
                socket.attach(Arc::new(user));
                socket.run().await
            }
        };
        tracing::error!(listener = self.place, %error, "the socket is broken");
        drop(farewell);
    }

    async fn receive_datagrams(&self, socket: &UdpListener) -> std::io::Error {
        let receive = socket.run(|events| {
            #[cfg(feature = "fault-injection")]
            self.shared.faults.strike(Fault::Listener);
            for event in events.drain(..) {
                self.dispatch(event);
            }
        });
        receive.await
    }

    /// A datagram that makes us panic is lost, and those behind it are not.
    fn dispatch(&self, event: Event) {
        let dispatched = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "fault-injection")]
            self.shared.faults.strike(Fault::Dispatch);
            self.dispatcher.on_event(event);
        }));
        if dispatched.is_err() {
            self.shared.metrics.call_panics.inc();
            tracing::error!(listener = self.place, "panicked over a datagram, which is lost");
        }
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
        Ok(ReceiveLoop(tokio::spawn(self.clone().receive(Farewell(myself)))))
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        ListenerMessage::LoopEnded: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        Err("nobody reads the socket".into())
    }
}
