//! The streams to and from the other nodes.

use super::frame::Frame;
use super::wire::{self, Accept, LinkService};
use crate::call_actor::CallMessage;
use crate::shared::Shared;
use bytes::Bytes;
use parking_lot::Mutex;
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tandem_config::Link as LinkConfig;
use tandem_store::CallKey;
use tandem_switch::call::CallId;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Status, Streaming};

/// Frames that wait for one other node; more are dropped.
const WAITING_MAX: usize = 4_096;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How long after a failure it is tried again.
const CONNECT_AGAIN: Duration = Duration::from_millis(300);

/// How often a silent stream is looked after, and how long it may stay silent then.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Why the link cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address cannot be taken.
    #[error("cannot listen for other nodes at {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// A file of the link's TLS cannot be read.
    #[error("[link]: cannot read {file}: {error}")]
    File {
        /// The file.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// The certificate, its key or the authority cannot be used.
    #[error("[link]: {0}")]
    Tls(#[from] tonic::transport::Error),
}

/// What is known of the streams.
#[derive(Default)]
pub(crate) struct Links {
    peers: Mutex<HashMap<Arc<str>, Peer>>,
    questions: AtomicU64,
    /// Who waits for an answer.
    waiting: Mutex<HashMap<u64, oneshot::Sender<bool>>>,
}

struct Peer {
    boot: u64,
    address: String,
    out: mpsc::Sender<Bytes>,
    keeper: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// The files of mutual TLS, read.
#[derive(Clone)]
struct Tls {
    ca: Certificate,
    identity: Identity,
    name: String,
}

/// What a node listens with for the others.
pub(crate) struct Listening {
    listener: TcpListener,
    tls: Option<Tls>,
}

/// Opens the link's own end.
pub(crate) async fn listen(config: &LinkConfig) -> Result<(Listening, SocketAddr), LinkError> {
    let bind = |error| LinkError::Bind { address: config.bind, error };
    let listener = TcpListener::bind(config.bind).await.map_err(bind)?;
    let bound = listener.local_addr().map_err(bind)?;
    let read = |file: &std::path::Path| {
        std::fs::read(file).map_err(|error| LinkError::File { file: file.display().to_string(), error })
    };
    let tls = match &config.tls {
        Some(files) => Some(Tls {
            ca: Certificate::from_pem(read(&files.ca)?),
            identity: Identity::from_pem(read(&files.cert)?, read(&files.key)?),
            name: config.name.clone(),
        }),
        None => None,
    };
    // What cannot be used is to show now.
    server(tls.as_ref())?;
    Ok((Listening { listener, tls }, bound))
}

fn server(tls: Option<&Tls>) -> Result<Server, tonic::transport::Error> {
    let server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE));
    match tls {
        Some(tls) => {
            let config = ServerTlsConfig::new().identity(tls.identity.clone());
            server.tls_config(config.client_ca_root(tls.ca.clone()))
        }
        None => Ok(server),
    }
}

/// Serves the others, and keeps streams open to all that have not left, as long as it runs.
pub(crate) async fn run(shared: Arc<Shared>, listening: Listening) {
    let Listening { listener, tls } = listening;
    let serve = {
        let (shared, tls) = (shared.clone(), tls.clone());
        async move {
            let service = LinkService::new(Arc::new(Acceptor { shared }));
            let Ok(server) = server(tls.as_ref()) else { return };
            let incoming = TcpListenerStream::new(listener);
            if let Err(error) = { server }.serve_with_incoming(service, incoming).await {
                tracing::error!(%error, "the link to other nodes has failed");
            }
        }
    };
    tokio::join!(serve, keep(shared, tls));
}

async fn keep(shared: Arc<Shared>, tls: Option<Tls>) {
    let mut changes = shared.nodes.changes();
    loop {
        let others = shared.nodes.links(&shared.name);
        {
            let mut peers = shared.links.peers.lock();
            let stays = |name: &Arc<str>, peer: &Peer| {
                others.iter().any(|other| {
                    other.name == *name && other.boot == peer.boot && other.address == peer.address
                })
            };
            peers.retain(|name, peer| stays(name, peer));
            for other in others.into_iter().filter(|other| !other.address.is_empty()) {
                peers.entry(other.name.clone()).or_insert_with(|| {
                    let (out, frames) = mpsc::channel(WAITING_MAX);
                    let address = other.address.clone();
                    let connecting =
                        connect(shared.clone(), other.name, address.clone(), tls.clone(), frames);
                    Peer { boot: other.boot, address, out, keeper: tokio::spawn(connecting) }
                });
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the streams to one other node open.
async fn connect(
    shared: Arc<Shared>,
    node: Arc<str>,
    address: String,
    tls: Option<Tls>,
    mut frames: mpsc::Receiver<Bytes>,
) {
    let endpoint = match endpoint(&address, tls) {
        Ok(endpoint) => endpoint,
        Err(error) => return tracing::error!(%node, address, %error, "cannot reach another node"),
    };
    let mut complained = false;
    loop {
        match speak(&shared, &endpoint, &mut frames, &node).await {
            Ok(()) => complained = false,
            Err(status) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(%node, address, error = %status, "no link to another node");
                }
            }
        }
        if frames.is_closed() {
            return;
        }
        sleep(CONNECT_AGAIN).await;
    }
}

fn endpoint(address: &str, tls: Option<Tls>) -> Result<Endpoint, tonic::transport::Error> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
        .connect_timeout(CONNECT_LIMIT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    match tls {
        Some(Tls { ca, identity, name }) => endpoint
            .tls_config(ClientTlsConfig::new().ca_certificate(ca).identity(identity).domain_name(name)),
        None => Ok(endpoint),
    }
}

/// Speaks with another node until the streams break.
async fn speak(
    shared: &Shared,
    endpoint: &Endpoint,
    frames: &mut mpsc::Receiver<Bytes>,
    node: &Arc<str>,
) -> Result<(), Status> {
    let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let channel = endpoint.connect().await.map_err(unavailable)?;
    let (out, stream) = mpsc::channel(WAITING_MAX);
    let hello = Frame::Hello {
        node: shared.name.clone(),
        boot: shared.owner.boot,
        proof: shared.link_proof(&shared.name),
    };
    let hello = hello.encode(b"").ok_or_else(|| Status::internal("hello"))?;
    out.send(hello).await.map_err(|_| Status::cancelled("closed"))?;
    let opened = timeout(CONNECT_LIMIT, wire::open(channel, stream)).await;
    let mut answers = opened.map_err(|_| Status::deadline_exceeded("no answer"))??;
    tracing::info!(%node, "linked with another node");
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { return Ok(()) };
                if out.send(frame).await.is_err() {
                    return Ok(());
                }
            }
            answer = answers.next() => match answer {
                Some(Ok(bytes)) => {
                    if let Some((frame, _)) = Frame::decode(bytes) {
                        shared.links.on_answer(frame);
                    }
                }
                Some(Err(status)) => return Err(status),
                None => return Ok(()),
            }
        }
    }
}

impl Links {
    /// Tells another node something. `false` if it cannot be told now.
    pub(crate) fn tell(&self, node: &str, frame: &Frame, message: &[u8]) -> bool {
        let Some(bytes) = frame.encode(message) else { return false };
        self.peers.lock().get(node).is_some_and(|peer| peer.out.try_send(bytes).is_ok())
    }

    /// Asks another node; `None` if it does not say in time.
    pub(crate) async fn ask(
        &self,
        node: &str,
        frame: impl FnOnce(u64) -> Frame,
        limit: Duration,
    ) -> Option<bool> {
        self.ask_with(node, frame, b"", limit).await
    }

    /// The same with something behind the frame.
    pub(crate) async fn ask_with(
        &self,
        node: &str,
        frame: impl FnOnce(u64) -> Frame,
        behind: &[u8],
        limit: Duration,
    ) -> Option<bool> {
        let question = self.questions.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.waiting.lock().insert(question, reply);
        let said = match self.tell(node, &frame(question), behind) {
            true => timeout(limit, answer).await.ok().and_then(Result::ok),
            false => None,
        };
        self.waiting.lock().remove(&question);
        said
    }

    fn on_answer(&self, frame: Frame) {
        let (question, said) = match frame {
            Frame::Blind { question, blind } => (question, blind),
            Frame::Taken { question, taken } => (question, taken),
            Frame::Hello { .. }
            | Frame::Forward { .. }
            | Frame::Send { .. }
            | Frame::AreYouBlind { .. }
            | Frame::Have { .. }
            | Frame::Yours { .. }
            | Frame::Ended { .. }
            | Frame::Lost { .. } => return,
        };
        if let Some(reply) = self.waiting.lock().remove(&question) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(said);
        }
    }
}

struct Acceptor {
    shared: Arc<Shared>,
}

impl Accept for Acceptor {
    fn accept(&self, frames: Streaming<Bytes>, answers: mpsc::Sender<Result<Bytes, Status>>) {
        let shared = self.shared.clone();
        tokio::spawn(async move { hear(&shared, frames, answers).await });
    }
}

/// Takes what another node says until it stops.
async fn hear(
    shared: &Arc<Shared>,
    mut frames: Streaming<Bytes>,
    answers: mpsc::Sender<Result<Bytes, Status>>,
) {
    let first = frames.next().await.and_then(Result::ok).and_then(Frame::decode);
    let Some((Frame::Hello { node, proof, .. }, _)) = first else { return };
    if proof != shared.link_proof(&node) {
        tracing::warn!(%node, "another node has not the keys of this cluster");
        let refused = Err(Status::permission_denied("not of this cluster"));
        // It may have gone.
        let _ = answers.send(refused).await;
        return;
    }
    while let Some(Ok(bytes)) = frames.next().await {
        let Some((frame, message)) = Frame::decode(bytes) else {
            shared.metrics.link_frames_unread.inc();
            continue;
        };
        match frame {
            Frame::Forward { flow, hops } => shared.on_forwarded((&node, flow), hops, message),
            Frame::Send { flow } => shared.send_for_another(flow, &message),
            Frame::AreYouBlind { question } => {
                let answer = Frame::Blind { question, blind: shared.says_that_it_is_blind() };
                reply(&answers, &answer);
            }
            Frame::Have { question, key } => {
                let taken = shared.calls.find(CallId(CallKey::from(key).id)).is_some();
                reply(&answers, &Frame::Taken { question, taken });
            }
            Frame::Yours { question, key, epoch } => {
                let (shared, answers, node) = (shared.clone(), answers.clone(), node.clone());
                tokio::spawn(async move {
                    let taken = crate::takeover::take_handed(&shared, &node, key.into(), epoch).await;
                    reply(&answers, &Frame::Taken { question, taken });
                });
            }
            Frame::Lost { key, epoch } => {
                if let Some(call) = shared.calls.find(CallId(CallKey::from(key).id)) {
                    // One that has gone has nothing to let go of.
                    let _ = call.actor().cast(CallMessage::Lost { epoch });
                }
            }
            Frame::Ended { question, key } => {
                let call = shared.calls.find(CallId(CallKey::from(key).id));
                let records = Some(message).filter(|records| !records.is_empty());
                let ended = CallMessage::EndedBefore(records);
                let taken = call.is_some_and(|call| call.actor().cast(ended).is_ok());
                reply(&answers, &Frame::Taken { question, taken });
            }
            Frame::Hello { .. } | Frame::Blind { .. } | Frame::Taken { .. } => {}
        }
    }
}

fn reply(answers: &mpsc::Sender<Result<Bytes, Status>>, frame: &Frame) {
    if let Some(bytes) = frame.encode(b"") {
        // Who does not take its answers asks again.
        let _ = answers.try_send(Ok(bytes));
    }
}

impl Shared {
    /// What shows that a node has the cluster's keys.
    fn link_proof(&self, node: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.keys.current);
        hasher.write(b"link");
        hasher.write(node.as_bytes());
        hasher.finish()
    }
}
