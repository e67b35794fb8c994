//! Endpoints behind NATs: when their keep-alives come, in which batches, and what they cost.

use crate::arguments::Part;
use crate::bench::{Bench, say};
use crate::load::{DOMAIN, SERVER};
use crate::measure::statistics::percentile;
use crate::report::{Better, Subject};
use crate::servers::{Registrar, Running, Server};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use serde_json::json;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// The endpoints' port: one socket for all of them, who have addresses of their own.
const PORT: u16 = 5090;
/// The first of their addresses.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 0]);
/// For what arrives while we are held up.
const BUFFER_BYTES: usize = 64 << 20;
/// How many register per second.
const REGISTERS_PER_SECOND: f64 = 2_500.0;
/// After which silence a batch is over: batches are 500 ms apart.
const BATCH_ENDS: Duration = Duration::from_millis(100);
/// `SS_SIP_NAT_KEEP_ALIVE_PERIOD`, as it is unless set.
const PERIOD: Duration = Duration::from_secs(30);
/// How often all endpoints are asked to register that have not.
const ROUNDS: u32 = 5;

/// The pace of the crowd's keep-alives: 6 000 a period.
const SLOW_PACE: &str =
    "SS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME = 100\nSS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL = 500";
/// What that pace serves a second.
const SLOW_PER_SECOND: u32 = 200;
/// How long a server may take to come up again.
const RESTART_MAX: Duration = Duration::from_secs(10);

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    for repetition in 1..=bench.arguments.repetitions {
        // Nobody else has these parameters.
        for server in bench.turns(repetition).into_iter().filter(Server::is_tandem) {
            bench.attempt(Part::Nat, &server, repetition, |bench| measure(bench, &server, repetition));
            if server.name == "tandem" {
                bench.attempt(Part::Nat, &server, repetition, |bench| crowd(bench, &server, repetition));
            }
        }
    }
    Ok(())
}

/// Starts a server at which so many endpoints may register.
fn start(bench: &mut Bench, server: &Server, endpoints: u32, parameters: &str) -> Result<Running> {
    (bench.lab.registrar, bench.lab.phones) = (Registrar::Open, endpoints);
    bench.lab.parameters = parameters.to_owned();
    let running = bench.start(server, &[]);
    bench.lab.registrar = Registrar::Off;
    bench.lab.parameters.clear();
    running
}

/// More endpoints than the configured pace serves in a period: all have their turn, in order, each round as long as the
/// pace makes it.
fn crowd(bench: &mut Bench, server: &Server, repetition: u32) -> Result<()> {
    let endpoints = bench.arguments.crowd;
    let _running = start(bench, server, endpoints, SLOW_PACE)?;
    let mut far = FarSide::new(endpoints)?;
    far.register()?;
    let round = Duration::from_secs((endpoints / SLOW_PER_SECOND).into()).max(PERIOD);
    far.listen(round + Duration::from_secs(1))?;
    far.begin();
    let begun = Instant::now();
    far.listen(round * 2)?;
    far.gaps.sort_unstable();
    let silent = far.silent_longer_than(round + Duration::from_secs(2), begun);
    let of = |share| percentile(&far.gaps, share).map_or(f64::NAN, |gap| gap.as_secs_f64());
    let [least, p50, most] = [0.0, 0.5, 1.0].map(of);
    let largest = far.batches.iter().copied().max().unwrap_or(0);
    let line = format!(
        "{endpoints} endpoints at {SLOW_PER_SECOND} keep-alives/s: gaps {least:.1}–{most:.1} s, p50 {p50:.1} s, \
         {silent} in silence; batches at most {largest}"
    );
    say(Part::Nat, repetition, &server.name, &line);
    let what = json!({ "crowd": endpoints, "gap_least_s": least, "gap_p50_s": p50, "gap_most_s": most,
        "silent": silent, "largest_batch": largest });
    bench.report.measured(Part::Nat, &server.name, repetition, what);
    let name = format!("longest gap, {endpoints} endpoints at {SLOW_PER_SECOND} keep-alives/s");
    let subject = Subject { part: Part::Nat, name, unit: "s", better: Better::Lower, decimals: 1 };
    bench.report.value(&subject, &server.name, repetition, most);
    Ok(())
}

/// A restart of the server, whose store has the bindings: each endpoint goes on getting its keep-alives.
fn restart(
    bench: &mut Bench,
    (server, running): (&Server, &mut Running),
    far: &mut FarSide,
    repetition: u32,
) -> Result<()> {
    far.begin();
    let begun = Instant::now();
    running.restart()?;
    let came_up = begun.elapsed();
    if came_up > RESTART_MAX {
        bail!("it took {came_up:?} to start again");
    }
    // The first round makes up for the time in which nobody was there.
    far.listen((PERIOD + RESTART_MAX).saturating_sub(came_up))?;
    far.gaps.sort_unstable();
    let across = percentile(&far.gaps, 1.0).map_or(f64::NAN, |gap| gap.as_secs_f64() * 1e3);
    let burst = far.batches.iter().copied().max().unwrap_or(0);
    far.begin();
    far.listen(PERIOD + Duration::from_secs(2))?;
    far.gaps.sort_unstable();
    let silent = far.silent_longer_than(PERIOD + Duration::from_secs(2), begun + came_up);
    let of = |share| percentile(&far.gaps, share).map_or(f64::NAN, |gap| gap.as_secs_f64() * 1e3);
    let [p99, most] = [0.99, 1.0].map(of);
    let largest = far.batches.iter().copied().max().unwrap_or(0);
    let line = format!(
        "listens again after {} ms: longest gap across the restart {across:.0} ms, batches at most {burst}; after that gap \
         p99 {p99:.0} ms, longest {most:.0} ms, {silent} in silence, batches at most {largest}",
        came_up.as_millis()
    );
    say(Part::Nat, repetition, &server.name, &line);
    let what = json!({ "restart_ms": came_up.as_millis(), "gap_across_ms": across, "batch_across": burst, "gap_p99_ms": p99, "gap_most_ms": most,
        "silent": silent, "largest_batch": largest });
    bench.report.measured(Part::Nat, &server.name, repetition, what);
    for (name, unit, value) in [
        ("longest gap between two keep-alives across a restart", "ms", across),
        ("largest batch of keep-alives across a restart", "count", burst as f64),
        ("gap between two keep-alives after a restart, p99", "ms", p99),
        ("largest batch of keep-alives after a restart", "count", largest as f64),
    ] {
        let name = format!("{name}, {} endpoints", bench.arguments.endpoints);
        let subject = Subject { part: Part::Nat, name, unit, better: Better::Lower, decimals: 0 };
        bench.report.value(&subject, &server.name, repetition, value);
    }
    Ok(())
}

fn measure(bench: &mut Bench, server: &Server, repetition: u32) -> Result<()> {
    let endpoints = bench.arguments.endpoints;
    let mut running = start(bench, server, endpoints, "")?;
    let mut far = FarSide::new(endpoints)?;
    let before = running.memory()?;
    far.register()?;
    // The first round is for all to have had one; actors that have done something hold more than new ones.
    far.listen(PERIOD + Duration::from_secs(1))?;
    far.begin();
    let cpu = running.cpu()?.total;
    let begun = Instant::now();
    far.listen(PERIOD * bench.arguments.nat_periods)?;
    let cpu_us = (running.cpu()?.total - cpu).as_secs_f64() * 1e6 / far.gaps.len().max(1) as f64;
    let held = running.memory()?;
    let kib = (held.rss_kib as f64 - before.rss_kib as f64) / f64::from(endpoints);
    let silent = far.silent_longer_than(PERIOD + Duration::from_secs(1), begun);
    far.gaps.sort_unstable();
    let of = |share| percentile(&far.gaps, share).map_or(f64::NAN, |gap| gap.as_secs_f64() * 1e3);
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(of);
    let largest = far.batches.iter().copied().max().unwrap_or(0);
    let line = format!(
        "{endpoints} endpoints, {} keep-alives: gap p50 {p50:.0} ms, p99 {p99:.0} ms, longest {most:.0} ms, {silent} in \
         silence; batches {} at most {largest}; {cpu_us:.1} µs and {kib:.2} KiB each",
        far.gaps.len(),
        far.batches.len(),
    );
    say(Part::Nat, repetition, &server.name, &line);
    bench.report.measured(
        Part::Nat,
        &server.name,
        repetition,
        json!({
            "endpoints": endpoints, "keep_alives": far.gaps.len(), "gap_p50_ms": p50, "gap_p99_ms": p99,
            "gap_most_ms": most, "silent": silent, "largest_batch": largest, "cpu_us": cpu_us, "rss_kib": kib,
            "before": before, "held": held,
        }),
    );
    let figures = [
        ("gap between two keep-alives, p50", "ms", 0, p50),
        ("gap between two keep-alives, p99", "ms", 0, p99),
        ("largest batch of keep-alives", "count", 0, largest as f64),
        ("CPU per keep-alive", "µs", 1, cpu_us),
        ("memory per endpoint behind a NAT", "KiB", 2, kib),
    ];
    for (name, unit, decimals, value) in figures {
        let name = format!("{name}, {endpoints} endpoints");
        let subject = Subject { part: Part::Nat, name, unit, better: Better::Lower, decimals };
        bench.report.value(&subject, &server.name, repetition, value);
    }
    if server.survives_a_restart() {
        restart(bench, (server, &mut running), &mut far, repetition)?;
    }
    Ok(())
}

/// All endpoints.
struct FarSide {
    socket: UdpSocket,
    /// Whether each has registered.
    registered: Vec<bool>,
    /// When each was last sent a keep-alive.
    last: Vec<Option<Instant>>,
    gaps: Vec<Duration>,
    batches: Vec<usize>,
    last_arrival: Option<Instant>,
    buffer: Vec<u8>,
}

impl FarSide {
    fn new(endpoints: u32) -> Result<FarSide> {
        let socket =
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("the endpoints' port is taken")?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES)?;
        }
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let count = endpoints as usize;
        Ok(FarSide {
            socket,
            registered: vec![false; count],
            last: vec![None; count],
            gaps: Vec::new(),
            batches: Vec::new(),
            last_arrival: None,
            buffer: vec![0; 2_048],
        })
    }

    /// All of them register.
    fn register(&mut self) -> Result<()> {
        for round in 1..=ROUNDS {
            let begun = Instant::now();
            for (sent, number) in (0..self.registered.len())
                .filter(|number| !self.registered[*number])
                .collect::<Vec<_>>()
                .into_iter()
                .enumerate()
            {
                self.send_register(number as u32, round)?;
                while begun.elapsed().as_secs_f64() * REGISTERS_PER_SECOND < sent as f64 {
                    self.receive()?;
                }
            }
            self.listen(Duration::from_secs(1))?;
            if self.registered.iter().all(|registered| *registered) {
                return Ok(());
            }
        }
        bail!(
            "{} endpoints were not let in",
            self.registered.iter().filter(|registered| !**registered).count()
        )
    }

    fn send_register(&self, number: u32, cseq: u32) -> Result<()> {
        let source = Ipv4Addr::from(FIRST + number);
        let request = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK-{number}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:u{number}@{DOMAIN}>;tag={number}\r\nTo: <sip:u{number}@{DOMAIN}>\r\n\
             Call-ID: {number}@endpoint.example\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:u{number}@10.0.0.1:5060>\r\n\
             User-Agent: Endpoint 1.0\r\nContent-Length: 0\r\n\r\n",
        );
        let info = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: u32::from(source).to_be() },
            ipi_addr: in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let slices = [IoSlice::new(request.as_bytes())];
        let server = SockaddrIn::from(SERVER);
        sendmsg(self.socket.as_raw_fd(), &slices, &control, MsgFlags::empty(), Some(&server))?;
        Ok(())
    }

    /// What comes counts from now on.
    fn begin(&mut self) {
        self.gaps.clear();
        self.batches.clear();
    }

    fn listen(&mut self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.receive()?;
        }
        Ok(())
    }

    /// Takes one datagram, if one comes soon.
    fn receive(&mut self) -> Result<()> {
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let mut space = nix::cmsg_space!(in_pktinfo);
        let fd = self.socket.as_raw_fd();
        let received = match recvmsg::<SockaddrIn>(fd, &mut slices, Some(&mut space), MsgFlags::empty()) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            other => other.context("cannot receive")?,
        };
        let (now, length) = (Instant::now(), received.bytes);
        let to = received.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(u32::from_be(info.ipi_addr.s_addr)),
            _ => None,
        });
        let number = to.and_then(|to| to.checked_sub(FIRST)).map_or(usize::MAX, |number| number as usize);
        if number >= self.last.len() {
            return Ok(());
        }
        match &self.buffer[..length] {
            b"HELLO" => self.keep_alive(number, now),
            answer if answer.starts_with(b"SIP/2.0 200 ") => self.registered[number] = true,
            other => bail!("an endpoint was sent {:?}", String::from_utf8_lossy(&other[..length.min(60)])),
        }
        Ok(())
    }

    fn keep_alive(&mut self, number: usize, now: Instant) {
        if let Some(before) = self.last[number].replace(now) {
            self.gaps.push(now - before);
        }
        match self.batches.last_mut() {
            Some(batch) if self.last_arrival.is_some_and(|last| now - last < BATCH_ENDS) => *batch += 1,
            Some(_) | None => self.batches.push(1),
        }
        self.last_arrival = Some(now);
    }

    /// How many have heard nothing for that long, or nothing since they were listened to.
    fn silent_longer_than(&self, time: Duration, since: Instant) -> usize {
        let now = Instant::now();
        self.last.iter().filter(|last| last.is_none_or(|last| last < since || now - last > time)).count()
    }
}
