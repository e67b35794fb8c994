//! Bugs of a cluster that can be planted in its nodes, one at a time.

use crate::rows::rows;

rows! {
    /// What a node does wrong.
    pub Slip {
        /// The lease is not asked for.
        LeaseIgnored = "lease-ignored",
        /// Others are not asked whether the store is away.
        BlindAlone = "blind-alone",
        /// A lapsed lease is good again without a word of the store.
        NotVerified = "not-verified",
        /// A node is taken for dead by the first look that finds it still.
        DeadAtOnce = "dead-at-once",
        /// Calls of dead nodes are nobody's.
        NoTakeover = "no-takeover",
        /// Calls of an earlier life are nobody's.
        PastForgotten = "past-forgotten",
        /// A restored call numbers from where its snapshot stands.
        EpochNotRaised = "epoch-not-raised",
        /// Nobody is told where a call is now.
        NobodyTold = "nobody-told",
        /// An heir does not renew the slots of its calls.
        SlotsForgotten = "slots-forgotten",
        /// A superseded owner's writes are taken.
        NoFence = "no-fence",
        /// A drained node hangs up instead of handing over.
        DrainHangsUp = "drain-hangs-up",
        /// A message for a call of another node is refused with 481.
        StraysRefused = "strays-refused",
        /// Calls that the store has lost are not written again.
        LossIgnored = "store-loss-ignored",
        /// The store is not told again of calls that have ended.
        EndsNotToldAgain = "ends-not-told-again",
        /// Times are the node's own.
        OwnClock = "own-clock",
        /// What depends on a commit waits for a quarter of a second only.
        SendsUncommitted = "sends-uncommitted",
        /// Who has ended a call that is another's meanwhile keeps that to itself.
        EndKeptToItself = "end-kept-to-itself",
        /// A claim whose answer was lost is forgotten.
        DoubtfulClaimLost = "doubtful-claim-lost",
    }
}

impl Slip {
    /// The slip of that name.
    pub fn named(name: &str) -> Option<Slip> {
        Slip::ALL.iter().copied().find(|slip| slip.text() == name)
    }

    /// What goes wrong.
    pub fn describe(self) -> &'static str {
        match self {
            Slip::LeaseIgnored => "a node speaks for its calls however long it was silent",
            Slip::BlindAlone => "a node without contact takes the store to be away for all",
            Slip::NotVerified => "after a silence nothing is asked of the store, and nothing written again",
            Slip::DeadAtOnce => "a node that has not beaten since the last look is taken for dead",
            Slip::NoTakeover => "calls of dead nodes are not taken over",
            Slip::PastForgotten => "a node that comes back does not take its earlier life's calls",
            Slip::EpochNotRaised => "a call that was taken over goes on in its last owner's epoch",
            Slip::NobodyTold => "parties are not told that their call is at another address",
            Slip::SlotsForgotten => "slots of calls that were taken over are not renewed",
            Slip::NoFence => "the store takes the writes of superseded owners",
            Slip::DrainHangsUp => "a node that drains hangs its calls up",
            Slip::StraysRefused => "a message for another node's call is refused at once",
            Slip::LossIgnored => "calls that the store has lost are not written again",
            Slip::EndsNotToldAgain => "the store is not told again of calls that have ended",
            Slip::OwnClock => "nodes write their own clocks' times into snapshots",
            Slip::SendsUncommitted => {
                "what depends on a commit is sent without it, though others may claim the call"
            }
            Slip::EndKeptToItself => "an heir is not told that its call had ended before it was taken over",
            Slip::DoubtfulClaimLost => "a claim whose answer was lost is not settled",
        }
    }
}
