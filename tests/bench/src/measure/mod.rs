//! What is read out of `/proc`, and what is made of numbers.

pub(crate) mod machine;
pub(crate) mod process;
pub(crate) mod search;
pub(crate) mod statistics;
