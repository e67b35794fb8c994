//! SIP as pure code: messages in and out of bytes, transactions, dialogs. No socket, clock or random source.

pub mod time;
pub mod transaction;
