//! Which connections there are, and the queue of each.

use super::limits::StreamLimits;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, hash_map};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) message: Bytes,
    /// Whether it was lost with a connection before.
    pub(super) is_again: bool,
}

impl Outgoing {
    pub(super) fn new(message: Bytes) -> Outgoing {
        Outgoing { message, is_again: false }
    }

    pub(super) fn again(message: Bytes) -> Outgoing {
        Outgoing { message, is_again: true }
    }
}

/// What became of a message that was offered.
#[derive(Debug)]
pub(super) enum Offered {
    /// It waits in the connection's queue.
    Taken,
    /// The queue is full.
    Full,
    /// There is no such connection.
    NotConnected(Outgoing),
}

/// Where a message went for which a connection may be opened.
#[derive(Debug)]
pub(super) enum Routed {
    /// Into the queue of the connection there is.
    Taken,
    /// That queue is full.
    Full,
    /// No more connections may be opened.
    TooMany,
    /// Into the queue of a connection that is now to be opened.
    Open(Place),
}

/// Why a peer's connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There are as many as there may be.
    Full,
    /// Its address has as many as it may have.
    Source,
}

/// The end of a queue that messages are put in at.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Outgoing>,
    waiting_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    holds: Holds,
}

/// How many want a connection to stay open.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(Arc<AtomicUsize>);

impl Holds {
    pub(super) fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Keeps a connection open through silence until it is dropped. A connection that breaks or is closed by the peer goes all
/// the same.
#[derive(Debug)]
pub struct Hold(Holds);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn holds(&self) -> Holds {
        self.holds.clone()
    }

    /// Queues a message, if it fits.
    pub(super) fn offer(&self, outgoing: Outgoing) -> Offered {
        let length = outgoing.message.len();
        if self.waiting_bytes.fetch_add(length, Ordering::Relaxed) + length > self.bytes_max {
            self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
            return Offered::Full;
        }
        let Err(error) = self.sender.try_send(outgoing) else { return Offered::Taken };
        self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
        match error {
            TrySendError::Full(_) => Offered::Full,
            TrySendError::Closed(outgoing) => Offered::NotConnected(outgoing),
        }
    }
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Table {
    limits: StreamLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<SocketAddr, (u64, Queue)>,
    /// Of all connections, also those that another to the same address has taken the place of.
    count: usize,
    per_source: HashMap<IpAddr, usize>,
    next_number: u64,
}

/// A connection's place in the table and the far end of its queue; given back by being dropped.
#[derive(Debug)]
pub(super) struct Place {
    table: Arc<Table>,
    remote: SocketAddr,
    number: u64,
    /// The peer opened it, which counts for its address.
    is_counted: bool,
    /// The connection's own way to put something in its queue; `None` once it has left.
    own: Option<Queue>,
    receiver: mpsc::Receiver<Outgoing>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Table {
    pub(super) fn new(limits: &StreamLimits) -> Table {
        Table { limits: *limits, state: Mutex::default() }
    }

    /// Hands a message to the connection with that address.
    pub(super) fn offer(&self, remote: SocketAddr, outgoing: Outgoing) -> Offered {
        let state = self.state.lock();
        match state.queues.get(&remote) {
            Some((_, queue)) => queue.offer(outgoing),
            None => Offered::NotConnected(outgoing),
        }
    }

    /// Keeps the connection with that address open through silence.
    pub(super) fn hold(&self, remote: SocketAddr) -> Option<Hold> {
        let holds = self.state.lock().queues.get(&remote)?.1.holds();
        holds.0.fetch_add(1, Ordering::Relaxed);
        Some(Hold(holds))
    }

    /// A place for a connection that a peer opened.
    pub(super) fn accept(table: &Arc<Table>, remote: SocketAddr) -> Result<Place, Refused> {
        let mut state = table.state.lock();
        if state.count >= table.limits.connections_max {
            return Err(Refused::Full);
        }
        let of_source = state.per_source.entry(remote.ip()).or_default();
        if *of_source >= table.limits.connections_per_source_max {
            return Err(Refused::Source);
        }
        *of_source += 1;
        Ok(table.enter(&mut state, remote, true))
    }

    /// Hands a message to the connection with that address, or to the place of one that is to be opened.
    pub(super) fn offer_or_open(table: &Arc<Table>, remote: SocketAddr, outgoing: Outgoing) -> Routed {
        let mut state = table.state.lock();
        let outgoing = match state.queues.get(&remote).map(|(_, queue)| queue) {
            Some(queue) => match queue.offer(outgoing) {
                Offered::Taken => return Routed::Taken,
                Offered::Full => return Routed::Full,
                Offered::NotConnected(outgoing) => outgoing,
            },
            None => outgoing,
        };
        if state.count >= table.limits.connections_max {
            return Routed::TooMany;
        }
        let place = table.enter(&mut state, remote, false);
        // A place that is dropped takes the lock.
        drop(state);
        match place.own.as_ref().map(|queue| queue.offer(outgoing)) {
            Some(Offered::Taken) => Routed::Open(place),
            Some(Offered::Full | Offered::NotConnected(_)) | None => Routed::Full,
        }
    }

    fn enter(self: &Arc<Table>, state: &mut State, remote: SocketAddr, is_counted: bool) -> Place {
        let (sender, receiver) = mpsc::channel(self.limits.queue_messages_max);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let bytes_max = self.limits.queue_bytes_max;
        let queue =
            Queue { sender, waiting_bytes: waiting_bytes.clone(), bytes_max, holds: Holds::default() };
        let number = state.next_number;
        state.next_number += 1;
        state.count += 1;
        // Of two connections with one address, the first is the one that is found.
        state.queues.entry(remote).or_insert_with(|| (number, queue.clone()));
        Place { table: self.clone(), remote, number, is_counted, own: Some(queue), receiver, waiting_bytes }
    }
}

impl Place {
    /// A way to put something in the connection's own queue.
    pub(super) fn own_queue(&self) -> Option<Queue> {
        self.own.clone()
    }

    /// What waits, once something does: up to `most`, put behind what is in `batch`. 0 once the place has been left and
    /// nothing waits any more.
    pub(super) async fn wait(&mut self, batch: &mut Vec<Outgoing>, most: usize) -> usize {
        self.receiver.recv_many(batch, most).await
    }

    /// Messages of so many bytes have left the queue.
    pub(super) fn sent(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The connection is not found any more; what waits still does.
    pub(super) fn leave(&mut self) {
        self.own = None;
        let mut state = self.table.state.lock();
        if let hash_map::Entry::Occupied(entry) = state.queues.entry(self.remote)
            && entry.get().0 == self.number
        {
            entry.remove();
        }
    }

    /// Leaves, and takes what waits.
    pub(super) fn leave_and_drain(&mut self) -> Vec<Outgoing> {
        self.leave();
        self.receiver.close();
        let mut waiting = Vec::new();
        while let Ok(one) = self.receiver.try_recv() {
            waiting.push(one);
        }
        waiting
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
        let mut state = self.table.state.lock();
        state.count -= 1;
        if self.is_counted
            && let hash_map::Entry::Occupied(mut of_source) = state.per_source.entry(self.remote.ip())
        {
            *of_source.get_mut() -= 1;
            if *of_source.get() == 0 {
                of_source.remove();
            }
        }
    }
}
