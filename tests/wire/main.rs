//! The switch on the wire: sipp callers and sipp gateways against the real binary, one rule per test.
//!
//! Each test has its own loopback addresses, so all of them can run at once. What a process wrote lies in
//! `target/tmp/wire/<test>/` and is printed when the test fails.

mod admin;
mod agents;
mod answered;
mod cancelled;
mod cdr;
mod challenged;
mod commands;
mod configuration;
mod dashboards;
mod endpoints;
mod failover;
#[cfg(feature = "fault-injection")]
mod faults;
mod gate;
mod health;
mod http;
mod load;
mod lost;
mod midcall;
mod names;
mod nat;
mod nodes;
mod overload;
mod phones;
mod place;
mod process;
mod refused;
mod register;
mod registrants;
mod rehearsal;
mod reliable;
mod session;
mod shared;
mod silent;
mod sipp;
mod softphone;
mod stop;
mod streams;
mod survival;
mod switch;
mod timers;
mod tls;
mod torture;
mod trace;
mod until;
mod wire;
