//! Why a call was no success.

use std::fmt;

/// The first thing that went wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The INVITE got no final response within 64·T1 (RFC 3261 timer B).
    NoAnswer,
    /// The INVITE got this status.
    Refused(u16),
    /// The BYE got no final response within 64·T1 (timer F).
    NoEnd,
    /// The run was broken off before.
    Unfinished,
    /// A message was not what the server should have sent.
    Wrong(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoAnswer => f.write_str("INVITE not answered"),
            Failure::Refused(status) => write!(f, "refused with {status}"),
            Failure::NoEnd => f.write_str("BYE not answered"),
            Failure::Unfinished => f.write_str("unfinished when the run was broken off"),
            Failure::Wrong(what) => write!(f, "wrong: {what}"),
        }
    }
}
