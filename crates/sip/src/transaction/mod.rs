//! Transactions (RFC 3261 §17, RFC 6026) as pure machines.
//!
//! A machine keeps what it may have to send again, says when it wants to be woken ([`deadline`](ClientInvite::deadline)),
//! and returns what is to be sent; it sends nothing itself. Timers A, E and G follow [`ResendSchedule`], timers B and F
//! its [`window`](ResendSchedule::window); the others are those of the RFC.

mod client_invite;
mod client_non_invite;
mod schedule;
mod server_invite;
mod server_non_invite;

pub use client_invite::{ClientInvite, InviteResponse};
pub use client_non_invite::{ClientNonInvite, NonInviteResponse};
pub use schedule::{MAX_RESENDS, ResendSchedule};
pub use server_invite::{Acknowledged, ServerInvite, ServerTimer};
pub use server_non_invite::ServerNonInvite;

use std::time::Duration;

/// T2 (RFC 3261 §17.1.2.2): the longest wait between resends of a non-INVITE request.
pub const T2: Duration = Duration::from_secs(4);

/// T4 (RFC 3261 §17.1.2.2): how long a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);

/// 64·T1 (RFC 3261 §17): how long the far side may go on sending a message again.
pub const T1_64: Duration = Duration::from_secs(32);

/// What a client transaction's timer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientTimer {
    /// Nothing was due.
    Idle,
    /// Send the request again.
    Resend(bytes::Bytes),
    /// No response came in time (timer B or F). The transaction is over.
    TimedOut,
    /// The transaction is over.
    Terminated,
}
