//! A gateway's publication of its own state (PUBLISH, RFC 3903).
//!
//! One publication stands for each gateway. One that comes without SIP-If-Match takes the place of the one before: a gateway
//! that was restarted does not know its entity-tag any more, and what it said before may not keep it open.

pub mod pidf;
#[cfg(test)]
mod tests;

use crate::call::{Refused, check_required};
use bytes::Bytes;
use pidf::{Basic, Presence};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::header::MediaType;
use tandem_sip::time::Wall;
use tandem_sip::{Message, Name, StatusCode};

/// The event package that gateways publish (RFC 3856).
pub const PACKAGE: &str = "presence";

/// The shortest lifetime that may be asked for, in seconds; 0 removes.
pub const MIN_EXPIRES_S: u32 = 30;

/// The longest body that is kept, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The only body that says something; others are kept as they are.
const PIDF_TYPE: &str = "application/pidf+xml";

/// What a gateway has published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The entity-tag: another one after each PUBLISH (RFC 3903 §6 step 6).
    pub etag: Arc<str>,
    /// Whether it takes calls.
    pub basic: Basic,
    /// How many calls it takes at once, if it says.
    pub capacity: Option<u32>,
    /// The type of the body.
    pub content_type: Arc<str>,
    /// The body as it came.
    pub body: Bytes,
    /// When the first of the publications that were refreshed up to this one came.
    pub since: Wall,
    /// When the last PUBLISH came.
    pub refreshed: Wall,
    /// When it lapses.
    pub expires: Wall,
    /// Whether the gateway has removed it.
    pub removed: bool,
}

/// How a publication stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds.
    Alive,
    /// It was not refreshed in time.
    Lapsed,
    /// The gateway took it back.
    Removed,
}

/// The body that a PUBLISH brings, if any.
struct Published {
    content_type: Arc<str>,
    body: Bytes,
    /// What it says, if it is of a type that is read.
    presence: Option<Presence>,
}

impl Publication {
    /// How it stands.
    pub fn standing(&self, now: Wall) -> Standing {
        match self.removed {
            true => Standing::Removed,
            false if self.expires <= now => Standing::Lapsed,
            false => Standing::Alive,
        }
    }

    /// The lifetime that was granted, in seconds.
    pub fn granted_s(&self) -> u32 {
        u32::try_from(self.expires.since(self.refreshed).as_secs()).unwrap_or(u32::MAX)
    }
}

/// What stands after a PUBLISH: `current` is what stood before it, `longest` the lifetime that the gateway is granted at
/// most (`SS_SIP_PUBLISH_EXPIRE`), `etag` one that was never used.
///
/// # Errors
/// Says with which status it is refused (RFC 3903 §6); nothing changes then.
pub fn publish(
    request: &Message,
    current: Option<&Publication>,
    longest: Duration,
    now: Wall,
    etag: Arc<str>,
) -> Result<Publication, Refused> {
    check_required(request, "")?;
    check_event(request)?;
    let current = current.filter(|current| current.standing(now) == Standing::Alive);
    let matched = match sole_match(request)? {
        None => None,
        Some(tag) => match current.filter(|current| current.etag.as_bytes() == tag) {
            None => return Err(Refused::with(StatusCode::CONDITIONAL_REQUEST_FAILED)),
            Some(current) => Some(current),
        },
    };
    let lifetime_s = lifetime_s(request, longest)?;
    let published = if lifetime_s == 0 { None } else { body(request)? };
    let expires = Wall(now.0.saturating_add(u64::from(lifetime_s) * 1000));
    let empty = Publication {
        etag,
        basic: Basic::Open,
        capacity: None,
        content_type: Arc::from(""),
        body: Bytes::new(),
        since: matched.map_or(now, |matched| matched.since),
        refreshed: now,
        expires,
        removed: lifetime_s == 0,
    };
    let (content_type, body, presence) = match (published, matched) {
        (Some(Published { content_type, body, presence }), _) => (content_type, body, presence),
        // A refresh, or a removal: all stays as it was.
        (None, Some(matched)) => (matched.content_type.clone(), matched.body.clone(), None),
        (None, None) if lifetime_s == 0 => return Ok(empty),
        // An initial publication has a body (§4.2).
        (None, None) => return Err(Refused::with(StatusCode::BAD_REQUEST)),
    };
    let (basic, capacity) = match (presence, current) {
        (Some(Presence { basic: Some(basic), capacity }), _) => (basic, capacity),
        // What says nothing about calls leaves the state as it was.
        (Some(_) | None, Some(current)) => (current.basic, current.capacity),
        (Some(_) | None, None) => (Basic::Open, None),
    };
    Ok(Publication { content_type, body, basic, capacity, ..empty })
}

/// §6 step 2.
fn check_event(request: &Message) -> Result<(), Refused> {
    match request.event() {
        Some(Ok(event)) if event.package.eq_ignore_ascii_case(PACKAGE.as_bytes()) => Ok(()),
        Some(Err(_)) => Err(Refused::with(StatusCode::BAD_REQUEST)),
        Some(Ok(_)) | None => Err(Refused::and(StatusCode::BAD_EVENT, Name::AllowEvents, PACKAGE)),
    }
}

/// The entity-tag that has to stand, if one is named; naming several is an error (§6 step 3).
fn sole_match(request: &Message) -> Result<Option<&[u8]>, Refused> {
    let mut tags = request.items(Name::SipIfMatch);
    match (tags.next(), tags.next()) {
        (_, Some(_)) | (Some(b""), None) => Err(Refused::with(StatusCode::BAD_REQUEST)),
        (tag, None) => Ok(tag),
    }
}

/// §6 step 4.
fn lifetime_s(request: &Message, longest: Duration) -> Result<u32, Refused> {
    let longest_s = u32::try_from(longest.as_secs()).unwrap_or(u32::MAX);
    match request.number(Name::Expires) {
        None => Ok(longest_s),
        Some(Err(_)) => Err(Refused::with(StatusCode::BAD_REQUEST)),
        Some(Ok(0)) => Ok(0),
        Some(Ok(asked_s)) if asked_s < MIN_EXPIRES_S => {
            let least = MIN_EXPIRES_S.to_string();
            Err(Refused::and(StatusCode::INTERVAL_TOO_BRIEF, Name::MinExpires, least))
        }
        Some(Ok(asked_s)) => Ok(asked_s.min(longest_s)),
    }
}

/// §6 step 5.
fn body(request: &Message) -> Result<Option<Published>, Refused> {
    let body = request.body();
    if body.is_empty() {
        return Ok(None);
    }
    if !request.items(Name::ContentEncoding).all(|encoding| encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Refused::and(StatusCode::UNSUPPORTED_MEDIA_TYPE, Name::AcceptEncoding, "identity"));
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(Refused::with(StatusCode::REQUEST_ENTITY_TOO_LARGE));
    }
    let unnamed = || Refused::and(StatusCode::UNSUPPORTED_MEDIA_TYPE, Name::Accept, PIDF_TYPE);
    let written = request.first(Name::ContentType).ok_or_else(unnamed)?;
    let media = MediaType::parse(written).map_err(|_| unnamed())?;
    let is_pidf = media.is("application", "pidf+xml");
    let presence = is_pidf.then(|| pidf::read(body)).transpose();
    let presence = presence.map_err(|_| Refused::with(StatusCode::BAD_REQUEST))?;
    Ok(Some(Published {
        presence,
        content_type: String::from_utf8_lossy(written).into(),
        // A copy, since a slice would keep the whole datagram.
        body: Bytes::copy_from_slice(body),
    }))
}
