//! A whole node in this process, with real sockets on loopback: what the shell owes the calls it carries.

mod admission;
mod agent;
mod authority;
mod calls;
mod endpoints;
mod ends;
#[cfg(feature = "fault-injection")]
mod faults;
mod guards;
mod health;
mod line;
mod names;
mod nat;
mod phone;
mod records;
mod registrants;
mod registrar;
mod sockets;
mod strangers;
mod streams;
mod tls;
mod until;
mod world;
