//! Parameters that are one of a few words.

use super::Parameters;
use super::definition::{Definition, Range};
use super::reading::{Fault, Kind};
use serde::{Deserialize, Serialize};

/// Declares an enum whose variants are written as words, the first of which is the default.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            pub(super) const RANGE: Range = Range::Words(&[$($word),+]);

            /// The word for it in a configuration.
            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl Kind for $name {
            fn read(text: &str, _: &Definition) -> Result<Self, Fault> {
                [$($name::$variant),+]
                    .into_iter()
                    .find(|choice| is_word(choice.word(), text.trim()))
                    .ok_or(Fault::OutOfRange)
            }

            fn print(&self, _: &Parameters, _: &Definition) -> String {
                self.word().to_owned()
            }
        }
    };
}

/// Case does not matter, and a TOML boolean stands for On and Off where these are among the words.
fn is_word(word: &str, text: &str) -> bool {
    word.eq_ignore_ascii_case(text)
        || match word {
            "On" => text.eq_ignore_ascii_case("true"),
            "Off" => text.eq_ignore_ascii_case("false"),
            _ => false,
        }
}

choice! {
    /// `SS_SIP_100REL` (RFC 3262).
    ReliableProvisionals {
        /// Not offered; a peer that requires it is refused.
        Off = "Off",
        /// Offered.
        Supported = "Supported",
        /// Required of the peer.
        Required = "Required",
    }
}

choice! {
    /// `SS_MEDIA_PROXY`: when media goes through the relay.
    MediaProxy {
        /// Behind NAT, or when no-media hang-up is on.
        Auto = "Auto",
        /// Always.
        On = "On",
        /// Never.
        Off = "Off",
    }
}

choice! {
    /// `SS_SIP_SESSION_REFRESH_SCHEDULE`: when a session is refreshed (RFC 4028).
    RefreshSchedule {
        /// At every Session-Expires ÷ segment.
        Divide = "divide",
        /// At Session-Expires × (1 − 1 ÷ segment).
        Late = "late",
    }
}

choice! {
    /// `SS_SIP_SESSION_EARLY_HANGUP_MODE`: what `SS_SIP_SESSION_TIMEOUT_EARLY_HANGUP` counts from.
    EarlyHangupMode {
        /// A grace after the session's expiry.
        Grace = "grace",
        /// A margin before the session's expiry.
        Margin = "margin",
    }
}

choice! {
    /// `SS_SIP_NO_TIMER_ACTION`: what the no-timer interval does.
    NoTimerAction {
        /// The call ends when the interval is over.
        Hangup = "hangup",
        /// A re-INVITE at each interval shows whether the peer is still there.
        Probe = "probe",
    }
}

choice! {
    /// `SS_NOMEDIA_DIRECTION`: which silence counts as no media.
    NoMediaDirection {
        /// Of both sides at once.
        Both = "both",
        /// Of one side.
        Either = "either",
    }
}
