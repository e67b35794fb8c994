//! A UDP listener: one socket for both directions (RFC 3261 §18.1.1, RFC 3581 §4).

use crate::Event;
use crate::error::{BindError, SendError};
use crate::icmp::ErrorQueue;
use crate::readiness;
use crate::receive::{BATCH, Buffers, Drained};
use crate::stats::UdpStats;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

/// How often a send is tried when errors that earlier datagrams caused may be in its way.
const SEND_TRIES: usize = 4;

/// Receive calls that may fail one after another before the socket is given up as broken.
const RECEIVE_FAILURES_MAX: usize = 64;

/// Sizes of a socket's buffers and of what is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// Kernel memory for datagrams that wait to be read (`SO_RCVBUF`), in bytes.
    pub receive_buffer_bytes: usize,
    /// Kernel memory for datagrams that wait to be sent (`SO_SNDBUF`), in bytes.
    pub send_buffer_bytes: usize,
    /// The longest payload that is accepted, in bytes; longer datagrams are counted and dropped.
    pub datagram_max_bytes: usize,
}

impl Default for SocketLimits {
    /// 8 MiB to receive (a second of heavy traffic), 4 MiB to send, and any datagram that UDP can carry.
    fn default() -> SocketLimits {
        SocketLimits { receive_buffer_bytes: 8 << 20, send_buffer_bytes: 4 << 20, datagram_max_bytes: 65_535 }
    }
}

/// Which of a socket's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// `SO_RCVBUF`, capped by `net.core.rmem_max`.
    Receive,
    /// `SO_SNDBUF`, capped by `net.core.wmem_max`.
    Send,
}

/// The kernel granted a smaller buffer than was asked for. The listener works, but drops earlier under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CappedBuffer {
    /// Which buffer.
    pub kind: BufferKind,
    /// What was asked for, in bytes.
    pub asked_bytes: usize,
    /// What there is, in bytes.
    pub granted_bytes: usize,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The kernel has it.
    Now,
    /// The socket's send buffer is full: dropped, as UDP may. The transaction will resend.
    Dropped,
}

/// A bound UDP socket. Shared by `Arc`: any thread may send while one task runs the receive loop.
#[derive(Debug)]
pub struct UdpListener {
    listener: u16,
    socket: UdpSocket,
    local: SocketAddr,
    datagram_max_bytes: usize,
    capped: Vec<CappedBuffer>,
    stats: UdpStats,
}

impl UdpListener {
    /// Binds a socket. An IPv6 address takes IPv6 only, so that a wildcard of each family can stand side by side.
    ///
    /// Needs no runtime; [`UdpListener::run`] does.
    ///
    /// # Errors
    /// The address is taken or not ours, or the kernel refuses the socket.
    pub fn bind(listener: u16, address: SocketAddr, limits: &SocketLimits) -> Result<UdpListener, BindError> {
        if !(1..=65_535).contains(&limits.datagram_max_bytes) {
            return Err(BindError::DatagramLimit { listener, bytes: limits.datagram_max_bytes });
        }
        let failed = |step| move |source| BindError::Socket { listener, step, source };
        let socket =
            Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))
                .map_err(failed("socket"))?;
        report_icmp_errors(&socket, address).map_err(failed("IP_RECVERR"))?;
        setsockopt(&socket, sockopt::RxqOvfl, &1).map_err(|errno| failed("SO_RXQ_OVFL")(errno.into()))?;
        let capped = [
            grow(&socket, BufferKind::Receive, limits.receive_buffer_bytes).map_err(failed("SO_RCVBUF"))?,
            grow(&socket, BufferKind::Send, limits.send_buffer_bytes).map_err(failed("SO_SNDBUF"))?,
        ];
        let at_address = |source| BindError::Address { listener, address, source };
        socket.bind(&SockAddr::from(address)).map_err(at_address)?;
        let socket = UdpSocket::from(socket);
        let local = socket.local_addr().map_err(at_address)?;
        Ok(UdpListener {
            listener,
            socket,
            local,
            datagram_max_bytes: limits.datagram_max_bytes,
            capped: capped.into_iter().flatten().collect(),
            stats: UdpStats::default(),
        })
    }

    /// The address bound, with the port that the kernel chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The buffers that came out smaller than asked for: worth a warning at start.
    pub fn capped_buffers(&self) -> &[CappedBuffer] {
        &self.capped
    }

    /// The listener's counters.
    pub fn stats(&self) -> &UdpStats {
        &self.stats
    }

    /// Sends one datagram, without ever waiting. [`Sent::Dropped`] is for the caller to count: UDP may lose.
    ///
    /// # Errors
    /// A transport error for that target.
    pub fn send(&self, bytes: &[u8], remote: SocketAddr) -> Result<Sent, SendError> {
        // With IP_RECVERR the kernel reports an ICMP error about an earlier datagram on the next call of any kind, and by
        // that clears it. It says nothing about this target (the error queue tells whose it is): try again.
        let mut last = Refusal::NotOurs;
        for _ in 0..SEND_TRIES {
            match self.socket.send_to(bytes, remote) {
                Ok(_) => {
                    self.stats.sent.add(1);
                    self.stats.bytes_sent.add(bytes.len() as u64);
                    return Ok(Sent::Now);
                }
                Err(error) => last = judge(error, bytes.len(), remote),
            }
            if let Refusal::Full = last {
                break;
            }
        }
        match last {
            Refusal::Full | Refusal::NotOurs => {
                self.stats.send_dropped.add(1);
                Ok(Sent::Dropped)
            }
            Refusal::Target(error) => {
                self.stats.send_errors.add(1);
                Err(error)
            }
        }
    }

    /// The receive loop: hands every batch to `on_batch`, until the socket breaks; ends with what broke it.
    ///
    /// The callback may take events out of the vector; what it leaves is dropped. It runs on the loop's task and must
    /// not block. One loop per listener. Dropping the future stops the loop and loses nothing that the kernel holds.
    pub async fn run(&self, mut on_batch: impl FnMut(&mut Vec<Event>) + Send) -> io::Error {
        let ready = match readiness::register(&self.socket) {
            Ok(ready) => ready,
            Err(error) => return error,
        };
        let mut buffers = Buffers::new(self.datagram_max_bytes);
        let mut errors = ErrorQueue::new();
        let mut events = Vec::with_capacity(2 * BATCH);
        let mut failures = 0;
        loop {
            let mut guard = match ready.ready(readiness::INCOMING).await {
                Ok(guard) => guard,
                Err(error) => return error,
            };
            let received = buffers.receive(self.socket.as_fd(), self.listener, &self.stats, &mut events);
            // A system call per wake-up is saved while nothing fails.
            let quoted = if guard.ready().is_error() {
                errors.drain(self.socket.as_fd(), self.listener, &self.stats, &mut events)
            } else {
                Drained::Empty
            };
            if (received, quoted) == (Ok(Drained::Empty), Drained::Empty) {
                guard.clear_ready();
            }
            drop(guard);
            match received {
                Ok(drained) => {
                    failures = 0;
                    match drained {
                        Drained::Empty => self.stats.queue.emptied(),
                        Drained::MoreLeft => self.stats.queue.more_left(),
                    }
                }
                Err(errno) => {
                    self.stats.receive_errors.add(1);
                    failures += 1;
                    if failures == RECEIVE_FAILURES_MAX {
                        return errno.into();
                    }
                }
            }
            if !events.is_empty() {
                on_batch(&mut events);
                events.clear();
            }
            if (received, quoted) != (Ok(Drained::Empty), Drained::Empty) {
                // More is waiting: let the tasks that the last batch woke have their turn first.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Why a send failed.
enum Refusal {
    /// No room in the socket's buffer.
    Full,
    /// An ICMP error about another datagram.
    NotOurs,
    /// This target.
    Target(SendError),
}

fn judge(source: io::Error, bytes: usize, remote: SocketAddr) -> Refusal {
    match Errno::from_raw(source.raw_os_error().unwrap_or_default()) {
        Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => Refusal::Full,
        // No UDP send fails with these by itself.
        Errno::ECONNREFUSED | Errno::ENOPROTOOPT | Errno::EPROTO | Errno::EINTR => Refusal::NotOurs,
        Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN | Errno::ENETDOWN => {
            Refusal::Target(SendError::Unreachable { remote, source })
        }
        Errno::EMSGSIZE => Refusal::Target(SendError::TooLong { remote, bytes }),
        _ => Refusal::Target(SendError::Refused { remote, source }),
    }
}

/// Has ICMP errors queued for us instead of lost (`ip(7)`, `IP_RECVERR`).
fn report_icmp_errors(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
        }
    }
    Ok(())
}

/// Enlarges a buffer, past the system's cap where we may; tells if it came out smaller.
fn grow(socket: &Socket, kind: BufferKind, asked_bytes: usize) -> io::Result<Option<CappedBuffer>> {
    // The kernel doubles the value for its own bookkeeping, and reports it doubled (socket(7)).
    let granted_bytes = match kind {
        BufferKind::Receive => {
            if setsockopt(socket, sockopt::RcvBufForce, &asked_bytes).is_err() {
                socket.set_recv_buffer_size(asked_bytes)?;
            }
            socket.recv_buffer_size()? / 2
        }
        BufferKind::Send => {
            if setsockopt(socket, sockopt::SndBufForce, &asked_bytes).is_err() {
                socket.set_send_buffer_size(asked_bytes)?;
            }
            socket.send_buffer_size()? / 2
        }
    };
    Ok((granted_bytes < asked_bytes).then_some(CappedBuffer { kind, asked_bytes, granted_bytes }))
}
