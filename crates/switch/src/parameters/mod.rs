//! The parameter catalogue: names, defaults, ranges and units that operators know.

mod call;

pub use call::{AttemptParameters, CallParameters};
