//! A node of the switch: actors that feed the pure machines and perform what comes out of them.

mod admission;
mod audit;
mod authenticator;
mod beats;
mod call_actor;
mod cdr_actor;
mod clock;
mod cluster_config;
mod common;
mod complaints;
mod configured;
mod directory;
mod dispatch;
mod endpoints;
#[cfg(feature = "fault-injection")]
mod faults;
mod gateway_actor;
mod gateway_care;
mod guards;
mod labels;
mod lease;
mod listener_actor;
mod listeners;
mod local_address;
mod locations;
mod lost_calls;
mod nat;
mod nat_endpoint;
mod nat_pacer;
mod next_hop;
mod nodes;
mod ongoing;
mod overload;
mod postgres;
mod publications;
mod publishers;
mod registrants;
mod registrar;
mod registrar_actor;
mod registrar_follow;
mod registration;
mod republish;
mod shared;
mod slots;
mod stateless;
mod stream_user;
mod supervisors;
mod tap;
pub mod wheel;

mod node;

pub use audit::AuditEntry;
pub use cluster_config::{ConfigRevision, MAX_CONFIG_BYTES, MAX_REVISIONS, Push, PushError, Refusal};
pub use common::check_store;
pub use directory::MAILBOX_MAX;
#[cfg(feature = "fault-injection")]
pub use faults::Fault;
pub use gateway_actor::GatewayReport;
pub use listeners::check_certificates;
pub use locations::GatewayTarget;
pub use nat_endpoint::NatReport;
pub use node::{MappingReport, Node, Registered, StartError, Stopped};
pub use nodes::{MAX_NOTE_BYTES, NodeReport};
pub use postgres::PostgresError;
pub use tandem_cluster::Standing;
pub use tap::{Tap, Tapped};
