//! The labels of the metrics: closed sets, so that no peer can make a time series.
//!
//! Numbers, Call-IDs and addresses are never labels. The one label that is not a closed set is `gateway`, whose values
//! come from the configuration and are limited by [`crate::GATEWAYS_MAX`].

/// A label with a fixed set of values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Its values, in the order of the variants.
    const VALUES: &'static [&'static str];

    /// The value's place in [`Label::VALUES`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($(
        $(#[$about:meta])*
        $name:ident as $label:literal { $( $(#[$what:meta])* $variant:ident = $value:literal, )+ }
    )+) => { $(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[$what])* $variant, )+ }

        impl Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = &[$($value),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    )+ };
}

labels! {
    /// Where a call stands.
    CallState as "state" {
        /// No 18x has gone to the caller yet.
        Setup = "setup",
        /// The caller was told that it rings.
        Ringing = "ringing",
        /// The caller was sent the 2xx.
        Answered = "answered",
        /// Over; transactions are being completed and the end is being stored.
        Ending = "ending",
    }

    /// Why a call ended: the CDR's end reason.
    EndReason as "cause" {
        /// BYE from a party.
        Normal = "normal",
        /// CANCEL from the caller.
        Cancelled = "cancelled",
        /// A final response.
        Rejected = "rejected",
        /// 486 or 600.
        Busy = "busy",
        /// Nobody answered in time.
        NoAnswer = "no_answer",
        /// The session timer ran out (RFC 4028).
        SessionTimeout = "session_timeout",
        /// The cap for calls without a session timer.
        NoTimerCap = "no_timer_cap",
        /// The longest duration allowed.
        MaxDuration = "max_duration",
        /// No media.
        NoMedia = "no_media",
        /// The set-up took too long.
        SetupTimeout = "setup_timeout",
        /// Hung up by an operator.
        Admin = "admin",
        /// Ended by a drain.
        Drained = "drained",
        /// The node was lost.
        NodeLost = "node_lost",
        /// No candidate is left.
        RoutesExhausted = "routes_exhausted",
        /// `SS_GATEWAY_SWITCH_LIMIT` was reached.
        SwitchLimit = "switch_limit",
        /// A peer broke the protocol.
        ProtocolError = "protocol_error",
    }

    /// Who ended a call.
    Origin as "origin" {
        /// The caller.
        Caller = "caller",
        /// The callee.
        Callee = "callee",
        /// The switch.
        Server = "server",
    }

    /// How an attempt at a gateway went.
    AttemptOutcome as "outcome" {
        /// 2xx.
        Answered = "answered",
        /// No response at all in time.
        InviteTimeout = "invite_timeout",
        /// It could not be sent, or ICMP said so.
        TransportError = "transport_error",
        /// 100 and nothing more in time.
        TryingTimeout = "trying_timeout",
        /// 180 and nothing more in time.
        RingingTimeout = "ringing_timeout",
        /// 183 and nothing more in time.
        SessionProgressTimeout = "session_progress_timeout",
        /// A 3xx.
        Redirected = "3xx",
        /// A 4xx.
        ClientError = "4xx",
        /// A 5xx.
        ServerError = "5xx",
        /// A 6xx.
        GlobalError = "6xx",
        /// A 2xx that no dialog can be made of.
        UnusableAnswer = "unusable_answer",
        /// Left by us, for no fault of the gateway's.
        Cancelled = "cancelled",
    }

    /// Which way a message went.
    Direction as "direction" {
        /// To us.
        Received = "received",
        /// From us.
        Sent = "sent",
    }

    /// A transport.
    Transport as "transport" {
        /// Datagrams.
        Udp = "udp",
        /// Connections.
        Tcp = "tcp",
        /// Connections under TLS.
        Tls = "tls",
    }

    /// What happened to a connection.
    ConnectionEvent as "event" {
        /// A peer opened it.
        Accepted = "accepted",
        /// We opened it.
        Opened = "opened",
        /// Not taken or not opened: there are as many as may be.
        RefusedFull = "refused_full",
        /// Not taken: its address has as many as it may have.
        RefusedSource = "refused_source",
        /// Not taken: the node stops, or the address is banned.
        RefusedUser = "refused",
        /// We could not open it.
        ConnectFailed = "connect_failed",
        /// The TLS handshake failed.
        HandshakeFailed = "handshake_failed",
        /// Reset, stalled, or no answer to a keep-alive.
        Lost = "lost",
        /// Closed after a long silence.
        Idle = "idle",
        /// Closed because what came was no SIP.
        Broken = "broken",
    }

    /// How reading something anew went.
    Reload as "result" {
        /// It is in use.
        Done = "done",
        /// It cannot be used, and the old is.
        Failed = "failed",
    }

    /// A request's method; extension methods count as one.
    Method as "method" {
        /// INVITE (RFC 3261).
        Invite = "INVITE",
        /// ACK (RFC 3261).
        Ack = "ACK",
        /// BYE (RFC 3261).
        Bye = "BYE",
        /// CANCEL (RFC 3261).
        Cancel = "CANCEL",
        /// OPTIONS (RFC 3261).
        Options = "OPTIONS",
        /// REGISTER (RFC 3261).
        Register = "REGISTER",
        /// PRACK (RFC 3262).
        Prack = "PRACK",
        /// UPDATE (RFC 3311).
        Update = "UPDATE",
        /// INFO (RFC 6086).
        Info = "INFO",
        /// PUBLISH (RFC 3903).
        Publish = "PUBLISH",
        /// SUBSCRIBE (RFC 6665).
        Subscribe = "SUBSCRIBE",
        /// NOTIFY (RFC 6665).
        Notify = "NOTIFY",
        /// REFER (RFC 3515).
        Refer = "REFER",
        /// MESSAGE (RFC 3428).
        Message = "MESSAGE",
        /// Any other.
        Other = "other",
    }

    /// The class of a response's status.
    StatusClass as "class" {
        /// 100–199.
        Provisional = "1xx",
        /// 200–299.
        Success = "2xx",
        /// 300–399.
        Redirection = "3xx",
        /// 400–499.
        ClientError = "4xx",
        /// 500–599.
        ServerError = "5xx",
        /// 600–699.
        GlobalError = "6xx",
    }

    /// Why a message was refused before it came to a call.
    ParseReject as "reason" {
        /// No SIP message at all.
        NotSip = "not_sip",
        /// A status line without a valid status.
        StatusLine = "status_line",
        /// A request without Via: nobody can be answered.
        NoVia = "no_via",
        /// Longer than the limit.
        TooLong = "too_long",
        /// A line longer than the limit.
        LineTooLong = "line_too_long",
        /// More header lines than the limit.
        TooManyHeaders = "too_many_headers",
        /// A request that was answered 4xx or 505 for its form.
        MalformedRequest = "malformed_request",
        /// A response that was dropped for its form.
        MalformedResponse = "malformed_response",
        /// Belongs to no call or transaction here.
        Stray = "stray",
    }

    /// Why a datagram was dropped.
    DropReason as "reason" {
        /// The kernel's receive buffer was full.
        ReceiveBuffer = "receive_buffer",
        /// Longer than the limit.
        Truncated = "truncated",
        /// The kernel's send buffer was full.
        SendBuffer = "send_buffer",
        /// The kernel refused the target.
        SendError = "send_error",
        /// The source sent more than it may.
        Rate = "rate",
        /// The source may not send here.
        Acl = "acl",
    }

    /// What came of looking a name up in DNS.
    DnsResult as "result" {
        /// It leads somewhere.
        Found = "found",
        /// It leads nowhere that a request could be sent to.
        Absent = "absent",
        /// DNS did not answer.
        Unanswered = "unanswered",
        /// It was not asked: too many names were being looked up.
        Busy = "busy",
    }

    /// Where the targets of a name were from.
    DnsSource as "source" {
        /// A valid answer was at hand.
        Cache = "cache",
        /// DNS was silent, and the last answer had lapsed.
        Stale = "stale",
        /// A look-up was waited for.
        Waited = "waited",
    }

    /// Why a new call was not admitted.
    AdmissionRefusal as "reason" {
        /// The node's limit of calls.
        NodeCalls = "node_calls",
        /// The node's limit of calls per second.
        NodeCps = "node_cps",
        /// The mapping gateway's limit of calls.
        GatewayCalls = "gateway_calls",
        /// The mapping gateway's limit of calls per second.
        GatewayCps = "gateway_cps",
        /// The source belongs to no mapping gateway.
        UnknownSource = "unknown_source",
        /// The gateway is disabled, or did not say in time whether it takes the call.
        GatewayUnavailable = "gateway_unavailable",
        /// The gateway has asked for a pause (503 with Retry-After).
        GatewayPaused = "gateway_paused",
        /// The node is being drained.
        Draining = "draining",
        /// The node has lost contact with the store and with most others: it may not speak for its calls.
        CutOff = "cut_off",
        /// Messages wait too long: part of the new calls is shed.
        Overload = "overload",
        /// The limit of new calls per second of one address of a mapping gateway.
        SourceCps = "source_cps",
        /// Too many CDRs wait for a sink: a call that began now might not be able to end.
        Records = "records",
    }

    /// What came of credentials, or of their absence.
    Authentication as "result" {
        /// They were right.
        Passed = "passed",
        /// There were none: a challenge.
        Challenged = "challenged",
        /// They were right, for a nonce that is not good any more: a challenge.
        Stale = "stale",
        /// They were wrong: a challenge.
        Wrong = "wrong",
        /// Their source or their account is suspended: they were not looked at.
        Suspended = "suspended",
    }

    /// What came of a REGISTER whose sender is known.
    Registration as "result" {
        /// Bindings were added, refreshed or removed.
        Changed = "changed",
        /// Nothing was asked for, or nothing new.
        Queried = "queried",
        /// It was refused.
        Refused = "refused",
        /// The store did not take it.
        Failed = "failed",
        /// There was no room for it.
        Overflow = "overflow",
    }
}

impl StatusClass {
    /// The class of a status code; `None` below 100 and above 699.
    pub fn of(status: u16) -> Option<StatusClass> {
        Some(match status {
            100..=199 => StatusClass::Provisional,
            200..=299 => StatusClass::Success,
            300..=399 => StatusClass::Redirection,
            400..=499 => StatusClass::ClientError,
            500..=599 => StatusClass::ServerError,
            600..=699 => StatusClass::GlobalError,
            _ => return None,
        })
    }
}

impl Method {
    /// The method of a name (case matters, RFC 3261 §7.1).
    pub fn of(name: &str) -> Method {
        const KNOWN: [Method; 14] = [
            Method::Invite,
            Method::Ack,
            Method::Bye,
            Method::Cancel,
            Method::Options,
            Method::Register,
            Method::Prack,
            Method::Update,
            Method::Info,
            Method::Publish,
            Method::Subscribe,
            Method::Notify,
            Method::Refer,
            Method::Message,
        ];
        let named = |method: &Method| Method::VALUES[method.index()] == name;
        KNOWN.into_iter().find(named).unwrap_or(Method::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_class_of_its_first_digit() {
        assert_eq!(StatusClass::of(99), None);
        assert_eq!(StatusClass::of(100), Some(StatusClass::Provisional));
        assert_eq!(StatusClass::of(487), Some(StatusClass::ClientError));
        assert_eq!(StatusClass::of(699), Some(StatusClass::GlobalError));
        assert_eq!(StatusClass::of(700), None);
    }

    #[test]
    fn an_unknown_method_is_other_however_it_is_spelt() {
        assert_eq!(Method::of("INVITE"), Method::Invite);
        assert_eq!(Method::of("MESSAGE"), Method::Message);
        for unknown in ["invite", "FOO", "", "other"] {
            assert_eq!(Method::of(unknown), Method::Other, "{unknown}");
        }
    }
}
