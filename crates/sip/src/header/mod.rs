//! Header values as types, read lazily and in place.
//!
//! Every reader takes a value as [`Message`](crate::Message) hands it out: white space may still hold line folds
//! (RFC 3261 §7.3.1), so carriage returns and line feeds count as white space here.

mod auth;
mod cseq;
mod event;
mod lexical;
mod media_type;
mod name_addr;
mod params;
mod reason;
mod timing;
mod via;

pub use auth::{AuthParams, AuthPrinter};
pub use cseq::{CSeq, MAX_CSEQ, RAck};
pub use event::{Event, Replaces, SubscriptionState, privacy_values, q_value};
pub use lexical::{Quoted, unquote};
pub use media_type::MediaType;
pub use name_addr::{Contact, NameAddr};
pub use params::{Param, Params, find_param};
pub use reason::Reason;
pub use timing::{Refresher, RetryAfter, SessionExpires};
pub(crate) use via::Routing;
pub use via::{MAGIC_COOKIE, Via};

pub(crate) use lexical::{
    decimal, is_lws, is_token, kind, kinds_of, quoted_end, run_len, skip_lws, token_len, trim, trim_end,
};
pub(crate) use params::find_valid_param;
pub(crate) use timing::leading_number;

use crate::name::Name;

/// Why a header has no value of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The message has no such header.
    #[error("no {0} header")]
    Missing(Name),
    /// The value breaks the grammar of what is named.
    #[error("malformed {0}")]
    Syntax(&'static str),
    /// A number beyond what the header may carry.
    #[error("{0} out of range")]
    Range(&'static str),
}
