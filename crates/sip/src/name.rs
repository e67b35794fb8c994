//! Header names: recognised once, at parsing, whatever their case or form.

use std::fmt;

/// A header we know, or [`Name::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A header without a variant of its own; its name is [`Field::raw_name`](crate::Field::raw_name).
    Other,
    /// `Via`, compact `v` (RFC 3261 §20.42).
    Via,
    /// `From`, compact `f` (RFC 3261 §20.20).
    From,
    /// `To`, compact `t` (RFC 3261 §20.39).
    To,
    /// `Call-ID`, compact `i` (RFC 3261 §20.8).
    CallId,
    /// `CSeq` (RFC 3261 §20.16).
    CSeq,
    /// `Contact`, compact `m` (RFC 3261 §20.10).
    Contact,
    /// `Max-Forwards` (RFC 3261 §20.22).
    MaxForwards,
    /// `Route` (RFC 3261 §20.34).
    Route,
    /// `Record-Route` (RFC 3261 §20.30).
    RecordRoute,
    /// `Content-Type`, compact `c` (RFC 3261 §20.15).
    ContentType,
    /// `Content-Length`, compact `l` (RFC 3261 §20.14).
    ContentLength,
    /// `Require` (RFC 3261 §20.32).
    Require,
    /// `Supported`, compact `k` (RFC 3261 §20.37).
    Supported,
    /// `Unsupported` (RFC 3261 §20.40).
    Unsupported,
    /// `Allow` (RFC 3261 §20.5).
    Allow,
    /// `Accept` (RFC 3261 §20.1).
    Accept,
    /// `Reason` (RFC 3326).
    Reason,
    /// `Retry-After` (RFC 3261 §20.33).
    RetryAfter,
    /// `RSeq` (RFC 3262 §7.1).
    RSeq,
    /// `RAck` (RFC 3262 §7.2).
    RAck,
    /// `Session-Expires`, compact `x` (RFC 4028 §4).
    SessionExpires,
    /// `Min-SE` (RFC 4028 §5).
    MinSe,
    /// `Expires` (RFC 3261 §20.19).
    Expires,
    /// `Min-Expires` (RFC 3261 §20.23).
    MinExpires,
    /// `Event`, compact `o` (RFC 6665 §8.2.1).
    Event,
    /// `SIP-ETag` (RFC 3903 §11.3.1).
    SipEtag,
    /// `SIP-If-Match` (RFC 3903 §11.3.2).
    SipIfMatch,
    /// `Path` (RFC 3327 §4).
    Path,
    /// `Service-Route` (RFC 3608 §5).
    ServiceRoute,
    /// `P-Asserted-Identity` (RFC 3325 §9.1).
    PAssertedIdentity,
    /// `P-Preferred-Identity` (RFC 3325 §9.2).
    PPreferredIdentity,
    /// `Privacy` (RFC 3323 §4.2).
    Privacy,
    /// `Diversion` (RFC 5806).
    Diversion,
    /// `History-Info` (RFC 7044).
    HistoryInfo,
    /// `Identity`, compact `y` (RFC 8224 §4).
    Identity,
    /// `Identity-Info`, compact `n` (RFC 4474; obsolete, still seen).
    IdentityInfo,
    /// `WWW-Authenticate` (RFC 3261 §20.44).
    WwwAuthenticate,
    /// `Authorization` (RFC 3261 §20.7).
    Authorization,
    /// `Proxy-Authenticate` (RFC 3261 §20.27).
    ProxyAuthenticate,
    /// `Proxy-Authorization` (RFC 3261 §20.28).
    ProxyAuthorization,
    /// `Authentication-Info` (RFC 3261 §20.6).
    AuthenticationInfo,
    /// `Refer-To`, compact `r` (RFC 3515 §2.1).
    ReferTo,
    /// `Referred-By`, compact `b` (RFC 3892 §3).
    ReferredBy,
    /// `Replaces` (RFC 3891 §6.1).
    Replaces,
    /// `Max-Breadth` (RFC 5393 §5.3.2).
    MaxBreadth,
    /// `User-Agent` (RFC 3261 §20.41).
    UserAgent,
    /// `Server` (RFC 3261 §20.35).
    Server,
    /// `Date` (RFC 3261 §20.17).
    Date,
    /// `Timestamp` (RFC 3261 §20.38).
    Timestamp,
    /// `Warning` (RFC 3261 §20.43).
    Warning,
    /// `Error-Info` (RFC 3261 §20.18).
    ErrorInfo,
    /// `Alert-Info` (RFC 3261 §20.4).
    AlertInfo,
    /// `Content-Disposition` (RFC 3261 §20.11).
    ContentDisposition,
    /// `Content-Encoding`, compact `e` (RFC 3261 §20.12).
    ContentEncoding,
    /// `Content-Language` (RFC 3261 §20.13).
    ContentLanguage,
    /// `Proxy-Require` (RFC 3261 §20.29).
    ProxyRequire,
    /// `Subject`, compact `s` (RFC 3261 §20.36).
    Subject,
    /// `Organization` (RFC 3261 §20.25).
    Organization,
    /// `Flow-Timer` (RFC 5626 §10).
    FlowTimer,
    /// `Allow-Events`, compact `u` (RFC 6665 §8.2.2).
    AllowEvents,
    /// `Accept-Encoding` (RFC 3261 §20.2).
    AcceptEncoding,
    /// `Accept-Language` (RFC 3261 §20.3).
    AcceptLanguage,
    /// `Accept-Contact`, compact `a` (RFC 3841 §9.2).
    AcceptContact,
    /// `Reject-Contact`, compact `j` (RFC 3841 §9.2).
    RejectContact,
    /// `Request-Disposition`, compact `d` (RFC 3841 §9.1).
    RequestDisposition,
    /// `Call-Info` (RFC 3261 §20.9).
    CallInfo,
    /// `In-Reply-To` (RFC 3261 §20.21).
    InReplyTo,
    /// `MIME-Version` (RFC 3261 §20.24).
    MimeVersion,
    /// `Priority` (RFC 3261 §20.26).
    Priority,
    /// `Reply-To` (RFC 3261 §20.31).
    ReplyTo,
    /// `Subscription-State` (RFC 6665 §8.2.3).
    SubscriptionState,
}

/// Canonical spelling and compact form (0 = none) of every name but [`Name::Other`], in the order of the enum.
const SPELLINGS: [(Name, &str, u8); 71] = [
    (Name::Via, "Via", b'v'),
    (Name::From, "From", b'f'),
    (Name::To, "To", b't'),
    (Name::CallId, "Call-ID", b'i'),
    (Name::CSeq, "CSeq", 0),
    (Name::Contact, "Contact", b'm'),
    (Name::MaxForwards, "Max-Forwards", 0),
    (Name::Route, "Route", 0),
    (Name::RecordRoute, "Record-Route", 0),
    (Name::ContentType, "Content-Type", b'c'),
    (Name::ContentLength, "Content-Length", b'l'),
    (Name::Require, "Require", 0),
    (Name::Supported, "Supported", b'k'),
    (Name::Unsupported, "Unsupported", 0),
    (Name::Allow, "Allow", 0),
    (Name::Accept, "Accept", 0),
    (Name::Reason, "Reason", 0),
    (Name::RetryAfter, "Retry-After", 0),
    (Name::RSeq, "RSeq", 0),
    (Name::RAck, "RAck", 0),
    (Name::SessionExpires, "Session-Expires", b'x'),
    (Name::MinSe, "Min-SE", 0),
    (Name::Expires, "Expires", 0),
    (Name::MinExpires, "Min-Expires", 0),
    (Name::Event, "Event", b'o'),
    (Name::SipEtag, "SIP-ETag", 0),
    (Name::SipIfMatch, "SIP-If-Match", 0),
    (Name::Path, "Path", 0),
    (Name::ServiceRoute, "Service-Route", 0),
    (Name::PAssertedIdentity, "P-Asserted-Identity", 0),
    (Name::PPreferredIdentity, "P-Preferred-Identity", 0),
    (Name::Privacy, "Privacy", 0),
    (Name::Diversion, "Diversion", 0),
    (Name::HistoryInfo, "History-Info", 0),
    (Name::Identity, "Identity", b'y'),
    (Name::IdentityInfo, "Identity-Info", b'n'),
    (Name::WwwAuthenticate, "WWW-Authenticate", 0),
    (Name::Authorization, "Authorization", 0),
    (Name::ProxyAuthenticate, "Proxy-Authenticate", 0),
    (Name::ProxyAuthorization, "Proxy-Authorization", 0),
    (Name::AuthenticationInfo, "Authentication-Info", 0),
    (Name::ReferTo, "Refer-To", b'r'),
    (Name::ReferredBy, "Referred-By", b'b'),
    (Name::Replaces, "Replaces", 0),
    (Name::MaxBreadth, "Max-Breadth", 0),
    (Name::UserAgent, "User-Agent", 0),
    (Name::Server, "Server", 0),
    (Name::Date, "Date", 0),
    (Name::Timestamp, "Timestamp", 0),
    (Name::Warning, "Warning", 0),
    (Name::ErrorInfo, "Error-Info", 0),
    (Name::AlertInfo, "Alert-Info", 0),
    (Name::ContentDisposition, "Content-Disposition", 0),
    (Name::ContentEncoding, "Content-Encoding", b'e'),
    (Name::ContentLanguage, "Content-Language", 0),
    (Name::ProxyRequire, "Proxy-Require", 0),
    (Name::Subject, "Subject", b's'),
    (Name::Organization, "Organization", 0),
    (Name::FlowTimer, "Flow-Timer", 0),
    (Name::AllowEvents, "Allow-Events", b'u'),
    (Name::AcceptEncoding, "Accept-Encoding", 0),
    (Name::AcceptLanguage, "Accept-Language", 0),
    (Name::AcceptContact, "Accept-Contact", b'a'),
    (Name::RejectContact, "Reject-Contact", b'j'),
    (Name::RequestDisposition, "Request-Disposition", b'd'),
    (Name::CallInfo, "Call-Info", 0),
    (Name::InReplyTo, "In-Reply-To", 0),
    (Name::MimeVersion, "MIME-Version", 0),
    (Name::Priority, "Priority", 0),
    (Name::ReplyTo, "Reply-To", 0),
    (Name::SubscriptionState, "Subscription-State", 0),
];

/// How many names [`Name`] has, [`Name::Other`] included.
pub(crate) const COUNT: usize = SPELLINGS.len() + 1;

const NOBODY: u8 = u8::MAX;

/// A perfect hash: the factor under which every spelling has a slot of its own, and for each slot the index in
/// [`SPELLINGS`]. A look-up compares one name.
const SLOTS: (u32, [u8; 1 << SLOT_BITS]) = {
    let mut factor = FIRST_FACTOR;
    loop {
        match slots_under(factor) {
            Some(slots) => break (factor, slots),
            None => factor = factor.wrapping_add(2),
        }
    }
};

const SLOT_BITS: u32 = 9;

/// 2^32 divided by the golden ratio: a start as good as any.
const FIRST_FACTOR: u32 = 0x9e37_79b9;

const fn slots_under(factor: u32) -> Option<[u8; 1 << SLOT_BITS]> {
    let mut slots = [NOBODY; 1 << SLOT_BITS];
    let mut index = 0;
    while index < SPELLINGS.len() {
        let slot = slot_of(SPELLINGS[index].1.as_bytes(), factor);
        if slots[slot] != NOBODY {
            return None;
        }
        slots[slot] = index as u8;
        index += 1;
    }
    Some(slots)
}

/// By length, first, middle and last letter in any case: no two names agree in all of them. `name` is not empty.
const fn slot_of(name: &[u8], factor: u32) -> usize {
    let (first, middle, last) = (name[0], name[name.len() / 2], name[name.len() - 1]);
    let folded = u32::from_le_bytes([first | 0x20, middle | 0x20, last | 0x20, name.len() as u8]);
    (folded.wrapping_mul(factor) >> (u32::BITS - SLOT_BITS)) as usize
}

/// For each lower-case letter, the index in [`SPELLINGS`] of the header it abbreviates (RFC 3261 §7.3.3).
const BY_LETTER: [u8; 26] = {
    let mut table = [NOBODY; 26];
    let mut index = 0;
    while index < SPELLINGS.len() {
        let letter = SPELLINGS[index].2;
        if letter != 0 {
            table[(letter - b'a') as usize] = index as u8;
        }
        index += 1;
    }
    table
};

impl Name {
    /// Recognises a name in any case, long or compact (RFC 3261 §7.3.1, §7.3.3).
    pub fn parse(name: &[u8]) -> Name {
        if let [letter @ (b'a'..=b'z' | b'A'..=b'Z')] = name {
            return by_index(BY_LETTER[usize::from(letter.to_ascii_lowercase() - b'a')]);
        }
        if name.is_empty() {
            return Name::Other;
        }
        let index = SLOTS.1[slot_of(name, SLOTS.0)];
        match SPELLINGS.get(usize::from(index)) {
            Some((known, spelling, _)) if is_spelled(name, spelling.as_bytes()) => *known,
            Some(_) | None => Name::Other,
        }
    }

    /// The canonical spelling, as we print it. Empty for [`Name::Other`].
    pub fn as_str(self) -> &'static str {
        match (self as usize).checked_sub(1) {
            Some(index) => SPELLINGS[index].1,
            None => "",
        }
    }

    /// The compact form (RFC 3261 §7.3.3), if one is registered.
    pub fn compact(self) -> Option<char> {
        let index = (self as usize).checked_sub(1)?;
        Some(SPELLINGS[index].2).filter(|letter| *letter != 0).map(char::from)
    }

    /// Every name but [`Name::Other`].
    pub fn all() -> impl Iterator<Item = Name> {
        SPELLINGS.iter().map(|(name, _, _)| *name)
    }
}

/// A set of names.
#[derive(Clone, Copy, Default)]
pub(crate) struct NameSet([u64; COUNT.div_ceil(64)]);

impl NameSet {
    pub(crate) fn contains(&self, name: Name) -> bool {
        let (word, bit) = Self::place(name);
        self.0[word] & bit != 0
    }

    pub(crate) fn insert(&mut self, name: Name) {
        let (word, bit) = Self::place(name);
        self.0[word] |= bit;
    }

    fn place(name: Name) -> (usize, u64) {
        (name as usize / 64, 1 << (name as usize % 64))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether that is the name in any case. Most senders write it as we do, which is seen far sooner.
fn is_spelled(name: &[u8], spelling: &[u8]) -> bool {
    name == spelling || name.eq_ignore_ascii_case(spelling)
}

fn by_index(index: u8) -> Name {
    SPELLINGS.get(usize::from(index)).map_or(Name::Other, |(name, _, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_stands_at_its_own_place() {
        for (index, (name, spelling, _)) in SPELLINGS.iter().enumerate() {
            assert_eq!(*name as usize, index + 1, "{spelling}");
            assert_eq!(name.as_str(), *spelling);
        }
    }

    #[test]
    fn names_are_recognised_in_any_case_and_in_compact_form() {
        for name in Name::all() {
            assert_eq!(Name::parse(name.as_str().as_bytes()), name);
            assert_eq!(Name::parse(name.as_str().to_uppercase().as_bytes()), name);
            assert_eq!(Name::parse(name.as_str().to_lowercase().as_bytes()), name);
            if let Some(letter) = name.compact() {
                assert_eq!(Name::parse(letter.to_string().as_bytes()), name);
                assert_eq!(Name::parse(letter.to_uppercase().to_string().as_bytes()), name);
            }
        }
    }

    #[test]
    fn anything_else_is_other() {
        let unknown: [&[u8]; 6] = [b"", b"q", b"X-Account", b"Vi\xe1", b"Call_ID", &[b'a'; 300]];
        for name in unknown {
            assert_eq!(Name::parse(name), Name::Other);
        }
    }
}
