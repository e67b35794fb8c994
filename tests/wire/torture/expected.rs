//! What the switch answers to each torture message: the table by class, and by message of ours.

use super::corpus::{Sample, Verdict};
use super::vendor::REFUSAL;

/// What the sender of a message hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing: it is dropped and counted.
    Silence,
    /// That status, whoever sends it.
    Status(u16),
    /// An INVITE that is well-formed and refused with that status for what it asks; a stranger gets 403.
    Screened(u16),
    /// An INVITE that becomes a call: it reaches the gateway, which refuses it. A stranger gets 403.
    Call,
    /// Two messages, each with its status; the gateway's refusal for one that becomes a call.
    Both(u16, u16),
}

impl Answer {
    /// What it is for somebody that the switch takes no calls from.
    pub(super) fn to_a_stranger(self) -> Answer {
        match self {
            Answer::Screened(_) | Answer::Call => Answer::Status(403),
            Answer::Both(first, REFUSAL) => Answer::Both(first, 403),
            Answer::Silence | Answer::Status(_) | Answer::Both(..) => self,
        }
    }
}

/// One message of the RFCs, by the name of its file in their archives, and the message of ours that stands for it.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) file: &'static str,
    /// RFC and section.
    pub(super) section: &'static str,
    /// What the switch makes of it, where the RFC leaves a choice.
    pub(super) note: &'static str,
    pub(super) sample: &'static str,
}

const fn class(file: &'static str, section: &'static str, sample: &'static str, note: &'static str) -> Class {
    Class { file, section, note, sample }
}

/// All 61 classes.
pub(super) const CLASSES: &[Class] = &[
    class("wsinv", "4475 §3.1.1.1", "folded-and-compact", "its To tag is of no dialog: 481"),
    class("intmeth", "4475 §3.1.1.2", "strange-method", "501 with Allow"),
    class("esc01", "4475 §3.1.1.3", "escaped-user", "a call; escapes are decoded, and printed anew"),
    class("escnull", "4475 §3.1.1.4", "escaped-nul", "read; REGISTER is not taken yet"),
    class("esc02", "4475 §3.1.1.5", "percent-in-method", "not unescaped: an unknown method"),
    class("lwsdisp", "4475 §3.1.1.6", "no-space-before-bracket", "answered"),
    class("longreq", "4475 §3.1.1.7", "long-values", "a call"),
    class("dblreq", "4475 §3.1.1.8", "two-in-a-datagram", "the first counts, what follows is cut off"),
    class("semiuri", "4475 §3.1.1.9", "semicolon-user", "answered"),
    class("transports", "4475 §3.1.1.10", "odd-transports", "answered"),
    class("mpart01", "4475 §3.1.1.11", "multipart-message", "read; MESSAGE outside a dialog is not taken"),
    class("unreason", "4475 §3.1.1.12", "reason-not-ascii", "a response to nothing of ours"),
    class("noreason", "4475 §3.1.1.13", "reason-empty", "a response to nothing of ours"),
    class("badinv01", "4475 §3.1.2.1", "separators-in-parameters", ""),
    class("clerr", "4475 §3.1.2.2", "length-too-large", ""),
    class("ncl", "4475 §3.1.2.3", "length-negative", ""),
    class("scalar02", "4475 §3.1.2.4", "register-of-large-numbers", ""),
    class("scalarlg", "4475 §3.1.2.5", "response-cseq-too-large", "dropped"),
    class("quotbal", "4475 §3.1.2.6", "quote-never-closed", ""),
    class("ltgtruri", "4475 §3.1.2.7", "uri-in-brackets", "not forgiven"),
    class("lwsruri", "4475 §3.1.2.8", "uri-with-space", "not forgiven"),
    class("lwsstart", "4475 §3.1.2.9", "spaces-in-start-line", "not forgiven"),
    class("trws", "4475 §3.1.2.10", "space-after-version", "not forgiven"),
    class("escruri", "4475 §3.1.2.11", "escaped-headers-in-uri", "forgiven: the headers are left out"),
    class("baddate", "4475 §3.1.2.12", "date-not-gmt", "forgiven: nothing depends on Date"),
    class("regbadct", "4475 §3.1.2.13", "contact-with-headers-unbracketed", ""),
    class("badaspec", "4475 §3.1.2.14", "spaces-in-address", "not forgiven"),
    class("baddn", "4475 §3.1.2.15", "cut-off-in-the-headers", "its headers do not end"),
    class("badvers", "4475 §3.1.2.16", "other-version", ""),
    class("mismatch01", "4475 §3.1.2.17", "cseq-of-another-method", ""),
    class(
        "mismatch02",
        "4475 §3.1.2.18",
        "unknown-method-mismatch",
        "400 or 501; the mismatch is told first",
    ),
    class("bigcode", "4475 §3.1.2.19", "status-too-large", "dropped"),
    class("badbranch", "4475 §3.2.1", "cookie-only-branch", "taken for a branch of RFC 2543"),
    class("insuf", "4475 §3.3.1", "missing-from-to-and-call-id", ""),
    class("unkscm", "4475 §3.3.2", "unknown-scheme", ""),
    class("novelsc", "4475 §3.3.3", "unusual-scheme", ""),
    class("unksm2", "4475 §3.3.4", "schemes-nobody-knows", "read; REGISTER is not taken yet"),
    class("bext01", "4475 §3.3.5", "unknown-extensions", "420; Proxy-Require is for proxies"),
    class("invut", "4475 §3.3.6", "unknown-body", ""),
    class("regaut01", "4475 §3.3.7", "credentials-nobody-knows", "read; REGISTER is not taken yet"),
    class("multi01", "4475 §3.3.8", "everything-twice", ""),
    class("mcl01", "4475 §3.3.9", "length-twice", ""),
    class("bcast", "4475 §3.3.10", "response-for-another-hop", "dropped"),
    class("zeromf", "4475 §3.3.11", "no-hops-left", "the switch is where OPTIONS ends"),
    class("cparam01", "4475 §3.3.12", "contact-parameter-outside", "read; REGISTER is not taken yet"),
    class("cparam02", "4475 §3.3.13", "contact-parameter-inside", "read; REGISTER is not taken yet"),
    class("regescrt", "4475 §3.3.14", "contact-with-headers", "read; REGISTER is not taken yet"),
    class("sdp01", "4475 §3.3.15", "no-sdp-wanted", "406"),
    class("inv2543", "4475 §3.4.1", "old-style", "a call"),
    class("ipv6-good", "5118 §4.1", "v6-reference", "read; REGISTER is not taken yet"),
    class("ipv6-bad", "5118 §4.2", "v6-without-brackets", ""),
    class("port-ambiguous", "5118 §4.3", "v6-port-inside", "all of it is the address"),
    class("port-unambiguous", "5118 §4.4", "v6-port-outside", ""),
    class("via-received-param-with-delim", "5118 §4.5", "v6-bye-received-in-brackets", "read; of no dialog"),
    class("via-received-param-no-delim", "5118 §4.5", "v6-options-received-bare", "answered"),
    class("ipv6-in-sdp", "5118 §4.6", "v6-in-sdp", "a call"),
    class("mult-ip-in-header", "5118 §4.7", "v6-and-v4-in-vias", "read; of no dialog"),
    class("mult-ip-in-sdp", "5118 §4.8", "v6-and-v4-in-sdp", "a call"),
    class("ipv4-mapped-ipv6", "5118 §4.9", "v6-mapped-v4-in-via", "a call"),
    class("ipv6-bug-abnf-3-colons", "5118 §4.10", "v6-three-colons-options", "forgiven"),
    class("ipv6-correct-abnf-2-colons", "5118 §4.10", "v6-with-v4-tail-options", "answered"),
];

/// Files that archives have besides: a form of baddn whose headers end, and a text that is no SIP.
pub(super) const EXTRAS: &[(&str, Answer)] =
    &[("baddn_terminated", Answer::Status(200)), ("test", Answer::Silence)];

/// What the sender of that message of ours hears.
pub(super) fn expected(sample: &Sample) -> Answer {
    match sample.verdict {
        Verdict::Dropped => Answer::Silence,
        Verdict::Rejected(_) if sample.text.starts_with(b"SIP/2.0") => Answer::Silence,
        Verdict::Rejected(status) => Answer::Status(status),
        Verdict::Accepted => {
            let known = ACCEPTED.iter().find(|(_, names)| names.contains(&sample.name));
            known.unwrap_or_else(|| panic!("{} has no answer", sample.name)).0
        }
    }
}

/// What it hears over a stream, where Content-Length says where a message ends (RFC 3261 §18.3).
pub(super) fn over_a_stream(name: &str, answer: Answer) -> Answer {
    match name {
        // The rest is waited for.
        "length-too-large" | "cut-off-in-the-headers" => Answer::Silence,
        // Content-Length is a must here (RFC 3261 §20.14).
        "old-style" | "bare-line-feeds" => Answer::Status(400),
        "two-in-a-datagram" => Answer::Both(405, REFUSAL),
        // The INVITE that comes second has no Contact.
        "dblreq" => Answer::Both(405, 400),
        _ => answer,
    }
}

/// The well-formed messages of ours by their answers.
const ACCEPTED: &[(Answer, &[&str])] = &[
    (
        Answer::Call,
        &[
            "invite",
            "tel",
            "escaped-user",
            "long-values",
            "multipart",
            "not-utf-8",
            "old-style",
            "date-not-gmt",
            "display-name-unquoted",
            "escaped-headers-in-uri",
            "line-ends-in-front",
            "bare-line-feeds",
            "v6-in-sdp",
            "v6-mapped-v4-in-via",
            "v6-and-v4-in-sdp",
        ],
    ),
    (
        Answer::Silence,
        &[
            "ringing",
            "answer",
            "ack",
            "busy-with-reason",
            "challenge",
            "reason-not-ascii",
            "reason-empty",
            "reason-and-space-missing",
            "response-for-another-hop",
            "v6-received-bare",
            "v6-received-in-brackets",
            "v4-and-v6-mixed",
        ],
    ),
    (
        Answer::Status(200),
        &[
            "options",
            "no-space-before-bracket",
            "semicolon-user",
            "odd-transports",
            "bad-branch",
            "cookie-only-branch",
            "no-hops-left",
            "header-line-that-is-none",
            "v6-options-received-bare",
            "v6-three-colons-options",
            "v6-with-v4-tail-options",
        ],
    ),
    (Answer::Status(403), &["publish"]),
    (
        Answer::Status(405),
        &[
            "register",
            "unregister",
            "escaped-nul",
            "two-in-a-datagram",
            "multipart-message",
            "schemes-nobody-knows",
            "credentials-nobody-knows",
            "contact-parameter-outside",
            "contact-parameter-inside",
            "contact-with-headers",
            "v6-reference",
            "v6-port-inside",
            "v6-port-outside",
            "v6-three-colons",
            "v6-with-v4-tail",
            "v6-mapped-v4",
        ],
    ),
    (Answer::Screened(406), &["no-sdp-wanted"]),
    (Answer::Screened(415), &["unknown-body"]),
    (Answer::Status(420), &["unknown-extensions"]),
    (Answer::Screened(420), &["trusted"]),
    (
        Answer::Status(481),
        &[
            "bye",
            "cancel",
            "prack",
            "update",
            "folded-and-compact",
            "v6-bye-received-in-brackets",
            "v6-and-v4-in-vias",
        ],
    ),
    (Answer::Status(501), &["strange-method", "percent-in-method"]),
];

// The gateway's refusal is told from the switch's own.
const _: () = assert!(REFUSAL == 480);
