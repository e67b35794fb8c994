//! What RFC 3261 asks of every message, before anybody looks at what it wants.

use super::{Defect, Message};
use crate::header::{NameAddr, kind, kinds_of};
use crate::name::{self, Name};
use crate::status::StatusCode;
use crate::uri::{Scheme, Uri};
use std::fmt;

/// A request to be answered with this status; of a response only something to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status to answer with.
    pub status: StatusCode,
    /// A reason phrase that says what is wrong, as RFC 3261 §21.4.1 asks for.
    pub reason: &'static str,
    /// The header that is wrong, if it is one.
    pub header: Option<Name>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.header {
            Some(name) => write!(f, "{} {} ({name})", self.status, self.reason),
            None => write!(f, "{} {}", self.status, self.reason),
        }
    }
}

impl std::error::Error for Rejection {}

impl Message {
    /// Checks what any element checks (RFC 3261 §7, §8.1.1, §8.2, §16.3): version, start line, framing, the mandatory
    /// headers once each and well-formed, headers of a single value not repeated, CSeq of the same method, lists within
    /// [`Limits::max_list_items`](crate::Limits::max_list_items).
    ///
    /// # Errors
    /// A [`Rejection`]: 505 for another version, 416 for a Request-URI of an unknown scheme, else 400.
    pub fn validate(&self) -> Result<(), Rejection> {
        self.check_frame()?;
        self.check_counts()?;
        self.check_lists()?;
        self.check_mandatory()?;
        if self.is_request() { self.check_request() } else { Ok(()) }
    }

    fn check_frame(&self) -> Result<(), Rejection> {
        if self.has_defect(Defect::Version) {
            let status = StatusCode::VERSION_NOT_SUPPORTED;
            return Err(Rejection { status, reason: status.reason(), header: None });
        }
        let defects = [
            (Defect::StartLine, "Malformed Start Line", None),
            (Defect::NoEmptyLine, "Incomplete Message", None),
            (Defect::ContentLength, "Malformed Content-Length", Some(Name::ContentLength)),
            (Defect::ShortBody, "Incomplete Body", Some(Name::ContentLength)),
        ];
        match defects.into_iter().find(|(defect, ..)| self.has_defect(*defect)) {
            Some((_, reason, header)) => Err(Rejection { status: StatusCode::BAD_REQUEST, reason, header }),
            None => Ok(()),
        }
    }

    fn check_counts(&self) -> Result<(), Rejection> {
        let mut seen = [false; name::COUNT];
        for line in self.lines() {
            let is_repeated = std::mem::replace(&mut seen[line.name as usize], true);
            if is_repeated && is_single(line.name) {
                return Err(bad("Repeated Header", line.name));
            }
        }
        let mandatory = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];
        match mandatory.into_iter().find(|name| !seen[*name as usize]) {
            Some(missing) => Err(bad("Missing Header", missing)),
            None => Ok(()),
        }
    }

    fn check_lists(&self) -> Result<(), Rejection> {
        let lists = [Name::Via, Name::Route, Name::RecordRoute, Name::Contact];
        // A value and its comma are two bytes.
        let may_exceed =
            |name| self.values(name).map(|value| value.len() / 2 + 1).sum::<usize>() > self.max_list_items;
        let exceeds = |name| may_exceed(name) && self.items(name).nth(self.max_list_items).is_some();
        match lists.into_iter().find(|name| exceeds(*name)) {
            Some(name) => Err(bad("Too Many Values", name)),
            None => Ok(()),
        }
    }

    fn check_mandatory(&self) -> Result<(), Rejection> {
        if self.top_via().is_err() {
            return Err(bad("Malformed Via", Name::Via));
        }
        if !self.keys().from.is_sound() {
            return Err(bad("Malformed From", Name::From));
        }
        if !self.keys().to.is_sound() {
            return Err(bad("Malformed To", Name::To));
        }
        if self.call_id().is_none_or(|id| kinds_of(id) & (kind::LWS | kind::NUL) != 0) {
            return Err(bad("Malformed Call-ID", Name::CallId));
        }
        if self.cseq().is_err() {
            return Err(bad("Malformed CSeq", Name::CSeq));
        }
        Ok(())
    }

    fn check_request(&self) -> Result<(), Rejection> {
        if self.cseq().is_ok_and(|cseq| cseq.name != self.method_name()) {
            return Err(bad("CSeq Method Mismatch", Name::CSeq));
        }
        if self.max_forwards().is_err() {
            return Err(bad("Malformed Max-Forwards", Name::MaxForwards));
        }
        if self.contacts().any(|contact| contact.is_err()) {
            return Err(bad("Malformed Contact", Name::Contact));
        }
        if self.routes().any(|route| NameAddr::parse(route).is_err()) {
            return Err(bad("Malformed Route", Name::Route));
        }
        match Uri::parse(self.request_uri()).map(|uri| uri.scheme) {
            Ok(Scheme::Sip | Scheme::Sips | Scheme::Tel) => Ok(()),
            Ok(Scheme::Other) => {
                let status = StatusCode::UNSUPPORTED_URI_SCHEME;
                Err(Rejection { status, reason: status.reason(), header: None })
            }
            Err(_) => Err(Rejection {
                status: StatusCode::BAD_REQUEST,
                reason: "Malformed Request-URI",
                header: None,
            }),
        }
    }
}

fn bad(reason: &'static str, header: Name) -> Rejection {
    Rejection { status: StatusCode::BAD_REQUEST, reason, header: Some(header) }
}

/// Headers whose value decides something and of which there may be one (RFC 3261 §7.3.1). Headers that only inform
/// (User-Agent, Subject, Date …) are not worth refusing a call for.
fn is_single(name: Name) -> bool {
    match name {
        Name::From
        | Name::To
        | Name::CallId
        | Name::CSeq
        | Name::MaxForwards
        | Name::MaxBreadth
        | Name::ContentType
        | Name::ContentLength
        | Name::RSeq
        | Name::RAck
        | Name::SessionExpires
        | Name::MinSe
        | Name::Expires
        | Name::MinExpires
        | Name::Event
        | Name::SipEtag
        | Name::SipIfMatch
        | Name::ReferTo
        | Name::ReferredBy
        | Name::Replaces
        | Name::FlowTimer
        | Name::SubscriptionState => true,
        Name::Other
        | Name::Via
        | Name::Contact
        | Name::Route
        | Name::RecordRoute
        | Name::Require
        | Name::Supported
        | Name::Unsupported
        | Name::Allow
        | Name::Accept
        | Name::Reason
        | Name::RetryAfter
        | Name::Path
        | Name::ServiceRoute
        | Name::PAssertedIdentity
        | Name::PPreferredIdentity
        | Name::Privacy
        | Name::Diversion
        | Name::HistoryInfo
        | Name::Identity
        | Name::IdentityInfo
        | Name::WwwAuthenticate
        | Name::Authorization
        | Name::ProxyAuthenticate
        | Name::ProxyAuthorization
        | Name::AuthenticationInfo
        | Name::UserAgent
        | Name::Server
        | Name::Date
        | Name::Timestamp
        | Name::Warning
        | Name::ErrorInfo
        | Name::AlertInfo
        | Name::ContentDisposition
        | Name::ContentEncoding
        | Name::ContentLanguage
        | Name::ProxyRequire
        | Name::Subject
        | Name::Organization
        | Name::AllowEvents
        | Name::AcceptEncoding
        | Name::AcceptLanguage
        | Name::AcceptContact
        | Name::RejectContact
        | Name::RequestDisposition
        | Name::CallInfo
        | Name::InReplyTo
        | Name::MimeVersion
        | Name::Priority
        | Name::ReplyTo => false,
    }
}
