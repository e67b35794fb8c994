//! The steps of RFC 3263 §4: NAPTR, SRV, A and AAAA, each from what the one before has brought.

use super::located::{Host, Located, Service};
use super::{
    ASK_AGAIN, Answer, Family, LocateError, MAX_ADDRESSES, MAX_ALIASES, MAX_HOSTS, MAX_NEGATIVE_TTL,
    MAX_QUESTIONS, MAX_RECORDS, MAX_SERVICES, MAX_TTL, MIN_TTL, Offers, Query, QueryKind, Record, Wanted,
    plain,
};
use crate::flow::Transport;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// One location under way.
#[derive(Debug)]
pub struct Locator {
    wanted: Wanted,
    offers: Offers,
    stage: Stage,
    open: Vec<Open>,
    answers: BTreeMap<Query, Answer>,
    /// Of everything that was heard.
    ttl: Duration,
    questions: usize,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask these; with none, wait for those that have been asked.
    Ask(Vec<Query>),
    /// It is known where the URI leads, or that it leads nowhere; for how long is in the result or, for an error, beside
    /// it.
    Done(Result<Located, LocateError>, Duration),
}

/// Which records are being asked for.
#[derive(Clone, Debug)]
enum Stage {
    Naptr,
    Srv(Choices),
    Addresses(Vec<Service>),
}

/// The services whose SRV records are asked for, in the order of preference.
#[derive(Clone, Debug)]
struct Choices {
    services: Vec<(Transport, String)>,
    rule: Rule,
}

/// Which of the services count.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// All of them: the domain itself has put them in order (NAPTR).
    All,
    /// The first one that has records: we guessed what there might be.
    First,
}

/// A question that has not been answered.
#[derive(Clone, Debug)]
struct Open {
    /// As it is asked now.
    asked: Query,
    /// As it was asked at first, before any alias.
    meant: Query,
    aliases: u8,
}

/// What an SRV answer says.
enum Said {
    Hosts(Vec<Host>),
    /// No such service, decidedly.
    NotOffered,
    Nothing,
    Unknown,
}

impl Locator {
    /// Begins to locate what is `wanted`, for a node whose listeners have what `offers` says.
    pub fn start(wanted: Wanted, offers: Offers) -> (Self, Step) {
        let (open, answers) = (Vec::new(), BTreeMap::new());
        let mut locator =
            Self { wanted, offers, stage: Stage::Naptr, open, answers, ttl: MAX_TTL, questions: 0 };
        let step = locator.begin();
        (locator, step)
    }

    /// Takes the answer to a question. One that is not awaited changes nothing.
    pub fn on_answer(&mut self, query: &Query, answer: &Answer) -> Step {
        let (answered, open): (Vec<Open>, Vec<Open>) =
            std::mem::take(&mut self.open).into_iter().partition(|open| open.asked == *query);
        self.open = open;
        if answered.is_empty() {
            return Step::Ask(Vec::new());
        }
        self.limit_ttl(answer);
        let mut further = Vec::new();
        for Open { meant, aliases, .. } in answered {
            match answer {
                Answer::Alias { name, .. } if aliases < MAX_ALIASES => {
                    let asked = Query { name: plain(name), kind: query.kind };
                    further.extend(self.ask(Open { asked, meant, aliases: aliases + 1 }));
                }
                // A chain without end gives no answer.
                Answer::Alias { .. } => {
                    self.answers.insert(meant, Answer::Failed);
                }
                Answer::Records { .. } | Answer::Empty { .. } | Answer::Failed => {
                    self.answers.insert(meant, answer.clone());
                }
            }
        }
        if self.open.is_empty() { self.advance() } else { Step::Ask(further) }
    }

    fn begin(&mut self) -> Step {
        let usable = self.usable();
        let Some(preferred) = usable.first().copied() else {
            return self.fail(LocateError::NoTransport);
        };
        if let Some(address) = self.wanted.address() {
            let family = Family::of(address);
            let reaching = usable.into_iter().find(|transport| self.offers.have(*transport, family));
            return match reaching {
                Some(transport) => {
                    let located = Located::by_address(&self.wanted, address, transport, MAX_TTL);
                    Step::Done(Ok(located), MAX_TTL)
                }
                None => self.fail(LocateError::NoTransport),
            };
        }
        if self.wanted.port().is_some() {
            // §4.2: with a port there is nothing more to learn than addresses.
            return self.ask_addresses(vec![Service::of_host(&self.wanted, preferred)]);
        }
        if self.wanted.transport().is_some() {
            let services = vec![(preferred, service_name(preferred, self.wanted.host()))];
            return self.ask_srv(Choices { services, rule: Rule::All });
        }
        self.ask_all(vec![Query { name: self.wanted.host().to_owned(), kind: QueryKind::Naptr }])
    }

    /// The transports that will do and that we have, the preferred one first.
    fn usable(&self) -> Vec<Transport> {
        let have = |transport: &Transport| self.offers.families(*transport).next().is_some();
        self.wanted.transports().iter().copied().filter(have).collect()
    }

    /// All that was asked has been answered.
    fn advance(&mut self) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Naptr) {
            Stage::Naptr => self.after_naptr(),
            Stage::Srv(choices) => self.after_srv(&choices),
            Stage::Addresses(services) => self.after_addresses(services),
        }
    }

    /// §4.1. Where NAPTR is not answered SRV may still be.
    fn after_naptr(&mut self) -> Step {
        let usable = self.usable();
        let query = Query { name: self.wanted.host().to_owned(), kind: QueryKind::Naptr };
        let mut offered: Vec<(u16, u16, Transport, String)> = Vec::new();
        for record in records(self.answers.get(&query)) {
            if let Record::Naptr { order, preference, flags, service, replacement } = record
                && flags.eq_ignore_ascii_case("s")
                && let Some(transport) = transport_of_service(service)
                && usable.contains(&transport)
                && !plain(replacement).is_empty()
            {
                offered.push((*order, *preference, transport, plain(replacement)));
            }
        }
        offered.sort_by_key(|(order, preference, ..)| (*order, *preference));
        let lowest = offered.first().map(|(order, ..)| *order);
        // RFC 3403 §4.1: once a record of one order is taken, those of others are not.
        offered.retain(|(order, ..)| Some(*order) == lowest);
        offered.truncate(MAX_SERVICES);
        if offered.is_empty() {
            let name = |transport| (transport, service_name(transport, self.wanted.host()));
            let services = usable.into_iter().map(name).collect();
            return self.ask_srv(Choices { services, rule: Rule::First });
        }
        let services = offered.into_iter().map(|(_, _, transport, name)| (transport, name)).collect();
        self.ask_srv(Choices { services, rule: Rule::All })
    }

    fn ask_srv(&mut self, choices: Choices) -> Step {
        let query = |(_, name): &(Transport, String)| Query { name: name.clone(), kind: QueryKind::Srv };
        let queries = choices.services.iter().map(query).collect();
        self.stage = Stage::Srv(choices);
        self.ask_all(queries)
    }

    /// §4.2. Only a domain that says it has no SRV records is looked for by its addresses: where the answer is missing,
    /// these may be anything, a web server's say.
    fn after_srv(&mut self, choices: &Choices) -> Step {
        let mut services = Vec::new();
        let (mut unknown, mut not_offered) = (false, false);
        for (transport, name) in &choices.services {
            let query = Query { name: name.clone(), kind: QueryKind::Srv };
            match said(self.answers.get(&query)) {
                Said::Hosts(hosts) => services.push(Service { transport: *transport, hosts }),
                Said::NotOffered => not_offered = true,
                Said::Nothing => {}
                Said::Unknown => unknown = true,
            }
        }
        match choices.rule {
            Rule::All => {}
            Rule::First => services.truncate(1),
        }
        if !services.is_empty() {
            return self.ask_addresses(services);
        }
        match choices.services.first() {
            _ if unknown => self.fail(LocateError::Unanswered),
            _ if not_offered => self.fail(LocateError::NotOffered),
            Some((transport, _)) => self.ask_addresses(vec![Service::of_host(&self.wanted, *transport)]),
            None => self.fail(LocateError::NoTransport),
        }
    }

    fn ask_addresses(&mut self, services: Vec<Service>) -> Step {
        let mut queries = Vec::new();
        for service in &services {
            for host in &service.hosts {
                for family in self.offers.families(service.transport) {
                    queries.push(Query { name: host.name.clone(), kind: kind_of(family) });
                }
            }
        }
        self.stage = Stage::Addresses(services);
        self.ask_all(queries)
    }

    fn after_addresses(&mut self, mut services: Vec<Service>) -> Step {
        let mut unknown = false;
        for service in &mut services {
            for host in &mut service.hosts {
                for family in self.offers.families(service.transport) {
                    let query = Query { name: host.name.clone(), kind: kind_of(family) };
                    let answer = self.answers.get(&query);
                    unknown |= matches!(answer, None | Some(Answer::Failed));
                    let addresses: Vec<_> = addresses(answer, family).collect();
                    if !addresses.is_empty() {
                        host.addresses.push(addresses);
                    }
                }
            }
            service.hosts.retain(|host| !host.addresses.is_empty());
        }
        services.retain(|service| !service.hosts.is_empty());
        if services.is_empty() {
            let why = if unknown { LocateError::Unanswered } else { LocateError::NoAddress };
            return self.fail(why);
        }
        let ttl = self.ttl.max(MIN_TTL);
        Step::Done(Ok(Located { services, ttl }), ttl)
    }

    fn fail(&self, why: LocateError) -> Step {
        let valid_for = match why {
            LocateError::NoAddress | LocateError::NotOffered => self.ttl.clamp(MIN_TTL, MAX_NEGATIVE_TTL),
            LocateError::NoTransport => MAX_TTL,
            LocateError::Unanswered => ASK_AGAIN,
        };
        Step::Done(Err(why), valid_for)
    }

    /// Asks what is not being asked; goes on at once if that is nothing.
    fn ask_all(&mut self, queries: Vec<Query>) -> Step {
        let mut asked = Vec::new();
        for query in queries {
            asked.extend(self.ask(Open { asked: query.clone(), meant: query, aliases: 0 }));
        }
        if self.open.is_empty() { self.advance() } else { Step::Ask(asked) }
    }

    /// Waits for an answer. Returns the question unless it is being asked or there have been too many.
    fn ask(&mut self, open: Open) -> Option<Query> {
        let known = |other: &Open| other.meant == open.meant;
        if self.answers.contains_key(&open.meant) || self.open.iter().any(known) {
            return None;
        }
        let query = open.asked.clone();
        let being_asked = self.open.iter().any(|other| other.asked == query);
        if !being_asked {
            if self.questions >= MAX_QUESTIONS {
                self.answers.insert(open.meant, Answer::Failed);
                return None;
            }
            self.questions += 1;
        }
        self.open.push(open);
        (!being_asked).then_some(query)
    }

    fn limit_ttl(&mut self, answer: &Answer) {
        let ttl = match answer {
            Answer::Records { ttl, .. } | Answer::Alias { ttl, .. } => *ttl,
            Answer::Empty { ttl } => (*ttl).min(MAX_NEGATIVE_TTL),
            Answer::Failed => ASK_AGAIN,
        };
        self.ttl = self.ttl.min(ttl);
    }
}

fn kind_of(family: Family) -> QueryKind {
    match family {
        Family::V4 => QueryKind::A,
        Family::V6 => QueryKind::Aaaa,
    }
}

/// RFC 3263 §4.1: what a NAPTR record's service stands for; SCTP and what else there may be we do not have.
fn transport_of_service(service: &str) -> Option<Transport> {
    let known = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
    known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(service)).map(|(_, transport)| transport)
}

/// RFC 3263 §4.1: the name of a domain's SRV records for a transport.
fn service_name(transport: Transport, host: &str) -> String {
    match transport {
        Transport::Udp => format!("_sip._udp.{host}"),
        Transport::Tcp => format!("_sip._tcp.{host}"),
        Transport::Tls => format!("_sips._tcp.{host}"),
    }
}

fn records(answer: Option<&Answer>) -> impl Iterator<Item = &Record> {
    let records = match answer {
        Some(Answer::Records { records, .. }) => records.as_slice(),
        Some(Answer::Alias { .. } | Answer::Empty { .. } | Answer::Failed) | None => &[],
    };
    records.iter().take(MAX_RECORDS)
}

fn said(answer: Option<&Answer>) -> Said {
    match answer {
        None | Some(Answer::Failed) => return Said::Unknown,
        Some(Answer::Records { .. } | Answer::Alias { .. } | Answer::Empty { .. }) => {}
    }
    let mut hosts = Vec::new();
    let mut not_offered = false;
    for record in records(answer) {
        if let Record::Srv { priority, weight, port, target } = record {
            let name = plain(target);
            if name.is_empty() {
                not_offered = true;
            } else if *port != 0 {
                let (priority, weight, port) = (*priority, *weight, *port);
                hosts.push(Host { priority, weight, name, port, addresses: Vec::new() });
            }
        }
    }
    hosts.sort_by_key(|host| host.priority);
    hosts.truncate(MAX_HOSTS);
    match (hosts.is_empty(), not_offered) {
        (false, _) => Said::Hosts(hosts),
        (true, true) => Said::NotOffered,
        (true, false) => Said::Nothing,
    }
}

/// The addresses of an answer that a request can be sent to.
fn addresses(answer: Option<&Answer>, family: Family) -> impl Iterator<Item = IpAddr> {
    records(answer)
        .filter_map(move |record| match record {
            Record::Address(address) if Family::of(*address) == family => Some(*address),
            Record::Address(_) | Record::Naptr { .. } | Record::Srv { .. } => None,
        })
        .filter(|address| !address.is_unspecified() && !address.is_multicast())
        .take(MAX_ADDRESSES)
}
