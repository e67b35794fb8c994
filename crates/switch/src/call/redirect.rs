//! 3xx: which contacts of a redirection are followed (RFC 3261 §8.1.3.4).

use super::action::{Reach, Target};
use super::attempt::Attempt;
use crate::gateway::Redirects;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use tandem_sip::header::{Contact, q_value};
use tandem_sip::uri::{Host, Scheme};
use tandem_sip::{Message, NameAddr, StatusCode, Uri};

/// The most contacts that one attempt follows.
const MAX_CONTACTS: usize = 5;

/// The longest URI that is followed, in bytes: it is kept in the call's state.
const MAX_URI_LEN: usize = 256;

/// Where an attempt was redirected to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Redirections {
    /// Not tried yet, best first.
    next: VecDeque<Hop>,
    /// URIs that were asked for already: none is followed twice.
    seen: Vec<Arc<str>>,
}

/// A contact to be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hop {
    pub(super) uri: Arc<str>,
    /// Whether it is somebody else's than the gateway's: then it is sent none of our credentials.
    pub(super) foreign: bool,
}

impl Redirections {
    /// Takes the next contact.
    pub(super) fn next(&mut self) -> Option<Hop> {
        self.next.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Whether the attempt has followed any.
    pub(super) fn has_any(&self) -> bool {
        !self.seen.is_empty()
    }
}

impl Attempt {
    /// Takes the contacts of a 3xx as far as the gateway's policy allows, in front of those that are left of an earlier
    /// one. `false` if there is none.
    pub(super) fn take_contacts(&mut self, status: StatusCode, response: &Message) -> bool {
        // 305 names a proxy, and 380 another service: neither is another place of the callee's.
        if !matches!(status.code(), 300..=302) || self.candidate.redirects == Redirects::Refuse {
            return false;
        }
        let contacts = response.contacts().filter_map(Result::ok).filter_map(|contact| match contact {
            Contact::Addr(address) => {
                let q = address.param("q").flatten().and_then(q_value);
                Some((q.unwrap_or(MAX_Q), address))
            }
            Contact::Any => None,
        });
        let mut contacts: Vec<(u16, NameAddr<'_>)> = contacts.take(MAX_CONTACTS * 4).collect();
        contacts.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
        let mut taken = VecDeque::new();
        for (_, address) in contacts {
            let Some(hop) = address.parse_uri().ok().and_then(|uri| self.hop(&uri)) else {
                continue;
            };
            let seen = &mut self.course.redirections.seen;
            if seen.len() < MAX_CONTACTS && !seen.contains(&hop.uri) && *hop.uri != *self.uri {
                seen.push(hop.uri.clone());
                taken.push_back(hop);
            }
        }
        let any = !taken.is_empty();
        taken.append(&mut self.course.redirections.next);
        self.course.redirections.next = taken;
        any
    }

    /// The place a contact names, if it may be followed there: its user, host, port and transport, and nothing else.
    fn hop(&self, contact: &Uri<'_>) -> Option<Hop> {
        if contact.scheme != Scheme::Sip {
            return None;
        }
        let foreign = !self.is_of_gateway(&contact.host);
        match self.candidate.redirects {
            Redirects::Any => {}
            Redirects::Gateway if !foreign => {}
            Redirects::Gateway | Redirects::Refuse => return None,
        }
        let user = std::str::from_utf8(contact.user?).ok()?;
        let port = contact.port.map(|port| format!(":{port}")).unwrap_or_default();
        let transport = match contact.transport() {
            Some(name) => format!(";transport={}", std::str::from_utf8(name).ok()?),
            None => String::new(),
        };
        let uri = format!("sip:{user}@{}{port}{transport}", contact.host);
        (uri.len() <= MAX_URI_LEN).then(|| Hop { uri: uri.into(), foreign })
    }

    /// Whether a host is the gateway's: its name, or an address that it is reached at. The addresses at hand are somebody
    /// else's once the attempt has been led away.
    fn is_of_gateway(&self, host: &Host<'_>) -> bool {
        let is_at = |target: &Target| Some(target.flow.remote.ip()) == host.ip();
        match &self.candidate.reach {
            Reach::At(target) => is_at(target),
            Reach::Bindings(_) => false,
            Reach::Registered(_) => self.course.places(&self.current.head.target).any(is_at),
            Reach::Named(name) => {
                let text = format!("sip:{name}");
                let named = Uri::parse(text.as_bytes()).is_ok_and(|uri| uri.host.is_equivalent(host));
                named || !self.course.foreign && self.course.places(&self.current.head.target).any(is_at)
            }
        }
    }
}

/// The preference of a contact that names none.
const MAX_Q: u16 = 1000;
