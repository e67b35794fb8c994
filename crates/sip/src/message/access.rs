//! The headers of a message as types, each read when it is asked for.

use super::Message;
use crate::header::{
    AuthParams, CSeq, Contact, Event, HeaderError, MediaType, NameAddr, RAck, Reason, RetryAfter,
    SessionExpires, Via, decimal, leading_number, privacy_values,
};
use crate::name::Name;

impl Message {
    /// The topmost Via: of a request the previous hop, of a response ourselves.
    ///
    /// # Errors
    /// [`HeaderError`] if it is missing or malformed.
    pub fn top_via(&self) -> Result<Via<'_>, HeaderError> {
        match self.keys().top_via(self.raw()) {
            Some(via) => Ok(via),
            None => Via::parse(self.items(Name::Via).next().ok_or(HeaderError::Missing(Name::Via))?),
        }
    }

    /// From.
    ///
    /// # Errors
    /// [`HeaderError`] if it is missing or malformed.
    pub fn from(&self) -> Result<NameAddr<'_>, HeaderError> {
        NameAddr::parse(self.mandatory(Name::From)?)
    }

    /// To.
    ///
    /// # Errors
    /// [`HeaderError`] if it is missing or malformed.
    pub fn to(&self) -> Result<NameAddr<'_>, HeaderError> {
        NameAddr::parse(self.mandatory(Name::To)?)
    }

    /// The tag in From; `None` also where From cannot be read.
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.keys().from.tag(self.raw())
    }

    /// The tag in To; `None` also where To cannot be read.
    pub fn to_tag(&self) -> Option<&[u8]> {
        self.keys().to.tag(self.raw())
    }

    /// Call-ID. Compared byte by byte (RFC 3261 §20.8).
    pub fn call_id(&self) -> Option<&[u8]> {
        self.first(Name::CallId).filter(|id| !id.is_empty())
    }

    /// CSeq.
    ///
    /// # Errors
    /// [`HeaderError`] if it is missing, malformed or 2^31 and above.
    pub fn cseq(&self) -> Result<CSeq<'_>, HeaderError> {
        match self.keys().cseq(self.raw()) {
            Some(cseq) => Ok(cseq),
            None => CSeq::parse(self.mandatory(Name::CSeq)?),
        }
    }

    /// Max-Forwards; `None` without the header, which counts as 70 (RFC 3261 §16.6).
    ///
    /// # Errors
    /// [`HeaderError`] if it is not 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        let Some(value) = self.first(Name::MaxForwards) else { return Ok(None) };
        let number = decimal(value).ok_or(HeaderError::Syntax("Max-Forwards"))?;
        u8::try_from(number).map(Some).map_err(|_| HeaderError::Range("Max-Forwards"))
    }

    /// The first Contact; a `*` is an error here.
    pub fn contact(&self) -> Option<Result<NameAddr<'_>, HeaderError>> {
        self.items(Name::Contact).next().map(NameAddr::parse)
    }

    /// Every Contact.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'_>, HeaderError>> {
        self.items(Name::Contact).map(Contact::parse)
    }

    /// The values of Record-Route, topmost first, as written.
    pub fn record_routes(&self) -> impl Iterator<Item = &[u8]> {
        self.items(Name::RecordRoute)
    }

    /// The values of Route, topmost first, as written.
    pub fn routes(&self) -> impl Iterator<Item = &[u8]> {
        self.items(Name::Route)
    }

    /// The number a header starts with: Expires, Min-SE, Min-Expires, RSeq, Retry-After, Session-Expires, Flow-Timer,
    /// Max-Breadth. Parameters and comments may follow it.
    pub fn number(&self, name: Name) -> Option<Result<u32, HeaderError>> {
        self.first(name).map(|value| leading_number(value, name.as_str()).map(|(number, _)| number))
    }

    /// The values of Reason (RFC 3326), over all its lines.
    pub fn reasons(&self) -> impl Iterator<Item = Result<Reason<'_>, HeaderError>> {
        self.items(Name::Reason).map(Reason::parse)
    }

    /// Session-Expires (RFC 4028 §4).
    pub fn session_expires(&self) -> Option<Result<SessionExpires, HeaderError>> {
        self.first(Name::SessionExpires).map(SessionExpires::parse)
    }

    /// Retry-After (RFC 3261 §20.33).
    pub fn retry_after(&self) -> Option<Result<RetryAfter, HeaderError>> {
        self.first(Name::RetryAfter).map(RetryAfter::parse)
    }

    /// RAck (RFC 3262 §7.2).
    pub fn rack(&self) -> Option<Result<RAck<'_>, HeaderError>> {
        self.first(Name::RAck).map(RAck::parse)
    }

    /// Event (RFC 6665 §8.2.1).
    pub fn event(&self) -> Option<Result<Event<'_>, HeaderError>> {
        self.first(Name::Event).map(Event::parse)
    }

    /// Content-Type.
    pub fn content_type(&self) -> Option<Result<MediaType<'_>, HeaderError>> {
        self.first(Name::ContentType).map(MediaType::parse)
    }

    /// Challenges or credentials: every line of WWW-Authenticate, Proxy-Authenticate, Authorization or
    /// Proxy-Authorization. Several in one line are not allowed (RFC 3261 §7.3.1) and read as an error.
    pub fn auth(&self, name: Name) -> impl Iterator<Item = Result<AuthParams<'_>, HeaderError>> {
        self.values(name).map(AuthParams::parse)
    }

    /// P-Asserted-Identity: one or two addresses (RFC 3325 §9.1); more are ignored.
    pub fn asserted_identities(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.items(Name::PAssertedIdentity).take(2).map(NameAddr::parse)
    }

    /// Whether Privacy asks for that (RFC 3323 §4.2): `has_privacy("id")`.
    pub fn has_privacy(&self, kind: &str) -> bool {
        self.values(Name::Privacy)
            .flat_map(privacy_values)
            .any(|value| value.eq_ignore_ascii_case(kind.as_bytes()))
    }

    fn mandatory(&self, name: Name) -> Result<&[u8], HeaderError> {
        self.first(name).ok_or(HeaderError::Missing(name))
    }
}
