//! Just enough SIP to see whether a server does its work. Written apart from the switch's own parser on purpose: what
//! one of the two misreads, the other must not forgive.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start<'a> {
    /// Method and Request-URI.
    Request { method: &'a str, uri: &'a str },
    /// Status code.
    Response { status: u16 },
}

/// A message as it came, and the headers that this tool looks at (RFC 3261 §20; long names and compact forms, no
/// folding).
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) start: Start<'a>,
    /// All header lines.
    pub(crate) head: &'a str,
    pub(crate) body: &'a str,
    pub(crate) call_id: &'a str,
    pub(crate) cseq: u32,
    pub(crate) cseq_method: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// The topmost Via.
    pub(crate) via: &'a str,
    /// How many Via lines there are.
    pub(crate) vias: usize,
    pub(crate) contact: Option<&'a str>,
    pub(crate) max_forwards: Option<u32>,
}

/// The headers that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    Contact,
    RecordRoute,
    MaxForwards,
    ContentLength,
    Another,
}

impl Name {
    fn of(text: &str) -> Name {
        const NAMES: [(&str, Name); 14] = [
            ("via", Name::Via),
            ("v", Name::Via),
            ("from", Name::From),
            ("f", Name::From),
            ("to", Name::To),
            ("t", Name::To),
            ("call-id", Name::CallId),
            ("i", Name::CallId),
            ("cseq", Name::CSeq),
            ("contact", Name::Contact),
            ("m", Name::Contact),
            ("record-route", Name::RecordRoute),
            ("max-forwards", Name::MaxForwards),
            ("content-length", Name::ContentLength),
        ];
        if text.eq_ignore_ascii_case("l") {
            return Name::ContentLength;
        }
        NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map_or(Name::Another, |(_, name)| *name)
    }
}

/// The header lines with their names and values.
pub(crate) fn headers(head: &str) -> impl Iterator<Item = (Name, &str, &str)> {
    head.split_terminator("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((Name::of(name.trim_end()), line, value.trim()))
    })
}

impl<'a> Message<'a> {
    /// Reads a datagram; `None` if it isn't a SIP message with all that every message has.
    pub(crate) fn read(datagram: &'a [u8]) -> Option<Message<'a>> {
        let text = std::str::from_utf8(datagram).ok()?;
        let (before, body) = text.split_once("\r\n\r\n")?;
        let (first, _) = before.split_once("\r\n")?;
        let head = text.get(first.len() + 2..before.len() + 2)?;
        let mut message = Message {
            start: Start::of(first)?,
            head,
            body,
            call_id: "",
            cseq: 0,
            cseq_method: "",
            from: "",
            to: "",
            via: "",
            vias: 0,
            contact: None,
            max_forwards: None,
        };
        for (name, _, value) in headers(head) {
            message.take(name, value)?;
        }
        let whole = [message.call_id, message.cseq_method, message.from, message.to, message.via];
        whole.iter().all(|value| !value.is_empty()).then_some(message)
    }

    fn take(&mut self, name: Name, value: &'a str) -> Option<()> {
        match name {
            Name::Via => {
                if self.vias == 0 {
                    self.via = value;
                }
                self.vias += 1;
            }
            Name::From => self.from = value,
            Name::To => self.to = value,
            Name::CallId => self.call_id = value,
            Name::CSeq => {
                let (number, method) = value.split_once(' ')?;
                self.cseq = number.parse().ok()?;
                self.cseq_method = method.trim_start();
            }
            Name::Contact => self.contact = Some(value),
            Name::MaxForwards => self.max_forwards = Some(value.parse().ok()?),
            Name::ContentLength => {
                let length: usize = value.parse().ok()?;
                self.body = self.body.get(..length)?;
            }
            Name::RecordRoute | Name::Another => {}
        }
        Some(())
    }

    /// The Route of later requests in a dialog whose 2xx this is: the Record-Route values backwards (§12.1.2).
    pub(crate) fn route_set(&self) -> Vec<&'a str> {
        let lines = headers(self.head).filter(|(name, ..)| *name == Name::RecordRoute);
        let mut routes: Vec<_> = lines.flat_map(|(_, _, value)| values(value)).collect();
        routes.reverse();
        routes
    }
}

impl<'a> Start<'a> {
    fn of(line: &'a str) -> Option<Start<'a>> {
        if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
            return Some(Start::Response { status: rest.get(..3)?.parse().ok()? });
        }
        let mut parts = line.split(' ');
        let (method, uri, version) = (parts.next()?, parts.next()?, parts.next()?);
        (version == "SIP/2.0").then_some(Start::Request { method, uri })
    }
}

/// The values of a header line, separated by commas outside angle brackets.
fn values(line: &str) -> impl Iterator<Item = &str> {
    let mut bracketed = false;
    line.split(move |letter| {
        match letter {
            '<' => bracketed = true,
            '>' => bracketed = false,
            _ => {}
        }
        letter == ',' && !bracketed
    })
    .map(str::trim)
}

/// A parameter behind the angle brackets of a From, To, Contact or Via value.
pub(crate) fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let tail = value.rsplit_once('>').map_or(value, |(_, tail)| tail);
    tail.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The URI of a name-addr or an addr-spec.
pub(crate) fn uri(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// The user part of a URI, without its parameters.
pub(crate) fn user(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("sip:")?;
    let (user, _) = rest.split_once('@')?;
    user.split([';', ':']).next()
}

/// Where a request to a URI goes, if its host is an IPv4 address (all are on this machine); the port is 5060 unless
/// given.
pub(crate) fn place(uri: &str) -> Option<SocketAddrV4> {
    let rest = uri.strip_prefix("sip:")?;
    let host_port = rest.rsplit_once('@').map_or(rest, |(_, after)| after);
    let host_port = host_port.split([';', '?']).next()?;
    let (host, port) = match host_port.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (host_port, 5060),
    };
    Some(SocketAddrV4::new(host.parse::<Ipv4Addr>().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "SIP/2.0 200 OK\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-i-7;rport=5070\r\n\
        Record-Route: <sip:127.0.0.1;lr;did=a,b>, <sip:10.0.0.2:5062;lr>\r\n\
        record-route:   <sip:10.0.0.3;lr>\r\n\
        f: \"A, B\" <sip:a@127.0.0.1;x=1>;tag=a7\r\n\
        To: <sip:4400000007@127.0.0.1>;q=1;tag=b7\r\n\
        i: 7@bench\r\n\
        CSeq: 1   INVITE\r\n\
        m: <sip:127.0.0.1:5080;transport=udp>;expires=1\r\n\
        l: 3\r\n\r\nv=0 and what is beyond the length";

    #[test]
    fn a_message_is_read_with_compact_names_and_its_length() {
        let message = Message::read(ANSWER.as_bytes()).expect("a message");
        assert_eq!(message.start, Start::Response { status: 200 });
        assert_eq!((message.call_id, message.cseq, message.cseq_method), ("7@bench", 1, "INVITE"));
        assert_eq!((message.body, message.vias), ("v=0", 1));
        assert_eq!(parameter(message.from, "tag"), Some("a7"));
        assert_eq!(parameter(message.to, "TAG"), Some("b7"));
        assert_eq!(parameter(message.via, "branch"), Some("z9hG4bK-i-7"));
        assert_eq!(place(uri(message.contact.expect("a Contact"))), "127.0.0.1:5080".parse().ok());
    }

    #[test]
    fn the_route_set_is_the_record_route_backwards() {
        let message = Message::read(ANSWER.as_bytes()).expect("a message");
        let expected = ["<sip:10.0.0.3;lr>", "<sip:10.0.0.2:5062;lr>", "<sip:127.0.0.1;lr;did=a,b>"];
        assert_eq!(message.route_set(), expected);
        assert_eq!(place(uri(expected[2])), "127.0.0.1:5060".parse().ok());
    }

    #[test]
    fn a_body_shorter_than_its_content_length_is_no_message() {
        let short = ANSWER.replace("l: 3", "l: 3000");
        assert!(Message::read(short.as_bytes()).is_none());
    }

    #[test]
    fn what_lacks_a_mandatory_header_is_no_message() {
        for lacking in ["Via: SIP", "f: ", "To: ", "i: ", "CSeq: "] {
            let text = ANSWER.replace(lacking, &format!("X-{lacking}"));
            assert!(Message::read(text.as_bytes()).is_none(), "{lacking}");
        }
    }

    #[test]
    fn the_called_number_is_the_user_of_the_request_uri() {
        assert_eq!(user("sip:4400000012;phone-context=x@127.0.0.1:5080;user=phone"), Some("4400000012"));
        assert_eq!(user("sip:127.0.0.1:5080"), None);
    }
}
