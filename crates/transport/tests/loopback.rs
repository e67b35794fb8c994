//! The UDP listener against the real kernel, over the loopback interface.

use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tandem_transport::{BindError, Event, SendError, Sent, SocketLimits, UdpListener};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Only a broken test waits this long.
const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    listener: Arc<UdpListener>,
    events: UnboundedReceiver<Event>,
}

impl Running {
    fn start(ip: IpAddr, limits: &SocketLimits) -> Running {
        Running::start_bound(Arc::new(bind(ip, limits)))
    }

    fn start_bound(listener: Arc<UdpListener>) -> Running {
        let (sender, events) = unbounded_channel();
        let looping = Arc::clone(&listener);
        tokio::spawn(async move {
            looping.run(|batch| batch.drain(..).for_each(|event| drop(sender.send(event)))).await
        });
        Running { listener, events }
    }

    async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the loop runs")
    }

    fn send(&self, bytes: &[u8], remote: SocketAddr) {
        assert_eq!(self.listener.send(bytes, remote).expect("sent"), Sent::Now);
    }
}

fn bind(ip: IpAddr, limits: &SocketLimits) -> UdpListener {
    UdpListener::bind(7, SocketAddr::new(ip, 0), limits).expect("a free port")
}

fn peer(ip: IpAddr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(SocketAddr::new(ip, 0)).expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// A port that nobody listens on (any more).
fn closed_port(ip: IpAddr) -> SocketAddr {
    peer(ip).1
}

#[tokio::test]
async fn every_datagram_arrives_once_and_in_order_over_both_families() {
    for ip in [V4, V6] {
        let mut running = Running::start(ip, &SocketLimits::default());
        let (socket, source) = peer(ip);
        for number in 0_u32..200 {
            socket.send_to(&number.to_be_bytes(), running.listener.local_addr()).expect("sent");
        }
        for number in 0_u32..200 {
            let bytes = Bytes::copy_from_slice(&number.to_be_bytes());
            assert_eq!(running.next().await, Event::Datagram { listener: 7, source, bytes });
        }
        assert_eq!(running.listener.stats().counts().received, 200);
    }
}

#[tokio::test]
async fn a_send_leaves_from_the_listening_port() {
    for ip in [V4, V6] {
        let running = Running::start(ip, &SocketLimits::default());
        let (socket, remote) = peer(ip);
        running.send(b"OPTIONS", remote);
        let mut buffer = [0; 16];
        let (length, source) = socket.recv_from(&mut buffer).expect("received");
        assert_eq!((&buffer[..length], source), (&b"OPTIONS"[..], running.listener.local_addr()));
    }
}

#[tokio::test]
async fn a_closed_port_is_reported_with_the_start_of_what_was_sent() {
    for ip in [V4, V6] {
        let mut running = Running::start(ip, &SocketLimits::default());
        let closed = closed_port(ip);
        let request = b"INVITE sip:1@closed SIP/2.0\r\nVia: SIP/2.0/UDP here;branch=z9hG4bK1\r\n".repeat(4);
        running.send(&request, closed);
        let event = running.next().await;
        let Event::Unreachable { listener: 7, remote, sent } = event else {
            panic!("not what was expected: {event:?}");
        };
        assert_eq!(remote, closed);
        assert!(sent.len() >= 200 && request.starts_with(&sent), "quoted: {sent:?}");
    }
}

#[tokio::test]
async fn an_icmp_error_about_one_target_fails_no_send_to_another() {
    for ip in [V4, V6] {
        // Without a receive loop, so that the error is still pending at the next send.
        let listener = bind(ip, &SocketLimits::default());
        let closed = closed_port(ip);
        let (socket, open) = peer(ip);
        for _ in 0..50 {
            assert_eq!(listener.send(b"lost", closed).expect("UDP cannot know yet"), Sent::Now);
            assert_eq!(listener.send(b"kept", open).expect("another target"), Sent::Now);
            let mut buffer = [0; 16];
            assert_eq!(socket.recv(&mut buffer).expect("received"), 4);
        }
        let mut running = Running::start_bound(Arc::new(listener));
        let event = running.next().await;
        assert!(matches!(event, Event::Unreachable { remote, .. } if remote == closed), "{event:?}");
    }
}

#[tokio::test]
async fn a_datagram_over_the_limit_is_counted_and_dropped() {
    let limits = SocketLimits { datagram_max_bytes: 100, ..SocketLimits::default() };
    let mut running = Running::start(V4, &limits);
    let (socket, source) = peer(V4);
    socket.send_to(&[1; 101], running.listener.local_addr()).expect("sent");
    socket.send_to(&[2; 100], running.listener.local_addr()).expect("sent");
    let bytes = Bytes::from(vec![2; 100]);
    assert_eq!(running.next().await, Event::Datagram { listener: 7, source, bytes });
    assert_eq!(running.listener.stats().counts().truncated, 1);
}

#[tokio::test]
async fn the_longest_and_the_empty_datagram_arrive_whole() {
    let mut running = Running::start(V4, &SocketLimits::default());
    let (socket, source) = peer(V4);
    for bytes in [Bytes::from(vec![9; 65_507]), Bytes::new()] {
        socket.send_to(&bytes, running.listener.local_addr()).expect("sent");
        assert_eq!(running.next().await, Event::Datagram { listener: 7, source, bytes });
    }
}

#[test]
fn a_datagram_too_long_for_udp_is_a_transport_error() {
    let listener = bind(V4, &SocketLimits::default());
    let (_socket, remote) = peer(V4);
    let error = listener.send(&[0; 65_508], remote).expect_err("UDP carries 65 507");
    assert!(matches!(error, SendError::TooLong { bytes: 65_508, .. }), "{error}");
    assert_eq!(listener.stats().counts().send_errors, 1);
}

#[test]
fn a_target_of_the_other_family_is_a_transport_error() {
    let error = bind(V4, &SocketLimits::default()).send(b"x", closed_port(V6)).expect_err("IPv4 only");
    assert!(matches!(error, SendError::Refused { .. }), "{error}");
}

#[test]
fn both_families_bind_the_same_port_side_by_side() {
    let limits = SocketLimits::default();
    // Another process may hold one port or the other, hardly all of them.
    let side_by_side = (0..20).any(|_| {
        let v6 = bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED), &limits);
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), v6.local_addr().port());
        UdpListener::bind(1, address, &limits).is_ok()
    });
    assert!(side_by_side);
}

#[test]
fn a_port_in_use_is_refused_with_its_address() {
    let limits = SocketLimits::default();
    let holder = bind(V4, &limits);
    let taken = holder.local_addr();
    let error = UdpListener::bind(2, taken, &limits).expect_err("in use");
    assert!(matches!(error, BindError::Address { listener: 2, address, .. } if address == taken), "{error}");
}

#[test]
fn a_buffer_that_the_kernel_caps_is_reported() {
    let limits = SocketLimits { receive_buffer_bytes: 1 << 30, ..SocketLimits::default() };
    let listener = bind(V4, &limits);
    for capped in listener.capped_buffers() {
        assert!(capped.granted_bytes < capped.asked_bytes);
    }
    let modest =
        SocketLimits { receive_buffer_bytes: 65_536, send_buffer_bytes: 65_536, ..SocketLimits::default() };
    assert_eq!(bind(V4, &modest).capped_buffers(), []);
}

#[tokio::test]
async fn what_the_kernel_drops_is_counted_when_the_next_datagram_comes() {
    let limits = SocketLimits { receive_buffer_bytes: 8_192, ..SocketLimits::default() };
    let listener = Arc::new(bind(V4, &limits));
    let (socket, _) = peer(V4);
    let sent = 1_000;
    for _ in 0..sent {
        socket.send_to(&[0; 500], listener.local_addr()).expect("sent");
    }
    let mut running = Running::start_bound(Arc::clone(&listener));
    running.next().await;
    let mut arrived = 1;
    while running.events.try_recv().is_ok() {
        arrived += 1;
    }
    socket.send_to(b"last", listener.local_addr()).expect("sent");
    while !matches!(running.next().await, Event::Datagram { bytes, .. } if bytes == b"last"[..]) {
        arrived += 1;
    }
    assert_eq!(listener.stats().counts().receive_dropped, sent - arrived);
}

#[tokio::test(flavor = "current_thread")]
async fn a_full_queue_lets_other_tasks_run_between_batches() {
    let listener = Arc::new(bind(V4, &SocketLimits::default()));
    let (socket, _) = peer(V4);
    for _ in 0..100 {
        socket.send_to(b"x", listener.local_addr()).expect("sent");
    }
    let handled = Arc::new(AtomicUsize::new(0));
    let (looping, counting) = (Arc::clone(&listener), Arc::clone(&handled));
    tokio::spawn(async move {
        looping
            .run(|batch| {
                counting.fetch_add(batch.len(), Ordering::Relaxed);
            })
            .await
    });
    let mut seen_midway = false;
    timeout(PATIENCE, async {
        while handled.load(Ordering::Relaxed) < 100 {
            seen_midway |= handled.load(Ordering::Relaxed) > 0;
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("all datagrams in time");
    assert!(seen_midway);
}
