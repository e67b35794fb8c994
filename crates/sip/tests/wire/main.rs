//! The wire layer from outside: whole messages in, whole messages out.

#[path = "../support/corpus.rs"]
mod corpus;

mod agreement;
mod parsing;
mod printing;
mod properties;
mod torture;
