//! A DNS server for tests: on loopback, with a zone that a test writes and may change, over UDP only.

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NAPTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// A running server. It stops with the test's process.
#[derive(Clone, Debug)]
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Debug, Default)]
struct Zone {
    records: Vec<Record>,
    ttl: u32,
    mood: Mood,
    asked: Vec<String>,
}

/// How a server behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Answering,
    /// It says nothing at all.
    Silent,
    /// It says that it has failed (SERVFAIL).
    Failing,
}

impl DnsServer {
    /// Starts a server without records; negative answers and new records are valid for 60 s.
    ///
    /// # Panics
    /// There is no loopback address to bind.
    pub fn start() -> DnsServer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = socket.local_addr().expect("it is bound");
        let zone = Arc::new(Mutex::new(Zone { ttl: 60, ..Zone::default() }));
        let served = zone.clone();
        thread::spawn(move || serve(&socket, &served));
        DnsServer { address, zone }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A further host address.
    pub fn a(&self, host: &str, address: impl Into<IpAddr>) -> &Self {
        self.add(
            host,
            match address.into() {
                IpAddr::V4(v4) => RData::A(A(v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
            },
        )
    }

    /// A further host of a service.
    pub fn srv(&self, service: &str, (priority, weight, port): (u16, u16, u16), target: &str) -> &Self {
        self.add(service, RData::SRV(SRV::new(priority, weight, port, name(target))))
    }

    /// A further service of a domain, with flag `s`.
    pub fn naptr(
        &self,
        domain: &str,
        (order, preference): (u16, u16),
        service: &str,
        replacement: &str,
    ) -> &Self {
        let text = |text: &str| text.as_bytes().into();
        let naptr = NAPTR::new(order, preference, text("s"), text(service), text(""), name(replacement));
        self.add(domain, RData::NAPTR(naptr))
    }

    /// An alias.
    pub fn cname(&self, alias: &str, host: &str) -> &Self {
        self.add(alias, RData::CNAME(CNAME(name(host))))
    }

    /// New records and negative answers are valid that long from now on, in seconds.
    pub fn ttl(&self, seconds: u32) -> &Self {
        self.zone().ttl = seconds;
        self
    }

    /// Takes all records of a name away.
    pub fn forget(&self, owner: &str) -> &Self {
        let owner = name(owner);
        self.zone().records.retain(|record| record.name != owner);
        self
    }

    /// Changes how it behaves.
    pub fn be(&self, mood: Mood) -> &Self {
        self.zone().mood = mood;
        self
    }

    /// The questions so far: `SRV _sip._udp.example.com.`
    pub fn asked(&self) -> Vec<String> {
        self.zone().asked.clone()
    }

    fn add(&self, owner: &str, data: RData) -> &Self {
        let mut zone = self.zone();
        let record = Record::from_rdata(name(owner), zone.ttl, data);
        zone.records.push(record);
        drop(zone);
        self
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().expect("the server's thread does not panic")
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

fn serve(socket: &UdpSocket, zone: &Mutex<Zone>) {
    let mut buffer = [0; 1_500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            // An ICMP error about an answer that came too late.
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let answer = {
            let mut zone = zone.lock().expect("no test panics while it holds the zone");
            zone.answer(&question)
        };
        if let Some(Ok(bytes)) = answer.map(|answer| answer.to_vec()) {
            // Whoever asked may have gone.
            let _ = socket.send_to(&bytes, from);
        }
    }
}

impl Zone {
    fn answer(&mut self, message: &Message) -> Option<Message> {
        let question = message.queries.first()?.clone();
        self.asked.push(format!("{} {}", question.query_type(), question.name().to_ascii()));
        let mut answer = match self.mood {
            Mood::Answering => Message::response(message.metadata.id, OpCode::Query),
            Mood::Silent => return None,
            Mood::Failing => Message::error_msg(message.metadata.id, OpCode::Query, ResponseCode::ServFail),
        };
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(question.clone());
        if self.mood == Mood::Answering {
            let found = self.find(&question);
            if found.is_empty() {
                let exists = self.records.iter().any(|record| record.name == *question.name());
                answer.metadata.response_code =
                    if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
                let root = name("test");
                let soa = SOA::new(root.clone(), root.clone(), 1, 60, 60, 60, self.ttl);
                answer.add_authority(Record::from_rdata(root, self.ttl, RData::SOA(soa)));
            }
            answer.add_answers(found);
        }
        Some(answer)
    }

    /// The records of the name asked for, or its alias and those of the host it stands for.
    fn find(&self, question: &Query) -> Vec<Record> {
        let of = |owner: &Name, kind: RecordType| -> Vec<Record> {
            let fits = |record: &&Record| record.name == *owner && record.record_type() == kind;
            self.records.iter().filter(fits).cloned().collect()
        };
        let mut found = of(question.name(), question.query_type());
        if found.is_empty() {
            found = of(question.name(), RecordType::CNAME);
            if let Some(RData::CNAME(host)) = found.first().map(|alias| alias.data.clone()) {
                found.extend(of(&host.0, question.query_type()));
            }
        }
        found
    }
}
