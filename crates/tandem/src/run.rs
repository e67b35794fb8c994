//! `tandem run`.

use crate::control::NodeControl;
use crate::load::ConfigFile;
use anyhow::Context;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tandem_admin::{Token, Tokens};
use tandem_config::Loaded;
use tandem_node::Node;
use tandem_telemetry::{LogFormat, init_logging};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long tasks are waited for that did not end with the node.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// How long a node by itself waits for its calls to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one of several does, whose calls go elsewhere: what is in set-up takes two minutes at most, and what comes for it
/// is passed on for half a minute.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(150);

#[derive(clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    file: ConfigFile,
    /// How log lines are written to standard error.
    #[arg(long, value_enum, default_value = "text")]
    log_format: Format,
    /// What is logged: a level, or levels by module as in `info,tandem_node=debug`.
    #[arg(long, env = "TANDEM_LOG", default_value = "info")]
    log: String,
    /// How long calls in progress may go on once the node is to stop, in seconds; then they are hung up; in a cluster those
    /// that are answered are left to other nodes. Unless set, 150 in a cluster, where only calls in set-up take that long,
    /// and 30 without.
    #[arg(long, value_name = "SECONDS")]
    drain_timeout: Option<u64>,
    /// Threads that carry calls; one per core unless set.
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Run {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let loaded = self.file.load()?;
        let format = match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        init_logging(format, &self.log)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let runtime = runtime(self.threads).context("cannot start the runtime")?;
        let patience = self.drain_timeout.map(Duration::from_secs);
        let result = runtime.block_on(serve(&loaded.config, &self.file, patience));
        // A write to a disk that hangs must not keep the process.
        runtime.shutdown_timeout(LAST_TASKS);
        result
    }
}

/// One thread alone needs none of what several do to share their work, and the system's allocator hands out memory in
/// larger pieces on the main thread than on others.
fn runtime(threads: Option<NonZero<usize>>) -> std::io::Result<Runtime> {
    let threads = match threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism()?,
    };
    let mut builder = match threads.get() {
        1 => Builder::new_current_thread(),
        several => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(several);
            builder
        }
    };
    builder.enable_all().build()
}

async fn serve(
    config: &tandem_config::Config,
    file: &ConfigFile,
    patience: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    // Before anything else: until it is asked for it ends the process.
    let hangup = signal(SignalKind::hangup())?;
    let name = match &config.node.name {
        Some(name) => name.clone(),
        None => host_name(),
    };
    let admin = TcpListener::bind(config.admin.bind)
        .await
        .with_context(|| format!("cannot bind the API to {}", config.admin.bind))?;
    let node = Arc::new(Node::start(config, &name, None).await?);
    for (address, capped) in node.capped_buffers() {
        let (kind, asked, granted) = (capped.kind, capped.asked_bytes, capped.granted_bytes);
        tracing::warn!(%address, ?kind, asked, granted, "the kernel caps a socket buffer (net.core.rmem_max, wmem_max)");
    }
    for (address, transport) in node.listening_on().into_iter().zip(node.transports()) {
        tracing::info!(%address, node = name, transport = transport.via_name(), "listening for SIP");
    }
    tracing::info!(address = %config.admin.bind, "serving the API");
    let tokens = Tokens::new(config.admin.tokens.iter().map(|token| Token::new(token.expose())));
    let control = NodeControl::new(node.clone());
    let leaves = control.leaves();
    let router = tandem_admin::router(Arc::new(control), tokens);
    let (stop_api, stopped) = watch::channel(false);
    let api = tokio::spawn(tandem_admin::serve(admin, router, async move {
        let mut stopped = stopped;
        // The sender lives until the API is to stop.
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    let reloading = tokio::spawn(reload_on_hangup(hangup, node.clone(), file.clone()));
    let mut asked = leaves.subscribe();
    let failed = tokio::select! {
        () = signals.next() => false,
        // The sender lives here.
        _ = asked.wait_for(|leaves| *leaves) => false,
        () = node.gone() => true,
    };
    leaves.send_replace(true);
    reloading.abort();
    node.begin_drain();
    if !failed {
        tracing::info!(calls = node.calls_in_progress(), "stopping: new calls go elsewhere, or are refused");
        let patience = patience.unwrap_or(if node.is_in_cluster() { CLUSTER_PATIENCE } else { PATIENCE });
        tokio::select! {
            _ = node.drained(patience) => {}
            () = signals.next() => {}
        }
    }
    let stopped = node.stop().await;
    // The API stays up while calls end, so that an operator can watch.
    stop_api.send_replace(true);
    if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(2), api).await {
        tracing::warn!(%error, "the API did not stop cleanly");
    }
    tracing::info!(
        hung_up = stopped.hung_up,
        handed_over = stopped.handed_over,
        left = stopped.left,
        "stopped"
    );
    anyhow::ensure!(stopped.cdrs_lost == 0, "{} CDRs could not be written and are lost", stopped.cdrs_lost);
    anyhow::ensure!(!failed, "the switch failed; the log says why");
    Ok(ExitCode::SUCCESS)
}

/// On SIGHUP the file, certificates and the system's DNS servers are read anew.
async fn reload_on_hangup(mut hangup: Signal, node: Arc<Node>, file: ConfigFile) {
    while hangup.recv().await.is_some() {
        match file.read() {
            Ok(Ok(loaded)) => {
                let node = node.clone();
                // Tables are made beside the calls.
                if let Err(error) = tokio::task::spawn_blocking(move || reload(&node, loaded)).await {
                    tracing::error!(%error, "cannot read the configuration anew");
                }
            }
            Ok(Err(errors)) => {
                for error in &errors {
                    tracing::error!("{}", error.in_file(&file.name()));
                }
                tracing::error!("the configuration stays as it is: {} errors in the file", errors.len());
            }
            Err(error) => tracing::error!("the configuration stays as it is: {error:#}"),
        }
        let failures = node.reload_certificates();
        let dns = node.reload_dns();
        tracing::info!(failures, dns, "looked for new certificates and DNS servers, as SIGHUP asks");
    }
}

/// Goes by another content of the file, as far as that takes no restart.
fn reload(node: &Node, loaded: Loaded) {
    let (before, now) = (node.own_configuration(), &loaded.config);
    if before.listen != now.listen {
        return tracing::error!("the configuration stays as it is: another [[listen]] takes a restart");
    }
    let others = [
        ("node", before.node != now.node),
        ("limits", before.limits != now.limits),
        ("dns", before.dns != now.dns),
        ("store", before.store != now.store),
        ("link", before.link != now.link),
        ("admin", before.admin != now.admin),
        ("cdr", before.cdr != now.cdr),
    ];
    for (section, _) in others.iter().filter(|(_, is_other)| *is_other) {
        tracing::warn!("[{section}] has changed, which takes a restart; it stays as it is until then");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match node.reload_configuration(loaded.config) {
        true => tracing::info!("read the configuration anew"),
        false => tracing::warn!(
            "the file is not used but for this node's own sections: the cluster has a configuration in common"
        ),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The host's name, as the kernel has it.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "tandem".to_owned())
}
