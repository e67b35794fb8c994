//! What is checked of an INVITE before it becomes a call. What fails is answered without any state.

use bytes::Bytes;
use std::net::SocketAddr;
use tandem_sip::uri::Scheme;
use tandem_sip::{Message, Name, ResponseHead, StatusCode, Uri};

use super::requests::ALLOW;

/// The body types that an offer comes in.
const ACCEPT: &str = "application/sdp";

/// Extensions of ours that a Require may name (RFC 3261 §20.32): none yet.
const SUPPORTED: [&str; 0] = [];

/// Why an INVITE is refused, and what its response says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// A header that the status asks for.
    pub header: Option<(Name, String)>,
}

impl Refused {
    /// A refusal with no header of its own.
    pub fn with(status: StatusCode) -> Self {
        Self { status, header: None }
    }

    /// The response; `to_tag` is the same for each copy of the request.
    pub fn response(&self, request: &Message, source: SocketAddr, to_tag: &str) -> Bytes {
        let mut response = ResponseHead::of(request, source).respond(self.status, Some(to_tag));
        if let Some((name, value)) = &self.header {
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

/// Checks the INVITE of a new call (RFC 3261 §8.2).
///
/// # Errors
/// Says with which status it is refused.
pub fn screen(invite: &Message) -> Result<Screened, Refused> {
    if let Ok(Some(0)) = invite.max_forwards() {
        return Err(Refused::with(StatusCode::TOO_MANY_HOPS));
    }
    let unsupported: Vec<_> = invite
        .items(Name::Require)
        .map(|tag| String::from_utf8_lossy(tag).into_owned())
        .filter(|tag| !SUPPORTED.contains(&tag.as_str()))
        .collect();
    if !unsupported.is_empty() {
        let header = Some((Name::Unsupported, unsupported.join(", ")));
        return Err(Refused { status: StatusCode::BAD_EXTENSION, header });
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
    let contact =
        invite.contact().and_then(Result::ok).and_then(|contact| contact.parse_uri().ok().map(|_| ()));
    if contact.is_none() {
        return Err(Refused::with(StatusCode::BAD_REQUEST));
    }
    if !invite.body().is_empty() && !has_known_body(invite) {
        let header = Some((Name::Accept, ACCEPT.to_owned()));
        return Err(Refused { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, header });
    }
    let from = invite.from().map_err(|_| Refused::with(StatusCode::BAD_REQUEST))?;
    let caller = from.parse_uri().map(|uri| uri.number().into_owned()).unwrap_or_default();
    Ok(Screened { caller, called })
}

fn has_known_body(invite: &Message) -> bool {
    let content_type = invite.first(Name::ContentType).unwrap_or_default().to_ascii_lowercase();
    let encoded = invite
        .first(Name::ContentEncoding)
        .is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity"));
    !encoded && (content_type.starts_with(b"application/sdp") || content_type.starts_with(b"multipart/"))
}

/// The response to a request outside any dialog that is no INVITE (RFC 3261 §11.2, §8.2.1).
pub fn respond_outside_dialog(request: &Message, source: SocketAddr, to_tag: &str) -> Option<Bytes> {
    use tandem_sip::Method;
    let status = match request.method() {
        Some(Method::Ack) => return None,
        Some(Method::Options) => StatusCode::OK,
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
        response = response.header(Name::Accept, ACCEPT).header(Name::Supported, "");
    }
    Some(response.finish())
}
