//! Event packages (RFC 6665), Replaces (RFC 3891), Privacy (RFC 3323) and q-values: a token with something behind it.

use super::{HeaderError, Params, decimal, find_param, skip_lws, token_len, trim};

/// The value of Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event package, with its templates.
    pub package: &'a [u8],
    /// The `id` parameter.
    pub id: Option<&'a [u8]>,
}

/// The value of Subscription-State.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    /// `active`, `pending` or `terminated`.
    pub state: &'a [u8],
    /// The parameters with their leading `;`. Empty without any.
    pub params: &'a [u8],
}

/// The value of Replaces: which dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaces<'a> {
    /// Its Call-ID.
    pub call_id: &'a [u8],
    /// Its tag on the side that receives the request.
    pub to_tag: &'a [u8],
    /// Its tag on the other side.
    pub from_tag: &'a [u8],
    /// Whether only an early dialog may be replaced.
    pub early_only: bool,
}

impl<'a> Event<'a> {
    /// Reads `package;id=…`.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`].
    pub fn parse(value: &'a [u8]) -> Result<Event<'a>, HeaderError> {
        let (package, params) = token_and_params(value, "Event")?;
        Ok(Event { package, id: find_param(params, "id").flatten() })
    }
}

impl<'a> SubscriptionState<'a> {
    /// Reads `state;params`.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`].
    pub fn parse(value: &'a [u8]) -> Result<SubscriptionState<'a>, HeaderError> {
        let (state, params) = token_and_params(value, "Subscription-State")?;
        Ok(SubscriptionState { state, params })
    }
}

impl<'a> Replaces<'a> {
    /// Reads `call-id;to-tag=…;from-tag=…`.
    ///
    /// # Errors
    /// [`HeaderError::Syntax`], also when a tag is missing (RFC 3891 §6.1).
    pub fn parse(value: &'a [u8]) -> Result<Replaces<'a>, HeaderError> {
        let syntax = HeaderError::Syntax("Replaces");
        let value = trim(value);
        let (call_id, params) = value.split_at(memchr::memchr(b';', value).ok_or(syntax)?);
        let call_id = trim(call_id);
        let tag = |name| find_param(params, name).flatten().filter(|tag| !tag.is_empty()).ok_or(syntax);
        if call_id.is_empty() || !Params::new(params).are_valid() {
            return Err(syntax);
        }
        Ok(Replaces {
            call_id,
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            early_only: find_param(params, "early-only").is_some(),
        })
    }
}

/// The values of a Privacy header (RFC 3323 §4.2): `id`, `header`, `session`, `user`, `none`, `critical`.
pub fn privacy_values(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Values are separated by semicolons; commas are a common mistake and mean the same.
    value.split(|byte| matches!(byte, b';' | b',')).map(trim).filter(|value| !value.is_empty())
}

/// A q-value (RFC 3261 §25.1) in thousandths: `0.7` is 700. `None` if it is none.
pub fn q_value(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match memchr::memchr(b'.', value) {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    if fraction.len() > 3 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { decimal(whole)? };
    let digits = if fraction.is_empty() { 0 } else { decimal(fraction)? };
    let scale = [1000, 100, 10, 1][fraction.len()];
    let thousandths = whole.checked_mul(1000)?.checked_add(digits * scale)?;
    u16::try_from(thousandths).ok().filter(|q| *q <= 1000)
}

fn token_and_params<'a>(value: &'a [u8], header: &'static str) -> Result<(&'a [u8], &'a [u8]), HeaderError> {
    let value = trim(value);
    let (token, params) = value.split_at(token_len(value));
    let params = skip_lws(params);
    if token.is_empty() || !Params::new(params).are_valid() {
        return Err(HeaderError::Syntax(header));
    }
    Ok((token, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_package_and_perhaps_an_id() {
        assert_eq!(
            Event::parse(b"presence.winfo ; id = 7"),
            Ok(Event { package: b"presence.winfo", id: Some(b"7") })
        );
        assert_eq!(Event::parse(b"presence"), Ok(Event { package: b"presence", id: None }));
        assert!(Event::parse(b";id=7").is_err());
        let state = SubscriptionState::parse(b"terminated;reason=timeout").expect("valid");
        assert_eq!(
            (state.state, find_param(state.params, "reason")),
            (&b"terminated"[..], Some(Some(&b"timeout"[..])))
        );
    }

    #[test]
    fn replaces_needs_both_tags() {
        let replaces =
            Replaces::parse(b"98732@h.example ;from-tag=r33;to-tag=ff1;early-only").expect("valid");
        assert_eq!(replaces.call_id, b"98732@h.example");
        assert_eq!(
            (replaces.to_tag, replaces.from_tag, replaces.early_only),
            (&b"ff1"[..], &b"r33"[..], true)
        );
        for text in ["", "id", "id;to-tag=1", "id;from-tag=1", ";to-tag=1;from-tag=2"] {
            assert!(Replaces::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn privacy_is_a_list_of_semicolons() {
        assert!(privacy_values(b"header; id ,critical;").eq([&b"header"[..], b"id", b"critical"]));
        assert_eq!(privacy_values(b" ; ").count(), 0);
    }

    #[test]
    fn q_values_are_thousandths() {
        let values: [(&[u8], Option<u16>); 11] = [
            (b"1", Some(1000)),
            (b"1.000", Some(1000)),
            (b"0.7", Some(700)),
            (b"0.07", Some(70)),
            (b".5", Some(500)),
            (b"0.", Some(0)),
            (b"", None),
            (b".", None),
            (b"1.001", None),
            (b"0.1234", None),
            (b"9999999999999999999", None),
        ];
        for (text, expected) in values {
            assert_eq!(q_value(text), expected);
        }
    }
}
