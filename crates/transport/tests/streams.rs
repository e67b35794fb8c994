//! Stream listeners against the real kernel, over the loopback interface.

use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::FrameError;
use tandem_transport::{
    Fate, Origin, Pause, Peer, SendError, StreamCounts, StreamLimits, StreamListener, StreamUser,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(5);

/// What a listener tells its user.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message(Peer, Bytes),
    Broken(FrameError),
    Undelivered(Bytes, Fate),
}

/// Passes on what it is told.
struct User {
    told: mpsc::UnboundedSender<Told>,
    admits: bool,
}

impl StreamUser for User {
    fn admits(&self, _: SocketAddr) -> bool {
        self.admits
    }

    fn on_message(&self, from: &Peer, message: Bytes) -> Option<Pause> {
        let _ = self.told.send(Told::Message(from.clone(), message));
        None
    }

    fn on_broken(&self, _: &Peer, error: FrameError) {
        let _ = self.told.send(Told::Broken(error));
    }

    fn on_handshake_failed(&self, _: &Peer, _: &str) {}

    fn on_undelivered(&self, _: &Peer, message: Bytes, fate: Fate) {
        let _ = self.told.send(Told::Undelivered(message, fate));
    }
}

/// A listener that runs.
struct Running {
    listener: Arc<StreamListener>,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Running {
    fn start(limits: &StreamLimits) -> Running {
        Running::start_with(limits, true)
    }

    fn start_with(limits: &StreamLimits, admits: bool) -> Running {
        let listener = StreamListener::bind(3, "127.0.0.1:0".parse().expect("an address"), limits);
        let listener = Arc::new(listener.expect("a free port"));
        let (sender, told) = mpsc::unbounded_channel();
        listener.attach(Arc::new(User { told: sender, admits }));
        let running = listener.clone();
        tokio::spawn(async move { running.run().await });
        Running { listener, told }
    }

    async fn hears(&mut self) -> Told {
        tokio::time::timeout(SOON, self.told.recv()).await.expect("in time").expect("the listener lives")
    }

    /// The next message and who sent it.
    async fn message(&mut self) -> (Peer, Bytes) {
        match self.hears().await {
            Told::Message(peer, message) => (peer, message),
            other @ (Told::Broken(_) | Told::Undelivered(..)) => panic!("{other:?}"),
        }
    }

    /// Waits until the listener's counts are so.
    async fn counts(&self, what: &str, wanted: impl Fn(&StreamCounts) -> bool) {
        let look = async {
            while !wanted(&self.listener.stats().counts()) {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(SOON, look).await;
        assert!(in_time.is_ok(), "{what}: {:?}", self.listener.stats().counts());
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.listener.local_addr()).await.expect("it listens")
    }
}

fn options(number: u32) -> Bytes {
    format!(
        "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{number}\r\nCall-ID: {number}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into()
}

fn ok(number: u32) -> Bytes {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{number}\r\nCall-ID: {number}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into()
}

async fn reads(stream: &mut TcpStream, expected: &[u8]) {
    let mut buffer = vec![0; expected.len()];
    let read = tokio::time::timeout(SOON, stream.read_exact(&mut buffer)).await;
    read.expect("in time").expect("it stays open");
    assert_eq!(buffer, expected);
}

/// Reads until the other end is closed.
async fn is_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("in time");
    rest
}

async fn peer() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

async fn accepts(listener: &TcpListener) -> TcpStream {
    tokio::time::timeout(SOON, listener.accept()).await.expect("in time").expect("a connection").0
}

#[tokio::test]
async fn messages_come_in_whole_however_they_are_cut_and_answers_go_back_by_the_same_connection() {
    let mut running = Running::start(&StreamLimits::default());
    let mut stream = running.connect().await;
    let source = stream.local_addr().expect("connected");
    for byte in options(1) {
        stream.write_all(&[byte]).await.expect("it takes it");
        stream.flush().await.expect("it takes it");
    }
    stream.write_all(&[options(2), options(3)].concat()).await.expect("it takes it");
    for number in 1..=3 {
        let (peer, message) = running.message().await;
        assert_eq!(message, options(number));
        assert_eq!((peer.remote, peer.origin, peer.listener), (source, Origin::Accepted, 3));
        running.listener.send_by_open(&ok(number), source).expect("it is open").expect("there is room");
    }
    reads(&mut stream, &[ok(1), ok(2), ok(3)].concat()).await;
    assert!(running.listener.send_by_open(&ok(1), "127.0.0.1:1".parse().expect("an address")).is_none());
}

#[tokio::test]
async fn a_double_line_end_is_answered_by_a_single_one() {
    let running = Running::start(&StreamLimits::default());
    let mut stream = running.connect().await;
    stream.write_all(b"\r\n\r\n").await.expect("it takes it");
    reads(&mut stream, b"\r\n").await;
}

#[tokio::test]
async fn one_connection_is_opened_to_a_peer_and_used_for_all_that_is_sent_there() {
    let mut running = Running::start(&StreamLimits::default());
    let (listener, address) = peer().await;
    for number in 1..=3 {
        running.listener.send(options(number), address).expect("there is room");
    }
    let mut stream = accepts(&listener).await;
    reads(&mut stream, &[options(1), options(2), options(3)].concat()).await;
    stream.write_all(&ok(1)).await.expect("it takes it");
    assert_eq!(running.message().await.1, ok(1));
    running.listener.send(options(4), address).expect("there is room");
    reads(&mut stream, &options(4)).await;
    assert_eq!(running.listener.stats().counts().opened, 1);
}

#[tokio::test]
async fn what_cannot_be_connected_is_undeliverable() {
    let mut running = Running::start(&StreamLimits::default());
    let (listener, address) = peer().await;
    drop(listener);
    running.listener.send(options(1), address).expect("it is tried");
    assert_eq!(running.hears().await, Told::Undelivered(options(1), Fate::Undeliverable));
    running.counts("a failure", |counts| counts.connect_failures == 1 && counts.open == 0).await;
}

#[tokio::test]
async fn a_request_without_a_response_is_lost_with_its_connection_and_undeliverable_the_second_time() {
    let mut running = Running::start(&StreamLimits::default());
    let (listener, address) = peer().await;
    for number in [1, 2] {
        running.listener.send(options(number), address).expect("there is room");
    }
    let mut stream = accepts(&listener).await;
    reads(&mut stream, &[options(1), options(2)].concat()).await;
    stream.write_all(&ok(1)).await.expect("it takes it");
    assert_eq!(running.message().await.1, ok(1));
    drop(stream);
    assert_eq!(running.hears().await, Told::Undelivered(options(2), Fate::Lost));
    running.listener.send_again(options(2), address).expect("there is room");
    let mut stream = accepts(&listener).await;
    reads(&mut stream, &options(2)).await;
    drop(stream);
    assert_eq!(running.hears().await, Told::Undelivered(options(2), Fate::Undeliverable));
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_on_is_closed_after_its_answer() {
    let mut running = Running::start(&StreamLimits::default());
    for wrong in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"OPTIONS sip:h SIP/2.0\r\nl: x\r\n\r\n"] {
        let mut stream = running.connect().await;
        stream.write_all(wrong).await.expect("it takes it");
        assert!(matches!(running.hears().await, Told::Broken(_)));
        is_closed(&mut stream).await;
    }
    running.counts("two broken", |counts| counts.broken == 2 && counts.open == 0).await;
}

#[tokio::test]
async fn a_message_that_never_ends_does_not_hold_its_connection() {
    let limits = StreamLimits { message: Duration::from_millis(50), ..StreamLimits::default() };
    let running = Running::start(&limits);
    let mut stream = running.connect().await;
    stream.write_all(b"OPTIONS sip:h SIP/2.0\r\n").await.expect("it takes it");
    is_closed(&mut stream).await;
    running.counts("broken", |counts| counts.broken == 1).await;
}

#[tokio::test]
async fn connections_are_limited_in_all_and_by_source_and_to_whom_the_user_admits() {
    let limits =
        StreamLimits { connections_max: 3, connections_per_source_max: 2, ..StreamLimits::default() };
    let running = Running::start(&limits);
    let first = running.connect().await;
    let _second = running.connect().await;
    running.counts("two", |counts| counts.open == 2).await;
    is_closed(&mut running.connect().await).await;
    running.counts("one of the source", |counts| counts.refused_source == 1).await;
    let (_listener, address) = peer().await;
    running.listener.send(options(1), address).expect("a third");
    let (_other, elsewhere) = peer().await;
    let refused = running.listener.send(options(1), elsewhere);
    assert!(matches!(refused, Err(SendError::TooManyConnections { .. })));
    is_closed(&mut running.connect().await).await;
    running.counts("one for all", |counts| counts.refused_full == 2).await;
    drop(first);
    running.counts("one has gone", |counts| counts.open == 2).await;
    let _again = running.connect().await;
    running.counts("and one came", |counts| counts.open == 3).await;

    let closed = Running::start_with(&StreamLimits::default(), false);
    is_closed(&mut closed.connect().await).await;
    closed.counts("refused", |counts| counts.refused_user == 1).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_unless_it_is_held() {
    let limits = StreamLimits { idle: Duration::from_millis(50), ..StreamLimits::default() };
    let mut running = Running::start(&limits);
    let (mut held, mut idle) = (running.connect().await, running.connect().await);
    held.write_all(&options(1)).await.expect("it takes it");
    let (peer, _) = running.message().await;
    let hold = running.listener.hold(peer.remote).expect("it is open");
    is_closed(&mut idle).await;
    running.counts("one idle", |counts| counts.idle == 1).await;
    running.listener.send_by_open(&ok(1), peer.remote).expect("it is open").expect("there is room");
    reads(&mut held, &ok(1)).await;
    drop(hold);
    is_closed(&mut held).await;
}

#[tokio::test]
async fn a_connection_of_ours_is_kept_alive_and_a_peer_that_stops_answering_is_let_go() {
    let limits = StreamLimits {
        keep_alive: Some(Duration::from_millis(20)),
        pong: Duration::from_millis(50),
        ..StreamLimits::default()
    };
    let running = Running::start(&limits);
    let (listener, address) = peer().await;
    running.listener.send(ok(1), address).expect("there is room");
    let mut stream = accepts(&listener).await;
    reads(&mut stream, &ok(1)).await;
    // One that has never answered is not held to it.
    for _ in 0..4 {
        reads(&mut stream, b"\r\n\r\n").await;
    }
    for _ in 0..3 {
        stream.write_all(b"\r\n").await.expect("it takes it");
        reads(&mut stream, b"\r\n\r\n").await;
    }
    is_closed(&mut stream).await;
    running.counts("lost", |counts| counts.lost == 1).await;
}

#[tokio::test]
async fn who_does_not_read_fills_a_queue_of_its_own_and_is_let_go() {
    let limits = StreamLimits {
        queue_bytes_max: 100_000,
        stall: Duration::from_millis(200),
        ..StreamLimits::default()
    };
    let mut running = Running::start(&limits);
    let (mut slow, mut quick) = (running.connect().await, running.connect().await);
    slow.write_all(&options(1)).await.expect("it takes it");
    let slow_address = running.message().await.0.remote;
    quick.write_all(&options(2)).await.expect("it takes it");
    let quick_address = running.message().await.0.remote;
    let long: Bytes = [&ok(1)[..], &[b' '; 8_000]].concat().into();
    let mut congested = false;
    // Until the kernel's buffers on both sides and then the queue are full.
    for _ in 0..10_000 {
        match running.listener.send_by_open(&long, slow_address) {
            Some(Ok(())) => tokio::task::yield_now().await,
            Some(Err(error)) => {
                assert!(matches!(error, SendError::Congested { .. }), "{error}");
                congested = true;
                break;
            }
            None => panic!("it is open"),
        }
    }
    assert!(congested);
    running.listener.send_by_open(&ok(2), quick_address).expect("it is open").expect("there is room");
    reads(&mut quick, &ok(2)).await;
    running.counts("the slow one is let go", |counts| counts.lost == 1 && counts.open == 1).await;
}

#[tokio::test]
async fn closing_sends_what_waits_and_opens_no_more() {
    let mut running = Running::start(&StreamLimits::default());
    let mut stream = running.connect().await;
    stream.write_all(&options(1)).await.expect("it takes it");
    let source = running.message().await.0.remote;
    running.listener.send_by_open(&ok(1), source).expect("it is open").expect("there is room");
    running.listener.close();
    assert_eq!(is_closed(&mut stream).await, ok(1));
    assert!(matches!(running.listener.send(options(1), source), Err(SendError::Closed { .. })));
}
