//! What a REGISTER does to the bindings of its address of record (RFC 3261 §10.3).

use super::asked::{Asked, AskedContact, Head};
use super::{Aor, Arrival, Binding, Bindings, Domains};
use crate::call::{Refused, check_required};
use crate::parameters::EndpointExpire;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Wall;
use tandem_sip::uri::Scheme;
use tandem_sip::{Message, Name, StatusCode, Uri};

/// The extensions that a REGISTER may require.
pub(super) const EXTENSIONS: &str = "path, outbound";

/// What the registrar grants.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Lifetimes that are asked for and shorter than this are refused with 423.
    pub min_expires: Duration,
    /// `SS_ENDPOINT_EXPIRE`: the lifetime of who asks for none, and the longest.
    pub expires: EndpointExpire,
    /// `SS_ENDPOINT_NAT_EXPIRE`: the longest lifetime behind a NAT.
    pub nat_expires: Duration,
    /// The most bindings of an address of record.
    pub max_contacts: usize,
    /// The Service-Route that user agents are told, in its order (RFC 3608); empty for none.
    pub service_route: Vec<Arc<str>>,
    /// `SS_SIP_NAT_KEEP_ALIVE_PERIOD`: how often a user agent is asked to keep its flow alive where that goes by datagrams
    /// (Flow-Timer, RFC 5626 §5.4).
    pub keep_alive: Duration,
}

impl Rules {
    /// The lifetime granted to who asks for so many seconds, or for none.
    ///
    /// # Errors
    /// 423 for one that is too short. What is granted at most is never too short, so that whoever asks for what it was
    /// granted gets it again.
    pub(super) fn grant(&self, asked_s: Option<u32>, nat: bool) -> Result<Duration, Refused> {
        let longest = if nat { self.expires.max.min(self.nat_expires) } else { self.expires.max };
        let Some(asked_s) = asked_s else { return Ok(self.expires.default.min(longest)) };
        let asked = Duration::from_secs(asked_s.into());
        let shortest = self.min_expires.min(longest);
        if !asked.is_zero() && asked < shortest {
            let shortest = shortest.as_secs().to_string();
            return Err(Refused::and(StatusCode::INTERVAL_TOO_BRIEF, Name::MinExpires, shortest));
        }
        Ok(asked.min(longest))
    }
}

/// What a REGISTER was let do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Bindings have changed: they have to be stored before the answer goes out.
    pub changed: bool,
    /// A flow was registered (RFC 5626): the answer requires outbound.
    pub outbound: bool,
}

/// Checks what can be known of a REGISTER before it is known who sends it: whether it is for us, needs what we have, and
/// for which address of record it is.
///
/// # Errors
/// Says with which status it is refused.
pub fn screen_register(
    request: &Message,
    domains: &Domains,
    is_our_address: impl Fn(IpAddr) -> bool,
) -> Result<Aor, Refused> {
    let registrar = Uri::parse(request.request_uri()).map_err(|_| Refused::with(StatusCode::BAD_REQUEST))?;
    if !matches!(registrar.scheme, Scheme::Sip | Scheme::Sips) {
        return Err(Refused::with(StatusCode::UNSUPPORTED_URI_SCHEME));
    }
    if !domains.has(&registrar.host, &is_our_address) {
        return Err(Refused::with(StatusCode::NOT_FOUND));
    }
    check_required(request, EXTENSIONS)?;
    let to = request.to().map_err(|_| Refused::with(StatusCode::BAD_REQUEST))?;
    let to = to.parse_uri().map_err(|_| Refused::with(StatusCode::BAD_REQUEST))?;
    domains.aor_of(&to, is_our_address).ok_or_else(|| Refused::with(StatusCode::NOT_FOUND))
}

impl Bindings {
    /// The bindings after a REGISTER that arrived so: all that it asks for is done, or nothing. Lapsed ones are not
    /// among them.
    ///
    /// # Errors
    /// Says with which status it is refused.
    pub fn register(
        &self,
        request: &Message,
        arrival: Arrival<'_>,
        rules: &Rules,
        now: Wall,
    ) -> Result<(Bindings, Accepted), Refused> {
        let mut next = self.clone();
        let mut accepted = Accepted { changed: next.expire(now), outbound: false };
        let head = Head::read(request)?;
        match Asked::read(request, arrival.flow, &head.path, rules)? {
            Asked::Query => {}
            Asked::RemoveAll => {
                if next.bindings.iter().any(|binding| is_late(binding, &head)) {
                    return Err(out_of_order());
                }
                accepted.changed |= !next.bindings.is_empty();
                next.bindings.clear();
            }
            Asked::Contacts(contacts) => {
                for contact in contacts {
                    accepted.outbound |= contact.reg_id.is_some();
                    accepted.changed |= apply(&mut next.bindings, contact, &head, arrival, now)?;
                }
                if next.bindings.len() > rules.max_contacts {
                    return Err(Refused::with(StatusCode::FORBIDDEN));
                }
            }
        }
        Ok((next, accepted))
    }
}

/// Does what one Contact asks for. Whether something has changed.
fn apply(
    bindings: &mut Vec<Binding>,
    contact: AskedContact<'_>,
    head: &Head<'_>,
    Arrival { flow, edge }: Arrival<'_>,
    now: Wall,
) -> Result<bool, Refused> {
    let place = bindings.iter().position(|binding| is_of(binding, &contact));
    if let Some(known) = place.map(|place| &bindings[place])
        && *known.call_id == *head.call_id
        && head.cseq <= known.cseq
    {
        // Its transaction has sent it again; from elsewhere it would be somebody else's copy.
        let is_repeated = head.cseq == known.cseq && flow == known.flow;
        return if is_repeated { Ok(false) } else { Err(out_of_order()) };
    }
    if contact.granted.is_zero() {
        return Ok(place.map(|place| bindings.remove(place)).is_some());
    }
    let registered = place.map_or(now, |place| bindings[place].registered);
    let lifetime_ms = u64::try_from(contact.granted.as_millis()).unwrap_or(u64::MAX);
    let binding = Binding {
        contact: contact.text.into(),
        q: contact.q,
        flow,
        edge: edge.clone(),
        elsewhere: false,
        nat: contact.nat,
        path: head.path.clone(),
        instance: contact.instance,
        reg_id: contact.reg_id,
        call_id: head.call_id.into(),
        cseq: head.cseq,
        expires: Wall(now.0.saturating_add(lifetime_ms)),
        registered,
        refreshed: now,
        user_agent: head.user_agent.clone(),
    };
    match place {
        Some(place) => bindings[place] = binding,
        None => bindings.push(binding),
    }
    Ok(true)
}

/// Whether the binding is that of the contact: a flow by its device and number (RFC 5626 §6), anything else by its URI
/// (RFC 3261 §10.3 step 7).
fn is_of(binding: &Binding, contact: &AskedContact<'_>) -> bool {
    if contact.reg_id.is_some() && binding.reg_id.is_some() {
        return contact.reg_id == binding.reg_id && contact.instance == binding.instance;
    }
    *binding.contact == *contact.text
        || Uri::parse(binding.contact.as_bytes()).is_ok_and(|known| known.is_equivalent(&contact.uri))
}

/// Whether the REGISTER was overtaken by the one that the binding is of.
fn is_late(binding: &Binding, head: &Head<'_>) -> bool {
    *binding.call_id == *head.call_id && head.cseq <= binding.cseq
}

fn out_of_order() -> Refused {
    Refused::with(StatusCode::SERVER_INTERNAL_ERROR)
}
