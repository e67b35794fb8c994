//! What is asked of the servers, many requests at a time: a batch costs one system call each way, and the system calls are
//! most of what a request costs.

use super::link::{Connected, Connection, Link};
use super::scripts::Invocation;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// Requests of one batch.
const BATCH_MAX: usize = 128;

/// Batches that wait for their answers.
const BATCHES_UNDER_WAY: usize = 32;

/// The least time between two batches that are not full. Whoever asks a store that has rested is served at once.
const PACE: Duration = Duration::from_millis(2);

/// The same for what nobody waits for; it goes with the others.
const LAZY_PACE: Duration = Duration::from_millis(20);

/// How soon something is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// Something on the wire waits for it.
    Urgent,
    /// Nobody waits for it.
    Lazy,
    /// Reading that takes the servers a while.
    Bulk,
}

/// What is done, for errors and logs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) haste: Haste,
}

impl Step {
    pub(super) const fn urgent(name: &'static str) -> Self {
        Self { name, haste: Haste::Urgent }
    }

    pub(super) const fn lazy(name: &'static str) -> Self {
        Self { name, haste: Haste::Lazy }
    }

    pub(super) const fn bulk(name: &'static str) -> Self {
        Self { name, haste: Haste::Bulk }
    }
}

/// Something to be asked. Dropped without an answer, it has failed.
pub(super) struct Request {
    pub(super) script: Invocation,
    pub(super) step: Step,
    pub(super) reply: oneshot::Sender<Vec<Value>>,
}

/// Writes what is queued for one connection, as long as the store is used.
pub(super) async fn write(link: &Link, place: usize, mut queue: mpsc::Receiver<Request>) {
    let (mut batch, mut under_way) = (Vec::new(), FuturesUnordered::new());
    let mut last = Instant::now();
    loop {
        let is_free = under_way.len() < BATCHES_UNDER_WAY;
        let due = due(&batch, last);
        tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or(last)), if is_free && due.is_some() => {
                last = Instant::now();
                under_way.push(send(link, place, std::mem::take(&mut batch)));
            }
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            request = queue.recv(), if batch.len() < BATCH_MAX => match request {
                Some(request) => batch.push(request),
                None => return,
            },
        }
    }
}

/// When a batch is to go; `None` if it is empty.
fn due(batch: &[Request], last: Instant) -> Option<Instant> {
    let is_lazy = |request: &Request| request.step.haste == Haste::Lazy;
    match batch {
        [] => None,
        full if full.len() >= BATCH_MAX => Some(last),
        lazy if lazy.iter().all(is_lazy) => Some(last + LAZY_PACE),
        _ => Some(last + PACE),
    }
}

/// Sends a batch, and hands its answers out.
async fn send(link: &Link, place: usize, batch: Vec<Request>) {
    let Some(step) = batch.first().map(|request| request.step.name) else { return };
    let (shard, began) = (link.shard(place), Instant::now());
    let mut asked = None;
    let answers = timeout(link.settings.timeout, async {
        let Connected { generation, connection } = link.connected(shard).await?;
        asked = Some(generation);
        match connection {
            Connection::One(connection) => ask_together(connection, &batch).await,
            Connection::Cluster(connection) => Ok(join_all(batch.iter().map(async |request| {
                let mut connection = connection.clone();
                let answer = request.script.command.query_async(&mut connection).await;
                if answer.as_ref().is_err_and(lacks_script) {
                    return request.script.with_code().query_async(&mut connection).await;
                }
                answer
            }))
            .await),
        }
    })
    .await;
    let answers = match answers {
        Ok(Ok(answers)) => answers,
        Ok(Err(error)) => return link.failed(shard, (asked, began), step, Some(&error)),
        Err(_) => return link.failed(shard, (asked, began), step, None),
    };
    let mut error = None;
    for (request, answer) in batch.into_iter().zip(answers) {
        match answer.and_then(values) {
            // Whoever asked may have stopped waiting.
            Ok(values) => drop(request.reply.send(values)),
            Err(refused) => error = Some((request.step.name, refused)),
        }
    }
    match error {
        Some((step, error)) => link.failed(shard, (asked, began), step, Some(&error)),
        None => link.answered(shard),
    }
}

/// The answers to a batch, in its order.
async fn ask_together(
    mut connection: MultiplexedConnection,
    batch: &[Request],
) -> RedisResult<Vec<RedisResult<Value>>> {
    let commands = batch.iter().map(|request| &request.script.command);
    let mut answers = ask(&mut connection, commands).await?;
    let is_lacking = |answer: &RedisResult<Value>| answer.as_ref().is_err_and(lacks_script);
    let lacking: Vec<usize> = (0..answers.len()).filter(|place| is_lacking(&answers[*place])).collect();
    if !lacking.is_empty() {
        // A server that was started anew, or was told to forget them.
        let commands: Vec<Cmd> = lacking.iter().map(|place| batch[*place].script.with_code()).collect();
        for (place, answer) in lacking.into_iter().zip(ask(&mut connection, commands.iter()).await?) {
            answers[place] = answer;
        }
    }
    Ok(answers)
}

async fn ask(
    connection: &mut MultiplexedConnection,
    commands: impl ExactSizeIterator<Item = &Cmd>,
) -> RedisResult<Vec<RedisResult<Value>>> {
    let count = commands.len();
    let mut pipeline = Pipeline::with_capacity(count);
    commands.for_each(|command| {
        pipeline.add_command(command.clone());
    });
    let answers = connection.send_packed_commands(&pipeline, 0, count).await?;
    Ok(answers.into_iter().map(Value::extract_error).collect())
}

fn lacks_script(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT")
}

fn values(answer: Value) -> RedisResult<Vec<Value>> {
    redis::from_redis_value(answer).map_err(RedisError::from)
}
