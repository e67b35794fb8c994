//! What a script answers: a word, and what belongs to it.

use crate::StoreError;
use bytes::Bytes;
use redis::Value;
use std::str::FromStr;

/// A script's answer.
#[derive(Debug)]
pub(super) struct Reply {
    values: std::vec::IntoIter<Value>,
    step: &'static str,
}

impl Reply {
    pub(super) fn new(values: Vec<Value>, step: &'static str) -> Self {
        Self { values: values.into_iter(), step }
    }

    /// The next value as text.
    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        let step = self.step;
        String::from_utf8(self.bytes()?.into()).map_err(|_| unreadable(step))
    }

    /// The next value as a number.
    pub(super) fn number<N: FromStr + TryFrom<i64>>(&mut self) -> Result<N, StoreError> {
        let number = match self.next()? {
            Value::Int(number) => number.try_into().ok(),
            Value::BulkString(digits) => std::str::from_utf8(&digits).ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        number.ok_or_else(|| unreadable(self.step))
    }

    /// The next value as it is.
    pub(super) fn bytes(&mut self) -> Result<Bytes, StoreError> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(bytes.into()),
            Value::SimpleString(text) => Ok(text.into_bytes().into()),
            _ => Err(unreadable(self.step)),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.values.len() == 0
    }

    /// The error for an answer that the step cannot have.
    pub(super) fn unreadable(&self) -> StoreError {
        unreadable(self.step)
    }

    fn next(&mut self) -> Result<Value, StoreError> {
        self.values.next().ok_or_else(|| unreadable(self.step))
    }
}

fn unreadable(step: &'static str) -> StoreError {
    tracing::error!(step, "the store gave an answer that cannot be read");
    StoreError::Away { step }
}
