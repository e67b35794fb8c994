//! Who sends how much, and who is not listened to for a while.
//!
//! A guard watches some of the sources: the shell keeps several, each with a lock of its own, and asks the one that a
//! source belongs to, once for each message and before anything of it is read.

use super::Pace;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::BuildHasherDefault;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tandem_sip::time::Mono;

/// The most sources that all guards of a node remember; those that were silent longest are forgotten first.
pub const SOURCES_MAX: usize = 65_536;

/// The most bans that all guards of a node hold; the one that ends first gives way.
pub const BANS_MAX: usize = 16_384;

/// The most bad messages that `ban_after` can ask for.
pub const BAN_MAX_OFFENCES: u32 = 10_000;

/// One source: an IPv4 address, or the /64 that an IPv6 address is of, since whoever has one has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey(u64);

/// IPv4 addresses among the keys: a prefix that no IPv6 network has.
const V4: u64 = 0x0000_FFFF_0000_0000;

/// When a source is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanRules {
    /// So many bad messages …
    pub after: u32,
    /// … within this time …
    pub window: Duration,
    /// … and it is not listened to for this long.
    pub time: Duration,
}

/// What a source may do. By default everything, as somebody who is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// It is nobody that the configuration knows.
    pub stranger: bool,
    /// Messages per second; `None` is no bound.
    pub messages: Option<u32>,
    /// When it is banned; `None` is never.
    pub ban: Option<BanRules>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is read.
    Pass,
    /// It is read, as a stranger's.
    PassStranger,
    /// Dropped: the source has sent more than it may.
    TooMany,
    /// Dropped: the source is banned.
    Banned,
}

/// A ban that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Banned {
    /// Who is banned.
    pub source: SourceKey,
    /// Since when.
    pub since: Mono,
    /// Until when.
    pub until: Mono,
}

/// What is known of one source.
#[derive(Clone, Copy, Debug)]
struct Source {
    allowance: Allowance,
    messages: Pace,
    calls: Pace,
    offences: u32,
    /// When the first of them was counted.
    offended_at: Mono,
    banned_until: Option<Mono>,
}

type Sources = HashMap<SourceKey, Source, BuildHasherDefault<SipHasher13>>;

/// Watches its share of the sources.
#[derive(Debug)]
pub struct Guard {
    /// Sources heard lately. When they are as many as half the limit they become the older ones, and those before them
    /// are forgotten.
    recent: Sources,
    older: Sources,
    /// Half the limit.
    generation_max: usize,
    bans: BTreeMap<SourceKey, Banned>,
    bans_max: usize,
}

impl SourceKey {
    /// The key of an address.
    pub fn of(source: IpAddr) -> Self {
        match source.to_canonical() {
            IpAddr::V4(address) => Self(V4 | u64::from(u32::from(address))),
            IpAddr::V6(address) => Self((u128::from(address) >> 64) as u64),
        }
    }

    /// The key as a number; 0 is no source's that sends anything.
    pub fn number(self) -> u64 {
        self.0
    }

    fn network(self) -> IpNet {
        if self.0 & !0xFFFF_FFFF == V4 {
            return Ipv4Net::from(Ipv4Addr::from(self.0 as u32)).into();
        }
        let address = Ipv6Addr::from(u128::from(self.0) << 64);
        Ipv6Net::new_assert(address, 64).into()
    }

    /// One of so many guards, the same each time.
    pub fn share(self, guards: usize) -> usize {
        // The low bits of neighbours differ already; those of /64 networks may not.
        let mixed = self.0 ^ (self.0 >> 32) ^ (self.0 >> 16);
        mixed as usize % guards.max(1)
    }
}

/// As operators write it: an address, or a network.
impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network() {
            IpNet::V4(address) => fmt::Display::fmt(&address.addr(), f),
            network @ IpNet::V6(_) => fmt::Display::fmt(&network, f),
        }
    }
}

impl Guard {
    /// One of `guards` that share the limits [`SOURCES_MAX`] and [`BANS_MAX`].
    pub fn new(guards: usize) -> Self {
        Self {
            recent: Sources::default(),
            older: Sources::default(),
            generation_max: (SOURCES_MAX / guards.max(1) / 2).max(1),
            bans: BTreeMap::new(),
            bans_max: (BANS_MAX / guards.max(1)).max(1),
        }
    }

    /// A message has arrived. `allowance` is asked for what its source may do when it is heard for the first time.
    pub fn on_message(
        &mut self,
        now: Mono,
        source: SourceKey,
        allowance: impl FnOnce() -> Allowance,
    ) -> Verdict {
        // The path of all but the first message: one look-up.
        if let Some(known) = self.recent.get_mut(&source).filter(|known| known.banned_until.is_none()) {
            return known.judge(now);
        }
        let known = self.source(source, allowance);
        match known.banned_until {
            Some(until) if until > now => return Verdict::Banned,
            Some(_) | None => known.banned_until = None,
        }
        let verdict = known.judge(now);
        self.bans.remove(&source);
        verdict
    }

    /// A source has shown something that only those know with whom we have a call: it is no stranger any more.
    pub fn vouch(&mut self, source: SourceKey) {
        let known = self.source(source, Allowance::default);
        (known.allowance, known.offences) = (Allowance::default(), 0);
    }

    /// Whether a source may begin one more call at so many per second.
    pub fn on_call(&mut self, now: Mono, source: SourceKey, per_second: u32) -> bool {
        let known = self.source(source, Allowance::default);
        known.calls.take(now, per_second, per_second)
    }

    /// A message of that source was bad. `true` if the source is banned from now on.
    pub fn on_offence(&mut self, now: Mono, source: SourceKey) -> bool {
        let known = self.source(source, Allowance::default);
        let Some(rules) = known.allowance.ban else { return false };
        if now.since(known.offended_at) >= rules.window {
            (known.offences, known.offended_at) = (0, now);
        }
        known.offences += 1;
        if known.offences < rules.after || known.banned_until.is_some() {
            return false;
        }
        let until = now + rules.time;
        (known.offences, known.banned_until) = (0, Some(until));
        if self.bans.len() >= self.bans_max {
            let first = self.bans.values().min_by_key(|ban| ban.until).map(|ban| ban.source);
            first.map(|source| self.lift(source));
        }
        self.bans.insert(source, Banned { source, since: now, until });
        true
    }

    /// Lifts a ban. `false` if there is none.
    pub fn lift(&mut self, source: SourceKey) -> bool {
        for sources in [&mut self.recent, &mut self.older] {
            if let Some(known) = sources.get_mut(&source) {
                (known.banned_until, known.offences) = (None, 0);
            }
        }
        self.bans.remove(&source).is_some()
    }

    /// The bans that hold, by source.
    pub fn bans(&mut self, now: Mono) -> impl Iterator<Item = Banned> + '_ {
        self.bans.retain(|_, ban| ban.until > now);
        self.bans.values().copied()
    }

    /// Forgets what sources may do, since the configuration has changed. Bans stay.
    pub fn forget(&mut self) {
        self.recent.clear();
        self.older.clear();
    }

    fn source(&mut self, source: SourceKey, allowance: impl FnOnce() -> Allowance) -> &mut Source {
        if !self.recent.contains_key(&source) {
            let known = self.older.remove(&source).unwrap_or_else(|| Source {
                allowance: allowance(),
                messages: Pace::default(),
                calls: Pace::default(),
                offences: 0,
                offended_at: Mono(0),
                banned_until: self.bans.get(&source).map(|ban| ban.until),
            });
            if self.recent.len() >= self.generation_max {
                self.older = std::mem::take(&mut self.recent);
            }
            self.recent.insert(source, known);
        }
        self.recent.get_mut(&source).expect("was put there above")
    }
}

impl Source {
    fn judge(&mut self, now: Mono) -> Verdict {
        match self.allowance.messages {
            Some(rate) if !self.messages.take(now, rate, rate) => Verdict::TooMany,
            Some(_) | None if self.allowance.stranger => Verdict::PassStranger,
            Some(_) | None => Verdict::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BanRules =
        BanRules { after: 3, window: Duration::from_secs(60), time: Duration::from_secs(300) };

    fn stranger() -> Allowance {
        Allowance { stranger: true, messages: Some(10), ban: Some(RULES) }
    }

    fn key(text: &str) -> SourceKey {
        SourceKey::of(text.parse().expect("an address"))
    }

    fn numbered(number: u32) -> SourceKey {
        SourceKey::of(Ipv4Addr::from(number).into())
    }

    fn offends(guard: &mut Guard, at: u64, source: SourceKey) -> bool {
        let _ = guard.on_message(Mono(at), source, stranger);
        guard.on_offence(Mono(at), source)
    }

    #[test]
    fn an_ipv6_source_is_its_64_and_a_mapped_one_its_ipv4_address() {
        assert_eq!(key("2001:db8:1:2::3"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::3"), key("2001:db8:1:3::3"));
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_eq!(key("192.0.2.7").to_string(), "192.0.2.7");
        assert_eq!(key("2001:db8:1:2::3").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_source_that_sends_more_than_it_may_is_dropped_and_others_are_not() {
        let mut guard = Guard::new(1);
        let loud = key("192.0.2.7");
        let passed = (0..100).filter(|_| guard.on_message(Mono(5), loud, stranger) == Verdict::PassStranger);
        assert_eq!(passed.count(), 10);
        assert_eq!(guard.on_message(Mono(5), loud, stranger), Verdict::TooMany);
        assert_eq!(guard.on_message(Mono(5), key("192.0.2.8"), stranger), Verdict::PassStranger);
        assert_eq!(guard.on_message(Mono(105), loud, stranger), Verdict::PassStranger);
        assert_eq!(guard.on_message(Mono(105), loud, stranger), Verdict::TooMany);
    }

    #[test]
    fn bad_messages_within_the_window_ban_their_source_for_a_time() {
        let mut guard = Guard::new(1);
        let bad = key("192.0.2.7");
        assert!(!offends(&mut guard, 0, bad) && !offends(&mut guard, 1_000, bad));
        assert!(offends(&mut guard, 2_000, bad));
        assert_eq!(guard.on_message(Mono(301_999), bad, stranger), Verdict::Banned);
        assert_eq!(guard.bans(Mono(301_999)).map(|ban| ban.until).collect::<Vec<_>>(), [Mono(302_000)]);
        assert_eq!(guard.on_message(Mono(302_000), bad, stranger), Verdict::PassStranger);
        assert_eq!(guard.bans(Mono(302_000)).count(), 0);
    }

    #[test]
    fn bad_messages_far_apart_ban_nobody() {
        let mut guard = Guard::new(1);
        for minute in 0..100 {
            assert!(!offends(&mut guard, minute * 31_000, key("192.0.2.7")), "{minute}");
        }
    }

    #[test]
    fn a_source_that_may_not_be_banned_never_is() {
        let mut guard = Guard::new(1);
        let gateway = key("192.0.2.7");
        for at in 0..10_000 {
            assert_eq!(guard.on_message(Mono(at), gateway, Allowance::default), Verdict::Pass);
            assert!(!guard.on_offence(Mono(at), gateway));
        }
    }

    #[test]
    fn a_stranger_who_is_vouched_for_may_send_what_it_likes() {
        let mut guard = Guard::new(1);
        let peer = key("192.0.2.7");
        assert_eq!(guard.on_message(Mono(0), peer, stranger), Verdict::PassStranger);
        guard.vouch(peer);
        for _ in 0..1_000 {
            assert_eq!(guard.on_message(Mono(0), peer, stranger), Verdict::Pass);
        }
        assert!(!guard.on_offence(Mono(0), peer));
    }

    #[test]
    fn a_ban_can_be_lifted() {
        let mut guard = Guard::new(1);
        let bad = key("2001:db8::1");
        for _ in 0..3 {
            offends(&mut guard, 0, bad);
        }
        assert_eq!(guard.on_message(Mono(1), bad, stranger), Verdict::Banned);
        assert!(guard.lift(key("2001:db8::2")), "it is the network that is banned");
        assert!(!guard.lift(bad));
        assert_eq!(guard.on_message(Mono(1), bad, stranger), Verdict::PassStranger);
        assert!(!guard.on_offence(Mono(1), bad), "it begins anew");
    }

    #[test]
    fn new_calls_of_a_source_have_a_rate_of_their_own() {
        let mut guard = Guard::new(1);
        let source = key("192.0.2.7");
        let begun = (0..50).filter(|_| guard.on_call(Mono(0), source, 5));
        assert_eq!(begun.count(), 5);
        assert!(guard.on_call(Mono(200), source, 5));
        assert!(!guard.on_call(Mono(200), source, 5));
    }

    #[test]
    fn a_flood_of_sources_is_forgotten_but_for_the_last_and_for_bans() {
        let mut guard = Guard::new(64);
        let bad = key("198.51.100.1");
        for _ in 0..3 {
            offends(&mut guard, 0, bad);
        }
        for number in 0..SOURCES_MAX as u32 {
            let _ = guard.on_message(Mono(1), numbered(number), stranger);
        }
        assert!(guard.recent.len() + guard.older.len() <= SOURCES_MAX / 64);
        assert_eq!(guard.on_message(Mono(2), bad, stranger), Verdict::Banned);
    }

    #[test]
    fn a_source_that_keeps_sending_is_not_forgotten_in_a_flood() {
        let mut guard = Guard::new(64);
        let loud = key("198.51.100.1");
        let mut passed = 0;
        for number in 0..SOURCES_MAX as u32 {
            let _ = guard.on_message(Mono(1), numbered(number), stranger);
            passed += u32::from(guard.on_message(Mono(1), loud, stranger) == Verdict::PassStranger);
        }
        assert_eq!(passed, 10);
    }

    #[test]
    fn the_ban_that_ends_first_gives_way_where_there_are_too_many() {
        let mut guard = Guard::new(BANS_MAX / 2);
        for number in 1..=3 {
            for _ in 0..3 {
                offends(&mut guard, u64::from(number) * 1_000, numbered(number));
            }
        }
        let banned: Vec<_> = guard.bans(Mono(4_000)).map(|ban| ban.source).collect();
        assert_eq!(banned, [numbered(2), numbered(3)]);
        assert_eq!(guard.on_message(Mono(4_000), numbered(1), stranger), Verdict::PassStranger);
    }
}
