//! Readiness of a socket from the runtime's reactor.
#![allow(unsafe_code)] // Registering a descriptor for reading only; see below.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What the receive loop waits for: datagrams, and errors on the error queue.
pub(crate) const INCOMING: Interest = Interest::READABLE.add(Interest::ERROR);

/// Registers a socket for [`INCOMING`] events.
///
/// The runtime's own UDP socket needs no `unsafe`, but it also registers for writability, and then every datagram that
/// leaves the send buffer wakes the reactor.
///
/// # Errors
/// The reactor refuses the descriptor, for instance because a loop already runs on it.
pub(crate) fn register(socket: &UdpSocket) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: the descriptor has to stay open, and the same, for the life of the `AsyncFd`. That holds the borrow of the
    // socket, which can neither be closed nor replaced meanwhile.
    let registered = unsafe { AsyncFd::register_with_interest(socket.as_fd(), INCOMING) };
    registered.map_err(io::Error::from)
}
