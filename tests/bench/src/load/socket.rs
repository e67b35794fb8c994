//! The generator's sockets: many datagrams per system call, and the kernel's word for when one arrived.

use crate::load::outbox::{Datagram, Outbox};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt,
    sockopt,
};
use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// The most datagrams per system call.
const BATCH: usize = 64;
/// Longer than any message here.
const DATAGRAM_MAX_BYTES: usize = 4096;
/// Room for what arrives while the generator is held up: what is lost here must not count against the server.
const BUFFER_BYTES: usize = 32 << 20;

/// One end's socket.
pub(crate) struct Socket {
    socket: UdpSocket,
    memory: Vec<u8>,
}

/// What arrived.
pub(crate) struct Arrived<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) from: SocketAddrV4,
    /// When the kernel took it in, since the epoch; only if asked for.
    pub(crate) at: Option<Duration>,
}

impl Socket {
    /// # Errors
    /// The address is taken, or the machine forbids it.
    pub(crate) fn bind(address: SocketAddrV4) -> Result<Socket> {
        let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        socket.set_nonblocking(true)?;
        // Beyond the system's limit where we may (as root), else as far as it goes.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES)?;
        }
        Ok(Socket { socket, memory: vec![0; BATCH * DATAGRAM_MAX_BYTES] })
    }

    /// Whether the kernel notes when datagrams arrive.
    pub(crate) fn stamp_arrivals(&self, wanted: bool) -> Result<()> {
        Ok(setsockopt(&self.socket, sockopt::ReceiveTimestampns, &wanted)?)
    }

    /// Throws away what is waiting.
    pub(crate) fn clear(&mut self) -> Result<()> {
        while self.receive(|_| {})? > 0 {}
        Ok(())
    }

    /// Takes up to one batch of what is waiting, and tells how many that were.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(Arrived<'_>)) -> Result<usize> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.memory.chunks_exact_mut(DATAGRAM_MAX_BYTES).map(|one| [IoSliceMut::new(one)]).collect();
        let space = nix::cmsg_space!(TimeSpec);
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, Some(space));
        let fd = self.socket.as_raw_fd();
        let received = match recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(0),
            other => other.context("cannot receive")?,
        };
        let mut count = 0;
        for message in received {
            count += 1;
            let at = message.cmsgs().into_iter().flatten().find_map(|control| match control {
                ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                _ => None,
            });
            if let (Some(from), Some(bytes)) = (message.address, message.iovs().next()) {
                each(Arrived { bytes, from: SocketAddrV4::new(from.ip(), from.port()), at });
            }
        }
        Ok(count)
    }

    /// Sends all of an outbox and empties it.
    ///
    /// With `stamp`, a call's first INVITE goes alone, and `stamp` hears when (since the epoch): in a batch, it would
    /// wait for those before it.
    pub(crate) fn send(
        &self,
        outbox: &mut Outbox,
        stamp: Option<&mut dyn FnMut(u32, Duration)>,
    ) -> Result<()> {
        match stamp {
            None => {
                for batch in outbox.datagrams().chunks(BATCH) {
                    self.send_batch(outbox, batch)?;
                }
            }
            Some(stamp) => {
                for one in outbox.datagrams() {
                    if let Some(call) = one.first_of {
                        stamp(call, Duration::from(ClockId::CLOCK_REALTIME.now()?));
                    }
                    self.send_batch(outbox, std::slice::from_ref(one))?;
                }
            }
        }
        outbox.clear();
        Ok(())
    }

    fn send_batch(&self, outbox: &Outbox, mut batch: &[Datagram]) -> Result<()> {
        while !batch.is_empty() {
            let slices: Vec<_> = batch.iter().map(|one| [IoSlice::new(outbox.bytes(one))]).collect();
            let places: Vec<_> = batch.iter().map(|one| Some(SockaddrIn::from(one.to))).collect();
            let mut headers = MultiHeaders::<SockaddrIn>::preallocate(batch.len(), None);
            let nothing: [ControlMessage<'_>; 0] = [];
            let fd = self.socket.as_raw_fd();
            let sent = sendmmsg(fd, &mut headers, slices.iter(), &places, nothing, MsgFlags::MSG_DONTWAIT);
            let count = match sent {
                Ok(sent) => sent.count(),
                Err(Errno::EAGAIN) => {
                    poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
                    0
                }
                // The answer to an earlier datagram, from a server that is not there.
                Err(Errno::ECONNREFUSED | Errno::EINTR) => 0,
                Err(errno) => return Err(errno).context("cannot send"),
            };
            batch = &batch[count..];
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
