//! Status codes and their reason phrases, as registered with IANA (SIP parameters, "Response Codes").

use serde::{Deserialize, Serialize};
use std::fmt;

/// The status of a response: 100 to 699.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct StatusCode(u16);

/// A number that no response can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a SIP status code (100 to 699)")]
pub struct InvalidStatus(pub u16);

impl StatusCode {
    /// The status with that number, if it is one of 100 to 699. Unregistered numbers are fine: RFC 3261 §8.1.3.2
    /// treats them as the x00 of their class.
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 100 && code <= 699 { Some(Self(code)) } else { None }
    }

    /// The number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// The first digit, 1 to 6.
    pub const fn class(self) -> u8 {
        (self.0 / 100) as u8
    }

    /// 1xx: the transaction goes on.
    pub const fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// 2xx.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// 3xx.
    pub const fn is_redirect(self) -> bool {
        self.class() == 3
    }

    /// 2xx to 6xx: the transaction's answer.
    pub const fn is_final(self) -> bool {
        self.0 >= 200
    }

    /// 3xx to 6xx: a final response that is not a success, so that its ACK belongs to the transaction.
    pub const fn is_failure(self) -> bool {
        self.0 >= 300
    }
}

macro_rules! registered {
    ($($code:literal $constant:ident $reason:literal;)*) => {
        impl StatusCode {
            $(
                #[doc = concat!("`", $code, " ", $reason, "`")]
                pub const $constant: StatusCode = StatusCode($code);
            )*

            /// Every registered status, ascending.
            pub const REGISTERED: &'static [StatusCode] = &[$(StatusCode::$constant),*];

            /// The registered reason phrase; for an unregistered number that of its class (RFC 3261 §8.1.3.2).
            pub const fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    101..=199 => "Session Progress",
                    200..=299 => "OK",
                    300..=399 => "Multiple Choices",
                    400..=499 => "Bad Request",
                    500..=599 => "Server Internal Error",
                    _ => "Busy Everywhere",
                }
            }
        }
    };
}

registered! {
    100 TRYING "Trying";
    180 RINGING "Ringing";
    181 CALL_IS_BEING_FORWARDED "Call Is Being Forwarded";
    182 QUEUED "Queued";
    183 SESSION_PROGRESS "Session Progress";
    199 EARLY_DIALOG_TERMINATED "Early Dialog Terminated";
    200 OK "OK";
    202 ACCEPTED "Accepted";
    204 NO_NOTIFICATION "No Notification";
    300 MULTIPLE_CHOICES "Multiple Choices";
    301 MOVED_PERMANENTLY "Moved Permanently";
    302 MOVED_TEMPORARILY "Moved Temporarily";
    305 USE_PROXY "Use Proxy";
    380 ALTERNATIVE_SERVICE "Alternative Service";
    400 BAD_REQUEST "Bad Request";
    401 UNAUTHORIZED "Unauthorized";
    402 PAYMENT_REQUIRED "Payment Required";
    403 FORBIDDEN "Forbidden";
    404 NOT_FOUND "Not Found";
    405 METHOD_NOT_ALLOWED "Method Not Allowed";
    406 NOT_ACCEPTABLE "Not Acceptable";
    407 PROXY_AUTHENTICATION_REQUIRED "Proxy Authentication Required";
    408 REQUEST_TIMEOUT "Request Timeout";
    410 GONE "Gone";
    412 CONDITIONAL_REQUEST_FAILED "Conditional Request Failed";
    413 REQUEST_ENTITY_TOO_LARGE "Request Entity Too Large";
    414 REQUEST_URI_TOO_LONG "Request-URI Too Long";
    415 UNSUPPORTED_MEDIA_TYPE "Unsupported Media Type";
    416 UNSUPPORTED_URI_SCHEME "Unsupported URI Scheme";
    417 UNKNOWN_RESOURCE_PRIORITY "Unknown Resource-Priority";
    420 BAD_EXTENSION "Bad Extension";
    421 EXTENSION_REQUIRED "Extension Required";
    422 SESSION_INTERVAL_TOO_SMALL "Session Interval Too Small";
    423 INTERVAL_TOO_BRIEF "Interval Too Brief";
    424 BAD_LOCATION_INFORMATION "Bad Location Information";
    425 BAD_ALERT_MESSAGE "Bad Alert Message";
    428 USE_IDENTITY_HEADER "Use Identity Header";
    429 PROVIDE_REFERRER_IDENTITY "Provide Referrer Identity";
    430 FLOW_FAILED "Flow Failed";
    433 ANONYMITY_DISALLOWED "Anonymity Disallowed";
    436 BAD_IDENTITY_INFO "Bad Identity Info";
    437 UNSUPPORTED_CREDENTIAL "Unsupported Credential";
    438 INVALID_IDENTITY_HEADER "Invalid Identity Header";
    439 FIRST_HOP_LACKS_OUTBOUND_SUPPORT "First Hop Lacks Outbound Support";
    440 MAX_BREADTH_EXCEEDED "Max-Breadth Exceeded";
    469 BAD_INFO_PACKAGE "Bad Info Package";
    470 CONSENT_NEEDED "Consent Needed";
    480 TEMPORARILY_UNAVAILABLE "Temporarily Unavailable";
    481 CALL_OR_TRANSACTION_DOES_NOT_EXIST "Call/Transaction Does Not Exist";
    482 LOOP_DETECTED "Loop Detected";
    483 TOO_MANY_HOPS "Too Many Hops";
    484 ADDRESS_INCOMPLETE "Address Incomplete";
    485 AMBIGUOUS "Ambiguous";
    486 BUSY_HERE "Busy Here";
    487 REQUEST_TERMINATED "Request Terminated";
    488 NOT_ACCEPTABLE_HERE "Not Acceptable Here";
    489 BAD_EVENT "Bad Event";
    491 REQUEST_PENDING "Request Pending";
    493 UNDECIPHERABLE "Undecipherable";
    494 SECURITY_AGREEMENT_REQUIRED "Security Agreement Required";
    500 SERVER_INTERNAL_ERROR "Server Internal Error";
    501 NOT_IMPLEMENTED "Not Implemented";
    502 BAD_GATEWAY "Bad Gateway";
    503 SERVICE_UNAVAILABLE "Service Unavailable";
    504 SERVER_TIMEOUT "Server Time-out";
    505 VERSION_NOT_SUPPORTED "Version Not Supported";
    513 MESSAGE_TOO_LARGE "Message Too Large";
    555 PUSH_NOTIFICATION_SERVICE_NOT_SUPPORTED "Push Notification Service Not Supported";
    580 PRECONDITION_FAILURE "Precondition Failure";
    600 BUSY_EVERYWHERE "Busy Everywhere";
    603 DECLINE "Decline";
    604 DOES_NOT_EXIST_ANYWHERE "Does Not Exist Anywhere";
    606 NOT_ACCEPTABLE_ANYWHERE "Not Acceptable";
    607 UNWANTED "Unwanted";
    608 REJECTED "Rejected";
}

impl TryFrom<u16> for StatusCode {
    type Error = InvalidStatus;

    fn try_from(code: u16) -> Result<Self, InvalidStatus> {
        Self::new(code).ok_or(InvalidStatus(code))
    }
}

impl From<StatusCode> for u16 {
    fn from(status: StatusCode) -> u16 {
        status.0
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_100_to_699_is_a_status() {
        assert_eq!(StatusCode::new(99), None);
        assert_eq!(StatusCode::new(700), None);
        assert_eq!(StatusCode::new(100), Some(StatusCode::TRYING));
        assert_eq!(StatusCode::new(699).map(StatusCode::class), Some(6));
    }

    #[test]
    fn an_unregistered_status_reads_as_its_class() {
        assert_eq!(StatusCode(299).reason(), "OK");
        assert_eq!(StatusCode(171).reason(), "Session Progress");
        assert_eq!(StatusCode(499).reason(), "Bad Request");
        assert_eq!(StatusCode(699).reason(), "Busy Everywhere");
    }

    #[test]
    fn classes_divide_provisional_success_and_failure() {
        for status in StatusCode::REGISTERED {
            assert_eq!(status.is_provisional(), !status.is_final());
            assert_eq!(status.is_final(), status.is_success() || status.is_failure());
        }
        assert!(StatusCode::REGISTERED.is_sorted());
    }
}
