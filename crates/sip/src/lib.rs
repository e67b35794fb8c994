//! SIP as pure code: messages in and out of bytes, transactions, dialogs. No socket, clock or random source.

pub mod build;
pub mod dialog;
pub mod digest;
pub mod draw;
pub mod flow;
pub mod framing;
pub mod header;
pub mod limits;
pub mod locate;
pub mod message;
pub mod method;
pub mod name;
pub mod offer;
pub mod reliable;
pub mod sdp;
pub mod session_timer;
pub mod status;
pub mod stun;
pub mod time;
pub mod transaction;
pub mod uri;

pub use build::{Builder, ResponseHead, Rewrite, address_text};
pub use framing::{Frame, FrameError, StreamFramer};
pub use header::{CSeq, HeaderError, NameAddr, Via};
pub use limits::Limits;
pub use message::{Defect, Field, Message, ParseError, Rejection};
pub use method::MethodSet;
pub use name::Name;
pub use rsip::Method;
pub use status::StatusCode;
pub use uri::{Host, Scheme, Uri, UriError};
