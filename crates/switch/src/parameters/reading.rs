//! How values are read from text and printed again.

use super::Parameters;
use super::definition::{Definition, Range, Unit};
use std::time::Duration;
use tandem_sip::transaction::MAX_RESENDS;

/// Why a text is no value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is of the right form, but outside the range.
    OutOfRange,
    /// It is of another form than this.
    Not(&'static str),
}

/// A type that a parameter's value can have.
pub(super) trait Kind: Sized {
    fn read(text: &str, definition: &Definition) -> Result<Self, Fault>;

    /// The value as it is written in a configuration. All values are at hand, since one default follows another value.
    fn print(&self, all: &Parameters, definition: &Definition) -> String;
}

const WHOLE: Fault = Fault::Not("a whole number");

/// A whole number in the definition's range.
fn whole(text: &str, definition: &Definition) -> Result<u32, Fault> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WHOLE);
    }
    let (min, max) = match definition.range {
        Range::Whole { min, max } => (min, max),
        Range::NoneOr { min, max, .. } => (min, max.unwrap_or(u32::MAX)),
        Range::OnOff | Range::Words(_) | Range::Decimals { .. } | Range::Text { .. } => (0, u32::MAX),
    };
    // What does not fit the type is beyond every range.
    text.parse().ok().filter(|number| (min..=max).contains(number)).ok_or(Fault::OutOfRange)
}

impl Kind for u32 {
    fn read(text: &str, definition: &Definition) -> Result<Self, Fault> {
        whole(text, definition)
    }

    fn print(&self, _: &Parameters, _: &Definition) -> String {
        self.to_string()
    }
}

impl Kind for Duration {
    fn read(text: &str, definition: &Definition) -> Result<Self, Fault> {
        let number = u64::from(whole(text, definition)?);
        Ok(match definition.unit {
            Unit::Milliseconds => Duration::from_millis(number),
            Unit::Seconds | Unit::Count | Unit::None => Duration::from_secs(number),
        })
    }

    fn print(&self, _: &Parameters, definition: &Definition) -> String {
        match definition.unit {
            Unit::Milliseconds => self.as_millis().to_string(),
            Unit::Seconds | Unit::Count | Unit::None => self.as_secs().to_string(),
        }
    }
}

impl<T: Kind> Kind for Option<T> {
    fn read(text: &str, definition: &Definition) -> Result<Self, Fault> {
        let zero_is_none = matches!(definition.range, Range::NoneOr { zero_is_none: true, .. });
        match text.trim() {
            none if none.eq_ignore_ascii_case("none") => Ok(None),
            "0" if zero_is_none => Ok(None),
            number => match T::read(number, definition) {
                Ok(value) => Ok(Some(value)),
                Err(Fault::OutOfRange) => Err(Fault::OutOfRange),
                Err(Fault::Not(_)) => Err(Fault::Not("None or a whole number")),
            },
        }
    }

    fn print(&self, all: &Parameters, definition: &Definition) -> String {
        self.as_ref().map_or_else(|| "None".to_owned(), |value| value.print(all, definition))
    }
}

impl Kind for bool {
    fn read(text: &str, _: &Definition) -> Result<Self, Fault> {
        match text.trim().to_ascii_lowercase().as_str() {
            "on" | "true" => Ok(true),
            "off" | "false" => Ok(false),
            _ => Err(Fault::Not("a switch")),
        }
    }

    fn print(&self, _: &Parameters, _: &Definition) -> String {
        if *self { "On" } else { "Off" }.to_owned()
    }
}

impl Kind for String {
    fn read(text: &str, definition: &Definition) -> Result<Self, Fault> {
        match definition.range {
            Range::Text { max_bytes } if text.len() > max_bytes => Err(Fault::OutOfRange),
            Range::Text { .. }
            | Range::Whole { .. }
            | Range::NoneOr { .. }
            | Range::OnOff
            | Range::Words(_)
            | Range::Decimals { .. } => Ok(text.to_owned()),
        }
    }

    fn print(&self, _: &Parameters, _: &Definition) -> String {
        self.clone()
    }
}

/// `SS_SIP_RESEND_INTERVAL`: the waits before each resend, 1 to 10 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResendIntervals(Vec<Duration>);

/// The smallest and the largest wait before a resend, in milliseconds: below, an unanswered message would be a flood;
/// above, it would outlast every timeout of the catalogue.
const WAIT_MS: std::ops::RangeInclusive<u32> = 100..=60_000;

impl ResendIntervals {
    pub(super) const RANGE: Range = Range::Decimals {
        most: MAX_RESENDS,
        min_thousandths: *WAIT_MS.start(),
        max_thousandths: *WAIT_MS.end(),
    };

    /// The waits in order, 0.1 to 60 s each.
    pub fn waits(&self) -> &[Duration] {
        &self.0
    }
}

impl Default for ResendIntervals {
    fn default() -> Self {
        let waits_ms = [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000, 4000];
        Self(waits_ms.map(Duration::from_millis).to_vec())
    }
}

impl Kind for ResendIntervals {
    fn read(text: &str, _: &Definition) -> Result<Self, Fault> {
        let waits = text
            .split(',')
            .map(|item| {
                let ms = thousandths(item.trim()).ok_or(Fault::Not("a list of decimals"))?;
                let ms = u32::try_from(ms).ok().filter(|ms| WAIT_MS.contains(ms)).ok_or(Fault::OutOfRange)?;
                Ok(Duration::from_millis(u64::from(ms)))
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        if waits.len() > MAX_RESENDS { Err(Fault::OutOfRange) } else { Ok(Self(waits)) }
    }

    fn print(&self, _: &Parameters, _: &Definition) -> String {
        let decimals: Vec<String> = self.0.iter().map(|wait| wait.as_secs_f64().to_string()).collect();
        decimals.join(",")
    }
}

/// A decimal without sign or exponent, in thousandths; further digits are refused, since they would be lost.
fn thousandths(text: &str) -> Option<u64> {
    let (units, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    if !digits(units) || fraction.len() > 3 || !(fraction.is_empty() || digits(fraction)) {
        return None;
    }
    let part: u64 = format!("{fraction:0<3}").parse().ok()?;
    // Beyond the type is beyond every range; the caller checks the range.
    Some(units.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000).saturating_add(part))
}

/// `SS_SIP_SEND_RETRY`: the most resends; unless set, as many as there are intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendRetry(Option<u32>);

impl SendRetry {
    /// The most resends, of those that `intervals` allow.
    pub fn cap(self, intervals: &ResendIntervals) -> usize {
        let all = intervals.waits().len();
        self.0.and_then(|most| usize::try_from(most).ok()).map_or(all, |most| most.min(all))
    }
}

impl Kind for SendRetry {
    fn read(text: &str, definition: &Definition) -> Result<Self, Fault> {
        whole(text, definition).map(|most| Self(Some(most)))
    }

    fn print(&self, all: &Parameters, _: &Definition) -> String {
        self.0.map_or_else(|| all.resend_intervals.waits().len().to_string(), |most| most.to_string())
    }
}

/// `SS_ENDPOINT_EXPIRE`: how long a registration lives. One value sets the default, and the cap where it is above 3600 s;
/// two values (`300,3600`) set both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointExpire {
    /// Granted when the endpoint asks for none.
    pub default: Duration,
    /// The most that is granted, not below the default.
    pub max: Duration,
}

impl Default for EndpointExpire {
    fn default() -> Self {
        Self { default: Duration::from_secs(300), max: Duration::from_secs(3600) }
    }
}

impl Kind for EndpointExpire {
    fn read(text: &str, definition: &Definition) -> Result<Self, Fault> {
        const FORM: Fault = Fault::Not("a whole number, or a default and a cap not below it");
        let (default, max) = match text.split_once(',') {
            Some((default, max)) => (default, Some(max)),
            None => (text, None),
        };
        let seconds = |text| match Duration::read(text, definition) {
            Err(Fault::Not(_)) => Err(FORM),
            read => read,
        };
        let default = seconds(default)?;
        let max = match max {
            Some(max) => seconds(max)?,
            None => default.max(Self::default().max),
        };
        if max < default { Err(FORM) } else { Ok(Self { default, max }) }
    }

    fn print(&self, _: &Parameters, _: &Definition) -> String {
        format!("{},{}", self.default.as_secs(), self.max.as_secs())
    }
}
