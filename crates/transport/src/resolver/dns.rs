//! Questions to DNS servers, and their answers in the words of [`tandem_sip::locate`].

use super::{DnsSettings, ResolverError};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer, RetryDnsHandle};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequestOptions, Query as Question, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record as DnsRecord, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, NameServerPool, PoolContext, TlsConfig};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::locate::{Answer, MAX_ALIASES, MAX_RECORDS, MAX_TTL, Query, QueryKind, Record};

/// How often a question is put to the servers again that none has answered in time.
const TRIES_AGAIN: usize = 1;

/// How long a negative answer is valid that does not say (it has no SOA record, RFC 2308 §5).
const UNSAID_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// The servers that are asked. Each question may go to two at a time; the quicker ones are preferred.
pub(super) struct Dns {
    servers: RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>,
    /// `/etc/hosts`, as it was when this was made.
    hosts: Hosts,
    options: DnsRequestOptions,
}

impl Dns {
    /// Servers as they are configured, else those of the system.
    ///
    /// # Errors
    /// None are configured, and those of the system cannot be found out.
    pub(super) fn new(settings: &DnsSettings) -> Result<Self, ResolverError> {
        let servers = if settings.servers.is_empty() {
            let (system, _) =
                read_system_conf().map_err(|why| ResolverError::System { why: why.to_string() })?;
            system.name_servers().to_vec()
        } else {
            settings.servers.iter().map(|server| name_server(*server)).collect()
        };
        let mut options = ResolverOpts::default();
        options.timeout = settings.timeout;
        let mut request = DnsRequestOptions::default();
        request.recursion_desired = true;
        request.use_edns = options.edns0;
        request.edns_payload_len = options.edns_payload_len;
        let tls = TlsConfig::new().map_err(|why| ResolverError::System { why: why.to_string() })?;
        let context = Arc::new(PoolContext::new(options, tls));
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        Ok(Self {
            servers: RetryDnsHandle::new(pool, TRIES_AGAIN),
            hosts: Hosts::from_system().unwrap_or_default(),
            options: request,
        })
    }

    /// Asks one question.
    pub(super) async fn ask(&self, query: &Query) -> Answer {
        let Ok(mut name) = Name::from_ascii(&query.name) else {
            // No name that DNS could have.
            return Answer::Empty { ttl: MAX_TTL };
        };
        name.set_fqdn(true);
        let kind = match query.kind {
            QueryKind::Naptr => RecordType::NAPTR,
            QueryKind::Srv => RecordType::SRV,
            QueryKind::A => RecordType::A,
            QueryKind::Aaaa => RecordType::AAAA,
        };
        let question = Question::query(name.clone(), kind);
        if let Some(known) = self.hosts.lookup_static_host(&question) {
            return answer_of(&name, kind, known.answers());
        }
        let response = self.servers.lookup(question, self.options).first_answer().await;
        match response.and_then(|response| DnsError::from_response(response).map_err(NetError::from)) {
            Ok(response) => answer_of(&name, kind, &response.answers),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => none_of(&none),
            Err(error) => {
                tracing::debug!(name = query.name, kind = ?query.kind, %error, "DNS does not answer");
                Answer::Failed
            }
        }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    // TCP is for answers that a datagram cannot hold.
    let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// An answer without records: there are none, or the server would not say.
fn none_of(none: &NoRecords) -> Answer {
    match none.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let ttl =
                none.negative_ttl.map_or(UNSAID_NEGATIVE_TTL, |seconds| Duration::from_secs(seconds.into()));
            Answer::Empty { ttl }
        }
        _ => Answer::Failed,
    }
}

/// The records that a question was about, by way of the aliases in the answer.
fn answer_of(name: &Name, kind: RecordType, records: &[DnsRecord]) -> Answer {
    let records = &records[..records.len().min(MAX_RECORDS)];
    let mut ttl = MAX_TTL;
    let mut owner = name;
    for _ in 0..MAX_ALIASES {
        let of_owner = || records.iter().filter(|record| record.name == *owner);
        let found: Vec<_> = of_owner().filter(|record| record.record_type() == kind).collect();
        if !found.is_empty() {
            ttl = found.iter().map(|record| seconds(record.ttl)).fold(ttl, Duration::min);
            return Answer::Records { records: found.into_iter().filter_map(record_of).collect(), ttl };
        }
        let alias = of_owner().find_map(|record| match &record.data {
            RData::CNAME(alias) => Some((record, &alias.0)),
            _ => None,
        });
        match alias {
            Some((record, other)) => {
                ttl = ttl.min(seconds(record.ttl));
                owner = other;
            }
            None if owner == name => return Answer::Empty { ttl: UNSAID_NEGATIVE_TTL },
            None => return Answer::Alias { name: owner.to_ascii(), ttl },
        }
    }
    // Aliases in a circle.
    Answer::Failed
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

fn record_of(record: &DnsRecord) -> Option<Record> {
    match &record.data {
        RData::A(address) => Some(Record::Address(IpAddr::V4(address.0))),
        RData::AAAA(address) => Some(Record::Address(IpAddr::V6(address.0))),
        RData::SRV(srv) => Some(Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_ascii(),
        }),
        RData::NAPTR(naptr) => Some(Record::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
            service: String::from_utf8_lossy(&naptr.services).into_owned(),
            replacement: naptr.replacement.to_ascii(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::rdata::{A, CNAME, SRV};

    fn name(text: &str) -> Name {
        let mut name = Name::from_ascii(text).expect("a name");
        name.set_fqdn(true);
        name
    }

    fn alias(from: &str, to: &str, ttl: u32) -> DnsRecord {
        DnsRecord::from_rdata(name(from), ttl, RData::CNAME(CNAME(name(to))))
    }

    #[test]
    fn records_are_found_by_way_of_aliases_and_the_shortest_ttl_counts() {
        let srv = SRV::new(1, 2, 5070, name("host.example"));
        let answer = [
            alias("_sip._udp.Example.com", "_sip._udp.other.example", 30),
            DnsRecord::from_rdata(name("_sip._udp.other.example"), 60, RData::SRV(srv)),
            DnsRecord::from_rdata(name("host.example"), 10, RData::A(A::new(192, 0, 2, 1))),
        ];
        let found = answer_of(&name("_sip._udp.example.com"), RecordType::SRV, &answer);
        let srv = Record::Srv { priority: 1, weight: 2, port: 5070, target: "host.example.".into() };
        assert_eq!(found, Answer::Records { records: vec![srv], ttl: Duration::from_secs(30) });
    }

    #[test]
    fn an_alias_without_records_is_gone_on_with_and_a_circle_is_no_answer() {
        let answer = [alias("a.example", "b.example", 30), alias("b.example", "c.example", 20)];
        let found = answer_of(&name("a.example"), RecordType::A, &answer);
        assert_eq!(found, Answer::Alias { name: "c.example.".into(), ttl: Duration::from_secs(20) });
        let circle = [alias("a.example", "b.example", 30), alias("b.example", "a.example", 20)];
        assert_eq!(answer_of(&name("a.example"), RecordType::A, &circle), Answer::Failed);
    }
}
