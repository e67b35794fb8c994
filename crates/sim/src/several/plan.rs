//! What a world of several nodes is going to be: drawn whole from its seed before anything happens.

use crate::random::Random;
use crate::rows::rows;

/// Nodes of the cluster.
pub(super) const NODES: usize = 3;

/// When the last call begins at the latest, in ms.
const LAST_CALL: u64 = 50_000;

/// When no trouble begins any more.
const LAST_TROUBLE: u64 = 70_000;

/// How long before and after the store loses something nothing else goes wrong: what a node alone knows of an ended call
/// is then to be told again before that node dies, too.
const APART: u64 = 14_000;

rows! {
    /// How the addresses of nodes behave.
    pub AddressModel {
        /// Model A.
        Shared = "A: one address for all nodes",
        /// Model B.
        Returning = "B: an address comes back with its node",
        /// Model C.
        Vanishing = "C: an address is gone with its node",
    }
}

rows! {
    /// What goes wrong.
    pub Trouble {
        /// And starts again some seconds later.
        Killed = "a node is killed",
        /// Before anybody has noticed.
        KilledBriefly = "a node is killed and back within a second",
        /// SIGSTOP.
        Paused = "a node is paused for longer than its lease",
        /// The same.
        PausedBriefly = "a node is paused for a moment",
        /// Both ways.
        CutFromStore = "a node is cut off from the store",
        /// One way.
        RequestsLost = "what a node asks the store gets lost",
        /// The other way.
        AnswersLost = "what the store answers a node gets lost",
        /// Both ways.
        CutFromNodes = "a node is cut off from the others",
        /// One way.
        DeafToNodes = "what others tell a node gets lost",
        /// Both ways.
        CutFromPeers = "a node is cut off from callers and gateways",
        /// From everything.
        Isolated = "a node is cut off from everything",
        /// Its wall clock.
        ClockForward = "a node's clock is put forward",
        /// Its wall clock.
        ClockBack = "a node's clock is put back",
        /// SIGTERM.
        Drained = "a node is drained and started again",
        /// All of them.
        Rolled = "all nodes are drained and started again, one after the other",
        /// No answers.
        StoreStalls = "the store stalls",
        /// Errors.
        StoreFails = "the store fails now and then",
        /// Late answers.
        StoreSlow = "the store is slow",
        /// Everything is lost.
        StoreEmptied = "the store comes back empty",
        /// The last moments are lost.
        StoreFailsOver = "the store fails over to a replica that lags behind",
        /// Another clock.
        StoreClock = "the store fails over to a server with another clock",
    }
}

impl Trouble {
    /// Whether the store forgets something.
    pub(super) fn loses(self) -> bool {
        matches!(self, Trouble::StoreEmptied | Trouble::StoreFailsOver | Trouble::StoreClock)
    }

    /// How long it may last, in ms.
    fn lasts(self) -> (u64, u64) {
        match self {
            Trouble::Killed => (1_500, 20_000),
            Trouble::KilledBriefly => (100, 1_000),
            Trouble::Paused => (2_000, 12_000),
            Trouble::PausedBriefly => (100, 1_900),
            Trouble::CutFromStore | Trouble::RequestsLost | Trouble::AnswersLost | Trouble::Isolated => {
                (300, 12_000)
            }
            Trouble::CutFromNodes | Trouble::DeafToNodes => (1_000, 20_000),
            Trouble::CutFromPeers => (300, 3_000),
            Trouble::ClockForward | Trouble::ClockBack => (1_000, 3_600_000),
            Trouble::Drained => (500, 5_000),
            Trouble::Rolled => (500, 2_000),
            Trouble::StoreStalls => (200, 8_000),
            Trouble::StoreFails | Trouble::StoreSlow => (1_000, 15_000),
            Trouble::StoreEmptied => (0, 1_000),
            Trouble::StoreFailsOver => (50, 1_500),
            Trouble::StoreClock => (50, 300),
        }
    }
}

/// Some trouble, at its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct TroublePlan {
    pub(super) at: u64,
    pub(super) what: Trouble,
    pub(super) node: usize,
    /// Or how large it is.
    pub(super) lasts: u64,
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallPlan {
    pub(super) at: u64,
    /// The node that the caller tries first.
    pub(super) node: usize,
    pub(super) rings: u64,
    pub(super) talks: u64,
    /// Who hangs up.
    pub(super) caller_ends: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) model: AddressModel,
    pub(super) calls: Vec<CallPlan>,
    pub(super) troubles: Vec<TroublePlan>,
    /// Datagrams of a hundred that are lost, and that come twice.
    pub(super) loses: u64,
    pub(super) doubles: u64,
}

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, 50);
        let model = random.one_of(AddressModel::ALL);
        let calls = (0..random.between(10, 18)).map(|_| CallPlan {
            at: random.below(LAST_CALL),
            node: random.below(NODES as u64) as usize,
            rings: random.below(6_000),
            talks: if random.chance(15) {
                random.between(60_000, 80_000)
            } else {
                random.between(500, 40_000)
            },
            caller_ends: random.chance(50),
        });
        let calls = calls.collect();
        let (loses, doubles) = match random.below(3) {
            0 => (0, 0),
            1 => (random.below(5), random.below(5)),
            _ => (random.below(10), random.below(10)),
        };
        Self { model, calls, troubles: troubles(&mut random), loses, doubles }
    }
}

fn troubles(random: &mut Random) -> Vec<TroublePlan> {
    let mut troubles = Vec::new();
    let (mut at, mut calm_from) = (random.between(2_000, 10_000), 0);
    for _ in 0..random.between(2, 5) {
        let what = random.one_of(Trouble::ALL);
        let (low, high) = what.lasts();
        let (node, lasts) = (random.below(NODES as u64) as usize, random.between(low, high));
        let is_length = !matches!(what, Trouble::ClockForward | Trouble::ClockBack);
        // A roll lasts as long as it lasts.
        let over = at + if what == Trouble::Rolled { 30_000 } else { lasts * u64::from(is_length) };
        if what.loses() {
            at = at.max(calm_from + APART);
        }
        if at > LAST_TROUBLE {
            break;
        }
        troubles.push(TroublePlan { at, what, node, lasts });
        calm_from = calm_from.max(over);
        at += if what.loses() { APART + lasts } else { random.between(200, 12_000) };
    }
    troubles
}
