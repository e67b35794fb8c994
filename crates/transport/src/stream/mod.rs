//! A stream listener: connections taken and opened, each with a task of its own and a bounded queue (RFC 3261 §18).

mod connection;
mod limits;
mod table;
mod unanswered;

pub use limits::StreamLimits;
pub use table::Hold;

use crate::error::{BindError, SendError};
use crate::stats::StreamStats;
use crate::tls::{Expected, Reloaded, Tls, TlsError, TlsFiles, domains_of};
use bytes::Bytes;
use connection::Connection;
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use table::{Offered, Outgoing, Place, Routed, Table};
use tandem_sip::FrameError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsStream;

/// Connections that may wait in the kernel to be taken.
const BACKLOG: i32 = 1_024;

/// How long taking connections rests when the process has no descriptor or no memory for one.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Failures to take a connection, one after another, before the socket is given up as broken.
const ACCEPT_FAILURES_MAX: usize = 64;

/// How long a connection is silent before the kernel asks whether the peer's host still lives.
const KERNEL_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The peer.
    Accepted,
    /// We.
    Opened,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The listener that the connection belongs to, as numbered when it was bound.
    pub listener: u16,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// Who opened it.
    pub origin: Origin,
    /// The domains that the certificate of a peer that connected to us was verified to be for (RFC 5922 §7.1); none over
    /// TCP, or without a certificate.
    pub domains: Arc<[String]>,
}

/// What became of a message that was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No connection to the peer could be opened, or it broke as an earlier one did: there is no way to it.
    Undeliverable,
    /// The connection broke before the message was sent or, if it is a request, before any response to it came. It may
    /// be [sent again](StreamListener::send_again) by another connection.
    Lost,
}

/// Reading waits for this to be done.
pub type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who is told of what comes in. Called on the tasks of the connections: it must not block.
pub trait StreamUser: Send + Sync + 'static {
    /// Whether a connection may be taken from there.
    fn admits(&self, remote: SocketAddr) -> bool;

    /// A message came in whole. The connection is not read on until the pause, if there is one, is over.
    fn on_message(&self, from: &Peer, message: Bytes) -> Option<Pause>;

    /// The stream cannot be read on: what is sent by it from within this call still goes out, then it is closed.
    fn on_broken(&self, from: &Peer, error: FrameError);

    /// A TLS handshake failed.
    fn on_handshake_failed(&self, peer: &Peer, why: &str);

    /// A message was not delivered.
    fn on_undelivered(&self, to: &Peer, message: Bytes, fate: Fate);
}

/// A bound TCP socket and the connections by it.
pub struct StreamListener {
    socket: std::net::TcpListener,
    inner: Arc<Inner>,
}

/// What a listener and the tasks of its connections share.
struct Inner {
    listener: u16,
    local: SocketAddr,
    limits: StreamLimits,
    table: Arc<Table>,
    stats: StreamStats,
    user: OnceLock<Arc<dyn StreamUser>>,
    security: Security,
    /// TLS handshakes of peers that may begin.
    handshakes: Semaphore,
    /// True once the listener is closed.
    closing: watch::Sender<bool>,
}

/// What connections are carried under.
enum Security {
    Clear,
    Tls(Box<Tls>),
}

impl std::fmt::Debug for StreamListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamListener").field("local", &self.inner.local).finish_non_exhaustive()
    }
}

impl StreamListener {
    /// Binds a socket. An IPv6 address takes IPv6 only, so that a wildcard of each family can stand side by side.
    ///
    /// Needs no runtime; all else does.
    ///
    /// # Errors
    /// The address is taken or not ours, or the kernel refuses the socket.
    pub fn bind(
        listener: u16,
        address: SocketAddr,
        limits: &StreamLimits,
    ) -> Result<StreamListener, BindError> {
        StreamListener::bind_with(listener, address, limits, Security::Clear)
    }

    /// The same, for connections under TLS.
    ///
    /// # Errors
    /// As with [`bind`](Self::bind), or the certificates cannot be used.
    pub fn bind_tls(
        listener: u16,
        address: SocketAddr,
        limits: &StreamLimits,
        files: TlsFiles,
    ) -> Result<StreamListener, BindError> {
        let tls = Tls::load(files).map_err(|source| BindError::Tls { listener, source })?;
        StreamListener::bind_with(listener, address, limits, Security::Tls(Box::new(tls)))
    }

    fn bind_with(
        listener: u16,
        address: SocketAddr,
        limits: &StreamLimits,
        security: Security,
    ) -> Result<StreamListener, BindError> {
        let failed = |step| move |source| BindError::Socket { listener, step, source };
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))
                .map_err(failed("socket"))?;
        // Connections of an earlier process that linger must not keep us from our port.
        socket.set_reuse_address(true).map_err(failed("SO_REUSEADDR"))?;
        if address.is_ipv6() {
            socket.set_only_v6(true).map_err(failed("IPV6_V6ONLY"))?;
        }
        let at_address = |source| BindError::Address { listener, address, source };
        socket.bind(&SockAddr::from(address)).map_err(at_address)?;
        socket.listen(BACKLOG).map_err(at_address)?;
        let socket = std::net::TcpListener::from(socket);
        let local = socket.local_addr().map_err(at_address)?;
        let table = Arc::new(Table::new(limits));
        let inner = Inner {
            listener,
            local,
            limits: *limits,
            table,
            stats: StreamStats::default(),
            user: OnceLock::new(),
            security,
            handshakes: Semaphore::new(limits.handshakes_max),
            closing: watch::Sender::new(false),
        };
        Ok(StreamListener { socket, inner: Arc::new(inner) })
    }

    /// The address bound, with the port that the kernel chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// The listener's counters.
    pub fn stats(&self) -> &StreamStats {
        &self.inner.stats
    }

    /// Whether connections are under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.inner.security, Security::Tls(_))
    }

    /// Reads certificates and keys anew if their files have changed: handshakes from now on use them. What cannot be used
    /// leaves those in use as they are, and is told of once for each change.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn reload(&self) -> Result<Reloaded, TlsError> {
        match &self.inner.security {
            Security::Clear => Ok(Reloaded::Unchanged),
            Security::Tls(tls) => tls.reload(),
        }
    }

    /// Says who is expected at an address that we connect to under TLS. Without a word, it is whoever has a certificate
    /// for that address itself.
    pub fn expect(&self, remote: SocketAddr, expected: &Arc<Expected>) {
        if let Security::Tls(tls) = &self.inner.security {
            tls.expectations.set(remote, expected);
        }
    }

    /// Says whom to tell of what comes in. The first one stays. Before, nothing is taken and nothing opened.
    pub fn attach(&self, user: Arc<dyn StreamUser>) {
        self.inner.user.get_or_init(|| user);
    }

    /// Takes connections until the socket breaks; ends with what broke it. Dropping the future stops the loop, which may
    /// be run again, and leaves the connections open.
    pub async fn run(&self) -> io::Error {
        let Some(user) = self.inner.user.get() else {
            return io::Error::other("nobody is there to be told");
        };
        let listener = match self.socket.try_clone().and_then(TcpListener::from_std) {
            Ok(listener) => listener,
            Err(error) => return error,
        };
        let mut failures = 0;
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    failures = 0;
                    self.inner.take(stream, remote, user);
                }
                Err(error) => match judge(&error) {
                    Failure::OfOneConnection => {}
                    Failure::Exhausted => tokio::time::sleep(EXHAUSTED_PAUSE).await,
                    Failure::OfTheSocket => {
                        failures += 1;
                        if failures == ACCEPT_FAILURES_MAX {
                            return error;
                        }
                    }
                },
            }
        }
    }

    /// Sends a message by the open connection to that very address and port. `None` if there is none.
    ///
    /// # Errors
    /// The connection's queue is full.
    pub fn send_by_open(&self, message: &Bytes, remote: SocketAddr) -> Option<Result<(), SendError>> {
        match self.inner.table.offer(remote, Outgoing::new(message.clone())) {
            Offered::Taken => Some(Ok(())),
            Offered::Full => {
                self.inner.stats.congested.add(1);
                Some(Err(SendError::Congested { remote }))
            }
            Offered::NotConnected(_) => None,
        }
    }

    /// Sends a message by the connection to that address and port, and opens it if there is none. A connection that
    /// cannot be opened is told of by [`StreamUser::on_undelivered`].
    ///
    /// # Errors
    /// The connection's queue is full, or there may be no more connections.
    pub fn send(&self, message: Bytes, remote: SocketAddr) -> Result<(), SendError> {
        self.inner.send(Outgoing::new(message), remote)
    }

    /// Sends a message that was [lost](Fate::Lost) with a connection: as [`send`](Self::send) does, but if it is lost
    /// again that is the end of it.
    ///
    /// # Errors
    /// As with [`send`](Self::send).
    pub fn send_again(&self, message: Bytes, remote: SocketAddr) -> Result<(), SendError> {
        self.inner.send(Outgoing::again(message), remote)
    }

    /// Keeps the connection with that very address and port open through silence; `None` if there is none.
    pub fn hold(&self, remote: SocketAddr) -> Option<Hold> {
        self.inner.table.hold(remote)
    }

    /// Closes all connections once what waits is sent, and opens no more.
    pub fn close(&self) {
        self.inner.closing.send_replace(true);
    }
}

impl Drop for StreamListener {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// Takes a peer's connection, if it may have one.
    fn take(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr, user: &Arc<dyn StreamUser>) {
        if *self.closing.borrow() || !user.admits(remote) {
            self.stats.refused_user.add(1);
            return;
        }
        let place = match Table::accept(&self.table, remote) {
            Ok(place) => place,
            Err(table::Refused::Full) => return self.stats.refused_full.add(1),
            Err(table::Refused::Source) => return self.stats.refused_source.add(1),
        };
        self.stats.accepted.add(1);
        let local = stream.local_addr().unwrap_or(self.local);
        let peer = self.peer((remote, local), Origin::Accepted);
        let (inner, user) = (self.clone(), user.clone());
        tokio::spawn(async move {
            tune(&stream);
            inner.serve(stream, peer, place, &user).await;
        });
    }

    fn send(self: &Arc<Self>, message: Outgoing, remote: SocketAddr) -> Result<(), SendError> {
        let Some(user) = self.user.get().filter(|_| !*self.closing.borrow()) else {
            return Err(SendError::Closed { remote });
        };
        let place = match Table::offer_or_open(&self.table, remote, message) {
            Routed::Taken => return Ok(()),
            Routed::Full => {
                self.stats.congested.add(1);
                return Err(SendError::Congested { remote });
            }
            Routed::TooMany => {
                self.stats.refused_full.add(1);
                return Err(SendError::TooManyConnections { remote });
            }
            Routed::Open(place) => place,
        };
        let (inner, user) = (self.clone(), user.clone());
        tokio::spawn(async move { inner.open(remote, place, &user).await });
        Ok(())
    }

    /// Opens a connection for what waits at its place.
    async fn open(&self, remote: SocketAddr, place: Place, user: &Arc<dyn StreamUser>) {
        let connected = tokio::time::timeout(self.limits.connect, self.connect(remote)).await;
        let mut peer = self.peer((remote, self.local), Origin::Opened);
        let Ok(Ok(stream)) = connected else {
            self.stats.connect_failures.add(1);
            return give_up(place, &peer, user);
        };
        peer.local = stream.local_addr().unwrap_or(self.local);
        tune(&stream);
        self.serve(stream, peer, place, user).await;
    }

    fn peer(&self, (remote, local): (SocketAddr, SocketAddr), origin: Origin) -> Peer {
        Peer { listener: self.listener, remote, local, origin, domains: Arc::default() }
    }

    /// From the listener's own address, where it has one.
    async fn connect(&self, remote: SocketAddr) -> io::Result<TcpStream> {
        let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if !self.local.ip().is_unspecified() {
            socket.bind(SocketAddr::new(self.local.ip(), 0))?;
        }
        socket.connect(remote).await
    }

    async fn serve(&self, stream: TcpStream, mut peer: Peer, place: Place, user: &Arc<dyn StreamUser>) {
        self.stats.open.add(1);
        match &self.security {
            Security::Clear => self.carry(stream, &peer, place, user).await,
            Security::Tls(tls) => match self.shake_hands(tls, stream, peer.origin, peer.remote).await {
                Ok((stream, domains)) => {
                    peer.domains = domains;
                    self.carry(stream, &peer, place, user).await;
                }
                Err(error) => {
                    self.stats.handshake_failures.add(1);
                    user.on_handshake_failed(&peer, &error.to_string());
                    give_up(place, &peer, user);
                }
            },
        }
        self.stats.open.sub(1);
    }

    async fn carry<S>(&self, stream: S, peer: &Peer, place: Place, user: &Arc<dyn StreamUser>)
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        if peer.origin == Origin::Opened {
            self.stats.opened.add(1);
        }
        let closing = self.closing.subscribe();
        Connection { peer, user: &**user, limits: &self.limits, stats: &self.stats }
            .carry(stream, place, closing)
            .await;
    }

    /// Sets TLS up, in its time, and says whom the certificate of a peer that connected to us is for.
    async fn shake_hands(
        &self,
        tls: &Tls,
        stream: TcpStream,
        origin: Origin,
        remote: SocketAddr,
    ) -> io::Result<(TlsStream<TcpStream>, Arc<[String]>)> {
        let shaken = async {
            match origin {
                Origin::Accepted => {
                    // Of too many, the rest wait for their turn within their time.
                    let _turn = self.handshakes.acquire().await.map_err(io::Error::other)?;
                    tls.acceptor().accept(stream).await.map(TlsStream::from)
                }
                Origin::Opened => {
                    let (connector, name) = tls.connector(remote).map_err(io::Error::other)?;
                    connector.connect(name, stream).await.map(TlsStream::from)
                }
            }
        };
        let stream = tokio::time::timeout(self.limits.handshake, shaken)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let shown = stream.get_ref().1.peer_certificates().filter(|_| origin == Origin::Accepted);
        let domains = shown.and_then(<[_]>::first).map(|shown| domains_of(shown).into()).unwrap_or_default();
        Ok((stream, domains))
    }
}

/// Tells the user that what waits for a connection will never be sent.
fn give_up(mut place: Place, peer: &Peer, user: &Arc<dyn StreamUser>) {
    for waiting in place.leave_and_drain() {
        user.on_undelivered(peer, waiting.message, Fate::Undeliverable);
    }
}

/// Small messages go at once, and a dead host is noticed. A socket that takes neither option still works.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KERNEL_KEEP_ALIVE));
}

/// What a failure to take a connection is about.
enum Failure {
    OfOneConnection,
    Exhausted,
    OfTheSocket,
}

fn judge(error: &io::Error) -> Failure {
    match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Failure::Exhausted,
        // accept(2): network errors of the new connection, which Linux hands on.
        Errno::ECONNABORTED
        | Errno::EINTR
        | Errno::EPERM
        | Errno::ENETDOWN
        | Errno::EPROTO
        | Errno::ENOPROTOOPT
        | Errno::EHOSTDOWN
        | Errno::ENONET
        | Errno::EHOSTUNREACH
        | Errno::EOPNOTSUPP
        | Errno::ENETUNREACH => Failure::OfOneConnection,
        _ => Failure::OfTheSocket,
    }
}
