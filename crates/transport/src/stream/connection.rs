//! One connection: reading and writing, each in its own time, until one of them ends.

use super::limits::StreamLimits;
use super::table::{Offered, Outgoing, Place, Queue};
use super::unanswered::Unanswered;
use super::{Fate, Origin, Peer, StreamUser};
use crate::stats::StreamStats;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tandem_sip::{Frame, Limits, StreamFramer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Read at a time.
const READ_BYTES: usize = 4_096;

/// Messages written at a time.
const WRITE_BATCH: usize = 32;

/// How long what still waits may take to be sent when a connection is closed in good order.
const FLUSH: Duration = Duration::from_secs(2);

/// A keep-alive between messages, and the answer to it (RFC 5626 §3.5.1).
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer has nothing more to say.
    PeerClosed,
    /// What came is no SIP stream.
    Broken,
    /// Nothing came for too long.
    Idle,
    /// The listener is closed.
    Closing,
    /// Reset, stalled, or no answer to a keep-alive.
    Lost,
}

/// A connection that is set up, and whom it tells.
#[derive(Clone, Copy)]
pub(super) struct Connection<'a> {
    pub(super) peer: &'a Peer,
    pub(super) user: &'a dyn StreamUser,
    pub(super) limits: &'a StreamLimits,
    pub(super) stats: &'a StreamStats,
}

/// What reading tells writing of.
#[derive(Debug)]
struct Heard {
    unanswered: Mutex<Unanswered>,
    /// How often something was read.
    reads: AtomicU64,
    /// Whether the peer has answered a keep-alive once: 0 or 1.
    pongs: AtomicU8,
}

impl Connection<'_> {
    /// Reads and writes until the connection is over, and then says what was not delivered.
    pub(super) async fn carry<S>(self, stream: S, mut place: Place, mut closing: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        let (reader, mut writer) = tokio::io::split(stream);
        let heard = Heard {
            unanswered: Mutex::new(Unanswered::new(self.limits.unanswered, self.limits.unanswered_max)),
            reads: AtomicU64::new(0),
            pongs: AtomicU8::new(0),
        };
        let own = place.own_queue();
        let mut batch = Batch::default();
        let end = {
            let writing = self.write(&mut writer, &mut place, &mut batch, &heard);
            tokio::select! {
                end = self.read(reader, own, &heard) => end,
                end = writing => end,
                _ = closing.wait_for(|closing| *closing) => End::Closing,
            }
        };
        place.leave();
        self.count(end);
        if end != End::Lost {
            let rest = self.write_rest(&mut writer, &mut place, &mut batch, &heard);
            // A peer that does not take it in time has lost it.
            let _ = timeout(FLUSH, rest).await;
        }
        let unsent = batch.messages.into_iter().chain(place.leave_and_drain());
        let unanswered = heard.unanswered.into_inner().take(Instant::now());
        for outgoing in unanswered.into_iter().chain(unsent) {
            let fate = if outgoing.is_again { Fate::Undeliverable } else { Fate::Lost };
            if !is_keep_alive(&outgoing.message) {
                self.user.on_undelivered(self.peer, outgoing.message, fate);
            }
        }
    }

    fn count(&self, end: End) {
        match end {
            End::Lost => self.stats.lost.add(1),
            End::Idle => self.stats.idle.add(1),
            End::Broken => self.stats.broken.add(1),
            End::PeerClosed | End::Closing => {}
        }
    }

    async fn read(self, mut reader: impl AsyncRead + Unpin, own: Option<Queue>, heard: &Heard) -> End {
        let mut framer = StreamFramer::new(&Limits::default());
        let mut buffer = vec![0; READ_BYTES];
        let mut last = Instant::now();
        // Since when a message has been coming in.
        let mut begun = None;
        loop {
            let deadline = begun.map_or(last + self.limits.idle, |begun| begun + self.limits.message);
            let count = match timeout_at(deadline, reader.read(&mut buffer)).await {
                Ok(Ok(0)) => return End::PeerClosed,
                Ok(Ok(count)) => count,
                Ok(Err(_)) => return End::Lost,
                Err(_) if begun.is_some() => return End::Broken,
                Err(_) if own.as_ref().is_some_and(|own| own.holds().is_any()) => {
                    last = Instant::now();
                    continue;
                }
                Err(_) => return End::Idle,
            };
            last = Instant::now();
            heard.reads.fetch_add(1, Ordering::Relaxed);
            self.stats.bytes_received.add(count as u64);
            framer.push(&buffer[..count]);
            while let Some(frame) = framer.next() {
                begun = None;
                match frame {
                    Ok(Frame::Message(message)) => {
                        self.stats.messages_received.add(1);
                        heard.unanswered.lock().received(&message);
                        if let Some(pause) = self.user.on_message(self.peer, message) {
                            pause.await;
                        }
                    }
                    Ok(Frame::Ping) => self.answer_ping(own.as_ref()),
                    Ok(Frame::Pong) => heard.pongs.store(1, Ordering::Relaxed),
                    Err(error) => {
                        self.user.on_broken(self.peer, error);
                        return End::Broken;
                    }
                }
            }
            begun = (framer.buffered() > 0).then(|| begun.unwrap_or(last));
        }
    }

    fn answer_ping(&self, own: Option<&Queue>) {
        if let Some(queue) = own
            && let Offered::Full = queue.offer(Outgoing::new(Bytes::from_static(PONG)))
        {
            self.stats.congested.add(1);
        }
    }

    /// Sends what is queued, and keep-alives while nothing is. `batch` holds what is being sent.
    async fn write(
        self,
        writer: &mut (impl AsyncWrite + Unpin),
        place: &mut Place,
        batch: &mut Batch,
        heard: &Heard,
    ) -> End {
        let period = self.limits.keep_alive.filter(|_| self.peer.origin == Origin::Opened);
        // What had been read when the last keep-alive was sent that has to be answered.
        let mut asked_at: Option<u64> = None;
        loop {
            let patience = match (period, asked_at) {
                (Some(_), Some(_)) => Some(self.limits.pong),
                (period, _) => period,
            };
            let waited = match patience {
                Some(patience) => timeout(patience, place.wait(&mut batch.messages, WRITE_BATCH)).await,
                None => Ok(place.wait(&mut batch.messages, WRITE_BATCH).await),
            };
            match waited {
                Ok(0) => return End::Closing,
                Ok(_) => {
                    if self.write_batch(writer, place, batch, heard).await.is_err() {
                        return End::Lost;
                    }
                }
                Err(_) => {
                    let reads = heard.reads.load(Ordering::Relaxed);
                    if asked_at.take() == Some(reads) {
                        return End::Lost;
                    }
                    batch.messages.push(Outgoing::new(Bytes::from_static(PING)));
                    if self.write_batch(writer, place, batch, heard).await.is_err() {
                        return End::Lost;
                    }
                    // Only a peer that is known to answer keep-alives is held to it (RFC 5626 §4.4.1).
                    asked_at = (heard.pongs.load(Ordering::Relaxed) > 0).then_some(reads);
                }
            }
        }
    }

    /// Sends what is left in the queue of a connection that has left its place, and says that this was all.
    async fn write_rest(
        self,
        writer: &mut (impl AsyncWrite + Unpin),
        place: &mut Place,
        batch: &mut Batch,
        heard: &Heard,
    ) {
        loop {
            if !batch.messages.is_empty() && self.write_batch(writer, place, batch, heard).await.is_err() {
                return;
            }
            if place.wait(&mut batch.messages, WRITE_BATCH).await == 0 {
                // The peer may have gone.
                let _ = writer.shutdown().await;
                return;
            }
        }
    }

    /// Sends the batch and empties it.
    async fn write_batch(
        self,
        writer: &mut (impl AsyncWrite + Unpin),
        place: &mut Place,
        batch: &mut Batch,
        heard: &Heard,
    ) -> Result<(), Stalled> {
        batch.join();
        while batch.written < batch.joined.len() {
            // As long as the peer takes something it keeps up.
            match timeout(self.limits.stall, writer.write(&batch.joined[batch.written..])).await {
                Ok(Ok(count)) if count > 0 => batch.written += count,
                Ok(Ok(_) | Err(_)) | Err(_) => return Err(Stalled),
            }
        }
        match timeout(self.limits.stall, writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(Stalled),
        }
        self.stats.bytes_sent.add(batch.joined.len() as u64);
        let now = Instant::now();
        let mut unanswered = heard.unanswered.lock();
        for outgoing in batch.empty() {
            // A keep-alive of ours was never queued.
            if outgoing.message != PING {
                place.sent(outgoing.message.len());
            }
            if !is_keep_alive(&outgoing.message) {
                self.stats.messages_sent.add(1);
                unanswered.sent(outgoing, now);
            }
        }
        Ok(())
    }
}

/// What is being written. It outlives the future that writes it, so that nothing is written twice or in part.
#[derive(Debug, Default)]
struct Batch {
    messages: Vec<Outgoing>,
    /// All of them, once writing has begun.
    joined: Bytes,
    /// How much of it the kernel has.
    written: usize,
}

impl Batch {
    fn join(&mut self) {
        if !self.joined.is_empty() {
            return;
        }
        self.joined = match &self.messages[..] {
            [one] => one.message.clone(),
            several => {
                let length = several.iter().map(|one| one.message.len()).sum();
                let mut joined = BytesMut::with_capacity(length);
                several.iter().for_each(|one| joined.extend_from_slice(&one.message));
                joined.freeze()
            }
        };
    }

    fn empty(&mut self) -> std::vec::Drain<'_, Outgoing> {
        self.joined = Bytes::new();
        self.written = 0;
        self.messages.drain(..)
    }
}

/// The peer takes nothing any more.
struct Stalled;

fn is_keep_alive(message: &[u8]) -> bool {
    matches!(message, PING | PONG)
}
