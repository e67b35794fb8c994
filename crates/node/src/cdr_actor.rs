//! One actor per CDR sink: it takes records off the store's stream once they are written.

#[cfg(feature = "fault-injection")]
use crate::faults::Fault;
use crate::lease::Lease;
use crate::postgres::{Postgres, PostgresError};
use crate::shared::Shared;
use bytes::Bytes;
use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tandem_cluster::Written;
use tandem_config::{CdrSink, JsonlTarget};
use tandem_sip::time::Mono;
use tandem_store::{CallKey, StoreError};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

/// Records that are written in one go.
const BATCH: usize = 500;

/// How long records are gathered before they are written: a batch costs one flush of the disk.
const GATHER: Duration = Duration::from_millis(200);

/// The same where the store is shared, and has 256 places to be asked.
const GATHER_SHARED: Duration = Duration::from_secs(1);

/// How often the records are counted that a shared store holds.
const COUNT: Duration = Duration::from_secs(5);

/// How long after a failed write it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Of failures in a row, the first and then every so many-th are logged: once a minute.
const FAILURES_PER_LOG_LINE: u32 = 60;

/// How long a node that stops tries to write its last records.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Where records go.
enum Target {
    /// A file, appended to.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// A table.
    Table(Box<Postgres>),
    /// Nowhere: no sink is configured, and records are not to pile up.
    Nowhere,
}

/// A target, and how its writing stands.
pub(crate) struct Sink {
    target: Target,
    /// The consumer group that it reads the stream as.
    group: String,
    /// Which of the nodes that share the stream writes.
    lease: Lease,
    /// Serialises its writes: a node that stops writes beside the actor.
    writing: Mutex<()>,
    /// A record that the store had lost comes again.
    written: parking_lot::Mutex<Written<CallKey>>,
    /// Records it has not confirmed, when last looked.
    backlog: AtomicUsize,
    /// When that was, in milliseconds of the monotonic clock.
    counted: AtomicU64,
    /// When it had written all there was, or was not the one to write.
    caught_up_at: AtomicU64,
}

/// All sinks of a node; at least one, so that the stream is read.
pub(crate) struct Sinks(Vec<Sink>);

/// How much the records press that wait for sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pressure {
    /// There is room.
    Calm,
    /// Half of what may wait does: an operator is told.
    High,
    /// Nine tenths do: no new call begins, so that those in progress can end.
    Full,
}

impl Pressure {
    fn of(backlog: usize, most: usize) -> Self {
        match backlog {
            full if full >= most - most / 10 => Self::Full,
            high if high >= most / 2 => Self::High,
            _ => Self::Calm,
        }
    }
}

/// Whether records press so much that no new call begins.
#[derive(Debug)]
pub(crate) struct Records {
    most: usize,
    is_full: AtomicBool,
    is_high: AtomicBool,
}

impl Records {
    pub(crate) fn new(most: u32) -> Self {
        Self { most: most as usize, is_full: AtomicBool::new(false), is_high: AtomicBool::new(false) }
    }

    pub(crate) fn press(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    fn note(&self, backlog: usize) {
        let pressure = Pressure::of(backlog, self.most);
        let most = self.most;
        if !self.is_high.swap(pressure >= Pressure::High, Ordering::Relaxed) && pressure >= Pressure::High {
            tracing::warn!(backlog, most, "half of the CDRs that may wait for a sink do");
        }
        match (self.is_full.swap(pressure == Pressure::Full, Ordering::Relaxed), pressure) {
            (false, Pressure::Full) => {
                tracing::error!(backlog, most, "too many CDRs wait for a sink: new calls are refused");
            }
            (true, Pressure::Calm | Pressure::High) => {
                tracing::info!(backlog, "new calls are admitted again")
            }
            (false, Pressure::Calm | Pressure::High) | (true, Pressure::Full) => {}
        }
    }
}

/// Why records could not be written.
#[derive(Debug, Error)]
enum WriteError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Why records stay in the stream.
#[derive(Debug, Error)]
enum DrainError {
    #[error("cannot read the stream: {0}")]
    Read(StoreError),
    #[error("cannot write: {0}")]
    Write(WriteError),
    #[error("cannot confirm what was written: {0}")]
    Confirm(StoreError),
}

impl Sinks {
    /// The sinks of a configuration. One that is named twice is one: each record is written to it once, by one of the nodes
    /// that share the stream.
    ///
    /// # Errors
    /// A URL that is none.
    pub(crate) fn of(configured: &[CdrSink], is_shared: bool) -> Result<Self, PostgresError> {
        let mut sinks: Vec<Sink> = Vec::new();
        for configured in configured {
            let sink = match configured {
                CdrSink::PostgreSql { url, table, ca } => {
                    let table = Postgres::new(url.expose(), table, ca.clone())?;
                    let group = table.name();
                    Sink::new(Target::Table(Box::new(table)), group, is_shared)
                }
                CdrSink::Jsonl { target: JsonlTarget::Stdout } => {
                    Sink::new(Target::Stdout, "jsonl:-".to_owned(), is_shared)
                }
                CdrSink::Jsonl { target: JsonlTarget::File(path) } => {
                    Sink::new(Target::File(path.clone()), format!("jsonl:{}", path.display()), is_shared)
                }
            };
            if sinks.iter().all(|other| other.group != sink.group) {
                sinks.push(sink);
            }
        }
        if sinks.is_empty() {
            sinks.push(Sink::new(Target::Nowhere, "nowhere".to_owned(), is_shared));
        }
        Ok(Self(sinks))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Writes the last records of a node that stops, to all sinks at once: one that hangs keeps no other. Returns how many
    /// could not be written within [`LAST_WRITES`].
    pub(crate) async fn close(self: &Arc<Self>, shared: &Arc<Shared>) -> usize {
        let mut closing = JoinSet::new();
        for place in 0..self.count() {
            let (sinks, shared) = (self.clone(), shared.clone());
            closing.spawn(async move {
                // What is left after that is in the backlog.
                let _ = tokio::time::timeout(LAST_WRITES, sinks.close_one(&shared, place)).await;
            });
        }
        while closing.join_next().await.is_some() {}
        for sink in &self.0 {
            // One that hangs has not counted what came after.
            self.count_backlog(shared, sink).await;
        }
        // What a shared stream holds is written by others, or after the next start.
        if shared.store.is_shared() { 0 } else { self.backlog() }
    }

    /// Keeps the leases of sinks, as long as the node runs.
    pub(crate) async fn keep_leases(&self, shared: &Shared) {
        if shared.store.is_shared() {
            join_all(self.0.iter().map(|sink| sink.lease.keep(shared, || 0, |_| {}))).await;
        }
    }

    /// Has another node write from now on.
    pub(crate) async fn give_leases_back(&self, shared: &Shared) {
        join_all(self.0.iter().map(|sink| sink.lease.give_back(shared, 0))).await;
    }

    async fn close_one(&self, shared: &Shared, place: usize) {
        let Some(sink) = self.0.get(place) else { return };
        let mut told = false;
        while let Err(error) = self.drain(shared, sink).await {
            if !std::mem::replace(&mut told, true) {
                tracing::error!(sink = sink.group, %error, "the last CDRs are not written yet");
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Writes what the stream holds for a sink; what cannot be written stays.
    async fn drain(&self, shared: &Shared, sink: &Sink) -> Result<(), DrainError> {
        // Before as well: a write to a disk that hangs does not come back.
        self.count_backlog_in_turn(shared, sink).await;
        if !sink.lease.is_ours(shared.clock.mono()) {
            sink.caught_up(shared);
            return Ok(());
        }
        let _writing = sink.writing.lock().await;
        let result = sink.drain(shared).await;
        if result.is_ok() {
            sink.caught_up(shared);
        }
        self.count_backlog_in_turn(shared, sink).await;
        result
    }

    /// Counts now and then: a shared store has to be asked in every bucket.
    async fn count_backlog_in_turn(&self, shared: &Shared, sink: &Sink) {
        let now = shared.clock.mono();
        let last = Mono(sink.counted.load(Ordering::Relaxed));
        if !shared.store.is_shared() || last == Mono(0) || now.since(last) >= COUNT {
            sink.counted.store(now.0.max(1), Ordering::Relaxed);
            self.count_backlog(shared, sink).await;
        }
    }

    async fn count_backlog(&self, shared: &Shared, sink: &Sink) {
        if let Ok(backlog) = shared.store.cdr_backlog(&sink.group).await {
            sink.backlog.store(backlog, Ordering::Relaxed);
            shared.metrics.cdr_backlog.set(i64::try_from(self.backlog()).unwrap_or(i64::MAX));
            shared.records.note(self.backlog());
        }
    }

    /// How long the sink furthest behind has not written all there was.
    pub(crate) fn lag(&self, now: Mono) -> Duration {
        let behind = self.0.iter().filter(|sink| sink.backlog.load(Ordering::Relaxed) > 0);
        behind
            .map(|sink| now.since(Mono(sink.caught_up_at.load(Ordering::Relaxed))))
            .max()
            .unwrap_or_default()
    }

    /// Records that the sink furthest behind has not confirmed.
    fn backlog(&self) -> usize {
        self.0.iter().map(|sink| sink.backlog.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}

impl Sink {
    fn new(target: Target, group: String, is_shared: bool) -> Self {
        Self {
            lease: Lease::new(&format!("cdr:{group}"), is_shared),
            target,
            group,
            writing: Mutex::default(),
            written: parking_lot::Mutex::default(),
            backlog: AtomicUsize::new(0),
            counted: AtomicU64::new(0),
            caught_up_at: AtomicU64::new(0),
        }
    }

    fn caught_up(&self, shared: &Shared) {
        self.caught_up_at.store(shared.clock.mono().0, Ordering::Relaxed);
    }

    async fn drain(&self, shared: &Shared) -> Result<(), DrainError> {
        loop {
            let records = shared.store.read_cdrs(&self.group, BATCH).await.map_err(DrainError::Read)?;
            if records.is_empty() {
                return Ok(());
            }
            #[cfg(feature = "fault-injection")]
            shared.faults.strike(Fault::CdrSink);
            let now = shared.clock.mono();
            let keys: Vec<_> = records.iter().map(|(key, _)| *key).collect();
            let mut new = records;
            // One in memory loses nothing without this process.
            let is_shared = shared.store.is_shared();
            if is_shared {
                new.retain(|(key, _)| !self.written.lock().has(key, now));
            }
            if let Err(error) = self.write(&new).await {
                shared.metrics.cdr_write_failures.inc();
                return Err(DrainError::Write(error));
            }
            if is_shared {
                self.written.lock().note(new.iter().map(|(key, _)| *key), now);
            }
            shared.store.ack_cdrs(&self.group, &keys).await.map_err(DrainError::Confirm)?;
            shared.metrics.cdrs_written.inc_by(new.len() as u64);
        }
    }

    async fn write(&self, records: &[(CallKey, Bytes)]) -> Result<(), WriteError> {
        if let Target::Table(table) = &self.target {
            return Ok(table.write(records).await?);
        }
        let mut lines = Vec::new();
        for (_, record) in records {
            lines.extend_from_slice(record);
            lines.push(b'\n');
        }
        match &self.target {
            Target::File(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || append(&path, &lines))
                    .await
                    .map_err(io::Error::from)??;
            }
            Target::Stdout => {
                let mut stdout = tokio::io::stdout();
                stdout.write_all(&lines).await?;
                stdout.flush().await?;
            }
            Target::Table(_) | Target::Nowhere => {}
        }
        Ok(())
    }

    /// Tells at the start, and not after the first call, that records cannot be written.
    async fn try_out(&self) -> Result<(), WriteError> {
        self.write(&[]).await
    }
}

/// Appends whole lines, or nothing. The file is opened anew for each batch, so that one that log rotation moved away is
/// let go of.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        // A device or a pipe can be neither flushed nor cut short.
        return file.write_all(lines);
    }
    if lines.is_empty() {
        return Ok(());
    }
    let length = metadata.len();
    // A process that died while it wrote has left a part of a line.
    let gap: &[u8] = if ends_within_a_line(path, length) { b"\n" } else { b"" };
    let written = file.write_all(gap).and_then(|()| file.write_all(lines)).and_then(|()| file.sync_data());
    if written.is_err() {
        // The batch will be written again, whole. If this fails too, the disk is beyond help.
        let _ = file.set_len(length);
    }
    written
}

/// Whether a file's last line has no end. A file that we may not read is taken to be in order.
fn ends_within_a_line(path: &Path, length: u64) -> bool {
    let mut last = [b'\n'];
    let read = |last: &mut [u8]| {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(length.saturating_sub(1)))?;
        file.read_exact(last)
    };
    length > 0 && read(&mut last).is_ok() && last != *b"\n"
}

pub(crate) struct CdrActor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sinks: Arc<Sinks>,
    /// Which of them is this actor's.
    pub(crate) place: usize,
}

pub(crate) enum CdrMessage {
    /// There may be records; answered when they have been seen to.
    RecordsWaiting(RpcReplyPort<()>),
    /// A failed write is to be tried again.
    TryAgain,
}

/// Awaits records, and ends with the actor.
pub(crate) struct Watch {
    task: JoinHandle<()>,
    /// Failures in a row. While there are any, the next try is due by [`CdrMessage::TryAgain`] alone.
    failures: u32,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl CdrActor {
    fn sink(&self) -> Result<&Sink, ActorProcessingErr> {
        self.sinks.0.get(self.place).ok_or_else(|| "no such sink".into())
    }
}

impl Actor for CdrActor {
    type Msg = CdrMessage;
    type State = Watch;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let sink = self.sink()?;
        let mut appends = self.shared.store.cdr_appends();
        // Naming the group makes it: from here on no record is removed before this sink has it.
        self.shared.store.cdr_backlog(&sink.group).await?;
        let gather = if self.shared.store.is_shared() { GATHER_SHARED } else { GATHER };
        let task = tokio::spawn(async move {
            // One at a time: what comes while a slow disk is written to needs no message of its own.
            while myself.call(CdrMessage::RecordsWaiting, None).await.is_ok() {
                if appends.changed().await.is_err() {
                    break;
                }
                tokio::time::sleep(gather).await;
            }
        });
        Ok(Watch { task, failures: 0 })
    }

    async fn post_start(
        &self,
        _: ActorRef<Self::Msg>,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let sink = self.sink()?;
        if let Err(error) = sink.try_out().await {
            tracing::error!(sink = sink.group, %error, "CDRs cannot be written now; they will be kept");
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let _answered_by_being_dropped = match message {
            CdrMessage::RecordsWaiting(_) if state.failures > 0 => return Ok(()),
            CdrMessage::RecordsWaiting(reply) => Some(reply),
            CdrMessage::TryAgain => None,
        };
        let sink = self.sink()?;
        match self.sinks.drain(&self.shared, sink).await {
            Ok(()) if state.failures > 0 => {
                tracing::info!(sink = sink.group, failures = state.failures, "CDRs are written again");
                state.failures = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if state.failures % FAILURES_PER_LOG_LINE == 0 {
                    let waiting = sink.backlog.load(Ordering::Relaxed);
                    tracing::error!(sink = sink.group, %error, waiting, "CDRs are kept and tried again");
                }
                state.failures = state.failures.saturating_add(1);
                myself.send_after(RETRY, || CdrMessage::TryAgain);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tandem-{}-{name}.jsonl", std::process::id()));
        // A file that is not there is as good as removed.
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_line_that_was_cut_short_does_not_spoil_the_next() {
        let path = file("cut");
        fs::write(&path, "{\"whole\":1}\n{\"cut").expect("a temporary file");
        append(&path, b"{\"next\":1}\n").expect("it is a file");
        assert_eq!(fs::read_to_string(&path).expect("text"), "{\"whole\":1}\n{\"cut\n{\"next\":1}\n");
        append(&path, b"{\"last\":1}\n").expect("it is a file");
        assert!(fs::read_to_string(&path).expect("text").ends_with("{\"next\":1}\n{\"last\":1}\n"));
        fs::remove_file(&path).expect("it was there");
    }

    #[test]
    fn a_device_is_written_to_and_not_flushed() {
        append(Path::new("/dev/null"), b"{}\n").expect("it takes all");
        let full = append(Path::new("/dev/full"), b"{}\n").expect_err("it takes nothing");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn an_operator_is_told_at_half_of_the_backlog_and_calls_are_refused_at_nine_tenths() {
        let of = |backlog| Pressure::of(backlog, 100);
        assert_eq!(
            (of(0), of(49), of(50), of(89)),
            (Pressure::Calm, Pressure::Calm, Pressure::High, Pressure::High)
        );
        assert_eq!((of(90), of(1_000)), (Pressure::Full, Pressure::Full));
        assert_eq!(Pressure::of(9, 10), Pressure::Full);
    }

    #[test]
    fn a_sink_that_is_named_twice_is_one_sink() {
        let target = |path: &str| CdrSink::Jsonl { target: JsonlTarget::File(path.into()) };
        let sinks = Sinks::of(&[target("/a"), target("/b"), target("/a")], false).expect("sinks");
        assert_eq!(sinks.count(), 2);
        assert_eq!(Sinks::of(&[], false).expect("none").count(), 1);
    }
}
