//! The schedule in virtual time.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tandem_sip::flow::Transport;
use tandem_sip::time::Wall;

const START: Wall = Wall(1_772_366_400_000);

fn flow(number: u32) -> Flow {
    let [_, a, b, c] = number.to_be_bytes();
    Flow { transport: Transport::Udp, listener: 0, remote: ([127, a, b, c], 5060).into() }
}

fn pace(period_s: u64, interval_ms: u64, batch: usize) -> Pace {
    Pace { period: Duration::from_secs(period_s), interval: Duration::from_millis(interval_ms), batch }
}

fn at(after_ms: u64) -> Wall {
    Wall(START.0 + after_ms)
}

/// A schedule that is driven, and what it has sent.
struct Driven {
    pace: Pace,
    schedule: Schedule,
    now: Wall,
    last_sent: BTreeMap<Flow, Wall>,
    /// In milliseconds.
    gaps: Vec<u64>,
    sent: Vec<Flow>,
    batches: Vec<(Wall, usize)>,
}

impl Driven {
    /// Endpoints that registered at the start.
    fn with(pace: Pace, endpoints: u32) -> Self {
        let mut schedule = Schedule::new(pace, START, START);
        let flows = (0..endpoints).map(flow);
        let last_sent =
            flows.inspect(|flow| assert!(schedule.insert(*flow, START))).map(|flow| (flow, START));
        let last_sent = last_sent.collect();
        let (gaps, sent, batches) = (Vec::new(), Vec::new(), Vec::new());
        Self { pace, schedule, now: START, last_sent, gaps, sent, batches }
    }

    fn run_until(&mut self, end: Wall) {
        while let Some(next) =
            self.schedule.next_batch().map(|next| next.max(self.now)).filter(|next| *next < end)
        {
            self.now = next;
            let batch = self.schedule.batch(next);
            assert!(!batch.is_empty(), "woken at {next:?} for nothing");
            self.batches.push((next, batch.len()));
            for due in batch {
                let before = self.last_sent.insert(due.flow, next).expect("an endpoint");
                self.gaps.push(next.since(before).as_millis() as u64);
                self.sent.push(due.flow);
            }
        }
        self.now = end;
    }

    /// Begins anew from the endpoints alone, as far as is known to where the round had come.
    fn restart(&mut self, gone_to: Wall) {
        self.schedule = Schedule::new(self.pace, gone_to, self.now);
        self.last_sent.keys().for_each(|flow| assert!(self.schedule.insert_known(*flow)));
    }

    fn assert_paced(&self) {
        for pair in self.batches.windows(2) {
            assert!(pair[1].0.since(pair[0].0) >= self.pace.interval, "{pair:?}");
        }
        assert!(self.batches.iter().all(|(_, size)| *size <= self.pace.batch));
    }

    fn longest_silence_ms(&self) -> u64 {
        self.last_sent.values().map(|sent| self.now.since(*sent).as_millis() as u64).max().unwrap_or(0)
    }
}

#[test]
fn the_ceiling_is_period_by_interval_times_one_time() {
    assert_eq!(pace(30, 500, 3_000).ceiling(), 180_000);
    assert_eq!(pace(30, 500, 100).ceiling(), 6_000);
    assert_eq!(pace(10, 10_000, 1).ceiling(), 1);
}

#[test]
fn each_endpoint_gets_one_keep_alive_per_period() {
    let mut driven = Driven::with(pace(30, 500, 3_000), 1_000);
    driven.run_until(at(300_000));
    // Those of the last moments are in the next batch.
    assert!((9_950..=10_000).contains(&driven.sent.len()), "{}", driven.sent.len());
    assert!(driven.gaps.iter().all(|gap| *gap <= 30_500), "{:?}", driven.gaps.iter().max());
    driven.assert_paced();
}

#[test]
fn a_lone_endpoint_is_served_at_its_place_to_the_millisecond() {
    let pace = pace(30, 500, 3_000);
    let mut driven = Driven::with(pace, 1);
    driven.run_until(at(95_000));
    assert!(driven.batches.iter().all(|(at, _)| at.0 % 30_000 == u64::from(pace.place(&flow(0)))));
    assert!((3..=4).contains(&driven.batches.len()));
}

#[test]
fn a_hundred_thousand_endpoints_are_spread_over_the_period() {
    let mut driven = Driven::with(pace(30, 500, 3_000), 100_000);
    driven.run_until(at(120_000));
    driven.assert_paced();
    // Those of the last moments are in the next batch.
    assert!((398_000..=400_000).contains(&driven.sent.len()), "{}", driven.sent.len());
    let largest = driven.batches.iter().map(|(_, size)| *size).max().expect("batches");
    assert!(largest < 1_900, "{largest} where 1667 are due on average");
    assert!(driven.gaps.iter().all(|gap| *gap <= 30_500));
}

#[test]
fn after_a_restart_there_is_no_burst_and_no_gap_above_a_period_but_for_the_time_away() {
    let mut driven = Driven::with(pace(30, 500, 3_000), 100_000);
    driven.run_until(at(70_000));
    driven.now = at(72_000);
    let before = driven.batches.len();
    driven.restart(driven.schedule.gone_to());
    driven.run_until(at(200_000));
    driven.assert_paced();
    // Some two seconds are made up for at 6 000 a second, while 3 333 fall due: a few full batches, and then as ever.
    let after: Vec<_> = driven.batches[before..].iter().map(|(_, size)| *size).collect();
    assert!((4..=7).contains(&after.iter().filter(|size| **size > 1_900).count()), "{:?}", &after[..9]);
    assert!(driven.gaps.iter().all(|gap| *gap <= 30_500 + 2_000), "{:?}", driven.gaps.iter().max());
}

#[test]
fn where_nothing_is_known_of_the_last_round_it_is_made_up_for_at_the_pace() {
    let mut driven = Driven::with(pace(30, 500, 3_000), 100_000);
    driven.run_until(at(70_000));
    let before = driven.batches.len();
    driven.restart(Wall(0));
    driven.run_until(at(200_000));
    driven.assert_paced();
    assert!(driven.batches[before..].iter().take(33).all(|(_, size)| *size == 3_000));
    // Who was due when the schedule began anew may come last in the round that is made up for.
    let round = 100_000 / 6;
    assert!(driven.gaps.iter().all(|gap| *gap <= 30_500 + round), "{:?}", driven.gaps.iter().max());
}

#[test]
fn beyond_the_ceiling_each_is_served_in_order_and_none_starves() {
    let mut driven = Driven::with(pace(30, 500, 100), 10_000);
    assert!(driven.schedule.is_beyond_ceiling());
    driven.run_until(at(400_000));
    driven.assert_paced();
    driven.sent.clear();
    driven.gaps.clear();
    driven.run_until(at(600_000));
    assert_eq!(driven.sent.len(), 40_000, "no turn of the pace is wasted");
    assert!(
        driven.gaps.iter().all(|gap| *gap == 50_000),
        "{:?}",
        driven.gaps.iter().find(|gap| **gap != 50_000)
    );
    for (first, second) in driven.sent.iter().zip(&driven.sent[10_000..]) {
        assert_eq!(first, second, "the order of each round is that of the one before");
    }
}

#[test]
fn once_the_pace_suffices_again_the_period_holds_again() {
    let mut driven = Driven::with(pace(30, 500, 100), 10_000);
    driven.run_until(at(400_000));
    for number in 5_000..10_000 {
        driven.schedule.remove(&flow(number));
        driven.last_sent.remove(&flow(number));
    }
    assert!(!driven.schedule.is_beyond_ceiling());
    // What was owed is paid.
    driven.run_until(at(1_000_000));
    driven.gaps.clear();
    driven.run_until(at(1_090_000));
    assert!(driven.gaps.iter().all(|gap| *gap <= 31_500), "{:?}", driven.gaps.iter().max());
    driven.assert_paced();
}

#[test]
fn what_came_to_nothing_comes_first_in_the_next_batch() {
    let pace = pace(10, 500, 2);
    let mut schedule = Schedule::new(pace, START, START);
    (0..100).for_each(|number| assert!(schedule.insert(flow(number), START)));
    let first = schedule.batch(at(5_000));
    assert_eq!(first.len(), 2);
    schedule.again(first[1].flow);
    assert_eq!(schedule.next_batch(), Some(at(5_500)));
    assert!(schedule.batch(at(5_499)).is_empty());
    let second = schedule.batch(at(5_500));
    assert_eq!((second.len(), second[0].flow), (2, first[1].flow));
    assert!(!first.contains(&second[1]));
    schedule.remove(&first[0].flow);
    schedule.again(first[0].flow);
    assert!(
        schedule.batch(at(6_000)).iter().all(|due| due.flow != first[0].flow),
        "who has left gets nothing"
    );
}

#[test]
fn who_registers_while_nobody_is_late_is_not_late_either() {
    let pace = pace(30, 500, 100);
    let mut schedule = Schedule::new(pace, START, START);
    assert_eq!(schedule.next_batch(), None);
    for number in 0..50 {
        let now = at(u64::from(number) * 7_001);
        while schedule.next_batch().is_some_and(|next| next <= now) {
            let next = schedule.next_batch().expect("somebody is due");
            assert!(!schedule.batch(next).is_empty());
        }
        assert!(schedule.insert(flow(number), now));
        assert!(!schedule.insert(flow(number), now));
        schedule
            .batch(now)
            .iter()
            .for_each(|due| assert_ne!(due.flow, flow(number), "it has just been heard"));
    }
}

#[test]
fn the_place_of_a_flow_is_the_same_on_every_node_and_in_every_release() {
    let pace = pace(30, 500, 3_000);
    let places: Vec<_> = (0..3).map(|number| pace.place(&flow(number))).collect();
    assert_eq!(places, PLACES);
    let elsewhere = Flow { listener: 7, ..flow(1) };
    assert_eq!(pace.place(&elsewhere), places[1], "listeners are numbered by each node for itself");
}

/// As the first release had them.
const PLACES: [u32; 3] = [25_525, 16_646, 12_928];

proptest! {
    #[test]
    fn nobody_waits_longer_than_a_round_and_no_batch_is_too_large(
        endpoints in 1_u32..400,
        interval_ms in 1_u64..5_000,
        batch in 1_usize..60,
        period_s in 10_u64..40,
        leaving in prop::collection::vec(0_u32..400, 0..20),
    ) {
        let pace = pace(period_s, interval_ms, batch);
        let mut driven = Driven::with(pace, endpoints);
        let rounds_ms = (u64::from(endpoints).div_ceil(batch as u64) + 1) * interval_ms;
        // Between two turns of one there is at most one of each other.
        let longest = period_s * 1_000 + rounds_ms;
        driven.run_until(at(longest));
        for number in leaving {
            driven.schedule.remove(&flow(number));
            driven.last_sent.remove(&flow(number));
        }
        driven.run_until(at(4 * longest));
        driven.assert_paced();
        prop_assert!(driven.gaps.iter().all(|gap| *gap <= longest), "{:?} of {longest}", driven.gaps.iter().max());
        prop_assert!(driven.longest_silence_ms() <= longest);
    }
}
