//! Methods. The vocabulary is `rsip`'s; reading and printing are ours, because a method name is case-sensitive
//! (RFC 3261 §7.1) and reading one must not allocate.

use rsip::Method;

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

#[cfg(test)]
mod tests {
    use super::*;

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
