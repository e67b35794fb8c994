//! Whose identity is shown to whom (RFC 3323, RFC 3325).
//!
//! Within trust an asserted identity is believed and goes on, with the privacy that was asked for. Beyond it no identity
//! header goes, and the last trusted one provides the privacy: that is us. What `header` asks of Via, Record-Route and
//! Contact is done to every call, since none of these crosses the switch.

use super::action::Candidate;
use super::caller::{CallerLeg, known_lines, passed_lines};
use super::requests::header_lines;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tandem_sip::header::privacy_values;
use tandem_sip::{Message, Name};

/// Carries an identity as P-Asserted-Identity does, from before that was agreed on.
const REMOTE_PARTY_ID: &str = "Remote-Party-ID";

/// What a private caller's From says (RFC 3323 §4.1).
pub(super) const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// What a caller's INVITE says of who calls, and of who may know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Header lines that are believed.
    asserted: Bytes,
    /// The Privacy lines.
    privacy: Bytes,
    /// From, and what else tells of the caller, is kept from whom is not trusted.
    anonymous: bool,
}

/// What Privacy asks for (RFC 3323 §4.2, RFC 3325 §9.3, RFC 7044 §10.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wishes {
    /// `user`, `header` or `history`: that whatever tells of the caller is hidden.
    anonymous: bool,
    /// `none`: that nothing is.
    none: bool,
    /// `critical`: that the call fails where one of the wishes cannot be met.
    critical: bool,
    /// `session`, which takes a media relay, or something we have never heard of.
    unmet: bool,
}

impl Wishes {
    fn of(message: &Message) -> Self {
        let mut wishes = Self::default();
        for value in message.items(Name::Privacy).flat_map(privacy_values) {
            let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
            if is("user") || is("header") || is("history") {
                wishes.anonymous = true;
            } else if is("none") {
                wishes.none = true;
            } else if is("critical") {
                wishes.critical = true;
            } else if !is("id") {
                wishes.unmet = true;
            }
        }
        wishes
    }
}

/// Whether the privacy that an INVITE asks for is critical, and more than can be given (RFC 3323 §5).
pub(super) fn is_out_of_reach(invite: &Message) -> bool {
    if invite.first(Name::Privacy).is_none() {
        return false;
    }
    let wishes = Wishes::of(invite);
    wishes.critical && wishes.unmet
}

impl Identity {
    /// What an INVITE says, of a caller who is trusted or not and whose `passed` headers go on.
    pub(super) fn of(invite: &Message, trusted: bool, passed: &[String]) -> Self {
        let asserted = if trusted { identity_lines(invite, passed) } else { Bytes::new() };
        if invite.first(Name::Privacy).is_none() {
            return Self { asserted, ..Self::default() };
        }
        let wishes = Wishes::of(invite);
        Self {
            asserted,
            privacy: known_lines(invite, &[Name::Privacy]),
            anonymous: wishes.anonymous && !wishes.none,
        }
    }

    /// Whether who calls is kept from that gateway.
    pub(super) fn is_hidden_from(&self, gateway: &Candidate) -> bool {
        self.anonymous && !gateway.trusted
    }

    /// The header lines of identity for a gateway.
    pub(super) fn lines_for(&self, gateway: &Candidate) -> [&[u8]; 2] {
        if gateway.trusted { [&self.asserted, &self.privacy] } else { [b"", b""] }
    }
}

/// The identity header lines of a message whose sender is believed.
fn identity_lines(message: &Message, passed: &[String]) -> Bytes {
    let mut lines = BytesMut::new();
    let is_passed = passed.iter().any(|name| name.eq_ignore_ascii_case(REMOTE_PARTY_ID));
    for field in message.fields() {
        let is_old = is_passed && field.name == Name::Other && is_remote_party_id(field.line);
        if field.name == Name::PAssertedIdentity || is_old {
            lines.put_slice(field.line);
        }
    }
    lines.freeze()
}

/// The header lines of a gateway's response that reach the caller: by its pass-list, and who has answered where both are
/// trusted.
pub(super) fn lines_for_caller(response: &Message, gateway: &Candidate, caller: &CallerLeg) -> Bytes {
    let passed = passed_lines(response, &gateway.pass_headers);
    if !gateway.trusted || !caller.trusted {
        return passed;
    }
    let identity = identity_lines(response, &gateway.pass_headers);
    if identity.is_empty() {
        return passed;
    }
    [passed, identity, known_lines(response, &[Name::Privacy])].concat().into()
}

/// Whether a header goes by trust, whatever pass-lists say.
pub(super) fn goes_by_trust(name: &str) -> bool {
    const NAMES: [&str; 4] = ["P-Asserted-Identity", "P-Preferred-Identity", "Privacy", REMOTE_PARTY_ID];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Those of the header lines that tell nothing of who calls (RFC 3323 §5.1, RFC 7044 §10.1.2).
pub(super) fn without_traces(lines: &[u8]) -> Bytes {
    let mut kept = BytesMut::new();
    for line in header_lines(lines).filter(|line| !tells_of_caller(line)) {
        kept.put_slice(line);
    }
    kept.freeze()
}

fn name_of(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    line[..end].trim_ascii()
}

fn is_remote_party_id(line: &[u8]) -> bool {
    name_of(line).eq_ignore_ascii_case(REMOTE_PARTY_ID.as_bytes())
}

fn tells_of_caller(line: &[u8]) -> bool {
    const TRACES: [&[u8]; 3] = [b"Referred-By", b"b", b"P-Charging-Vector"];
    let name = name_of(line);
    matches!(
        Name::parse(name),
        Name::Diversion
            | Name::HistoryInfo
            | Name::Subject
            | Name::Organization
            | Name::CallInfo
            | Name::ReplyTo
            | Name::InReplyTo
            | Name::UserAgent
            | Name::Server
            | Name::Warning
    ) || TRACES.iter().any(|trace| trace.eq_ignore_ascii_case(name))
}

/// The number of the first identity that is asserted.
pub(super) fn asserted_number(message: &Message) -> Option<String> {
    let identity = message.asserted_identities().next()?.ok()?;
    identity.parse_uri().ok().map(|uri| uri.number().into_owned())
}
