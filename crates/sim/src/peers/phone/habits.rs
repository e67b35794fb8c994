//! What a phone is like: drawn whole before it says anything.

use crate::random::Random;
use std::net::SocketAddr;

/// How a phone behaves in its call.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) timer: TimerHabits,
    pub(super) reliable: ReliableHabits,
    /// A caller's INVITE has no offer.
    pub(super) offers_late: bool,
    pub(super) replies: Replies,
    /// After the answer.
    pub(super) whims: Vec<(u64, Whim)>,
    /// How often a caller gives up before the answer, after the INVITE.
    pub(super) gives_up_ms: Option<u64>,
    /// What a callee does with the first INVITEs that it gets.
    pub(super) gates: Vec<Gate>,
    /// What a callee says before it answers.
    pub(super) early: Vec<Early>,
    pub(super) answers_ms: u64,
}

/// What it does about session timers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerHabits {
    pub(super) supported: bool,
    /// What a caller asks for, and a callee grants at most, in seconds.
    pub(super) interval_s: Option<u32>,
    /// It wants to refresh, where it has a say.
    pub(super) wants_to_refresh: bool,
    /// It refreshes when it has to; else it stays silent.
    pub(super) refreshes: bool,
    /// By UPDATE; else by re-INVITE, and it does not allow UPDATE.
    pub(super) by_update: bool,
    /// Its Allow lists UPDATE although it does not take it.
    pub(super) boasts: bool,
    /// What a 422 of its own asks for.
    pub(super) min_se_s: u32,
}

/// What it does about reliable provisional responses.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReliableHabits {
    pub(super) supported: bool,
    pub(super) required: bool,
    /// A caller that never sends PRACK.
    pub(super) is_mute: bool,
}

/// How it answers requests inside the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replies {
    Accepts,
    /// 2xx after a while, to an INVITE with a 180 before it.
    TakesTime,
    /// One of several failures, at times.
    Refuses,
    /// 422 with a longer Min-SE.
    WantsLonger,
    /// None at all to what refreshes.
    Deaf,
}

/// What it does of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whim {
    /// Another description, or hold.
    Offer {
        by_update: bool,
        hold: bool,
    },
    /// An INVITE without an offer.
    Ask,
    /// Two offers at once, which nobody may make.
    OfferTwice,
    /// An UPDATE with a session that is too short for anybody.
    Shorten,
    Options,
    /// Says nothing any more.
    Vanish,
    HangUp,
}

/// What stands between an INVITE and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// 401 or 407, and again with a new nonce since the first was too old.
    Challenge {
        proxy: bool,
        stale: bool,
    },
    /// The credentials are never good enough.
    Distrust,
    /// 302 to there.
    Redirect([SocketAddr; 2]),
    /// 422.
    TooSmall(u32),
    /// 503.
    Unavailable,
    Silent,
}

/// A provisional response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Early {
    /// After the one before it.
    pub(super) after_ms: u64,
    pub(super) status: u16,
    pub(super) sdp: bool,
}

/// How long the conversations of a world can get, in ms.
const TALK_MS: u64 = 900_000;

impl Habits {
    pub(crate) fn of_caller(random: &mut Random) -> Self {
        Self {
            timer: TimerHabits::draw(random),
            reliable: ReliableHabits::draw(random),
            offers_late: random.chance(20),
            replies: Replies::draw(random),
            whims: draw_whims(random, 60),
            gives_up_ms: random.chance(4).then(|| random.below(8_000)),
            gates: Vec::new(),
            early: Vec::new(),
            answers_ms: 0,
        }
    }

    /// `elsewhere` is where it may redirect to.
    pub(crate) fn of_callee(elsewhere: &[SocketAddr], random: &mut Random) -> Self {
        let early = match random.below(4) {
            0 => Vec::new(),
            1 => vec![Early { after_ms: random.below(1_500), status: 180, sdp: false }],
            _ => (0..random.between(1, 3))
                .map(|_| Early {
                    after_ms: random.below(3_000),
                    status: random.one_of(&[180, 183, 183]),
                    sdp: random.chance(70),
                })
                .collect(),
        };
        Self {
            timer: TimerHabits::draw(random),
            reliable: ReliableHabits::draw(random),
            offers_late: false,
            replies: Replies::draw(random),
            whims: draw_whims(random, 30),
            gives_up_ms: None,
            gates: draw_gates(elsewhere, random),
            early,
            answers_ms: if random.chance(30) { random.below(60) } else { random.between(100, 5_000) },
        }
    }
}

impl TimerHabits {
    fn draw(random: &mut Random) -> Self {
        Self {
            supported: random.chance(75),
            interval_s: random.chance(60).then(|| random.between(90, 400) as u32),
            wants_to_refresh: random.chance(45),
            refreshes: random.chance(55),
            by_update: random.chance(60),
            boasts: random.chance(15),
            min_se_s: random.between(100, 300) as u32,
        }
    }
}

impl ReliableHabits {
    fn draw(random: &mut Random) -> Self {
        let supported = random.chance(75);
        Self { supported, required: supported && random.chance(20), is_mute: random.chance(8) }
    }
}

impl Replies {
    fn draw(random: &mut Random) -> Self {
        match random.below(20) {
            0..=2 => Replies::TakesTime,
            3 | 4 => Replies::Refuses,
            5 => Replies::WantsLonger,
            6 => Replies::Deaf,
            _ => Replies::Accepts,
        }
    }
}

fn draw_whims(random: &mut Random, hangs_up: u64) -> Vec<(u64, Whim)> {
    let mut whims = Vec::new();
    for _ in 0..random.below(4) {
        // Some at a time at which the other side has one, too.
        let at = if random.chance(30) { 20_000 + random.below(300) } else { random.below(TALK_MS / 2) };
        whims.push((at, draw_whim(random)));
    }
    if random.chance(hangs_up) {
        whims.push((random.between(60_000, TALK_MS), Whim::HangUp));
    }
    whims
}

fn draw_whim(random: &mut Random) -> Whim {
    match random.below(14) {
        0 | 1 => Whim::Ask,
        2 => Whim::OfferTwice,
        3 => {
            if random.chance(50) {
                Whim::Options
            } else {
                Whim::Shorten
            }
        }
        4 if random.chance(60) => Whim::Vanish,
        _ => Whim::Offer { by_update: random.chance(50), hold: random.chance(30) },
    }
}

fn draw_gates(elsewhere: &[SocketAddr], random: &mut Random) -> Vec<Gate> {
    let mut gates = Vec::new();
    if random.chance(12) {
        gates.push(Gate::TooSmall(random.between(100, 900) as u32));
    }
    match random.below(20) {
        0..=2 => gates.push(Gate::Challenge { proxy: random.chance(50), stale: random.chance(40) }),
        3 => gates.push(Gate::Distrust),
        4 | 5 if !elsewhere.is_empty() => {
            gates.push(Gate::Redirect([random.one_of(elsewhere), random.one_of(elsewhere)]));
        }
        6 => gates.push(Gate::Unavailable),
        7 => gates.push(Gate::Silent),
        _ => {}
    }
    gates
}
