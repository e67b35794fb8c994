//! What a call costs a SIP server, measured for several servers side by side. `tests/bench/run --help` and
//! `docs/benchmark.md` say how it is used and what the figures mean.

mod arguments;
mod bench;
mod load;
mod measure;
mod parts;
mod report;
mod servers;

use anyhow::{Context, Result, anyhow, bail};
use arguments::Arguments;
use bench::Bench;
use load::Generator;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use report::Report;
use servers::{Lab, Registrar, addresses_are_free, first_line};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Arguments::of_command_line()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let servers = arguments.chosen_servers().map_err(|wrong| anyhow!(wrong))?;
    if arguments.server_core == arguments.generator_core {
        bail!("the server and the load generator need a core each");
    }
    pin(arguments.generator_core)?;
    addresses_are_free()?;
    let folder = arguments.out.parent().unwrap_or(Path::new(".")).join("servers");
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    let lab = Lab {
        tandem: copy_of(&arguments.tandem, &folder)?,
        folder,
        kamailio_children: arguments.kamailio_children,
        core: arguments.server_core,
        registrar: Registrar::Off,
        phones: arguments.phones,
        redis_core: arguments.generator_core,
        parameters: String::new(),
    };
    let mut versions: BTreeMap<String, String> =
        servers.iter().map(|server| (server.name.clone(), lab.version(server))).collect();
    versions.insert("rustc".to_owned(), first_line(Path::new("rustc"), &["--version"]));
    versions.insert("valgrind".to_owned(), first_line(Path::new("valgrind"), &["--version"]));
    for (name, version) in &versions {
        println!("{name}: {version}");
    }
    let names = servers.iter().map(|server| server.name.clone()).collect();
    let report = Report::new(&arguments, &versions, names);
    let mut bench = Bench { lab, servers, generator: Generator::new()?, report, arguments };
    for part in bench.arguments.chosen_parts() {
        parts::run(&mut bench, part)?;
        bench.report.write(&bench.arguments)?;
    }
    println!("\n{}\n\nAll measurements: {}", bench.report.table(), bench.arguments.out.display());
    match bench.report.errors() {
        0 => Ok(()),
        errors => bail!("{errors} measurements could not be made; see above"),
    }
}

/// A copy of the binary, so that a build meanwhile does not change what is measured.
fn copy_of(binary: &Path, folder: &Path) -> Result<PathBuf> {
    let copy = folder.join("tandem-under-test");
    fs::copy(binary, &copy).with_context(|| format!("{}: build it first", binary.display()))?;
    Ok(copy)
}

/// Keeps this process, and so the load generator, on one core.
fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("there is no core {core}"))
}
