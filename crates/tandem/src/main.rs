//! The command line of the switch.

mod check;
mod client;
mod client_config;
mod client_drain;
mod configuration;
mod control;
mod demo;
mod init;
mod load;
mod output;
mod run;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A carrier softswitch (back-to-back user agent) that hunts over gateways and does not drop calls.
///
/// First steps: `tandem demo` shows a call; `tandem init --preset wholesale > tandem.toml` writes a configuration to
/// start from; `tandem check --config tandem.toml` says what it means; `tandem run --config tandem.toml` runs it.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the switch until SIGTERM or SIGINT.
    ///
    /// Without a configuration: UDP 5060 on all addresses, API on 127.0.0.1:8080, state in memory, no gateways. On the
    /// first signal new calls are refused and those in progress may end; on the second they are hung up.
    Run(run::Run),
    /// Show a call through the switch: two gateways, of which the first fails.
    ///
    /// All in one process, on loopback ports of the kernel's choice. Prints the ladder of the call and its CDR.
    Demo(demo::Demo),
    /// Validate a configuration; print effective parameters and warnings.
    ///
    /// Exit code 0 if the switch would start with it, 1 if not. Errors name key, line, range and unit.
    Check(check::Check),
    /// Write a commented configuration to start from to standard output.
    Init(init::Init),
    /// List the current calls of a running switch, or hang one up.
    Calls(client::Calls),
    /// List the gateways of a running switch: state, slots, ASR, ACD, PDD.
    Gateways(client::Gateways),
    /// List the sources that a running switch does not listen to, or lift a ban.
    Bans(client::Bans),
    /// List the bindings of endpoints of a running switch, or remove some.
    Registrations(client::Registrations),
    /// List the nodes of a cluster: state, version, load; or assign a mark or a memo to one, or forget one.
    Nodes(client::Nodes),
    /// Take a node out of service: its calls go to other nodes, then it leaves, or stays without calls.
    Drain(client_drain::DrainCommand),
    /// Manage the configuration that the nodes of a cluster have in common.
    Config(client_config::ConfigCommand),
    /// List the parameters in force, or set one for all nodes.
    Params(client_config::Params),
    /// List who changed what, newest first.
    Audit(client_config::Audit),
    /// List the sources and accounts that are suspended for wrong credentials, or lift a suspension.
    Suspensions(client::Suspensions),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(run) => run.execute(),
        Command::Demo(demo) => demo.execute(),
        Command::Check(check) => check.execute(),
        Command::Init(init) => init.execute(),
        Command::Calls(calls) => calls.execute(),
        Command::Gateways(gateways) => gateways.execute(),
        Command::Bans(bans) => bans.execute(),
        Command::Registrations(registrations) => registrations.execute(),
        Command::Nodes(nodes) => nodes.execute(),
        Command::Drain(drain) => drain.execute(),
        Command::Config(config) => config.execute(),
        Command::Params(params) => params.execute(),
        Command::Audit(audit) => audit.execute(),
        Command::Suspensions(suspensions) => suspensions.execute(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("tandem: {error:#}");
        ExitCode::FAILURE
    })
}
