//! What two nodes know of one address of record.

use super::*;

/// What a node knows after these REGISTERs: each has a contact, its CSeq and when it came, in seconds.
fn knows(registered: &[(&str, u32, u64)]) -> Bindings {
    let mut world = World::new();
    for (uri, cseq, at) in registered {
        world.now = Wall(1_000_000 + at * 1000);
        world.send(&super::register(*cseq, &contact(uri, ""))).expect("accepted");
    }
    world.bindings
}

const OTHER: &str = "sip:alice@192.0.2.8:5060";

#[test]
fn of_each_binding_the_later_register_counts_whoever_knows_it() {
    let (early, late) = (knows(&[(PHONE, 1, 0)]), knows(&[(PHONE, 5, 10)]));
    assert_eq!(early.merge(&late), late);
    assert_eq!(late.merge(&early), late);
}

#[test]
fn what_only_one_node_knows_is_kept() {
    let (one, two) = (knows(&[(PHONE, 1, 0)]), knows(&[(OTHER, 2, 3)]));
    let both = knows(&[(PHONE, 1, 0), (OTHER, 2, 3)]);
    assert_eq!((one.merge(&two), two.merge(&one)), (both.clone(), both.clone()));
    assert_eq!(both.merge(&Bindings::default()), both);
}

#[test]
fn nodes_that_merge_in_any_order_come_to_the_same() {
    let all = [
        knows(&[(PHONE, 1, 0)]),
        knows(&[(PHONE, 3, 7), (OTHER, 4, 8)]),
        knows(&[(OTHER, 2, 2)]),
        Bindings::default(),
    ];
    for a in &all {
        assert_eq!(a.merge(a), *a);
        for b in &all {
            assert_eq!(a.merge(b), b.merge(a));
            for c in &all {
                assert_eq!(a.merge(b).merge(c), a.merge(&b.merge(c)));
            }
        }
    }
}
