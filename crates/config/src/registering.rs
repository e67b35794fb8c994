//! `register` of a routing gateway: our registration at it.

use crate::error::Problem;
use crate::section::{Section, flag, text};
use crate::values::{duration, is_host_name};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use tandem_switch::gateway::{Account, Registering};

/// Bounds of the lifetime that is asked for, in seconds.
const EXPIRES: RangeInclusive<u32> = 60..=86_400;
const DEFAULT_EXPIRES: Duration = Duration::from_secs(3600);

/// The longest user part.
const MAX_USER: usize = 64;

/// `register`, if there is one.
pub(crate) fn register(gateway: &mut Section, account: Option<&Account>) -> Option<Registering> {
    let mut section = gateway.section("register")?;
    let user = section.read("user", user);
    let domain = section.read("domain", |node| {
        let text = text(node)?;
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => Ok(format!("[{address}]")),
            Ok(IpAddr::V4(_)) => Ok(text),
            Err(_) if is_host_name(&text) => Ok(text),
            Err(_) => Err(Problem::NotA { expected: "a domain, or an address" }),
        }
    });
    let contact = section.read("contact", self::user);
    let expires = section.read("expires", duration(EXPIRES));
    let required = section.read("required", flag);
    let user = user.map(|spot| spot.value).or(account.map(|account| account.username.clone()));
    if user.is_none() {
        section.missing("user", "the user to register as (unless set, the gateway's username)");
    }
    gateway.adopt(section);
    let user = user?;
    Some(Registering {
        contact: contact.map_or_else(|| user.clone(), |spot| spot.value),
        user,
        domain: domain.map(|spot| spot.value),
        expires: expires.map_or(DEFAULT_EXPIRES, |spot| spot.value),
        required: required.is_none_or(|spot| spot.value),
    })
}

/// The user part of a URI, as it is written there (RFC 3261 §25.1).
fn user(node: crate::tree::Node) -> Result<String, Problem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&byte);
    match text(node)? {
        user if (1..=MAX_USER).contains(&user.len()) && user.bytes().all(is_plain) => Ok(user),
        _ => Err(Problem::NotA { expected: "the user part of a SIP URI, such as 4420 or tandem" }),
    }
}
