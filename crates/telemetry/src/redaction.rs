//! What a log may show. Numbers and addresses are for DEBUG and TRACE, credentials for nobody.
//!
//! A value does not know the level of the event it is logged in. So the formatter tells it, by a flag of the thread that
//! stands only while an event of DEBUG or TRACE is written; wherever else a value is printed, it is redacted.

use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

thread_local! {
    static REVEALING: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, the thread prints redacted values in full.
pub(crate) struct Revealing {
    before: bool,
}

impl Revealing {
    pub(crate) fn begin(reveal: bool) -> Revealing {
        Revealing { before: REVEALING.replace(reveal) }
    }
}

impl Drop for Revealing {
    fn drop(&mut self) {
        REVEALING.set(self.before);
    }
}

/// Digits that are left of a number.
const DIGITS_SHOWN: usize = 2;

/// A number with so few digits is not shown at all: two of them would tell it.
const DIGITS_HIDDEN_ENTIRELY: usize = 4;

/// A telephone number, or a user part: above DEBUG only its last two digits are printed (`**42`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Redacted<T>(pub T);

impl<T: AsRef<str>> fmt::Display for Redacted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.as_ref();
        if REVEALING.get() {
            return formatter.write_str(number);
        }
        let trailing = number.bytes().rev().take_while(u8::is_ascii_digit).count();
        let shown = if trailing > DIGITS_HIDDEN_ENTIRELY { DIGITS_SHOWN } else { 0 };
        // The end of the text is ASCII digits, as far as it is shown.
        write!(formatter, "**{}", &number[number.len() - shown..])
    }
}

impl<T: AsRef<str>> fmt::Debug for Redacted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A peer's address: above DEBUG only its network is printed (`192.0.*.*:5060`, `[2001:db8:*]:5060`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RedactedPeer(pub SocketAddr);

impl fmt::Display for RedactedPeer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if REVEALING.get() {
            return write!(formatter, "{}", self.0);
        }
        let port = self.0.port();
        match self.0.ip() {
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                write!(formatter, "{a}.{b}.*.*:{port}")
            }
            IpAddr::V6(ip) => {
                let [a, b, ..] = ip.segments();
                write!(formatter, "[{a:x}:{b:x}:*]:{port}")
            }
        }
    }
}

impl fmt::Debug for RedactedPeer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A credential: never printed, at no level.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Masked<T>(pub T);

impl<T> fmt::Display for Masked<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[masked]")
    }
}

impl<T> fmt::Debug for Masked<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_shows_its_last_two_digits() {
        assert_eq!(Redacted("+493012345642").to_string(), "**42");
        assert_eq!(format!("{:?}", Redacted("12345".to_owned())), "**45");
    }

    #[test]
    fn a_short_number_or_a_name_shows_nothing() {
        for text in ["", "7", "112", "0800", "alice", "alice12", "1234567x", "٣٤٥٦٧٨", "12345é"] {
            assert_eq!(Redacted(text).to_string(), "**", "{text}");
        }
    }

    #[test]
    fn an_address_shows_its_network_and_port() {
        let peer = |text: &str| RedactedPeer(text.parse().expect("an address")).to_string();
        assert_eq!(peer("192.0.2.17:5060"), "192.0.*.*:5060");
        assert_eq!(peer("[2001:db8::17]:5061"), "[2001:db8:*]:5061");
    }

    #[test]
    fn while_revealing_numbers_and_addresses_are_whole_and_credentials_are_not() {
        let peer = RedactedPeer("192.0.2.17:5060".parse().expect("an address"));
        {
            let _revealing = Revealing::begin(true);
            assert_eq!(Redacted("112").to_string(), "112");
            assert_eq!(peer.to_string(), "192.0.2.17:5060");
            assert_eq!(format!("{} {:?}", Masked("secret"), Masked("secret")), "[masked] [masked]");
        }
        assert_eq!(Redacted("112").to_string(), "**");
    }
}
