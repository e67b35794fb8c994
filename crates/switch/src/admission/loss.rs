//! How much of the new calls is shed while messages wait too long (in the manner of RFC 7339 §5.10.2: a share of loss).
//!
//! What counts is a queue that does not empty, not one that was long for a moment: of the delays measured lately the
//! shortest is looked at, as CoDel does it (RFC 8289 §4.1).

use crate::call::CallId;
use std::time::Duration;

/// How often the delay is measured.
pub const MEASURING_PERIOD: Duration = Duration::from_millis(100);

/// Messages that constantly wait longer than this are more than can be worked off.
pub const TARGET_DELAY: Duration = Duration::from_millis(100);

/// Measurements of which the shortest counts: half a second.
const WINDOW: usize = 5;

/// Everything is shed.
const ALL: u32 = 1 << 16;

/// Beyond this share registrations are shed as well.
const SEVERE: u32 = ALL / 10 * 9;

/// The share of new calls to shed. A small number, to be shared with whoever admits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shedding(u32);

/// Adapts the share to the delay.
#[derive(Debug, Default)]
pub struct LossControl {
    share: u32,
    delays: [Duration; WINDOW],
    next: usize,
}

impl LossControl {
    /// Takes the delay that messages had in the last [`MEASURING_PERIOD`], and says what to shed in the next.
    pub fn measure(&mut self, delay: Duration) -> Shedding {
        self.delays[self.next] = delay;
        self.next = (self.next + 1) % WINDOW;
        let standing = self.delays.iter().min().copied().unwrap_or_default();
        if standing > TARGET_DELAY {
            // A quarter of what still gets through.
            self.share += ((ALL - self.share) / 4).max(1);
        } else if delay <= TARGET_DELAY / 2 {
            // Slower than it came, lest it come again at once.
            self.share -= self.share.min((self.share / 32).max(ALL / 512));
        }
        self.share = self.share.min(ALL);
        Shedding(self.share)
    }
}

impl Shedding {
    /// As [`Shedding::to_bits`] gave it.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// For an atomic number.
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// Whether this new call is shed: the same for all copies of its INVITE as long as the share is the same.
    pub fn sheds(self, id: CallId) -> bool {
        self.0 > 0 && ((id.draw() & 0xFFFF) as u32) < self.0
    }

    /// Whether registrations are shed: new calls nearly all are.
    pub fn sheds_registrations(self) -> bool {
        self.0 > SEVERE
    }

    /// The share in thousandths.
    pub fn per_mille(self) -> u32 {
        (u64::from(self.0) * 1000 / u64::from(ALL)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const LATE: Duration = Duration::from_millis(150);

    fn id(number: u64) -> CallId {
        // Spread as a hash is.
        let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        let mut id = [0; 12];
        id[4..].copy_from_slice(&[
            spread[7], spread[6], spread[5], spread[4], spread[3], spread[2], spread[1], spread[0],
        ]);
        CallId(id)
    }

    fn shed_of_10_000(shedding: Shedding) -> usize {
        (0..10_000).filter(|number| shedding.sheds(id(*number))).count()
    }

    #[test]
    fn nothing_is_shed_while_the_delay_is_short_or_long_for_a_moment() {
        let mut control = LossControl::default();
        for turn in 0..1_000 {
            let delay = if turn % 5 == 0 { Duration::from_millis(5) } else { Duration::from_secs(2) };
            assert_eq!(control.measure(delay), Shedding::default());
        }
    }

    #[test]
    fn a_standing_delay_sheds_more_and_more_and_its_end_less_and_less() {
        let mut control = LossControl::default();
        let rising: Vec<_> = (0..20).map(|_| control.measure(LATE).per_mille()).collect();
        assert_eq!(rising[3], 0, "not before half a second");
        assert!(rising[4] >= 250 && rising.is_sorted() && rising[19] > 950, "{rising:?}");
        let falling: Vec<_> = (0..200).map(|_| control.measure(Duration::ZERO).per_mille()).collect();
        assert!(falling.is_sorted_by(|a, b| a >= b) && falling[199] == 0, "{falling:?}");
    }

    #[test]
    fn the_share_that_is_shed_is_the_share_of_calls_and_each_call_has_its_answer() {
        assert_eq!(shed_of_10_000(Shedding(0)), 0);
        assert_eq!(shed_of_10_000(Shedding(ALL)), 10_000);
        assert!((4_800..5_200).contains(&shed_of_10_000(Shedding(ALL / 2))));
        let calls = || (0..100).map(|number| Shedding(ALL / 2).sheds(id(number)));
        assert!(calls().eq(calls()));
    }

    #[test]
    fn registrations_are_shed_after_calls() {
        assert!(!Shedding(ALL / 2).sheds_registrations());
        assert!(Shedding(ALL).sheds_registrations());
    }

    /// A server that works messages off one by one, in order: INVITEs that become calls, INVITEs that are shed, and the
    /// messages of calls that stand.
    #[derive(Default)]
    struct Server {
        queue: VecDeque<(u64, Option<u64>)>,
        busy_until_us: u64,
        admitted: u64,
        longest_wait_us: u64,
    }

    const CALL_US: u64 = 5_000;
    const SHED_US: u64 = 50;
    const IN_DIALOG_US: u64 = 100;

    impl Server {
        fn work(&mut self, now_us: u64, shedding: Shedding) {
            while self.busy_until_us <= now_us
                && let Some((came_us, call)) = self.queue.pop_front()
            {
                self.longest_wait_us = self.longest_wait_us.max(now_us - came_us);
                self.busy_until_us = self.busy_until_us.max(came_us)
                    + match call {
                        Some(number) if shedding.sheds(id(number)) => SHED_US,
                        Some(_) => {
                            self.admitted += 1;
                            CALL_US
                        }
                        None => IN_DIALOG_US,
                    };
            }
        }

        fn delay(&self, now_us: u64) -> Duration {
            Duration::from_micros(self.queue.front().map_or(0, |(came_us, _)| now_us - came_us))
        }
    }

    /// Goodput under `offered` new calls per second, of what the server could admit beside shedding the rest.
    fn goodput(offered: u64) -> (f64, u64) {
        let (mut server, mut control, mut shedding) =
            (Server::default(), LossControl::default(), Shedding(0));
        let (mut number, seconds, settled) = (0, 60, 10);
        let mut admitted_before = 0;
        for ms in 0..seconds * 1_000_u64 {
            if ms == settled * 1_000 {
                admitted_before = server.admitted;
                server.longest_wait_us = 0;
            }
            while number < (ms + 1) * offered / 1_000 {
                server.queue.push_back((ms * 1_000, Some(number)));
                number += 1;
            }
            if ms % 10 == 0 {
                server.queue.push_back((ms * 1_000, None));
            }
            for step in 0..10 {
                server.work(ms * 1_000 + step * 100, shedding);
            }
            if ms % 100 == 0 {
                shedding = control.measure(server.delay(ms * 1_000));
            }
        }
        let per_second = (server.admitted - admitted_before) as f64 / (seconds - settled) as f64;
        (per_second, server.longest_wait_us / 1_000)
    }

    #[test]
    fn rated_at_200_calls_per_second_and_offered_1_000_it_admits_180() {
        let (admitted, longest_wait_ms) = goodput(1_000);
        assert!(admitted >= 180.0, "{admitted} calls/s");
        assert!(longest_wait_ms < 1_000, "messages of calls that stand wait {longest_wait_ms} ms");
    }

    #[test]
    fn within_its_rate_nothing_is_shed() {
        let (admitted, longest_wait_ms) = goodput(150);
        assert!((149.5..150.5).contains(&admitted), "{admitted} calls/s");
        assert!(longest_wait_ms < 50, "{longest_wait_ms} ms");
    }
}
