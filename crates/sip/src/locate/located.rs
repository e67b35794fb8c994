//! What the answers make: services with their hosts, and from them an ordered list of targets for each request.

use super::{MAX_TARGETS, Wanted};
use crate::draw::Draw;
use crate::flow::Transport;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One place to send a request to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// How.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// Where a URI leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub(super) services: Vec<Service>,
    pub(super) ttl: Duration,
}

/// One transport of a domain, and the hosts that serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) transport: Transport,
    pub(super) hosts: Vec<Host>,
}

/// A host as an SRV record names it, or the domain itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) name: String,
    pub(super) port: u16,
    /// By family, each in the order of its answer.
    pub(super) addresses: Vec<Vec<IpAddr>>,
}

impl Located {
    /// How long this is valid.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The targets of one request, best first, each once, at most [`MAX_TARGETS`]: the services in the domain's order,
    /// their hosts by priority and by weight (RFC 2782), each host's addresses in turn. `seed` is any evenly spread
    /// number; the same one gives the same order.
    pub fn targets(&self, seed: u64) -> Vec<Target> {
        let mut draw = Draw::new(seed);
        let mut targets = Vec::new();
        for service in &self.services {
            for host in in_order(&service.hosts, &mut draw) {
                for address in host.addresses_in_turn(&mut draw) {
                    let address = SocketAddr::new(address, host.port);
                    let target = Target { transport: service.transport, address };
                    if !targets.contains(&target) {
                        targets.push(target);
                    }
                }
            }
        }
        targets.truncate(MAX_TARGETS);
        targets
    }

    /// A host by its address: there is nothing to ask.
    pub(super) fn by_address(wanted: &Wanted, address: IpAddr, transport: Transport, ttl: Duration) -> Self {
        let mut service = Service::of_host(wanted, transport);
        for host in &mut service.hosts {
            host.addresses = vec![vec![address]];
        }
        Self { services: vec![service], ttl }
    }
}

impl Service {
    /// A service that has no records of its own: the host itself at its port, or the transport's (RFC 3263 §4.2).
    pub(super) fn of_host(wanted: &Wanted, transport: Transport) -> Self {
        let port = wanted.port().unwrap_or(transport.default_port());
        let name = wanted.host().to_owned();
        Self { transport, hosts: vec![Host { priority: 0, weight: 0, name, port, addresses: Vec::new() }] }
    }
}

impl Host {
    /// One family after the other; within a family all are alike, so each gets its turn as the first.
    fn addresses_in_turn(&self, draw: &mut Draw) -> Vec<IpAddr> {
        let mut all = Vec::new();
        for family in &self.addresses {
            let first = draw.below(family.len() as u64) as usize;
            let (before, from) = family.split_at(first);
            all.extend(from.iter().chain(before));
        }
        all
    }
}

/// Hosts by priority, within one priority drawn by weight (RFC 2782, "Usage rules").
fn in_order<'a>(hosts: &'a [Host], draw: &mut Draw) -> Vec<&'a Host> {
    let mut left: Vec<&Host> = hosts.iter().collect();
    // Weight 0 first, so that it has a small chance beside the others.
    left.sort_by_key(|host| (host.priority, host.weight != 0));
    let mut ordered = Vec::with_capacity(left.len());
    for group in left.chunk_by(|a, b| a.priority == b.priority) {
        let mut group = group.to_vec();
        while !group.is_empty() {
            let chosen = choose(&group, draw);
            ordered.push(group.remove(chosen));
        }
    }
    ordered
}

/// Which of the hosts left of one priority is next. Without any weight they share alike.
fn choose(group: &[&Host], draw: &mut Draw) -> usize {
    let total: u64 = group.iter().map(|host| u64::from(host.weight)).sum();
    if total == 0 {
        return draw.below(group.len() as u64) as usize;
    }
    let ticket = draw.below(total + 1);
    let mut running = 0;
    let chosen = group.iter().position(|host| {
        running += u64::from(host.weight);
        running >= ticket
    });
    chosen.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8, priority: u16, weight: u16) -> Host {
        let addresses = vec![vec![IpAddr::from([192, 0, 2, last])]];
        Host { priority, weight, name: format!("h{last}.example.com"), port: 5060, addresses }
    }

    fn located(hosts: Vec<Host>) -> Located {
        Located { services: vec![Service { transport: Transport::Udp, hosts }], ttl: Duration::from_secs(60) }
    }

    fn lasts(located: &Located, seed: u64) -> Vec<u8> {
        let last = |target: &Target| match target.address.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        located.targets(seed).iter().map(last).collect()
    }

    #[test]
    fn lower_priority_comes_first_whatever_the_draw() {
        let located = located(vec![host(3, 30, 9), host(1, 10, 0), host(2, 20, 5)]);
        assert!((0..100).all(|seed| lasts(&located, seed) == [1, 2, 3]));
    }

    #[test]
    fn weight_is_the_share_of_the_first_place() {
        let located = located(vec![host(1, 1, 100), host(2, 1, 300), host(3, 1, 0)]);
        let mut first = [0; 4];
        for seed in 0..4_000 {
            let order = lasts(&located, seed);
            assert_eq!(order.len(), 3);
            first[usize::from(order[0])] += 1;
        }
        assert!((900..1_100).contains(&first[1]), "{first:?}");
        assert!((2_800..3_100).contains(&first[2]), "{first:?}");
        assert!(first[3] > 0 && first[3] < 40, "weight 0 has a small chance: {first:?}");
    }

    #[test]
    fn hosts_without_weight_share_alike_and_come_each_once() {
        let located = located(vec![host(1, 1, 0), host(2, 1, 0)]);
        let firsts = (0..1_000).filter(|seed| lasts(&located, *seed) == [1, 2]).count();
        assert!((400..600).contains(&firsts), "{firsts}");
        assert!((0..1_000).all(|seed| lasts(&located, seed).len() == 2));
    }

    #[test]
    fn addresses_of_a_host_take_turns_within_their_family() {
        let mut both = host(1, 1, 1);
        let v6 = ["2001:db8::1", "2001:db8::2"].map(|address| address.parse().expect("an address"));
        both.addresses = vec![v6.to_vec(), (1..=3).map(|last| IpAddr::from([192, 0, 2, last])).collect()];
        let located = located(vec![both]);
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let targets = located.targets(seed);
            assert!(targets[..2].iter().all(|target| target.address.is_ipv6()));
            assert!(targets[2..].iter().all(|target| target.address.is_ipv4()));
            firsts.insert((targets[0].address, targets[2].address));
        }
        assert_eq!(firsts.len(), 6);
    }

    #[test]
    fn targets_come_once_each_and_are_bounded() {
        let twice = located(vec![host(1, 1, 0), host(1, 2, 0)]);
        assert_eq!(lasts(&twice, 0), [1]);
        let many = located((0..20).map(|last| host(last, u16::from(last), 0)).collect());
        assert_eq!(lasts(&many, 0), (0..8).collect::<Vec<u8>>());
    }
}
