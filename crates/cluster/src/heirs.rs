//! Who goes on with the calls of a node that has gone: each call has heirs in an order of its own, so that the calls of one
//! node are spread over all others.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::time::Mono;

/// How much longer than the heir before it each heir waits: who is first may have gone as well, or be slow.
pub const RANK_WAIT: Duration = Duration::from_millis(250);

/// How long after its node's end a call in set-up waits for that node to come back, where its peers send their answers to
/// an address that only that node has.
pub const RETURN_WAIT: Duration = Duration::from_secs(4);

/// How long nobody claims after the store may have lost what it had taken: two leases, in which owners tell it again what
/// they own.
pub const CLAIM_HOLD: Duration = Duration::from_secs(3);

/// The place of a node among the heirs of a call (rendezvous hashing); 0 is the first.
pub fn rank(call: &[u8], this: &str, others: &[Arc<str>]) -> u32 {
    let own = weight(call, this);
    let before = others.iter().filter(|other| (weight(call, other), &***other) > (own, this)).count();
    u32::try_from(before).unwrap_or(u32::MAX)
}

/// The first heir of a call among these nodes.
pub fn first_heir<'a>(call: &[u8], nodes: &'a [Arc<str>]) -> Option<&'a Arc<str>> {
    nodes.iter().max_by(|a, b| (weight(call, a), a).cmp(&(weight(call, b), b)))
}

fn weight(call: &[u8], node: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 2);
    hasher.write(call);
    hasher.write(node.as_bytes());
    hasher.finish()
}

/// When an heir claims a call whose owner is known to have gone since `gone`.
pub fn claim_at(gone: Mono, rank: u32) -> Mono {
    gone + RANK_WAIT * rank
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn every_call_has_one_first_heir_and_nodes_share_them() {
        let names = ["a", "b", "c"];
        let mut firsts = [0; 3];
        for call in 0..3_000_u32 {
            let call = call.to_be_bytes();
            let mut ranks = Vec::new();
            for (place, name) in names.iter().enumerate() {
                let others: Vec<_> = names.iter().filter(|other| *other != name).copied().collect();
                let rank = rank(&call, name, &nodes(&others));
                firsts[place] += u32::from(rank == 0);
                ranks.push(rank);
                assert_eq!(
                    rank == 0,
                    first_heir(&call, &nodes(&names)).is_some_and(|first| **first == **name)
                );
            }
            ranks.sort_unstable();
            assert_eq!(ranks, [0, 1, 2]);
        }
        assert!(firsts.iter().all(|first| (850..1_150).contains(first)), "{firsts:?}");
    }

    #[test]
    fn the_loss_of_an_heir_moves_its_calls_only() {
        let both = nodes(&["b", "c"]);
        for call in 0..100_u32 {
            let call = call.to_be_bytes();
            if rank(&call, "a", &both) == 0 {
                assert_eq!(rank(&call, "a", &nodes(&["b"])), 0);
            }
        }
    }

    #[test]
    fn an_heir_waits_a_quarter_of_a_second_for_each_before_it() {
        assert_eq!(claim_at(Mono(1_000), 0), Mono(1_000));
        assert_eq!(claim_at(Mono(1_000), 3), Mono(1_750));
    }
}
