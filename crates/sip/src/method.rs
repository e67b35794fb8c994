//! Methods. The vocabulary is `rsip`'s; reading and printing are ours, because a method name is case-sensitive
//! (RFC 3261 §7.1) and reading one must not allocate.

use crate::{Message, Name};
use rsip::Method;
use serde::{Deserialize, Serialize};

/// Every method we know, in the order of the `Allow` header we would print.
pub const ALL: [Method; 14] = [
    Method::Invite,
    Method::Ack,
    Method::Cancel,
    Method::Bye,
    Method::Options,
    Method::Register,
    Method::PRack,
    Method::Update,
    Method::Info,
    Method::Publish,
    Method::Subscribe,
    Method::Notify,
    Method::Refer,
    Method::Message,
];

/// The method of that exact name, or `None` for an extension method we do not know.
pub fn known(name: &[u8]) -> Option<Method> {
    let method = match name {
        b"ACK" => Method::Ack,
        b"BYE" => Method::Bye,
        b"CANCEL" => Method::Cancel,
        b"INFO" => Method::Info,
        b"INVITE" => Method::Invite,
        b"MESSAGE" => Method::Message,
        b"NOTIFY" => Method::Notify,
        b"OPTIONS" => Method::Options,
        b"PRACK" => Method::PRack,
        b"PUBLISH" => Method::Publish,
        b"REFER" => Method::Refer,
        b"REGISTER" => Method::Register,
        b"SUBSCRIBE" => Method::Subscribe,
        b"UPDATE" => Method::Update,
        _ => return None,
    };
    Some(method)
}

/// The name as it stands in a start line and in CSeq.
pub fn name(method: Method) -> &'static str {
    match method {
        Method::Ack => "ACK",
        Method::Bye => "BYE",
        Method::Cancel => "CANCEL",
        Method::Info => "INFO",
        Method::Invite => "INVITE",
        Method::Message => "MESSAGE",
        Method::Notify => "NOTIFY",
        Method::Options => "OPTIONS",
        Method::PRack => "PRACK",
        Method::Publish => "PUBLISH",
        Method::Refer => "REFER",
        Method::Register => "REGISTER",
        Method::Subscribe => "SUBSCRIBE",
        Method::Update => "UPDATE",
    }
}

/// A set of methods: what a peer allows, what a gateway's policy passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MethodSet(u16);

impl MethodSet {
    /// No method.
    pub const EMPTY: Self = Self(0);

    /// These methods.
    pub const fn of(methods: &[Method]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < methods.len() {
            bits |= bit(methods[at]);
            at += 1;
        }
        Self(bits)
    }

    /// The methods that the sender of a message takes by its Allow (RFC 3261 §20.5); `None` without that header, which
    /// says nothing. Methods we do not know are passed over.
    pub fn allowed_by(message: &Message) -> Option<Self> {
        message.first(Name::Allow)?;
        let bits = message.items(Name::Allow).filter_map(known).fold(0, |bits, method| bits | bit(method));
        Some(Self(bits))
    }

    /// Whether the method is one of them.
    pub const fn contains(self, method: Method) -> bool {
        self.0 & bit(method) != 0
    }
}

/// Where a method stands in a set. Sets are stored: a number is never given to another method.
const fn bit(method: Method) -> u16 {
    1 << match method {
        Method::Ack => 0,
        Method::Bye => 1,
        Method::Cancel => 2,
        Method::Info => 3,
        Method::Invite => 4,
        Method::Message => 5,
        Method::Notify => 6,
        Method::Options => 7,
        Method::PRack => 8,
        Method::Publish => 9,
        Method::Refer => 10,
        Method::Register => 11,
        Method::Subscribe => 12,
        Method::Update => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn allowed(lines: &str) -> Option<MethodSet> {
        let text = format!(
            "OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n{lines}\r\n"
        );
        let message = Message::parse(text.into(), &Limits::default()).expect("a message");
        MethodSet::allowed_by(&message)
    }

    #[test]
    fn allow_is_read_over_all_its_lines() {
        let set = allowed("Allow: INVITE,ACK , BYE\r\nAllow: UPDATE, FROBNICATE\r\n");
        assert_eq!(set, Some(MethodSet::of(&[Method::Invite, Method::Ack, Method::Bye, Method::Update])));
        assert!(set.is_some_and(|set| !set.contains(Method::Info)));
    }

    #[test]
    fn an_empty_allow_is_no_method_and_none_says_nothing() {
        assert_eq!(allowed("Allow:\r\n"), Some(MethodSet::EMPTY));
        assert_eq!(allowed(""), None);
    }

    #[test]
    fn every_method_has_a_place_of_its_own_in_a_set() {
        for (at, method) in ALL.iter().enumerate() {
            let others = [&ALL[..at], &ALL[at + 1..]].concat();
            assert!(!MethodSet::of(&others).contains(*method));
            assert!(MethodSet::of(&ALL).contains(*method));
        }
    }

    #[test]
    fn every_method_is_read_back_from_its_name() {
        for method in ALL {
            assert_eq!(known(name(method).as_bytes()), Some(method));
        }
    }

    #[test]
    fn a_method_name_is_case_sensitive() {
        assert_eq!(known(b"invite"), None);
        assert_eq!(known(b"INVITE "), None);
        assert_eq!(known(b""), None);
    }
}
