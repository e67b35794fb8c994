//! Receiving in batches: one system call for up to [`BATCH`] datagrams.

use crate::Event;
use crate::icmp::is_icmp_error;
use crate::stats::UdpStats;
use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg};
use std::io::IoSliceMut;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most datagrams per system call.
pub(crate) const BATCH: usize = 32;

/// The fewest that a system call is prepared for. Preparing costs as much as the batch is long, so that batches grow
/// and shrink with what arrives.
const SMALL_BATCH: usize = 2;

/// How often a receive is tried while ICMP errors are in its way.
const RECEIVE_TRIES: usize = 4;

/// Whether a queue of the socket was emptied by reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Nothing is left: the next arrival makes the socket ready again.
    Empty,
    /// The turn ended before the queue did.
    MoreLeft,
}

/// The buffers that datagrams land in, used again for every batch.
pub(crate) struct Buffers {
    memory: Vec<u8>,
    datagram_max_bytes: usize,
    /// How many datagrams the next call is prepared for.
    batch: usize,
}

impl Buffers {
    /// Memory for one batch of datagrams; pages are touched only as far as datagrams are long.
    pub(crate) fn new(datagram_max_bytes: usize) -> Buffers {
        Buffers { memory: vec![0; BATCH * datagram_max_bytes], datagram_max_bytes, batch: SMALL_BATCH }
    }

    /// Receives one batch, without waiting, and appends an event per datagram.
    ///
    /// # Errors
    /// What is wrong with the socket itself; an empty queue is no error, and neither is an ICMP error.
    pub(crate) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        listener: u16,
        stats: &UdpStats,
        events: &mut Vec<Event>,
    ) -> Result<Drained, Errno> {
        for _ in 0..RECEIVE_TRIES {
            match self.receive_once(socket, listener, stats, events) {
                Err(Errno::EAGAIN) => return Ok(Drained::Empty),
                // An ICMP error fails the next call once, whatever that is; the error queue has the rest of it. A flood
                // of them must not keep the datagrams out.
                Err(errno) if errno == Errno::EINTR || is_icmp_error(errno) => {}
                other => return other,
            }
        }
        Ok(Drained::MoreLeft)
    }

    fn receive_once(
        &mut self,
        socket: BorrowedFd<'_>,
        listener: u16,
        stats: &UdpStats,
        events: &mut Vec<Event>,
    ) -> Result<Drained, Errno> {
        let batch = self.batch;
        let chunks = self.memory.chunks_exact_mut(self.datagram_max_bytes).take(batch);
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = chunks.map(|one| [IoSliceMut::new(one)]).collect();
        // Made anew for each call: the kernel writes lengths into the headers that have to be reset, and they hold
        // pointers, which may not stay with a task that moves between threads.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(batch, Some(nix::cmsg_space!(u32)));
        let received =
            recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
        let mut count = 0;
        for message in received? {
            count += 1;
            if let Some(event) = datagram(&message, listener, stats) {
                events.push(event);
            }
        }
        self.batch = (2 * count).clamp(SMALL_BATCH, BATCH);
        Ok(if count < batch { Drained::Empty } else { Drained::MoreLeft })
    }
}

fn datagram(message: &RecvMsg<'_, '_, SockaddrStorage>, listener: u16, stats: &UdpStats) -> Option<Event> {
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::RxqOvfl(total) = control {
            stats.receive_dropped.raise_to(u64::from(total));
        }
    }
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        stats.truncated.add(1);
        return None;
    }
    let source = message.address.as_ref().and_then(to_socket_addr)?;
    let bytes = message.iovs().next().map_or_else(Bytes::new, Bytes::copy_from_slice);
    stats.received.add(1);
    stats.bytes_received.add(bytes.len() as u64);
    Some(Event::Datagram { listener, source, bytes })
}

/// The address as the standard library has it; `None` if it is neither IPv4 nor IPv6.
pub(crate) fn to_socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::new(v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::V6(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id())))
}
