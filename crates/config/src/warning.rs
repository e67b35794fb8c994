//! Configurations that are allowed, but hardly what an operator wants.

use crate::config::{Config, TlsVerify};
use std::fmt;
use std::net::SocketAddr;
use tandem_switch::parameters::{self, Overrides, PerGateway};

/// What `tandem check` and the switch at its start warn about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Doubtful values of parameters.
    Parameters {
        /// `parameters`, or the path of a gateway's.
        key: String,
        /// Which.
        warning: parameters::Warning,
    },
    /// An override that means nothing on a mapping gateway.
    WithoutEffect {
        /// The path of the gateway's parameters.
        key: String,
        /// The parameter.
        name: &'static str,
    },
    /// Whoever can redirect packets to a gateway can listen in and answer for it.
    TlsUnverified {
        /// The path of the gateway's `tls_verify`.
        key: String,
    },
    /// Whoever knows a user's name is called in its place.
    RegistrarOpen,
    /// A section of the file that the configuration of the cluster takes the place of.
    NotUsed {
        /// Which.
        section: &'static str,
    },
    /// Whoever reaches the API may hang up calls.
    AdminOpen {
        /// `admin.bind`.
        bind: SocketAddr,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Parameters { key, warning } if key == crate::PARAMETERS => write!(f, "{warning}"),
            Warning::Parameters { key, warning } => write!(f, "{key}: {warning}"),
            Warning::WithoutEffect { key, name } => {
                write!(f, "{key}: {name} has no effect here; a routing gateway's governs the attempt")
            }
            Warning::TlsUnverified { key } => {
                write!(
                    f,
                    "{key} = \"none\" takes any certificate: whoever can redirect packets can listen in"
                )
            }
            Warning::RegistrarOpen => f.write_str(
                "registrar.authenticate = false lets everybody register as any endpoint and take its calls",
            ),
            Warning::NotUsed { section } => {
                write!(f, "{section} of the file is not used: the cluster has a configuration in common")
            }
            Warning::AdminOpen { bind } => {
                write!(f, "admin.bind = {bind} is reachable from elsewhere and admin.tokens is empty")
            }
        }
    }
}

/// The warnings about a configuration.
pub(crate) fn of(config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let bind = config.admin.bind;
    if !bind.ip().is_loopback() && config.admin.tokens.is_empty() {
        warnings.push(Warning::AdminOpen { bind });
    }
    if !config.registrar.authenticate && !config.endpoints.is_empty() {
        warnings.push(Warning::RegistrarOpen);
    }
    let system = config.parameters.warnings();
    let at = |key: &str, warning| Warning::Parameters { key: key.to_owned(), warning };
    warnings.extend(system.iter().map(|warning| at(crate::PARAMETERS, *warning)));

    // A gateway is warned about only for what the system's values alone would not bring about.
    let own = |key: &str, overrides: &Overrides| -> Vec<Warning> {
        let doubts = config.parameters.with(overrides).warnings();
        doubts.into_iter().filter(|doubt| !system.contains(doubt)).map(|doubt| at(key, doubt)).collect()
    };
    for (index, mapping) in config.mapping_gateways.iter().enumerate() {
        let key = format!("mapping_gateway[{index}].{}", crate::PARAMETERS);
        warnings.extend(own(&key, &mapping.overrides));
        let idle = mapping.overrides.iter().filter(|(row, _)| row.per_gateway == PerGateway::Attempt);
        warnings.extend(idle.map(|(row, _)| Warning::WithoutEffect { key: key.clone(), name: row.name }));
    }
    for (index, routing) in config.routing_gateways.iter().enumerate() {
        if routing.tls.verify == TlsVerify::None {
            warnings.push(Warning::TlsUnverified { key: format!("routing_gateway[{index}].tls_verify") });
        }
        let key = format!("routing_gateway[{index}].{}", crate::PARAMETERS);
        warnings.extend(own(&key, &routing.overrides));
    }
    warnings
}
