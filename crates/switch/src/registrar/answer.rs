//! The answer to a REGISTER that was accepted.

use super::register::EXTENSIONS;
use super::{Accepted, Binding, Bindings, Rules};
use bytes::Bytes;
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};
use tandem_sip::flow::Flow;
use tandem_sip::header::Quoted;
use tandem_sip::time::Wall;
use tandem_sip::{Message, Name, ResponseHead, StatusCode};

/// How often a user agent is asked to keep a connection alive, in seconds (RFC 5626 §4.4.1).
const FLOW_TIMER_CONNECTION_S: u64 = 120;

/// 200 with all bindings and how long each will live (RFC 3261 §10.3 step 8), the Path that the request brought, and the
/// Service-Route.
pub fn answer(
    (request, flow, to_tag): (&Message, Flow, &str),
    bindings: &Bindings,
    accepted: Accepted,
    rules: &Rules,
    now: Wall,
) -> Bytes {
    let mut response = ResponseHead::of(request, flow.remote).respond(StatusCode::OK, Some(to_tag));
    let mut value = String::with_capacity(160);
    for binding in bindings.bindings.iter().filter(|binding| binding.lives(now)) {
        value.clear();
        put_contact(&mut value, binding, now);
        response = response.header(Name::Contact, &value);
    }
    for path in request.items(Name::Path) {
        response = response.header(Name::Path, path);
    }
    for route in &rules.service_route {
        response = response.header(Name::ServiceRoute, route.as_bytes());
    }
    if accepted.outbound {
        response = response.header(Name::Require, "outbound");
        if request.first(Name::Path).is_none() {
            let by_datagrams = rules.keep_alive.as_secs();
            let connection = flow.transport.is_reliable();
            let timer = if connection { FLOW_TIMER_CONNECTION_S } else { by_datagrams };
            response = response.number(Name::FlowTimer, timer);
        }
    }
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now.0));
    response.header(Name::Supported, EXTENSIONS).header(Name::Date, date).finish()
}

fn put_contact(value: &mut String, binding: &Binding, now: Wall) {
    let put = |value: &mut String| -> std::fmt::Result {
        write!(value, "<{}>;expires={}", binding.contact, binding.left_s(now))?;
        if binding.q < 1_000 {
            write!(value, ";q=0.{:03}", binding.q)?;
        }
        if let Some(instance) = &binding.instance {
            write!(value, ";+sip.instance={}", Quoted(instance.as_bytes()))?;
        }
        match binding.reg_id {
            Some(reg_id) => write!(value, ";reg-id={reg_id}"),
            None => Ok(()),
        }
    };
    put(value).expect("a string takes any text");
}
