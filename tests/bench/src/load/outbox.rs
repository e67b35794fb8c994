//! What is to be sent from one socket, gathered for one system call.

use std::fmt;
use std::io::Write;
use std::net::SocketAddrV4;
use std::ops::Range;

/// Datagrams in one piece of memory.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<Datagram>,
}

/// One datagram of an outbox.
pub(crate) struct Datagram {
    pub(crate) to: SocketAddrV4,
    bytes: Range<usize>,
    /// The call whose INVITE this is, sent for the first time.
    pub(crate) first_of: Option<u32>,
}

impl Outbox {
    /// Appends a message.
    pub(crate) fn push(&mut self, to: SocketAddrV4, message: fmt::Arguments<'_>) {
        let start = self.bytes.len();
        self.bytes.write_fmt(message).expect("memory takes whatever is written");
        self.datagrams.push(Datagram { to, bytes: start..self.bytes.len(), first_of: None });
    }

    /// Appends a call's first message.
    pub(crate) fn push_first(&mut self, call: u32, to: SocketAddrV4, message: fmt::Arguments<'_>) {
        self.push(to, message);
        if let Some(datagram) = self.datagrams.last_mut() {
            datagram.first_of = Some(call);
        }
    }

    pub(crate) fn datagrams(&self) -> &[Datagram] {
        &self.datagrams
    }

    pub(crate) fn bytes(&self, datagram: &Datagram) -> &[u8] {
        &self.bytes[datagram.bytes.clone()]
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }
}
