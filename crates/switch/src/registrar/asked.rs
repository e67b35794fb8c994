//! What a REGISTER asks for, read and checked before anything is changed.

use super::binding::{MAX_CONTACT_LEN, MAX_PATH_LEN, MAX_PATHS};
use super::nat::is_behind_nat;
use super::register::Rules;
use crate::call::Refused;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::flow::Flow;
use tandem_sip::header::{Contact, q_value, unquote};
use tandem_sip::uri::Scheme;
use tandem_sip::{Message, Name, NameAddr, StatusCode, Uri};

/// What a malformed lifetime is taken for (RFC 3261 §10.2.1.1).
const MALFORMED_EXPIRES_S: u32 = 3_600;

/// The longest Call-ID and instance, in bytes.
const MAX_CALL_ID_LEN: usize = 256;
const MAX_INSTANCE_LEN: usize = 256;

/// Characters of a User-Agent that are kept.
const MAX_USER_AGENT_CHARS: usize = 128;

/// The highest preference, and the one of a contact without `q`.
const MAX_Q: u16 = 1_000;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Asked<'a> {
    /// No Contact: what are the bindings?
    Query,
    /// `*`: remove them all.
    RemoveAll,
    /// Add, refresh or remove these.
    Contacts(Vec<AskedContact<'a>>),
}

/// One Contact.
#[derive(Debug)]
pub(super) struct AskedContact<'a> {
    pub(super) uri: Uri<'a>,
    pub(super) text: &'a str,
    pub(super) q: u16,
    /// The lifetime granted; zero removes.
    pub(super) granted: Duration,
    pub(super) nat: bool,
    pub(super) instance: Option<Arc<str>>,
    /// Only where outbound is agreed.
    pub(super) reg_id: Option<u32>,
}

/// What all contacts of a REGISTER have in common.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) call_id: &'a str,
    pub(super) cseq: u32,
    pub(super) path: Vec<Arc<str>>,
    pub(super) user_agent: Option<Arc<str>>,
}

impl<'a> Head<'a> {
    pub(super) fn read(request: &'a Message) -> Result<Self, Refused> {
        let call_id =
            request.call_id().and_then(|id| std::str::from_utf8(id).ok()).ok_or_else(bad_request)?;
        let cseq = request.cseq().map_err(|_| bad_request())?.number;
        if call_id.len() > MAX_CALL_ID_LEN {
            return Err(bad_request());
        }
        let user_agent = request.first(Name::UserAgent).map(|agent| {
            let text = String::from_utf8_lossy(agent);
            text.chars().take(MAX_USER_AGENT_CHARS).collect::<String>().into()
        });
        Ok(Self { call_id, cseq, path: path(request)?, user_agent })
    }
}

/// The Path (RFC 3327 §5.3). Its proxies are on the way of every request to the user agent, which has to know of them.
fn path(request: &Message) -> Result<Vec<Arc<str>>, Refused> {
    let mut path = Vec::new();
    for value in request.items(Name::Path) {
        let text = std::str::from_utf8(value).map_err(|_| bad_request())?;
        let is_sound = NameAddr::parse(value).is_ok_and(|address| is_sip(address.parse_uri().ok().as_ref()));
        if !is_sound || text.len() > MAX_PATH_LEN || path.len() == MAX_PATHS {
            return Err(bad_request());
        }
        path.push(text.into());
    }
    if !path.is_empty() && !request.has_token(Name::Supported, "path") {
        return Err(unsupported(path));
    }
    Ok(path)
}

/// Says that the user agent does not know of the proxies on its way, and which they are.
fn unsupported(path: Vec<Arc<str>>) -> Refused {
    let mut refused = Refused::and(StatusCode::BAD_EXTENSION, Name::Unsupported, "path");
    refused.headers.extend(path.iter().map(|proxy| (Name::Path, proxy.to_string())));
    refused
}

impl<'a> Asked<'a> {
    pub(super) fn read(
        request: &'a Message,
        flow: Flow,
        path: &[Arc<str>],
        rules: &Rules,
    ) -> Result<Self, Refused> {
        let mut contacts = Vec::new();
        let mut values = request.contacts();
        while let Some(contact) = values.next() {
            match contact.map_err(|_| bad_request())? {
                // Alone, and with a lifetime of zero (RFC 3261 §10.3 step 6).
                Contact::Any => {
                    let is_zero = matches!(request.number(Name::Expires), Some(Ok(0)));
                    let is_alone = contacts.is_empty() && values.next().is_none();
                    return if is_zero && is_alone { Ok(Self::RemoveAll) } else { Err(bad_request()) };
                }
                Contact::Addr(_) if contacts.len() == rules.max_contacts => {
                    return Err(Refused::with(StatusCode::FORBIDDEN));
                }
                Contact::Addr(address) => {
                    contacts.push(AskedContact::read(request, &address, flow, path, rules)?)
                }
            }
        }
        let flows = contacts.iter().filter(|contact| contact.reg_id.is_some() && !contact.granted.is_zero());
        // A flow is registered by itself (RFC 5626 §4.2).
        if flows.count() > 0 && contacts.len() > 1 {
            return Err(bad_request());
        }
        Ok(if contacts.is_empty() { Self::Query } else { Self::Contacts(contacts) })
    }
}

impl<'a> AskedContact<'a> {
    fn read(
        request: &'a Message,
        address: &NameAddr<'a>,
        flow: Flow,
        path: &[Arc<str>],
        rules: &Rules,
    ) -> Result<Self, Refused> {
        let uri = address.parse_uri().map_err(|_| bad_request())?;
        let text = std::str::from_utf8(address.uri).map_err(|_| bad_request())?;
        let to_secure = request.to().is_ok_and(|to| has_scheme(to.parse_uri().ok().as_ref(), Scheme::Sips));
        // What is reached securely is not to be reached otherwise (RFC 5630 §3.4).
        let is_fit = is_sip(Some(&uri)) && (!to_secure || uri.scheme == Scheme::Sips);
        if !is_fit || text.len() > MAX_CONTACT_LEN {
            return Err(bad_request());
        }
        // Behind a proxy it is the proxy's address that we see.
        let nat = path.is_empty() && is_behind_nat(request, flow.remote.ip(), &uri);
        let instance = address.param("+sip.instance").flatten().map(unquote);
        let instance = instance.and_then(|text| Some(Arc::from(std::str::from_utf8(&text).ok()?)));
        if instance.as_ref().is_some_and(|instance: &Arc<str>| instance.len() > MAX_INSTANCE_LEN) {
            return Err(bad_request());
        }
        let q = address.param("q").flatten().and_then(q_value).unwrap_or(MAX_Q);
        let granted = rules.grant(asked_expires(request, address), nat)?;
        let reg_id = match &instance {
            Some(_) => reg_id(request, address, path)?,
            None => None,
        };
        Ok(Self { uri, text, q, granted, nat, instance, reg_id })
    }
}

/// The lifetime that is asked for, in seconds: the contact's own, or the request's.
fn asked_expires(request: &Message, address: &NameAddr<'_>) -> Option<u32> {
    if let Some(own) = address.param("expires") {
        let digits = own.and_then(|own| std::str::from_utf8(own).ok());
        let digits =
            digits.filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
        // What does not fit is longer than anything that is granted.
        return Some(digits.map_or(MALFORMED_EXPIRES_S, |digits| digits.parse().unwrap_or(u32::MAX)));
    }
    request.number(Name::Expires).map(|asked| asked.unwrap_or(MALFORMED_EXPIRES_S))
}

/// The flow's number, where the user agent and the proxy next to it know outbound (RFC 5626 §6).
fn reg_id(request: &Message, address: &NameAddr<'_>, path: &[Arc<str>]) -> Result<Option<u32>, Refused> {
    let number =
        address.param("reg-id").flatten().and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
    let Some(number) = number.filter(|_| request.has_token(Name::Supported, "outbound")) else {
        return Ok(None);
    };
    let came_by_proxies = request.items(Name::Via).nth(1).is_some();
    let first_hop = path.last().and_then(|first| NameAddr::parse(first.as_bytes()).ok());
    let knows_outbound =
        first_hop.is_some_and(|hop| hop.parse_uri().is_ok_and(|uri| uri.param("ob").is_some()));
    if came_by_proxies && !knows_outbound {
        return Err(Refused::with(StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT));
    }
    Ok(Some(number))
}

fn is_sip(uri: Option<&Uri<'_>>) -> bool {
    has_scheme(uri, Scheme::Sip) || has_scheme(uri, Scheme::Sips)
}

fn has_scheme(uri: Option<&Uri<'_>>, scheme: Scheme) -> bool {
    uri.is_some_and(|uri| uri.scheme == scheme)
}

fn bad_request() -> Refused {
    Refused::with(StatusCode::BAD_REQUEST)
}
