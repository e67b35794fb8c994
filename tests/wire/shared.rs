//! State that nodes share in Redis.

use crate::nodes::Cluster;
use crate::phones::Phones;
use crate::place::Place;
use crate::until::{SOON, until};
use std::time::{Duration, Instant};

/// How many phones there are, of three nodes.
const PHONES: usize = 20_000;

/// A cluster of three, and phones that have registered, each at one of the nodes.
fn with_phones(count: usize) -> (Cluster, Phones) {
    let cluster = Cluster::start(Place::new(), 3, &Phones::sections(count));
    let mut phones = Phones::at(cluster.place.gateway_port());
    for node in 0..3 {
        phones.register(cluster.sip(node), (0..count).filter(|number| number % 3 == node));
    }
    (cluster, phones)
}

/// Every node finds all of them.
fn all_are_found(cluster: &Cluster, phones: &mut Phones, count: usize, within: Duration) {
    for node in 0..3 {
        let mut missing = phones.missing(cluster.sip(node), 0..count);
        let begun = Instant::now();
        while !missing.is_empty() {
            assert!(begun.elapsed() < within, "node {node} does not find {} of {count}", missing.len());
            missing = phones.missing(cluster.sip(node), missing.into_iter());
        }
    }
}

#[test]
fn registrations_are_found_from_every_node_and_after_a_restart_of_each() {
    let (mut cluster, mut phones) = with_phones(PHONES);
    all_are_found(&cluster, &mut phones, PHONES, Duration::from_secs(1));
    for node in 0..3 {
        cluster.stop(node);
        cluster.start_again(node);
    }
    all_are_found(&cluster, &mut phones, PHONES, Duration::ZERO);
}

#[test]
fn a_registration_that_is_removed_at_one_node_is_gone_at_every_other_within_a_second() {
    let (cluster, mut phones) = with_phones(3);
    all_are_found(&cluster, &mut phones, 3, Duration::from_secs(1));
    phones.unregister(cluster.sip(0), 1);
    let began = Instant::now();
    for node in 0..3 {
        until("it is gone", SOON, || phones.missing(cluster.sip(node), 1..2).contains(&1).then_some(()));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(phones.missing(cluster.sip(2), 0..1).is_empty(), "the others stay");
}

#[test]
fn a_redis_that_comes_back_empty_is_given_all_registrations_within_five_seconds() {
    let (mut cluster, mut phones) = with_phones(PHONES);
    all_are_found(&cluster, &mut phones, PHONES, Duration::from_secs(1));
    cluster.redis.restart_empty();
    let answers_again = Instant::now();
    let stored = || cluster.redis.count_keys("{tandem:b??}:reg:u*");
    until("all are in the store again", SOON, || (stored() == PHONES).then_some(()));
    let took = answers_again.elapsed();
    println!("{PHONES} registrations were whole again {took:?} after Redis answered");
    assert!(took < Duration::from_secs(5), "{took:?}");
    all_are_found(&cluster, &mut phones, PHONES, Duration::ZERO);
    // A node that starts now has nothing but the store.
    cluster.kill(1);
    cluster.start_again(1);
    assert!(phones.missing(cluster.sip(1), 0..PHONES).is_empty());
}
