//! The parameter catalogue: names, defaults, ranges and units that operators know.
//!
//! [`CATALOGUE`] is the one table. [`Parameters`] holds the system's values, [`Overrides`] what one gateway has instead;
//! [`Parameters::call`] and [`Parameters::attempt`] freeze both into what a call keeps.

mod call;
mod catalogue;
mod choice;
mod definition;
mod error;
mod nearest;
mod overrides;
mod reading;
mod system;
mod warning;

#[cfg(test)]
mod tests;

pub use call::{AttemptParameters, CallParameters};
pub use catalogue::{CATALOGUE, Parameters, definition};
pub use choice::{
    EarlyHangupMode, MediaProxy, NoMediaDirection, NoTimerAction, RefreshSchedule, ReliableProvisionals,
};
pub use definition::{Definition, PerGateway, Range, Source, Unit};
pub use error::ParameterError;
pub use nearest::nearest;
pub use overrides::Overrides;
pub use reading::{EndpointExpire, ResendIntervals, SendRetry};
pub use system::Effective;
pub use warning::Warning;
