//! The configuration: a TOML file and the environment over it, read whole before any port is bound.
//!
//! Nothing is read from disk or from the process here. [`Config::parse`] takes the text and the variables, and returns
//! the configuration with its warnings, or every error it found, each with its line or variable.
//!
//! ```
//! let file = "[[routing_gateway]]\nname = \"vendor\"\naddress = \"192.0.2.20\"\nmax_calls = -3\n";
//! let errors = tandem_config::Config::parse(file, []).unwrap_err();
//! assert_eq!(
//!     errors[0].in_file("tandem.toml").to_string(),
//!     "tandem.toml:4: routing_gateway[0].max_calls = -3: out of range 1–1000000 calls"
//! );
//! ```

mod config;
mod environment;
mod error;
mod gateways;
mod later;
mod limits;
mod listen;
mod numbers;
mod origin;
mod place;
mod presets;
mod registering;
mod registrar;
mod routing;
mod section;
mod sections;
mod tree;
mod values;
mod warning;

#[cfg(test)]
mod tests;

pub use config::{
    Admin, Cdr, CdrSink, Config, ConfiguredMapping, ConfiguredRouting, Dns, GatewayTls, JsonlTarget, Link,
    LinkTls, Loaded, Node, NodeLimits, Registrar, Routing, Store, StoreAddress, TlsVerify,
};
pub use error::{ConfigError, Feature, Problem};
pub use listen::{Connections, Listen, Tls};
pub use origin::{CLUSTER_SECTIONS, with_parameter, without_secrets};
pub use place::Place;
pub use presets::{Preset, init_text, presets};
pub use tandem_switch::Secret;
pub use warning::Warning;

/// The section of the system's parameters.
const PARAMETERS: &str = "parameters";
