//! How a run fails.

use crate::rows::rows;
use std::fmt;

rows! {
    /// What the reference model holds the switch to.
    pub Rule {
        /// Everything sent was called for.
        Unexpected = "nothing is sent or asked for that the rules do not call for",
        /// Everything called for was sent.
        Missing = "what an event calls for is done in the same step",
        /// Timers.
        Late = "what a timer calls for is done on time",
        /// Commits.
        BeforeCommit = "a send follows its commit, or comes 250 ms after it was asked for",
        /// The number of a write.
        Commit = "commits are numbered one by one, under the owner's epoch",
        /// Content of what is sent.
        Content = "a message says what its event calls for",
        /// Branches, tags and Call-IDs.
        Names = "branches, tags and sequence numbers name one thing each",
        /// What one leg shows of the other.
        Topology = "nothing of one leg's topology shows on the other",
        /// Where it is sent.
        Destination = "a message goes to its peer",
        /// What a peer can read.
        Readable = "every message parses and is valid",
        /// To tags.
        ToTag = "one To tag of ours stands for one description",
        /// One final response.
        OneFinal = "the caller gets one final status",
        /// Two answers.
        OneAnswer = "never two answered attempts at once toward one caller",
        /// Answers nobody wants.
        NoOrphans = "every 2xx is acknowledged, and ended unless it is the call's",
        /// BYE before ACK.
        ByeBeforeAck = "no BYE to the caller before its ACK, or before 64·T1 without it",
        /// Slots.
        Slots = "slots never exceed max_calls or cps, and come back once",
        /// Candidates.
        Routing = "candidates have the longest prefix, by priority and weight",
        /// CDRs.
        Cdr = "each call has its records once, and they agree with the wire",
        /// Owners.
        OneOwner = "one node speaks for a call, and none after another has in a later epoch",
        /// Fencing.
        StaleWrite = "the store takes no write of an epoch that has passed",
        /// Answered calls.
        Lost = "a call that was answered goes on until a party hangs up",
        /// What the store has lost.
        Whole = "what the store has lost of calls in progress it has again within six seconds",
        /// The end of a call.
        Release = "each call is released once, for the reason that the rules give",
        /// Dispatch.
        Dispatch = "a message reaches the call it belongs to",
        /// Takeover.
        Takeover = "a call that panicked carries on from its last commit",
        /// Session timers and caps.
        Session = "sessions are refreshed and ended on time, and for a reason",
        /// Reliable provisional responses.
        Reliable = "reliable responses are in order, acknowledged once, and waited for",
        /// Offers and answers.
        Offers = "one offer is open at a time, answered once, and for the other party only",
        /// What came of them.
        Agreement = "both ends hold the session to be the same",
        /// Challenges, redirections, targets.
        Attempt = "what stays inside an attempt is answered once, and goes where it may",
        /// The end of everything.
        Leftover = "nothing is left when the world is quiet",
        /// Deadlines.
        Spinning = "a deadline moves on once it is served",
        /// Panics.
        Panics = "the switch does not panic of its own accord",
        /// The run itself.
        FewFaults = "a run has at least 20 calls and 5 faults",
    }
}

/// A rule that was broken, where and how.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Since the start of the world.
    pub at_ms: u64,
    /// The call, by its place among those that reached the switch.
    pub call: Option<usize>,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.call.map_or(String::new(), |call| format!(", call {call}"));
        write!(f, "broken rule: {}\n  at {} ms{call}: {}", self.rule, self.at_ms, self.detail)
    }
}
