//! `tandem demo`: a switch, two gateways and a caller in one process, over real sockets on loopback.

mod agents;
mod ladder;

use agents::{Agent, Gateway, TALK};
use anyhow::Context;
use std::process::ExitCode;
use std::time::Duration;
use tandem_config::Config;
use tandem_node::{Node, Tap};
use tandem_telemetry::{LogFormat, init_logging};

/// The longest the whole show may take.
const SHOW_LIMIT: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Print each message whole, below the ladder.
    #[arg(long)]
    messages: bool,
}

impl Demo {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        init_logging(LogFormat::Text, "warn")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let show = tokio::time::timeout(SHOW_LIMIT, show(self.messages));
            show.await.context("the call did not come to its end in time")?
        })
    }
}

async fn show(messages: bool) -> anyhow::Result<ExitCode> {
    let caller = Agent::bind().await?;
    let (failing, answering) = (Agent::bind().await?, Agent::bind().await?);
    let records = std::env::temp_dir().join(format!("tandem-demo-{}.jsonl", std::process::id()));
    let text = configuration(&caller, &failing, &answering, &records.display().to_string());
    let loaded =
        Config::parse(&text, []).map_err(|errors| anyhow::anyhow!("the demo's configuration: {errors:?}"))?;
    let (tap, mut tapped) = Tap::new();
    let node = Node::start(&loaded.config, "demo", Some(tap)).await?;
    let switch = *node.listening_on().first().context("the demo listens nowhere")?;
    println!("A call through the switch. Vendor one answers 503, vendor two takes the call.\n");
    let columns = vec![
        (caller.address(), "caller"),
        (switch, "tandem"),
        (failing.address(), "vendor-one"),
        (answering.address(), "vendor-two"),
    ];
    let one = tokio::spawn(failing.serve(Gateway::Failing));
    let two = tokio::spawn(answering.serve(Gateway::Answering));
    let called = caller.call(switch, "442079460000").await;
    node.drained(TALK).await;
    let stopped = node.stop().await;
    anyhow::ensure!(stopped.cdrs_lost == 0, "the call's record could not be written");
    one.abort();
    two.abort();
    let mut seen = Vec::new();
    while let Ok(message) = tapped.try_recv() {
        seen.push(message);
    }
    ladder::print(&columns, &seen);
    if messages {
        ladder::print_messages(&columns, &seen);
    }
    called?;
    println!("\nIts call detail record:\n");
    let written = std::fs::read_to_string(&records).context("no call detail record was written")?;
    // A left-over file in the temporary folder is no reason to fail.
    let _ = std::fs::remove_file(&records);
    for line in written.lines() {
        println!("{:#}", serde_json::from_str::<serde_json::Value>(line)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn configuration(caller: &Agent, failing: &Agent, answering: &Agent, records: &str) -> String {
    format!(
        r#"
        [node]
        name = "demo"
        [[listen]]
        transport = "udp"
        bind = "127.0.0.1:0"
        [cdr]
        sinks = [{{ type = "jsonl", path = '{records}' }}]
        [[mapping_gateway]]
        name = "customer"
        sources = ["{}/32"]
        [[routing_gateway]]
        name = "vendor-one"
        address = "{}"
        priority = 1
        [[routing_gateway]]
        name = "vendor-two"
        address = "{}"
        priority = 2
        "#,
        caller.address().ip(),
        failing.address(),
        answering.address()
    )
}
