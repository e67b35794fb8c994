//! What the switch decides, as pure state machines: the call, routing, failover, gateways, parameters, CDRs.

pub mod gateway;
pub mod parameters;
