//! What the switch decides, as pure state machines: the call, routing, failover, gateways, parameters, CDRs.

pub mod admission;
pub mod call;
pub mod cdr;
pub mod emergency;
pub mod failover;
pub mod gateway;
pub mod keepalive;
pub mod parameters;
pub mod publication;
pub mod registrar;
pub mod routing;
mod secret;

pub use secret::Secret;
