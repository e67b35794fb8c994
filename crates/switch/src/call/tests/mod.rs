//! The call, rule by rule: against a shell, a clock, a caller and gateways that do what each test wants.

mod admission;
mod caller;
mod commits;
mod conversation;
mod ends;
mod failover;
mod glare;
mod hold;
mod info;
mod leaving;
mod messages;
mod midcall;
mod offers;
mod own;
mod plan;
mod reliable;
mod ringback;
mod screening;
mod session_setup;
mod takeover;
mod targets;
mod timeouts;
mod update;
mod walk;
mod wire;
mod world;
