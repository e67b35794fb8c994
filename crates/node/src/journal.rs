//! The journal: what this node has acknowledged while the store was away is on its own disk until the store has it.
//!
//! One thread writes; what comes meanwhile goes along, so that many entries cost one flush of the disk. Whoever has
//! entries of theirs takes them up when it starts, and says when the store has them. Once it has all the file is empty.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tandem_cluster::journal::{self, Kind, MAX_VALUE_BYTES, Name};
use tandem_telemetry::{Counter, Gauge, Metrics};
use thiserror::Error;
use tokio::sync::oneshot;

/// The longest file. Beyond, what is to be acknowledged is refused.
const MAX_BYTES: u64 = 256 << 20;

/// Beyond that a file is written anew whose entries are mostly done with.
const COMPACT_BYTES: u64 = 8 << 20;

/// The file's name.
const FILE: &str = "journal";

/// Entries that wait for the disk.
const WAITING_MAX: usize = 8_192;

/// Entries that go along with one flush.
const BATCH: usize = 1_024;

/// Why there is no journal.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The directory, or the file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Another process has it.
    #[error("another process uses it; each node needs a directory of its own")]
    InUse,
}

/// Why an entry was not written.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    #[error("the journal: {0}")]
    Io(#[from] io::Error),
    #[error("the journal is full, or its disk is slow")]
    Full,
    #[error("too long for the journal")]
    TooLong,
}

/// What is not done with yet.
#[derive(Default)]
struct Entries(Mutex<BTreeMap<Name, Bytes>>);

/// The journal of a node.
pub(crate) struct Journal {
    entries: Arc<Entries>,
    writer: SyncSender<Order>,
    shown: Gauge,
}

struct Order {
    name: Name,
    value: Option<Bytes>,
    reply: Option<oneshot::Sender<io::Result<()>>>,
}

struct Writer {
    file: File,
    length: u64,
    entries: Arc<Entries>,
    flushes: Counter,
    shown: Gauge,
    /// Held as long as the file is written.
    _lock: File,
    directory: PathBuf,
}

impl Journal {
    /// Opens the journal in a directory, which is made if it is missing, and reads what is there.
    ///
    /// # Errors
    /// The disk, or another process uses it.
    pub(crate) fn open(directory: &Path, metrics: &Metrics) -> Result<Self, JournalError> {
        std::fs::create_dir_all(directory)?;
        let lock = File::create(directory.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse,
            TryLockError::Error(error) => error.into(),
        })?;
        let path = directory.join(FILE);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // The name itself is to outlive a crash.
        File::open(directory)?.sync_all()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (length, bytes) = (bytes.len(), Bytes::from(bytes));
        let contents = journal::read(&bytes);
        if contents.whole < length {
            tracing::warn!(
                bytes = length - contents.whole,
                "the journal's end was cut short by a crash; it is left out"
            );
            file.set_len(contents.whole as u64)?;
        }
        file.seek(SeekFrom::End(0))?;
        if !contents.entries.is_empty() {
            tracing::info!(
                entries = contents.entries.len(),
                "the journal has what the store may not have yet"
            );
        }
        let shown = metrics.journal_entries.clone();
        shown.set(i64::try_from(contents.entries.len()).unwrap_or(i64::MAX));
        // Copies, so that a long file does not stay in memory for a few entries of it.
        let own = contents.entries.iter().map(|(name, value)| {
            let name = Name { kind: name.kind, of: Bytes::copy_from_slice(&name.of) };
            (name, Bytes::copy_from_slice(value))
        });
        let entries = Arc::new(Entries(Mutex::new(own.collect())));
        let (writer, orders) = sync_channel(WAITING_MAX);
        let state = Writer {
            file,
            length: contents.whole as u64,
            entries: entries.clone(),
            flushes: metrics.journal_flushes.clone(),
            shown: shown.clone(),
            _lock: lock,
            directory: directory.to_owned(),
        };
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || state.run(&orders))?;
        Ok(Self { entries, writer, shown })
    }

    /// Puts an entry on the disk, in place of the last of that name.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) async fn write(&self, name: Name, value: Bytes) -> Result<(), WriteError> {
        if value.len() > MAX_VALUE_BYTES || name.of.len() > usize::from(u16::MAX) {
            return Err(WriteError::TooLong);
        }
        let (reply, written) = oneshot::channel();
        let order = Order { name, value: Some(value), reply: Some(reply) };
        self.writer.try_send(order).map_err(|_| WriteError::Full)?;
        Ok(written.await.map_err(|_| WriteError::Full)??)
    }

    /// The store has it, or it has lapsed.
    pub(crate) fn done(&self, name: &Name) {
        let mut entries = self.entries.0.lock();
        if entries.remove(name).is_some() {
            self.shown.set(i64::try_from(entries.len()).unwrap_or(i64::MAX));
            // Without that it is taken up once more after a crash, and found to be there.
            let _ = self.writer.try_send(Order { name: name.clone(), value: None, reply: None });
        }
    }

    /// What is not done with, of a kind.
    pub(crate) fn all(&self, kind: Kind) -> Vec<(Name, Bytes)> {
        let entries = self.entries.0.lock();
        let all = entries.iter().filter(|(name, _)| name.kind == kind);
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The entry of a name.
    pub(crate) fn get(&self, name: &Name) -> Option<Bytes> {
        self.entries.0.lock().get(name).cloned()
    }
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(order) = orders.try_recv()
            {
                batch.push(order);
            }
            self.write(batch);
        }
    }

    fn write(&mut self, batch: Vec<Order>) {
        let result = self.append(&batch);
        if let Err(error) = &result {
            tracing::error!(%error, "cannot write the journal");
            // What was written of it is cut off, so that what follows can be read.
            let _ = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::End(0)));
        }
        let mut entries = self.entries.0.lock();
        for Order { name, value, reply } in batch {
            if result.is_ok()
                && let Some(value) = value
            {
                entries.insert(name, value);
            }
            if let Some(reply) = reply {
                let said = match &result {
                    Ok(()) => Ok(()),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                };
                // Whoever asked may have stopped waiting.
                let _ = reply.send(said);
            }
        }
        self.shown.set(i64::try_from(entries.len()).unwrap_or(i64::MAX));
        drop(entries);
        if let Err(error) = self.shrink() {
            tracing::warn!(%error, "cannot shorten the journal");
        }
    }

    fn append(&mut self, batch: &[Order]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for Order { name, value, .. } in batch {
            let frame = journal::frame(name, value.as_deref());
            bytes.extend(frame.ok_or_else(|| io::Error::other("an entry is too long"))?);
        }
        let is_awaited = batch.iter().any(|order| order.reply.is_some());
        if is_awaited && self.length + bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the journal is full"));
        }
        self.file.write_all(&bytes)?;
        if is_awaited {
            self.file.sync_data()?;
            self.flushes.inc();
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Empties a file whose entries are done with, and writes one anew of which little is left.
    fn shrink(&mut self) -> io::Result<()> {
        let left: Vec<u8> = {
            let entries = self.entries.0.lock();
            let live: u64 =
                entries.iter().map(|(name, value)| (name.of.len() + value.len() + 16) as u64).sum();
            if self.length == 0
                || (!entries.is_empty() && (self.length < COMPACT_BYTES || live * 2 > self.length))
            {
                return Ok(());
            }
            entries.iter().filter_map(|(name, value)| journal::frame(name, Some(value))).flatten().collect()
        };
        if left.is_empty() {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.length = 0;
            return Ok(());
        }
        self.rewrite(&left)
    }

    /// Puts a file with these entries in place of the one there is. Wherever that is cut short, one of the two is there.
    fn rewrite(&mut self, left: &[u8]) -> io::Result<()> {
        let (path, new) = (self.directory.join(FILE), self.directory.join("journal.new"));
        let mut file = File::create(&new)?;
        file.write_all(left)?;
        file.sync_data()?;
        std::fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()?;
        (self.file, self.length) = (file, left.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(of: &str) -> Name {
        Name { kind: Kind::Registration, of: Bytes::copy_from_slice(of.as_bytes()) }
    }

    fn open(directory: &Path) -> Journal {
        Journal::open(directory, &Metrics::new()).expect("a journal")
    }

    /// Opens it again once the one before has let go of it.
    async fn open_again(directory: &Path) -> Journal {
        loop {
            match Journal::open(directory, &Metrics::new()) {
                Err(JournalError::InUse) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                opened => return opened.expect("a journal"),
            }
        }
    }

    async fn write(journal: &Journal, of: &str, value: &[u8]) {
        journal.write(name(of), Bytes::copy_from_slice(value)).await.expect("written");
    }

    async fn length_is(directory: &Path, wanted: impl Fn(u64) -> bool) {
        let length = || std::fs::metadata(directory.join(FILE)).expect("a file").len();
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        while !wanted(length()) {
            assert!(tokio::time::Instant::now() < end, "{} bytes", length());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_is_written_is_there_for_the_next_life() {
        let directory = tempfile::tempdir().expect("a folder");
        let journal = open(directory.path());
        write(&journal, "a", b"1").await;
        write(&journal, "b", b"2").await;
        write(&journal, "a", b"3").await;
        journal.done(&name("b"));
        drop(journal);
        let journal = open_again(directory.path()).await;
        assert_eq!(journal.all(Kind::Registration), [(name("a"), Bytes::from("3"))]);
        assert_eq!(journal.get(&name("b")), None);
        assert!(journal.all(Kind::End).is_empty());
    }

    #[tokio::test]
    async fn what_is_done_with_leaves_an_empty_file() {
        let directory = tempfile::tempdir().expect("a folder");
        let journal = open(directory.path());
        write(&journal, "a", b"1").await;
        write(&journal, "b", b"2").await;
        journal.done(&name("a"));
        journal.done(&name("b"));
        length_is(directory.path(), |length| length == 0).await;
        write(&journal, "c", b"3").await;
        drop(journal);
        assert_eq!(
            open_again(directory.path()).await.all(Kind::Registration),
            [(name("c"), Bytes::from("3"))]
        );
    }

    #[tokio::test]
    async fn a_file_of_which_little_is_left_is_written_anew() {
        let directory = tempfile::tempdir().expect("a folder");
        let journal = open(directory.path());
        let long = vec![7; 1 << 20];
        for turn in 0..10 {
            write(&journal, &format!("long-{turn}"), &long).await;
        }
        write(&journal, "a", b"1").await;
        (0..10).for_each(|turn| journal.done(&name(&format!("long-{turn}"))));
        write(&journal, "b", b"2").await;
        length_is(directory.path(), |length| length < 1_000).await;
        write(&journal, "c", b"3").await;
        drop(journal);
        let left: Vec<_> = open_again(directory.path()).await.all(Kind::Registration);
        assert_eq!(left.iter().map(|(name, _)| &name.of[..]).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    }

    #[tokio::test]
    async fn a_journal_that_was_cut_short_goes_on_from_what_was_whole() {
        let directory = tempfile::tempdir().expect("a folder");
        let journal = open(directory.path());
        write(&journal, "a", b"1").await;
        write(&journal, "b", b"2").await;
        drop(journal);
        drop(open_again(directory.path()).await);
        let file = directory.path().join(FILE);
        let bytes = std::fs::read(&file).expect("a file");
        std::fs::write(&file, &bytes[..bytes.len() - 3]).expect("written");
        let journal = open_again(directory.path()).await;
        assert_eq!(journal.all(Kind::Registration), [(name("a"), Bytes::from("1"))]);
        write(&journal, "c", b"3").await;
        drop(journal);
        assert_eq!(
            open_again(directory.path()).await.all(Kind::Registration).len(),
            2,
            "what was cut off is gone"
        );
    }

    #[tokio::test]
    async fn one_process_has_it_at_a_time_and_what_is_too_long_is_refused() {
        let directory = tempfile::tempdir().expect("a folder");
        let journal = open(directory.path());
        assert!(matches!(Journal::open(directory.path(), &Metrics::new()), Err(JournalError::InUse)));
        let long = Bytes::from(vec![0; MAX_VALUE_BYTES + 1]);
        assert!(matches!(journal.write(name("a"), long).await, Err(WriteError::TooLong)));
        write(&journal, "a", b"1").await;
    }
}
