//! Reads everything a message can be asked for.

use std::hint::black_box;
use tandem_sip::header::{
    AuthParams, Event, MediaType, NameAddr, Reason, Replaces, SubscriptionState, privacy_values, q_value,
};
use tandem_sip::{Message, Name, Uri, Via};

/// Every typed header, every list, every URI in them.
pub(crate) fn everything(message: &Message) {
    start_and_frame(message);
    addresses(message);
    typed(message);
    for field in message.fields() {
        black_box((field.raw_name, field.value, field.line));
    }
    black_box(message.named(b"x-account").count());
}

fn start_and_frame(message: &Message) {
    black_box((message.is_request(), message.method(), message.method_name(), message.status()));
    black_box((message.reason_phrase(), message.sdp(), message.body().len()));
    uri(message.request_uri());
}

fn addresses(message: &Message) {
    for via in message.items(Name::Via).flat_map(Via::parse) {
        black_box((via.branch(), via.received_ip(), via.rport(), via.has_magic_cookie(), via.sent_by()));
    }
    black_box((message.from_tag(), message.to_tag(), message.contact(), message.contacts().count()));
    let addresses = [
        Name::From,
        Name::To,
        Name::Contact,
        Name::Route,
        Name::RecordRoute,
        Name::Path,
        Name::PAssertedIdentity,
        Name::Diversion,
        Name::HistoryInfo,
        Name::ReferTo,
    ];
    for address in addresses.into_iter().flat_map(|name| message.items(name)).flat_map(NameAddr::parse) {
        black_box((address.tag(), address.param("expires"), address.param("q").flatten().and_then(q_value)));
        uri(address.uri);
    }
}

fn uri(text: &[u8]) {
    if let Ok(uri) = Uri::parse(text) {
        black_box((uri.has_lr(), uri.transport(), uri.socket_addr(5060)));
    }
}

fn typed(message: &Message) {
    black_box((message.call_id(), message.cseq().is_ok(), message.max_forwards().is_ok(), message.rack()));
    black_box((message.session_expires(), message.retry_after(), message.event(), message.content_type()));
    for number in
        [Name::Expires, Name::MinSe, Name::MinExpires, Name::RSeq, Name::RetryAfter, Name::FlowTimer]
    {
        black_box(message.number(number));
    }
    for token in [Name::Supported, Name::Require, Name::Allow] {
        black_box(message.has_token(token, "100rel"));
    }
    for name in
        [Name::WwwAuthenticate, Name::ProxyAuthenticate, Name::Authorization, Name::ProxyAuthorization]
    {
        for auth in message.auth(name).flatten() {
            black_box(auth.iter().count());
        }
    }
    black_box(message.reasons().count());
    black_box(message.has_privacy("id"));
    if let Some(value) = message.first(Name::UserAgent) {
        odd_values(value);
    }
}

/// Readers that few messages have a header for get another one's value.
fn odd_values(value: &[u8]) {
    black_box((MediaType::parse(value).is_ok(), Event::parse(value).is_ok(), Replaces::parse(value).is_ok()));
    black_box((SubscriptionState::parse(value).is_ok(), AuthParams::parse_list(value).is_ok()));
    black_box((Reason::parse(value).is_ok(), privacy_values(value).count(), q_value(value)));
}
