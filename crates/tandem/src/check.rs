//! `tandem check`.

use crate::load::ConfigFile;
use crate::output;
use std::fmt::{self, Write};
use std::process::ExitCode;
use tandem_config::{Loaded, StoreAddress};

#[derive(clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    file: ConfigFile,
}

impl Check {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let loaded = self.file.load()?;
        tandem_node::check_store(&loaded.config)?;
        let unusable = tandem_node::check_certificates(&loaded.config);
        for (place, error) in &unusable {
            eprintln!("listen[{place}]: {error}");
        }
        anyhow::ensure!(unusable.is_empty(), "{} listener(s) could not be started", unusable.len());
        output::print(&report(&loaded)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn report(loaded: &Loaded) -> Result<String, fmt::Error> {
    let mut out = String::new();
    let config = &loaded.config;
    writeln!(out, "Parameters ('*' differs from the default):")?;
    for effective in config.parameters.effective() {
        let mark = if effective.is_default { ' ' } else { '*' };
        writeln!(out, "{mark} {:<50} {} {}", effective.name(), effective.value, effective.unit())?;
    }
    writeln!(out, "\nListening on:")?;
    for listen in &config.listen {
        let advertised =
            listen.advertise.as_ref().map(|address| format!(", advertised as {address}")).unwrap_or_default();
        let transport = listen.transport.via_name().to_lowercase();
        writeln!(out, "  {transport} {}{advertised}", listen.bind)?;
    }
    let shared = matches!(config.store.address, StoreAddress::Shared(_));
    writeln!(out, "\nState: {}", if shared { "in Redis, shared by the nodes" } else { "in memory" })?;
    writeln!(out, "\nMapping gateways (callers): {}", config.mapping_gateways.len())?;
    for mapping in &config.mapping_gateways {
        let sources: Vec<_> = mapping.gateway.sources.iter().map(ToString::to_string).collect();
        writeln!(out, "  {:<20} from {}", mapping.gateway.name, sources.join(", "))?;
    }
    writeln!(out, "Routing gateways (callees): {}", config.routing_gateways.len())?;
    for routing in &config.routing_gateways {
        let gateway = &routing.gateway;
        let prefixes: Vec<_> = gateway.prefixes.iter().map(|prefix| format!("'{prefix}'")).collect();
        let (name, address) = (&gateway.name, &gateway.address);
        writeln!(
            out,
            "  {name:<20} at {address}, prefixes {}, priority {}",
            prefixes.join(" "),
            gateway.priority
        )?;
    }
    if !config.endpoints.is_empty() {
        let registrar = &config.registrar;
        let domain = registrar.domains.canonical();
        writeln!(out, "Endpoints: {} of {domain}, realm \"{}\"", config.endpoints.len(), registrar.realm)?;
    }
    for warning in &loaded.warnings {
        writeln!(out, "\nwarning: {warning}")?;
    }
    writeln!(out, "\nThe configuration is valid, with {} warning(s).", loaded.warnings.len())?;
    Ok(out)
}
