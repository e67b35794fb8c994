//! What holds for any text.

use crate::corpus;
use bytes::Bytes;
use proptest::prelude::*;
use std::net::SocketAddr;
use tandem_sip::header::{Contact, Quoted, unquote};
use tandem_sip::message::Items;
use tandem_sip::{
    Builder, Frame, Host, Limits, Message, Method, Name, NameAddr, ResponseHead, Rewrite, StatusCode,
    StreamFramer, Uri, Via,
};

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}(\\.[a-z][a-z0-9-]{0,5}){0,2}",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
    ]
}

/// A header value as [`Builder`] takes it: any bytes on one line, without white space at the ends.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..60).prop_map(|mut bytes| {
        bytes.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        bytes.trim_ascii_start().trim_ascii_end().to_vec()
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Uri::parse(&bytes);
        let _ = NameAddr::parse(&bytes);
        let _ = Via::parse(&bytes);
        let _ = Contact::parse(&bytes);
        let _ = Message::parse(Bytes::from(bytes), &Limits::default()).map(|message| message.validate());
    }

    #[test]
    fn a_uri_is_read_back_as_printed(
        user in prop::option::of("[A-Za-z0-9_.!~*'()&=+$,;?/-]{1,16}"),
        host in host(),
        port in prop::option::of(any::<u16>()),
        params in prop::collection::vec((token(), prop::option::of(token())), 0..4),
    ) {
        let mut text = String::from("sip:");
        if let Some(user) = &user {
            text += &format!("{user}@");
        }
        text += &host;
        if let Some(port) = port {
            text += &format!(":{port}");
        }
        for (name, value) in &params {
            text += &match value {
                Some(value) => format!(";{name}={value}"),
                None => format!(";{name}"),
            };
        }
        let uri = Uri::parse(text.as_bytes()).expect("valid");
        prop_assert_eq!(uri.user, user.as_deref().map(str::as_bytes));
        prop_assert_eq!(Some(uri.host), Host::parse(host.as_bytes()));
        prop_assert_eq!(uri.port, port);
        if let Some((name, value)) = params.first() {
            prop_assert_eq!(uri.param(name), Some(value.as_deref().map(str::as_bytes)));
        }
    }

    #[test]
    fn an_address_is_read_back_as_printed(display in "[^\r\n]{0,20}", host in host(), tag in token()) {
        let text = format!("{} <sip:{host}>;tag={tag}", Quoted(display.as_bytes()));
        let address = NameAddr::parse(text.as_bytes()).expect("valid");
        let read = address.display.map(unquote);
        prop_assert_eq!(read.as_deref(), Some(display.as_bytes()));
        prop_assert_eq!(address.tag(), Some(tag.as_bytes()));
        prop_assert_eq!(Items::new(text.as_bytes()).count(), 1);
    }

    #[test]
    fn a_via_is_read_back_as_printed(host in host(), port in prop::option::of(any::<u16>()), branch in token()) {
        let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();
        let text = format!("SIP/2.0/UDP {host}{port_text};rport;branch={branch}");
        let via = Via::parse(text.as_bytes()).expect("valid");
        prop_assert_eq!((via.host, via.port), (host.as_bytes(), port));
        prop_assert_eq!(via.branch(), Some(branch.as_bytes()));
    }

    #[test]
    fn header_values_and_bodies_are_read_back_as_printed(
        values in prop::collection::vec((token(), value()), 0..12),
        body in prop::collection::vec(any::<u8>(), 1..80),
    ) {
        let mut builder = Builder::request(Method::Message, b"sip:h").header(Name::Via, "SIP/2.0/UDP h");
        let expected: Vec<_> = values.iter().filter(|(name, _)| Name::parse(name.as_bytes()) != Name::ContentLength).collect();
        for (name, value) in &values {
            builder = builder.raw_header(name.as_bytes(), value);
        }
        let message = Message::parse(builder.body(b"text/plain", &body), &Limits::default()).expect("ours");
        let fields: Vec<_> = message.fields().map(|field| (field.raw_name.to_vec(), field.value.to_vec())).collect();
        prop_assert_eq!(fields.len(), expected.len() + 3);
        for ((name, value), field) in expected.iter().zip(&fields[1..]) {
            prop_assert_eq!(field, &(name.clone().into_bytes(), value.clone()));
        }
        prop_assert_eq!(message.body(), &body[..]);
        prop_assert_eq!(Rewrite::of(&message).finish(), message.raw());
    }

    #[test]
    fn a_response_carries_the_request_s_identity(
        call_id in token(),
        number in 0u32..(1 << 31),
        tag in token(),
        source in any::<SocketAddr>(),
        status in (100u16..700).prop_filter_map("a status", StatusCode::new),
    ) {
        let request = Builder::request(Method::Bye, b"sip:h")
            .header(Name::Via, "SIP/2.0/UDP h;rport;branch=z9hG4bK1")
            .header_fmt(Name::From, format_args!("<sip:a@h>;tag={tag}"))
            .header(Name::To, "<sip:b@h>")
            .header(Name::CallId, &call_id)
            .header_fmt(Name::CSeq, format_args!("{number} BYE"))
            .finish();
        let request = Message::parse(request, &Limits::default()).expect("ours");
        let answer = ResponseHead::of(&request, source).respond(status, Some("x")).finish();
        let answer = Message::parse(answer, &Limits::default()).expect("ours");
        prop_assert_eq!(answer.validate(), Ok(()));
        prop_assert_eq!(answer.status(), Some(status));
        prop_assert_eq!(answer.call_id(), Some(call_id.as_bytes()));
        prop_assert_eq!(answer.cseq(), request.cseq());
        prop_assert_eq!((answer.from_tag(), answer.to_tag()), (Some(tag.as_bytes()), Some(&b"x"[..])));
        let via = answer.top_via().expect("ours");
        prop_assert_eq!(via.received_ip(), Some(source.ip().to_canonical()));
        prop_assert_eq!(via.rport(), Some(Some(source.port())));
        prop_assert_eq!(via.response_address(source), source);
    }

    #[test]
    fn a_stream_is_cut_the_same_however_it_arrives(
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        chunks in prop::collection::vec(1usize..400, 1..40),
    ) {
        let samples: Vec<_> = corpus::ordinary().into_iter().map(|sample| sample.text).collect();
        let messages: Vec<_> = picks.iter().map(|pick| pick.get(&samples).clone()).collect();
        let stream = messages.concat();
        let mut framer = StreamFramer::new(&Limits::default());
        let mut frames = Vec::new();
        let (mut at, mut sizes) = (0, chunks.iter().cycle());
        while at < stream.len() {
            let end = stream.len().min(at + sizes.next().expect("a cycle has no end"));
            framer.push(&stream[at..end]);
            while let Some(frame) = framer.next() {
                frames.push(frame.expect("valid"));
            }
            at = end;
        }
        let expected: Vec<_> = messages.into_iter().map(|message| Frame::Message(message.into())).collect();
        prop_assert_eq!(frames, expected);
        prop_assert_eq!(framer.buffered(), 0);
    }
}
