//! What has been located, for as long as it is valid; and targets that have just failed.

use super::{ASK_AGAIN, LocateError, Located, MAX_TTL, Target, Wanted};
use crate::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The most names that are remembered besides those that are [kept](Cache::keep); the one that lapses first makes room.
pub const MAX_CACHED: usize = 1_000;

/// The most targets that are remembered as failed; the oldest makes room.
pub const MAX_FAILED_TARGETS: usize = 1_000;

/// How long a target that has failed comes after the others.
pub const PUT_LAST_FOR: Duration = Duration::from_secs(30);

/// The longest wait before DNS is asked again what it has not answered.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// A valid answer.
    Fresh(Result<Arc<Located>, LocateError>),
    /// The last answer. It has lapsed, and DNS did not answer since (RFC 8767).
    Stale(Arc<Located>),
    /// Nothing.
    Nothing,
}

/// Answers by what was wanted.
#[derive(Debug)]
pub struct Cache {
    entries: BTreeMap<Wanted, Entry>,
    serve_stale: Duration,
}

#[derive(Debug)]
struct Entry {
    keep: Keep,
    answer: Option<Kept>,
    /// When a kept name is asked for again.
    ask_at: Mono,
    /// How often in a row DNS did not answer.
    unanswered: u32,
}

/// Whether a name is asked for again before its answer lapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    UntilItLapses,
    Always,
}

#[derive(Debug)]
struct Kept {
    result: Result<Arc<Located>, LocateError>,
    until: Mono,
}

impl Cache {
    /// An empty cache that goes on with a lapsed answer for `serve_stale` while DNS does not answer.
    pub fn new(serve_stale: Duration) -> Self {
        Self { entries: BTreeMap::new(), serve_stale }
    }

    /// From now on the name is [due](Self::due) again and again, shortly before its answer lapses.
    pub fn keep(&mut self, wanted: &Wanted, now: Mono) {
        self.entry(wanted, now).keep = Keep::Always;
    }

    /// Keeps these names, and none of those that were kept before.
    pub fn keep_only(&mut self, names: &[&Wanted], now: Mono) {
        let kept: BTreeSet<_> = names.iter().copied().collect();
        self.entries.retain(|wanted, entry| entry.keep != Keep::Always || kept.contains(wanted));
        kept.into_iter().for_each(|wanted| self.keep(wanted, now));
    }

    /// What is known of a name.
    pub fn get(&self, wanted: &Wanted, now: Mono) -> Known {
        let Some((entry, answer)) =
            self.entries.get(wanted).and_then(|entry| Some((entry, entry.answer.as_ref()?)))
        else {
            return Known::Nothing;
        };
        match &answer.result {
            result if now < answer.until => Known::Fresh(result.clone()),
            Ok(located) if entry.unanswered > 0 && now < answer.until + self.serve_stale => {
                Known::Stale(located.clone())
            }
            Ok(_) | Err(_) => Known::Nothing,
        }
    }

    /// Takes what a location has brought, and for how long it is valid. An answer that did not come leaves the last one
    /// in place, and is asked for again later each time.
    pub fn put(
        &mut self,
        wanted: &Wanted,
        result: Result<Located, LocateError>,
        valid_for: Duration,
        now: Mono,
    ) {
        let serve_stale = self.serve_stale;
        let entry = self.entry(wanted, now);
        if result == Err(LocateError::Unanswered) {
            entry.unanswered = entry.unanswered.saturating_add(1);
            let doublings = (entry.unanswered - 1).min(8);
            let wait = (ASK_AGAIN * (1 << doublings)).min(MAX_BACKOFF);
            entry.ask_at = now + wait;
            let still = |last: &Kept| last.result.is_ok() && now < last.until + serve_stale;
            if !entry.answer.as_ref().is_some_and(still) {
                // So that calls do not each wait for DNS to stay silent.
                let until = now + ASK_AGAIN;
                entry.answer = Some(Kept { result: Err(LocateError::Unanswered), until });
            }
            return;
        }
        let valid_for = valid_for.min(MAX_TTL);
        entry.unanswered = 0;
        entry.ask_at = now + valid_for * 4 / 5;
        entry.answer = Some(Kept { result: result.map(Arc::new), until: now + valid_for });
    }

    /// The last answer that led somewhere, for whoever cannot wait for a new one.
    pub fn last(&self, wanted: &Wanted, now: Mono) -> Option<Arc<Located>> {
        let answer = self.entries.get(wanted)?.answer.as_ref()?;
        answer.result.clone().ok().filter(|_| now < answer.until + self.serve_stale)
    }

    /// The kept names that are to be asked for now, at most so many. Each is named once, then not again until its
    /// answer was [put](Self::put) or a while has passed.
    pub fn due(&mut self, now: Mono, at_most: usize) -> Vec<Wanted> {
        let due = |entry: &Entry| entry.keep == Keep::Always && entry.ask_at <= now;
        let mut names = Vec::new();
        for (wanted, entry) in self.entries.iter_mut().filter(|(_, entry)| due(entry)).take(at_most) {
            entry.ask_at = now + MAX_BACKOFF;
            names.push(wanted.clone());
        }
        names
    }

    /// When the next kept name is due.
    pub fn next_due(&self) -> Option<Mono> {
        let kept = self.entries.values().filter(|entry| entry.keep == Keep::Always);
        kept.map(|entry| entry.ask_at).min()
    }

    fn entry(&mut self, wanted: &Wanted, now: Mono) -> &mut Entry {
        if !self.entries.contains_key(wanted) {
            self.make_room();
        }
        let new = || Entry { keep: Keep::UntilItLapses, answer: None, ask_at: now, unanswered: 0 };
        self.entries.entry(wanted.clone()).or_insert_with(new)
    }

    fn make_room(&mut self) {
        let passing = |entry: &Entry| entry.keep == Keep::UntilItLapses;
        if self.entries.values().filter(|entry| passing(entry)).count() < MAX_CACHED {
            return;
        }
        let lapses = |entry: &Entry| entry.answer.as_ref().map(|answer| answer.until);
        let first = self.entries.iter().filter(|(_, entry)| passing(entry));
        let first = first.min_by_key(|(_, entry)| lapses(entry)).map(|(wanted, _)| wanted.clone());
        if let Some(first) = first {
            self.entries.remove(&first);
        }
    }
}

/// Targets that a request has just failed at. They come last for a while, so that not every call finds out anew.
#[derive(Debug, Default)]
pub struct FailedTargets {
    until: BTreeMap<Target, Mono>,
}

impl FailedTargets {
    /// A request has failed at this target: it was not answered, or could not be delivered.
    pub fn note(&mut self, target: Target, now: Mono) {
        if self.until.len() >= MAX_FAILED_TARGETS && !self.until.contains_key(&target) {
            self.until.retain(|_, until| *until > now);
            let oldest = self.until.iter().min_by_key(|(_, until)| **until).map(|(target, _)| *target);
            if let Some(oldest) = oldest.filter(|_| self.until.len() >= MAX_FAILED_TARGETS) {
                self.until.remove(&oldest);
            }
        }
        self.until.insert(target, now + PUT_LAST_FOR);
    }

    /// Puts those that have failed of late last; else the order stands.
    pub fn put_last(&self, targets: &mut [Target], now: Mono) {
        if !self.until.is_empty() {
            targets.sort_by_key(|target| self.until.get(target).is_some_and(|until| *until > now));
        }
    }

    /// Whether a target comes last at present.
    pub fn has(&self, target: &Target, now: Mono) -> bool {
        self.until.get(target).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Transport;
    use std::net::SocketAddr;

    const HOUR: Duration = Duration::from_secs(3600);
    const TTL: Duration = Duration::from_secs(100);
    const UNANSWERED: Result<Located, LocateError> = Err(LocateError::Unanswered);

    fn wanted(number: usize) -> Wanted {
        Wanted::new(&format!("gw{number}.example.com"), None, None)
    }

    fn located(last: u8) -> Located {
        let address = std::net::IpAddr::from([192, 0, 2, last]);
        Located::by_address(&Wanted::new("192.0.2.1", None, None), address, Transport::Udp, TTL)
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1000)
    }

    #[test]
    fn an_answer_is_kept_for_its_ttl_and_no_longer() {
        let mut cache = Cache::new(HOUR);
        cache.put(&wanted(1), Ok(located(1)), TTL, at(0));
        assert_eq!(cache.get(&wanted(1), Mono(99_999)), Known::Fresh(Ok(Arc::new(located(1)))));
        assert_eq!(cache.get(&wanted(1), at(100)), Known::Nothing);
        assert_eq!(cache.get(&wanted(2), at(0)), Known::Nothing);
    }

    #[test]
    fn a_kept_name_is_asked_for_again_before_it_lapses() {
        let mut cache = Cache::new(HOUR);
        cache.keep(&wanted(1), at(0));
        assert_eq!(cache.due(at(0), 9), [wanted(1)]);
        assert!(cache.due(at(0), 9).is_empty(), "it is being asked for");
        cache.put(&wanted(1), Ok(located(1)), TTL, at(1));
        assert_eq!(cache.next_due(), Some(at(81)));
        assert!(cache.due(Mono(80_999), 9).is_empty());
        assert_eq!(cache.due(at(81), 9), [wanted(1)]);
        cache.put(&wanted(1), Ok(located(2)), TTL, at(82));
        assert_eq!(cache.get(&wanted(1), at(150)), Known::Fresh(Ok(Arc::new(located(2)))));
    }

    #[test]
    fn while_dns_is_silent_the_last_answer_serves_for_an_hour() {
        let mut cache = Cache::new(HOUR);
        cache.put(&wanted(1), Ok(located(1)), TTL, at(0));
        cache.put(&wanted(1), UNANSWERED, ASK_AGAIN, at(90));
        assert_eq!(cache.get(&wanted(1), at(99)), Known::Fresh(Ok(Arc::new(located(1)))));
        assert_eq!(cache.get(&wanted(1), at(100)), Known::Stale(Arc::new(located(1))));
        assert_eq!(cache.get(&wanted(1), at(3699)), Known::Stale(Arc::new(located(1))));
        assert_eq!(cache.get(&wanted(1), at(3700)), Known::Nothing);
        cache.put(&wanted(1), UNANSWERED, ASK_AGAIN, at(3701));
        assert_eq!(cache.get(&wanted(1), at(3702)), Known::Fresh(Err(LocateError::Unanswered)));
        cache.put(&wanted(1), Ok(located(2)), TTL, at(3800));
        assert_eq!(cache.get(&wanted(1), at(3801)), Known::Fresh(Ok(Arc::new(located(2)))));
    }

    #[test]
    fn a_silent_dns_is_asked_again_later_each_time() {
        let mut cache = Cache::new(HOUR);
        cache.keep(&wanted(1), at(0));
        let mut waits = Vec::new();
        let mut now = at(0);
        for _ in 0..6 {
            cache.put(&wanted(1), UNANSWERED, ASK_AGAIN, now);
            let next = cache.next_due().expect("a kept name");
            waits.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn no_more_names_are_due_at_a_time_than_can_be_asked_for() {
        let mut cache = Cache::new(HOUR);
        for number in 0..5 {
            cache.keep(&wanted(number), at(0));
        }
        assert_eq!(cache.due(at(0), 3).len(), 3);
        assert_eq!(cache.next_due(), Some(at(0)));
        assert_eq!(cache.due(at(0), 3).len(), 2);
    }

    #[test]
    fn who_cannot_wait_has_the_last_answer_even_if_it_has_lapsed() {
        let mut cache = Cache::new(HOUR);
        cache.put(&wanted(1), Ok(located(1)), TTL, at(0));
        assert_eq!(cache.get(&wanted(1), at(100)), Known::Nothing);
        assert_eq!(cache.last(&wanted(1), at(100)), Some(Arc::new(located(1))));
        assert_eq!(cache.last(&wanted(1), at(3700)), None);
    }

    #[test]
    fn that_there_is_no_such_name_replaces_what_was_known() {
        let mut cache = Cache::new(HOUR);
        cache.put(&wanted(1), Ok(located(1)), TTL, at(0));
        cache.put(&wanted(1), Err(LocateError::NoAddress), TTL, at(90));
        assert_eq!(cache.get(&wanted(1), at(91)), Known::Fresh(Err(LocateError::NoAddress)));
        assert_eq!(cache.get(&wanted(1), at(191)), Known::Nothing);
    }

    #[test]
    fn the_cache_is_bounded_and_kept_names_stay() {
        let mut cache = Cache::new(HOUR);
        cache.keep(&wanted(0), at(0));
        cache.put(&wanted(0), Ok(located(1)), TTL, at(0));
        for number in 1..=MAX_CACHED + 10 {
            cache.put(&wanted(number), Ok(located(1)), TTL, Mono(number as u64));
        }
        assert_eq!(cache.entries.len(), MAX_CACHED + 1);
        assert_ne!(cache.get(&wanted(0), at(2)), Known::Nothing);
        assert_eq!(cache.get(&wanted(10), at(2)), Known::Nothing, "the oldest are gone");
        assert_ne!(cache.get(&wanted(11), at(2)), Known::Nothing);
    }

    fn target(number: usize) -> Target {
        let address = SocketAddr::from(([192, 0, 2, 1], 1_000 + number as u16));
        Target { transport: Transport::Udp, address }
    }

    #[test]
    fn a_target_that_has_failed_comes_last_for_half_a_minute() {
        let mut failed = FailedTargets::default();
        failed.note(target(1), at(0));
        let order = |failed: &FailedTargets, now| {
            let mut targets = [target(1), target(2), target(3)];
            failed.put_last(&mut targets, now);
            targets
        };
        assert_eq!(order(&failed, at(29)), [target(2), target(3), target(1)]);
        assert_eq!(order(&failed, at(30)), [target(1), target(2), target(3)]);
    }

    #[test]
    fn failed_targets_are_bounded() {
        let mut failed = FailedTargets::default();
        for number in 0..MAX_FAILED_TARGETS + 5 {
            failed.note(target(number), Mono(number as u64));
        }
        assert_eq!(failed.until.len(), MAX_FAILED_TARGETS);
        assert!(!failed.has(&target(4), Mono(2_000)) && failed.has(&target(5), Mono(2_000)));
    }
}
