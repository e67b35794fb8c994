//! What is checked of an INVITE before it becomes a call. What fails is answered without any state.

use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::header::{MediaType, find_param};
use tandem_sip::reliable::OPTION_TAG as RELIABLE;
use tandem_sip::session_timer::{TimerHeaders, TooSmall};
use tandem_sip::uri::Scheme;
use tandem_sip::{Message, Name, ResponseHead, StatusCode, Uri};

use super::requests::ALLOW;
use crate::parameters::{CallParameters, ReliableProvisionals};

/// The body types that an offer comes in.
pub(super) const ACCEPT: &str = "application/sdp";

/// The encodings of a body that are understood: none but its own bytes.
const ACCEPT_ENCODING: &str = "identity";

/// The language of reason phrases.
const ACCEPT_LANGUAGE: &str = "en";

/// Why a request is refused, and what its response says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// The headers that the status asks for.
    pub headers: Vec<(Name, String)>,
}

impl Refused {
    /// A refusal with no header of its own.
    pub fn with(status: StatusCode) -> Self {
        Self { status, headers: Vec::new() }
    }

    /// A refusal with the header that its status asks for.
    pub fn and(status: StatusCode, name: Name, value: impl Into<String>) -> Self {
        Self { status, headers: vec![(name, value.into())] }
    }

    /// The response; `to_tag` is the same for each copy of the request.
    pub fn response(&self, request: &Message, source: SocketAddr, to_tag: &str) -> Bytes {
        let mut response = ResponseHead::of(request, source).respond(self.status, Some(to_tag));
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        response.finish()
    }
}

/// The numbers of a call whose INVITE is fit to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screened {
    /// From whom.
    pub caller: String,
    /// To whom.
    pub called: String,
}

/// An offer is answered with a session description: a caller that takes none cannot be (RFC 3261 §20.1, §21.4.7).
fn check_accepted(invite: &Message) -> Result<(), Refused> {
    let ranges = [ACCEPT, "application/*", "*/*"];
    let is_ours = |item: &[u8]| {
        let range = item.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        ranges.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(range))
    };
    if invite.first(Name::Accept).is_some() && !invite.items(Name::Accept).any(is_ours) {
        return Err(Refused::with(StatusCode::NOT_ACCEPTABLE));
    }
    Ok(())
}

/// Who can be sent requests: by a Contact, or by its address where it knows RFC 2543 only (no branch of RFC 3261), which
/// did not ask for one.
fn check_contact(invite: &Message) -> Result<(), Refused> {
    let is_sound = match invite.contact() {
        Some(contact) => contact.is_ok_and(|contact| contact.parse_uri().is_ok()),
        None => invite.top_via().is_ok_and(|via| !via.has_magic_cookie()),
    };
    if is_sound { Ok(()) } else { Err(Refused::with(StatusCode::BAD_REQUEST)) }
}

/// Checks the INVITE of a new call (RFC 3261 §8.2) from a mapping gateway with these parameters.
///
/// # Errors
/// Says with which status it is refused.
pub fn screen(invite: &Message, parameters: &CallParameters) -> Result<Screened, Refused> {
    if let Ok(Some(0)) = invite.max_forwards() {
        return Err(Refused::with(StatusCode::TOO_MANY_HOPS));
    }
    match invite.number(Name::MaxBreadth) {
        None | Some(Ok(1..)) => {}
        // RFC 5393 §5.3.3.1.
        Some(Ok(0)) => return Err(Refused::with(StatusCode::MAX_BREADTH_EXCEEDED)),
        Some(Err(_)) => return Err(Refused::with(StatusCode::BAD_REQUEST)),
    }
    screen_extensions(invite, parameters)?;
    screen_session(invite, parameters)?;
    // A call that is to take another's place (RFC 3891 §3), which would be a second call if it were ignored.
    if invite.first(Name::Replaces).is_some() {
        return Err(Refused::with(StatusCode::DECLINE));
    }
    if super::privacy::is_out_of_reach(invite) {
        return Err(Refused::with(StatusCode::SERVER_INTERNAL_ERROR));
    }
    let uri = Uri::parse(invite.request_uri()).map_err(|_| Refused::with(StatusCode::BAD_REQUEST))?;
    match uri.scheme {
        Scheme::Sip | Scheme::Sips | Scheme::Tel => {}
        Scheme::Other => return Err(Refused::with(StatusCode::UNSUPPORTED_URI_SCHEME)),
    }
    let called = uri.number().into_owned();
    if called.is_empty() {
        return Err(Refused::with(StatusCode::NOT_FOUND));
    }
    check_contact(invite)?;
    check_accepted(invite)?;
    if !invite.body().is_empty() && !may_be_ignored(invite) {
        check_body(invite)?;
    }
    let from = invite.from().map_err(|_| Refused::with(StatusCode::BAD_REQUEST))?;
    let caller = from.parse_uri().map(|uri| uri.number().into_owned()).unwrap_or_default();
    Ok(Screened { caller, called })
}

/// Whether the body of a request is of a type and encoding that is understood (RFC 3261 §8.2.3).
///
/// # Errors
/// 415 with what would be.
fn check_body(request: &Message) -> Result<(), Refused> {
    let is_identity = |encoding: &[u8]| encoding.eq_ignore_ascii_case(ACCEPT_ENCODING.as_bytes());
    if !request.items(Name::ContentEncoding).all(is_identity) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refused::and(status, Name::AcceptEncoding, ACCEPT_ENCODING));
    }
    let media = request.first(Name::ContentType).and_then(|media| MediaType::parse(media).ok());
    let is_known = |media: MediaType<'_>| {
        media.is("application", "sdp") || media.kind.eq_ignore_ascii_case(b"multipart")
    };
    if media.is_some_and(is_known) {
        return Ok(());
    }
    Err(Refused::and(StatusCode::UNSUPPORTED_MEDIA_TYPE, Name::Accept, ACCEPT))
}

/// Whether the sender lets a body be ignored that is not understood (RFC 3261 §20.11, RFC 3204).
fn may_be_ignored(request: &Message) -> bool {
    request.first(Name::ContentDisposition).is_some_and(|disposition| {
        let params =
            disposition.iter().position(|byte| *byte == b';').map_or(&[][..], |at| &disposition[at..]);
        find_param(params, "handling").flatten().is_some_and(|how| how.eq_ignore_ascii_case(b"optional"))
    })
}

/// Whether the request has a body, and one that is understood.
pub(super) fn has_known_body(request: &Message) -> bool {
    !request.body().is_empty() && check_body(request).is_ok()
}

/// What the sender requires of us: 420 with what we do not have in Unsupported (§8.2.2.3).
pub(crate) fn check_required(request: &Message, known: &str) -> Result<(), Refused> {
    let is_known = |tag: &[u8]| known.split(", ").any(|known| tag.eq_ignore_ascii_case(known.as_bytes()));
    let unsupported: Vec<_> = request
        .items(Name::Require)
        .filter(|tag| !is_known(tag))
        .map(|tag| String::from_utf8_lossy(tag).into_owned())
        .collect();
    if unsupported.is_empty() {
        return Ok(());
    }
    Err(Refused::and(StatusCode::BAD_EXTENSION, Name::Unsupported, unsupported.join(", ")))
}

/// Whether an INVITE or UPDATE inside a dialog requires only what is known here, and brings only what is understood.
///
/// # Errors
/// The status that it gets, and header lines that this asks for.
pub(super) fn check_inside(
    request: &Message,
    parameters: &CallParameters,
) -> Result<(), (StatusCode, Vec<u8>)> {
    let has_body = !request.body().is_empty();
    let body = || if has_body { check_body(request) } else { Ok(()) };
    check_required(request, option_tags(parameters)).and_then(|()| body()).map_err(|refused| {
        let line = |(name, value): (Name, String)| format!("{}: {value}\r\n", name.as_str());
        (refused.status, refused.headers.into_iter().map(line).collect::<String>().into_bytes())
    })
}

/// What the caller requires of us, and what we require of it.
fn screen_extensions(invite: &Message, parameters: &CallParameters) -> Result<(), Refused> {
    check_required(invite, option_tags(parameters))?;
    let required = match parameters.reliable_provisionals {
        ReliableProvisionals::Off | ReliableProvisionals::Supported => false,
        ReliableProvisionals::Required => true,
    };
    if required && !knows_reliable(invite) {
        return Err(Refused::and(StatusCode::EXTENSION_REQUIRED, Name::Require, RELIABLE));
    }
    Ok(())
}

/// Whether the session interval that the caller asks for is long enough (RFC 4028 §9).
fn screen_session(invite: &Message, parameters: &CallParameters) -> Result<(), Refused> {
    let asked = TimerHeaders::of(invite).map_err(|_| Refused::with(StatusCode::BAD_REQUEST))?;
    parameters.session.screen(&asked).map_err(|TooSmall { min_se }| {
        Refused::and(StatusCode::SESSION_INTERVAL_TOO_SMALL, Name::MinSe, min_se.to_string())
    })
}

/// The option tags that a Require on the caller's leg may name (RFC 3261 §20.32, §20.37).
fn option_tags(parameters: &CallParameters) -> &'static str {
    match parameters.reliable_provisionals {
        ReliableProvisionals::Off => "timer",
        ReliableProvisionals::Supported | ReliableProvisionals::Required => "100rel, timer",
    }
}

/// Whether its sender can take reliable provisional responses (RFC 3262 §4).
pub(super) fn knows_reliable(invite: &Message) -> bool {
    invite.has_token(Name::Supported, RELIABLE) || invite.has_token(Name::Require, RELIABLE)
}

/// The response to a request outside any dialog that is no INVITE (RFC 3261 §11.2, §8.2.1). `parameters` are those of the
/// mapping gateway that it comes from.
pub fn respond_outside_dialog(
    request: &Message,
    source: SocketAddr,
    to_tag: &str,
    parameters: Option<&CallParameters>,
) -> Option<Bytes> {
    use tandem_sip::Method;
    let known = parameters.map_or("", option_tags);
    let status = match request.method() {
        Some(Method::Ack) => return None,
        Some(Method::Options) => match check_required(request, known) {
            Ok(()) => StatusCode::OK,
            Err(refused) => return Some(refused.response(request, source, to_tag)),
        },
        Some(Method::Bye | Method::Cancel | Method::PRack | Method::Update) => {
            StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST
        }
        Some(Method::Refer) => StatusCode::DECLINE,
        Some(
            Method::Invite
            | Method::Info
            | Method::Message
            | Method::Notify
            | Method::Publish
            | Method::Register
            | Method::Subscribe,
        ) => StatusCode::METHOD_NOT_ALLOWED,
        None => StatusCode::NOT_IMPLEMENTED,
    };
    let mut response = ResponseHead::of(request, source).respond(status, Some(to_tag));
    if matches!(status.code(), 200 | 405 | 501) {
        response = response.header(Name::Allow, ALLOW);
    }
    if status == StatusCode::OK {
        response = response
            .header(Name::Accept, ACCEPT)
            .header(Name::AcceptEncoding, ACCEPT_ENCODING)
            .header(Name::AcceptLanguage, ACCEPT_LANGUAGE)
            .header(Name::Supported, known);
    }
    Some(response.finish())
}
