//! What a carrier is going to answer an INVITE with, and when.

use super::CarrierConduct;
use crate::random::Random;

/// One response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// After the INVITE.
    pub(super) at_ms: u64,
    pub(super) status: u16,
    /// Which of the forks answers.
    pub(super) fork: u8,
    pub(super) sdp: bool,
    pub(super) twist: Twist,
}

/// What is wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twist {
    None,
    WrongMethod,
    WrongNumber,
    WrongBranch,
    NoContact,
    Garbage,
}

const FAILURES: [u16; 16] = [403, 404, 408, 480, 484, 487, 488, 499, 500, 502, 503, 503, 504, 603, 604, 699];

struct Script<'a> {
    steps: Vec<Step>,
    at_ms: u64,
    random: &'a mut Random,
}

impl Script<'_> {
    /// A response between `low` and `high` milliseconds after the one before.
    fn then(&mut self, (low, high): (u64, u64), status: u16, sdp: bool) -> &mut Self {
        self.fork_then((low, high), 0, status, sdp)
    }

    fn fork_then(&mut self, (low, high): (u64, u64), fork: u8, status: u16, sdp: bool) -> &mut Self {
        self.at_ms += self.random.between(low, high);
        self.steps.push(Step { at_ms: self.at_ms, status, fork, sdp, twist: Twist::None });
        self
    }

    fn twisted(&mut self, twist: Twist) -> &mut Self {
        if let Some(last) = self.steps.last_mut() {
            last.twist = twist;
        }
        self
    }

    fn failure(&mut self) -> u16 {
        self.random.one_of(&FAILURES)
    }

    /// One of these statuses, soon.
    fn rejects(&mut self, statuses: &[u16]) {
        let status = self.random.one_of(statuses);
        self.trying().then(SOON, status, false);
    }

    /// An answer, or a failure.
    fn ends(&mut self, answer_percent: u64) {
        let status = if self.random.chance(answer_percent) { 200 } else { self.failure() };
        self.then(ANSWER, status, status == 200);
    }

    /// Perhaps goes on as if nothing had been.
    fn recovers(&mut self) {
        if self.random.chance(60) {
            self.then(RING, 180, false);
            self.ends(60);
        }
    }

    /// 100, mostly.
    fn trying(&mut self) -> &mut Self {
        if self.random.chance(70) {
            self.then((0, 30), 100, false);
        }
        self
    }
}

const SOON: (u64, u64) = (1, 400);
const RING: (u64, u64) = (100, 3_000);
const ANSWER: (u64, u64) = (200, 12_000);

/// The responses to one INVITE, in order. `timeout_ms` is the gateway's INVITE timeout.
pub(super) fn script(
    conduct: CarrierConduct,
    (timeout_ms, stop_codes): (u64, &[u16]),
    random: &mut Random,
) -> Vec<Step> {
    let late = (timeout_ms + 100, timeout_ms + 6_000);
    let mut script = Script { steps: Vec::new(), at_ms: 0, random };
    match conduct {
        CarrierConduct::Silent => {}
        CarrierConduct::TryingOnly => {
            script.then((0, 100), 100, false);
        }
        CarrierConduct::AnswersAtOnce => {
            script.then(SOON, 200, true);
        }
        CarrierConduct::AnswersLate => {
            script.then(late, 200, true);
        }
        CarrierConduct::RingsLate => {
            script.then(late, 180, false).then(ANSWER, 200, true);
        }
        CarrierConduct::FailsLate => {
            let status = script.failure();
            script.then(late, status, false);
        }
        CarrierConduct::Rejects => script.rejects(&FAILURES),
        CarrierConduct::Busy => script.rejects(&[486, 486, 600]),
        CarrierConduct::Challenges => script.rejects(&[401, 407]),
        CarrierConduct::Redirects => script.rejects(&[300, 301, 302, 380]),
        CarrierConduct::StopCode if stop_codes.is_empty() => script.rejects(&FAILURES),
        CarrierConduct::StopCode => script.rejects(stop_codes),
        CarrierConduct::EarlyMedia => early_media(&mut script),
        CarrierConduct::ProgressesForEver => {
            let sdp = script.random.chance(50);
            script.then(RING, 183, sdp).then(RING, 183, sdp);
        }
        CarrierConduct::RingsAfterProgress => {
            let sdp = script.random.chance(50);
            script.trying().then(RING, 183, sdp).then(RING, 180, false).then(RING, 183, sdp);
        }
        CarrierConduct::EarlyMediaThenFails => {
            let status = if script.random.chance(20) { 486 } else { script.failure() };
            script.trying().then(RING, 183, true).then(ANSWER, status, false);
        }
        CarrierConduct::RingsWithSdp => {
            script.then(RING, 180, true);
            script.ends(50);
        }
        CarrierConduct::AnswersWithoutSdp => {
            script.trying().then(RING, 183, true).then(ANSWER, 200, false);
        }
        CarrierConduct::Forks => forks(&mut script),
        CarrierConduct::OddProvisionals => {
            for status in [181, 182, 199, 183, 181] {
                script.then(RING, status, false);
            }
            script.ends(50);
        }
        CarrierConduct::WrongMethod => twice_wrong(Twist::WrongMethod, 486, &mut script),
        CarrierConduct::WrongBranch => twice_wrong(Twist::WrongBranch, 200, &mut script),
        CarrierConduct::WrongNumber => answers_wrong(Twist::WrongNumber, &mut script),
        CarrierConduct::NoContact => answers_wrong(Twist::NoContact, &mut script),
        CarrierConduct::Garbage => {
            script.then(SOON, 180, false).twisted(Twist::Garbage);
            script.recovers();
        }
        CarrierConduct::RingsForEver | CarrierConduct::AnswersCancelled | CarrierConduct::IgnoresCancel => {
            script.trying().then(RING, 180, false);
        }
        CarrierConduct::RingsThenFails => {
            let status = script.failure();
            script.trying().then(RING, 180, false).then(ANSWER, status, false);
        }
        CarrierConduct::Answers
        | CarrierConduct::AnswersTwice
        | CarrierConduct::HangsUp
        | CarrierConduct::HangsUpAtOnce
        | CarrierConduct::IgnoresBye
        | CarrierConduct::ForgetsDialogs
        | CarrierConduct::TakesTime
        | CarrierConduct::NoTag
        | CarrierConduct::Speaks => {
            script.trying().then(RING, 180, false).then(ANSWER, 200, true);
        }
    }
    script.steps
}

/// 183, perhaps 180, and an answer that says the same once more.
fn early_media(script: &mut Script<'_>) {
    script.trying().then(RING, 183, true);
    if script.random.chance(40) {
        script.then(RING, 180, false);
    }
    script.then(ANSWER, 200, true);
}

/// Three forks, of which two or three answer.
fn forks(script: &mut Script<'_>) {
    let sdp = script.random.chance(60);
    script.trying().fork_then(RING, 0, 180, sdp).fork_then(SOON, 1, 183, sdp).fork_then(SOON, 2, 180, false);
    if script.random.chance(30) {
        script.fork_then(SOON, 0, 183, sdp);
    }
    let first = script.random.below(3) as u8;
    script.fork_then(ANSWER, first, 200, true).fork_then((1, 3_000), (first + 1) % 3, 200, true);
    if script.random.chance(50) {
        script.fork_then((1, 6_000), (first + 2) % 3, 200, true);
    }
}

/// Two responses that nobody can use, and perhaps good ones.
fn twice_wrong(twist: Twist, status: u16, script: &mut Script<'_>) {
    script.then(SOON, 180, false).twisted(twist);
    script.then(SOON, status, status == 200).twisted(twist);
    script.recovers();
}

/// Rings and answers with something missing.
fn answers_wrong(twist: Twist, script: &mut Script<'_>) {
    script.trying().then(RING, 180, false).twisted(twist);
    script.then(ANSWER, 200, true).twisted(twist);
}
