//! A node of the switch: actors that feed the pure machines and perform what comes out of them.

mod admission;
mod call_actor;
mod cdr_actor;
mod clock;
mod directory;
mod dispatch;
mod gateway_actor;
mod labels;
mod listener_actor;
mod registration;
mod shared;
mod supervisors;
mod tap;
pub mod wheel;

mod node;

pub use directory::MAILBOX_MAX;
pub use gateway_actor::GatewayReport;
pub use node::{MappingReport, Node, StartError};
pub use tap::{Tap, Tapped};
