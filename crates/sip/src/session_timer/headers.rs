//! What messages say about session timers.

use super::OPTION_TAG;
use crate::header::{HeaderError, SessionExpires};
use crate::{Builder, Message, Name};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What an INVITE or UPDATE, its 2xx or its 422 says about session timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerHeaders {
    /// Session-Expires.
    pub expires: Option<SessionExpires>,
    /// Min-SE, in seconds.
    pub min_se: Option<u32>,
    /// Whether Supported (or Require, which says as much) lists `timer`.
    pub supported: bool,
}

impl TimerHeaders {
    /// Reads a message's headers.
    ///
    /// # Errors
    /// Session-Expires or Min-SE cannot be read.
    pub fn of(message: &Message) -> Result<Self, HeaderError> {
        let lists = |name| message.items(name).any(|tag| tag.eq_ignore_ascii_case(OPTION_TAG.as_bytes()));
        Ok(Self {
            expires: message.session_expires().transpose()?,
            min_se: message.number(Name::MinSe).transpose()?,
            supported: lists(Name::Supported) || lists(Name::Require),
        })
    }

    /// Whether its sender takes part in session timers. A Session-Expires says so too, also one that a proxy put in.
    pub fn is_capable(&self) -> bool {
        self.supported || self.expires.is_some()
    }
}

/// What a message of ours says about session timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerLines {
    /// Session-Expires.
    pub expires: Option<SessionExpires>,
    /// Min-SE, in seconds.
    pub min_se: Option<u32>,
    /// `Supported: timer`.
    pub supported: bool,
    /// `Require: timer`.
    pub required: bool,
}

impl TimerLines {
    /// Adds the header lines to a message.
    pub fn put(&self, builder: Builder) -> Builder {
        self.put_beside(builder, None)
    }

    /// Adds the header lines to a message that supports another extension too.
    pub fn put_beside(&self, mut builder: Builder, other: Option<&str>) -> Builder {
        let supported: Vec<&str> = other.into_iter().chain(self.supported.then_some(OPTION_TAG)).collect();
        if !supported.is_empty() {
            builder = builder.header(Name::Supported, supported.join(", "));
        }
        if self.required {
            builder = builder.header(Name::Require, OPTION_TAG);
        }
        if let Some(expires) = self.expires {
            builder = builder.header_fmt(Name::SessionExpires, format_args!("{expires}"));
        }
        if let Some(min_se) = self.min_se {
            builder = builder.header_fmt(Name::MinSe, format_args!("{min_se}"));
        }
        builder
    }

    /// The header lines.
    pub fn print(&self) -> Bytes {
        let mut lines = String::new();
        if self.supported {
            lines.push_str("Supported: timer\r\n");
        }
        if self.required {
            lines.push_str("Require: timer\r\n");
        }
        if let Some(expires) = self.expires {
            lines.push_str(&format!("Session-Expires: {expires}\r\n"));
        }
        if let Some(min_se) = self.min_se {
            lines.push_str(&format!("Min-SE: {min_se}\r\n"));
        }
        lines.into()
    }
}
