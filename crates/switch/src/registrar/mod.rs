//! The registrar (RFC 3261 §10): where the users of our domains are reached.
//!
//! What a REGISTER does to the bindings of its address of record is here, all or nothing; who keeps them, and when they
//! are stored, is the node's business.

mod answer;
mod aor;
mod asked;
mod binding;
mod endpoint;
mod nat;
mod places;
mod register;
mod suspension;
#[cfg(test)]
mod tests;

pub use answer::answer;
pub use aor::{Aor, Domains, MAX_AOR_LEN};
pub use binding::{Arrival, Binding, Bindings, MAX_CONTACT_LEN, MAX_PATH_LEN, MAX_PATHS};
pub use endpoint::{Endpoint, Endpoints};
pub use nat::is_behind_nat;
pub use places::{Place, WayThere, places};
pub use register::{Accepted, Rules, screen_register};
pub use suspension::{Offender, SUSPENSIONS_MAX, Suspended, SuspensionRules, Suspensions};
