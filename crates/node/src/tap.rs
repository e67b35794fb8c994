//! A tap on the wire: every message as it was sent or received, for a ladder or a capture.

use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::time::Wall;
use tokio::sync::mpsc;

/// Messages that may wait at the tap; what comes beyond is left out of the picture.
const TAP_QUEUE: usize = 10_000;

/// One message on the wire.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// When.
    pub at: Wall,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The message.
    pub message: Bytes,
}

/// Where taken copies go.
#[derive(Clone, Debug)]
pub struct Tap {
    sender: mpsc::Sender<Tapped>,
}

impl Tap {
    /// A tap and the end that the copies come out of.
    pub fn new() -> (Self, mpsc::Receiver<Tapped>) {
        let (sender, receiver) = mpsc::channel(TAP_QUEUE);
        (Self { sender }, receiver)
    }

    pub(crate) fn take(&self, tapped: Tapped) {
        // A full or closed tap must not hold up the wire.
        let _ = self.sender.try_send(tapped);
    }
}
