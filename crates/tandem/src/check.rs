//! `tandem check`.

use crate::load::ConfigFile;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    file: ConfigFile,
}

impl Check {
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let loaded = self.file.load()?;
        let config = &loaded.config;
        println!("Parameters ('*' differs from the default):");
        for effective in config.parameters.effective() {
            let mark = if effective.is_default { ' ' } else { '*' };
            println!("{mark} {:<50} {} {}", effective.name(), effective.value, effective.unit());
        }
        println!("\nListening on:");
        for listen in &config.listen {
            let advertised =
                listen.advertise.map(|address| format!(", advertised as {address}")).unwrap_or_default();
            println!("  udp {}{advertised}", listen.bind);
        }
        println!("\nMapping gateways (callers): {}", config.mapping_gateways.len());
        for mapping in &config.mapping_gateways {
            let sources: Vec<_> = mapping.gateway.sources.iter().map(ToString::to_string).collect();
            println!("  {:<20} from {}", mapping.gateway.name, sources.join(", "));
        }
        println!("Routing gateways (callees): {}", config.routing_gateways.len());
        for routing in &config.routing_gateways {
            let gateway = &routing.gateway;
            let prefixes: Vec<_> = gateway.prefixes.iter().map(|prefix| format!("'{prefix}'")).collect();
            let (name, address) = (&gateway.name, gateway.address);
            println!(
                "  {name:<20} at {address}, prefixes {}, priority {}",
                prefixes.join(" "),
                gateway.priority
            );
        }
        for warning in &loaded.warnings {
            println!("\nwarning: {warning}");
        }
        println!("\nThe configuration is valid, with {} warning(s).", loaded.warnings.len());
        Ok(ExitCode::SUCCESS)
    }
}
