//! The socket error queue (`IP_RECVERR`): ICMP errors about datagrams that we sent.

use crate::Event;
use crate::receive::{Drained, to_socket_addr};
use crate::stats::UdpStats;
use bytes::Bytes;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Errors taken from the queue at one go, so that a storm of them does not starve the datagrams.
const ERRORS_PER_TURN: usize = 32;

/// Longer than any quote: routers copy up to 576 bytes of the datagram (RFC 1812 §4.3.2.3), up to 1280 with IPv6 (RFC 4443 §2.4).
const QUOTE_MAX_BYTES: usize = 2_048;

/// Room for the error, the reporter's address, and a drop count.
const CONTROL_BYTES: usize = 256;

/// Buffers for reading the error queue.
pub(crate) struct ErrorQueue {
    quote: Vec<u8>,
    control: Vec<u8>,
}

impl ErrorQueue {
    pub(crate) fn new() -> ErrorQueue {
        ErrorQueue { quote: vec![0; QUOTE_MAX_BYTES], control: vec![0; CONTROL_BYTES] }
    }

    /// Takes errors off the queue and appends an event for each that matters.
    pub(crate) fn drain(
        &mut self,
        socket: BorrowedFd<'_>,
        listener: u16,
        stats: &UdpStats,
        events: &mut Vec<Event>,
    ) -> Drained {
        for _ in 0..ERRORS_PER_TURN {
            let mut payload = [IoSliceMut::new(&mut self.quote)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let message =
                recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut payload, Some(&mut self.control), flags);
            match message {
                Ok(message) => {
                    let remote = message.address.as_ref().and_then(to_socket_addr);
                    let matters = message.cmsgs().is_ok_and(|mut all| all.any(|one| is_reported(&one)));
                    let quoted = message.bytes.min(QUOTE_MAX_BYTES);
                    match remote {
                        Some(remote) if matters => {
                            stats.unreachable.add(1);
                            let sent = Bytes::copy_from_slice(&self.quote[..quoted]);
                            events.push(Event::Unreachable { listener, remote, sent });
                        }
                        Some(_) | None => stats.icmp_ignored.add(1),
                    }
                }
                Err(Errno::EINTR) => {}
                // Empty; any other failure will show on the receive path, which judges it.
                Err(_) => return Drained::Empty,
            }
        }
        Drained::MoreLeft
    }
}

/// Whether the kernel may have made this of an ICMP error about an earlier datagram (`icmp(7)`, `ipv6(7)`).
pub(crate) fn is_icmp_error(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ECONNREFUSED
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::ENOPROTOOPT
            | Errno::EPROTO
            | Errno::EOPNOTSUPP
            | Errno::EMSGSIZE
            | Errno::EACCES
    )
}

/// Whether RFC 3261 §18.4 wants the transport user to hear of this error.
fn is_reported(message: &ControlMessageOwned) -> bool {
    match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) => {
            error.ee_origin == libc::SO_EE_ORIGIN_ICMP && icmp_is_reported(error.ee_type, error.ee_code)
        }
        ControlMessageOwned::Ipv6RecvErr(error, _) => {
            error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 && icmp6_is_reported(error.ee_type)
        }
        // Anything else is a drop count or another family's business.
        _ => false,
    }
}

/// ICMP (RFC 792): destination unreachable and parameter problem. "Fragmentation needed" is news for the kernel's path
/// MTU; our resend will then be fragmented and arrive.
fn icmp_is_reported(kind: u8, code: u8) -> bool {
    const DESTINATION_UNREACHABLE: u8 = 3;
    const FRAGMENTATION_NEEDED: u8 = 4;
    const PARAMETER_PROBLEM: u8 = 12;
    match kind {
        DESTINATION_UNREACHABLE => code != FRAGMENTATION_NEEDED,
        PARAMETER_PROBLEM => true,
        _ => false,
    }
}

/// ICMPv6 (RFC 4443): destination unreachable and parameter problem; not "packet too big" or "time exceeded".
fn icmp6_is_reported(kind: u8) -> bool {
    const DESTINATION_UNREACHABLE: u8 = 1;
    const PARAMETER_PROBLEM: u8 = 4;
    matches!(kind, DESTINATION_UNREACHABLE | PARAMETER_PROBLEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_and_parameter_problem_are_reported_and_quench_ttl_and_mtu_are_not() {
        let (net, host, protocol, port, too_big) = ((3, 0), (3, 1), (3, 2), (3, 3), (3, 4));
        let (quench, ttl, parameter) = ((4, 0), (11, 0), (12, 0));
        for (kind, code) in [net, host, protocol, port, parameter] {
            assert!(icmp_is_reported(kind, code), "{kind}/{code}");
        }
        for (kind, code) in [too_big, quench, ttl] {
            assert!(!icmp_is_reported(kind, code), "{kind}/{code}");
        }
        assert!(icmp6_is_reported(1) && icmp6_is_reported(4));
        assert!(!icmp6_is_reported(2) && !icmp6_is_reported(3));
    }
}
