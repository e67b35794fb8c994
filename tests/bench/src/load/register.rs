//! Phones that register: all at the caller's address, each with a Contact of its own.

use super::outbox::Outbox;
use super::plan::{CALLER, SERVER};
use super::{Generator, thread_cpu};
use anyhow::Result;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tandem_sip::digest::{Challenge, Issuer, Protected};
use tandem_sip::{Limits, Message, Name};

/// The domain of the phones, and the realm of their credentials.
pub(crate) const DOMAIN: &str = "bench.example";
/// The password of all of them.
pub(crate) const PASSWORD: &str = "secret";
/// The most registrations begun in one go while the generator is behind: it has to listen as well.
const STARTS_PER_TURN: u32 = 32;
/// How long the last answers are waited for. Nothing is resent: on the loopback only what has no room is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait between two looks at the clock.
const LOOK: Duration = Duration::from_millis(100);

/// A run of registrations, the phones in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegisterPlan {
    /// How many phones there are.
    pub(crate) phones: u32,
    /// Registrations begun per second.
    pub(crate) rate: f64,
    pub(crate) registrations: u32,
    /// How many registrations the phones have made before: their order goes on.
    pub(crate) before: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RegisterOutcome {
    pub(crate) registrations: u32,
    /// Answered with 200.
    pub(crate) completed: u32,
    /// Answered with 401, and sent again with credentials.
    pub(crate) challenged: u32,
    /// Other answers, by status.
    pub(crate) refused: BTreeMap<u16, u32>,
    pub(crate) generator_load: f64,
    pub(crate) lateness_max_ms: f64,
}

impl RegisterOutcome {
    pub(crate) fn failed(&self) -> u32 {
        self.registrations - self.completed
    }
}

impl Generator {
    /// Has the phones register.
    ///
    /// # Errors
    /// A socket fails.
    pub(crate) fn register(&mut self, plan: &RegisterPlan) -> Result<RegisterOutcome> {
        self.caller.clear()?;
        self.caller.stamp_arrivals(false)?;
        let (begun, cpu) = (Instant::now(), thread_cpu()?);
        let mut outcome = RegisterOutcome { registrations: plan.registrations, ..Default::default() };
        let (mut outbox, mut started) = (Outbox::default(), 0);
        let due = |number: u32| Duration::from_secs_f64(f64::from(number) / plan.rate);
        let end = due(plan.registrations) + PATIENCE;
        loop {
            let now = begun.elapsed();
            for _ in 0..STARTS_PER_TURN {
                if started >= plan.registrations || due(started) > now {
                    break;
                }
                let late = (now - due(started)).as_secs_f64() * 1e3;
                outcome.lateness_max_ms = outcome.lateness_max_ms.max(late);
                send(&mut outbox, plan, plan.before + started, None);
                started += 1;
            }
            self.caller.send(&mut outbox, None)?;
            self.caller.receive(|arrived| on_answer(&mut outcome, &mut outbox, plan, arrived.bytes))?;
            self.caller.send(&mut outbox, None)?;
            let answered = outcome.completed + outcome.refused.values().sum::<u32>();
            if answered >= plan.registrations || begun.elapsed() > end {
                break;
            }
            let next = if started < plan.registrations { due(started) } else { end };
            let wait = next.saturating_sub(begun.elapsed()).min(LOOK);
            let mut sockets = [PollFd::new(self.caller.as_fd(), PollFlags::POLLIN)];
            match ppoll(&mut sockets, Some(TimeSpec::from_duration(wait)), None) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let used = thread_cpu()?.saturating_sub(cpu);
        outcome.generator_load = used.as_secs_f64() / begun.elapsed().as_secs_f64();
        Ok(outcome)
    }
}

/// The REGISTER of a registration: its first one, or the one that answers a challenge.
fn send(outbox: &mut Outbox, plan: &RegisterPlan, number: u32, credentials: Option<&str>) {
    let (phone, turn) = (number % plan.phones, number / plan.phones);
    let cseq = 2 * turn + if credentials.is_some() { 2 } else { 1 };
    let line = credentials.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    outbox.push(
        SERVER,
        format_args!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{number}.{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:u{phone}@{DOMAIN}>;tag=p{phone}\r\nTo: <sip:u{phone}@{DOMAIN}>\r\n\
             Call-ID: {phone}@phones\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:u{phone}@{CALLER}>\r\n\
             Expires: 3600\r\nUser-Agent: bench\r\n{line}Content-Length: 0\r\n\r\n"
        ),
    );
}

fn on_answer(outcome: &mut RegisterOutcome, outbox: &mut Outbox, plan: &RegisterPlan, bytes: &[u8]) {
    let Some((status, number, answer)) = read(bytes) else { return };
    match status {
        200 => outcome.completed += 1,
        401 if answer.cseq().is_ok_and(|cseq| cseq.number % 2 == 1) => {
            outcome.challenged += 1;
            let user = format!("u{}", number % plan.phones);
            if let Some(credentials) = credentials(&answer, &user) {
                send(outbox, plan, number, Some(&credentials));
            }
        }
        _ => *outcome.refused.entry(status).or_default() += 1,
    }
}

/// The status, the registration, and the answer to it.
fn read(bytes: &[u8]) -> Option<(u16, u32, Message)> {
    let answer = Message::parse(bytes.to_vec().into(), &Limits::default()).ok()?;
    let status = answer.status()?.code();
    let branch = std::str::from_utf8(answer.top_via().ok()?.branch()?).ok()?;
    let number = branch.strip_prefix("z9hG4bK")?.split('.').next()?.parse().ok()?;
    Some((status, number, answer))
}

fn credentials(answer: &Message, user: &str) -> Option<String> {
    let asked = answer.first(Name::WwwAuthenticate)?;
    let challenge = Challenge::parse(Issuer::UserAgent, asked).ok()?;
    let uri = format!("sip:{DOMAIN}");
    let protected = Protected { method: "REGISTER", uri: &uri, body: b"" };
    Some(challenge.answer((user, PASSWORD), protected, "0a4f113b", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: RegisterPlan = RegisterPlan { phones: 3, rate: 1.0, registrations: 10, before: 0 };

    /// What is sent for a registration.
    fn sent(number: u32, credentials: Option<&str>) -> Message {
        let mut outbox = Outbox::default();
        send(&mut outbox, &PLAN, number, credentials);
        let bytes = outbox.bytes(&outbox.datagrams()[0]).to_vec();
        Message::parse(bytes.into(), &Limits::default()).expect("a message")
    }

    #[test]
    fn a_phones_requests_are_in_order_and_sound() {
        let mut cseqs = Vec::new();
        for (number, credentials) in
            [(1, None), (1, Some("Digest x=\"\"")), (4, None), (4, Some("Digest x=\"\""))]
        {
            let request = sent(number, credentials);
            assert!(request.validate().is_ok());
            assert_eq!(request.call_id(), Some(&b"1@phones"[..]));
            cseqs.push(request.cseq().expect("a CSeq").number);
        }
        assert_eq!(cseqs, [1, 2, 3, 4]);
    }

    #[test]
    fn an_answer_belongs_to_its_registration_and_a_challenge_is_answered_once() {
        let (mut outcome, mut outbox) =
            (RegisterOutcome { registrations: 1, ..Default::default() }, Outbox::default());
        let mut answer = |status: &str, cseq: u32, line: &str| {
            let text = format!(
                "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK7.{cseq};rport=5070\r\n\
                 CSeq: {cseq} REGISTER\r\n{line}\r\n"
            );
            on_answer(&mut outcome, &mut outbox, &PLAN, text.as_bytes());
            outbox.datagrams().len()
        };
        let challenge =
            "WWW-Authenticate: Digest realm=\"bench.example\", nonce=\"n\", qop=\"auth\", algorithm=MD5\r\n";
        assert_eq!(answer("401 Unauthorized", 5, challenge), 1);
        assert_eq!(answer("401 Unauthorized", 6, challenge), 1);
        assert_eq!(answer("200 OK", 6, ""), 1);
        assert_eq!((outcome.challenged, outcome.completed, outcome.refused.get(&401)), (1, 1, Some(&1)));
    }
}
