//! One actor per CDR sink: it takes records off the store's stream once they are written.

use crate::shared::Shared;
use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tandem_config::{CdrSink, JsonlTarget};
use tandem_store::CallKey;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// Records that are written in one go.
const BATCH: usize = 500;

/// How long records are gathered before they are written: a batch costs one flush of the disk.
const GATHER: Duration = Duration::from_millis(200);

/// How long after a failed write it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Where records go.
#[derive(Clone)]
pub(crate) enum Sink {
    /// A file, appended to.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Nowhere: no sink is configured, and records are not to pile up.
    Nowhere,
}

impl Sink {
    /// The sinks of a configuration; at least one, so that the stream is read.
    pub(crate) fn of(configured: &[CdrSink]) -> Vec<Self> {
        let sink = |sink: &CdrSink| match sink {
            CdrSink::Jsonl { target: JsonlTarget::Stdout } => Self::Stdout,
            CdrSink::Jsonl { target: JsonlTarget::File(path) } => Self::File(path.clone()),
        };
        if configured.is_empty() { vec![Self::Nowhere] } else { configured.iter().map(sink).collect() }
    }

    /// The consumer group that the sink reads the stream as.
    pub(crate) fn group(&self) -> String {
        match self {
            Sink::File(path) => format!("jsonl:{}", path.display()),
            Sink::Stdout => "jsonl:-".to_owned(),
            Sink::Nowhere => "nowhere".to_owned(),
        }
    }

    async fn write(&self, records: &[(CallKey, Bytes)]) -> std::io::Result<()> {
        let mut lines = Vec::new();
        for (_, record) in records {
            lines.extend_from_slice(record);
            lines.push(b'\n');
        }
        match self {
            Sink::File(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || append(&path, &lines)).await?
            }
            Sink::Stdout => {
                let mut stdout = tokio::io::stdout();
                stdout.write_all(&lines).await?;
                stdout.flush().await
            }
            Sink::Nowhere => Ok(()),
        }
    }
}

/// Opened anew for each batch, so that a file that was moved away by log rotation is let go of.
fn append(path: &Path, lines: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(lines)?;
    file.sync_data()
}

pub(crate) struct CdrActor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sink: Sink,
}

/// There may be records.
pub(crate) struct RecordsWaiting;

/// Awaits records, and ends with the actor.
pub(crate) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for CdrActor {
    type Msg = RecordsWaiting;
    type State = Watch;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut appends = self.shared.store.cdr_appends();
        // Naming the group makes it: from here on no record is removed before this sink has it.
        self.shared.store.cdr_backlog(&self.sink.group()).await?;
        Ok(Watch(tokio::spawn(async move {
            while myself.cast(RecordsWaiting).is_ok() {
                if appends.changed().await.is_err() {
                    break;
                }
                tokio::time::sleep(GATHER).await;
            }
        })))
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        RecordsWaiting: Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if !drain(&self.shared, &self.sink).await {
            myself.send_after(RETRY, || RecordsWaiting);
        }
        Ok(())
    }
}

/// Serialises the writes of a sink: a node that stops flushes beside the actor.
static WRITING: Mutex<()> = Mutex::const_new(());

/// Writes what the stream holds for a sink. `false` if a write failed; its records stay.
pub(crate) async fn drain(shared: &Shared, sink: &Sink) -> bool {
    let _writing = WRITING.lock().await;
    let group = sink.group();
    loop {
        let records = match shared.store.read_cdrs(&group, BATCH).await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "cannot read CDRs");
                return false;
            }
        };
        shared.metrics.cdr_backlog.set(i64::try_from(records.len()).unwrap_or(i64::MAX));
        if records.is_empty() {
            return true;
        }
        if let Err(error) = sink.write(&records).await {
            shared.metrics.cdr_write_failures.inc();
            tracing::error!(sink = group, %error, "cannot write CDRs; they are kept");
            return false;
        }
        let keys: Vec<_> = records.iter().map(|(key, _)| *key).collect();
        if let Err(error) = shared.store.ack_cdrs(&group, &keys).await {
            tracing::warn!(%error, "cannot confirm CDRs");
            return false;
        }
        shared.metrics.cdrs_written.inc_by(keys.len() as u64);
    }
}
