//! The call, rule by rule: against a shell, a clock, a caller and gateways that do what each test wants.

mod admission;
mod caller;
mod commits;
mod conversation;
mod ends;
mod failover;
mod leaving;
mod messages;
mod offers;
mod plan;
mod reliable;
mod ringback;
mod screening;
mod session_setup;
mod takeover;
mod targets;
mod timeouts;
mod walk;
mod wire;
mod world;
