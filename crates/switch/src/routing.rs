//! From a called number to the gateways that may take it, in the order in which they are tried.

use crate::gateway::RoutingGateway;
use std::collections::HashMap;
use std::sync::Arc;
use tandem_sip::draw::Draw;

/// The most gateways that one call is offered.
pub const MAX_CANDIDATES: usize = 16;

/// All routes, looked up by the longest prefix of a number. Built whole and swapped whole.
#[derive(Debug, Default)]
pub struct RouteTable {
    gateways: Vec<Arc<RoutingGateway>>,
    /// Prefix → gateways (by place in `gateways`) that take it, sorted by priority.
    by_prefix: HashMap<Box<str>, Vec<u32>>,
    longest_prefix: usize,
}

impl RouteTable {
    /// The table of these gateways.
    pub fn new(gateways: Vec<Arc<RoutingGateway>>) -> Self {
        let mut by_prefix: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        let mut longest_prefix = 0;
        for (place, gateway) in gateways.iter().enumerate() {
            for prefix in &gateway.prefixes {
                longest_prefix = longest_prefix.max(prefix.len());
                by_prefix.entry(prefix.as_str().into()).or_default().push(place as u32);
            }
        }
        Self { gateways, by_prefix, longest_prefix }
    }

    /// All gateways, in the order of the configuration.
    pub fn gateways(&self) -> &[Arc<RoutingGateway>] {
        &self.gateways
    }

    /// The gateways for `number`: those with its longest configured prefix, lower priority first, within one
    /// priority in an order drawn by weight. A gateway with a shorter prefix is no candidate. `draw` is any evenly
    /// spread number; the same one gives the same order. Disabled gateways and those for which `usable` is false are
    /// left out; if that leaves none for a prefix, the next shorter prefix is *not* tried.
    pub fn candidates(
        &self,
        number: &str,
        draw: u64,
        usable: impl Fn(&RoutingGateway) -> bool,
    ) -> Vec<Arc<RoutingGateway>> {
        let Some(places) = self.longest_match(number) else {
            return Vec::new();
        };
        let mut candidates: Vec<&Arc<RoutingGateway>> = places
            .iter()
            .map(|place| &self.gateways[*place as usize])
            .filter(|gateway| !gateway.disabled && usable(gateway))
            .collect();
        candidates.sort_by_key(|gateway| gateway.priority);
        let mut draw = Draw::new(draw);
        for group in candidates.chunk_by_mut(|a, b| a.priority == b.priority) {
            order_by_weight(group, &mut draw);
        }
        candidates.into_iter().take(MAX_CANDIDATES).cloned().collect()
    }

    fn longest_match(&self, number: &str) -> Option<&[u32]> {
        (0..=number.len().min(self.longest_prefix))
            .rev()
            .filter_map(|len| number.get(..len))
            .find_map(|prefix| self.by_prefix.get(prefix))
            .map(Vec::as_slice)
    }
}

/// Draws each place in turn: a gateway's chance is its share of the weight that is left. Weight 0 comes last.
fn order_by_weight(group: &mut [&Arc<RoutingGateway>], draw: &mut Draw) {
    for place in 0..group.len().saturating_sub(1) {
        let left = &mut group[place..];
        let total: u64 = left.iter().map(|gateway| u64::from(gateway.weight)).sum();
        if total == 0 {
            return;
        }
        let mut ticket = draw.below(total);
        let chosen = left.iter().position(|gateway| {
            let weight = u64::from(gateway.weight);
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        });
        left.swap(0, chosen.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{GatewayAddress, Limits, NumberRules};
    use crate::parameters::{Overrides, Parameters};

    fn gateway(name: &str, prefixes: &[&str], priority: u32, weight: u32) -> Arc<RoutingGateway> {
        Arc::new(RoutingGateway {
            name: name.into(),
            address: GatewayAddress::At("192.0.2.1:5060".parse().expect("an address")),
            transport: None,
            listen: None,
            prefixes: prefixes.iter().map(ToString::to_string).collect(),
            priority,
            weight,
            limits: Limits::default(),
            trusted: false,
            pass_headers: Vec::new(),
            pass_methods: Default::default(),
            account: None,
            redirects: crate::gateway::Redirects::Refuse,
            number_rules: NumberRules::default(),
            when_store_away: Default::default(),
            disabled: false,
            health: Default::default(),
            parameters: Arc::new(Parameters::default().attempt(&Overrides::default(), Vec::new())),
        })
    }

    fn names(table: &RouteTable, number: &str, draw: u64) -> Vec<String> {
        table.candidates(number, draw, |_| true).iter().map(|gateway| gateway.name.to_string()).collect()
    }

    #[test]
    fn the_longest_prefix_wins_and_shorter_ones_are_no_candidates() {
        let table = RouteTable::new(vec![
            gateway("any", &[""], 1, 1),
            gateway("uk", &["44"], 1, 1),
            gateway("london", &["4420", "33"], 1, 1),
        ]);
        assert_eq!(names(&table, "442071", 0), ["london"]);
        assert_eq!(names(&table, "441", 0), ["uk"]);
        assert_eq!(names(&table, "4", 0), ["any"]);
        assert_eq!(names(&table, "", 0), ["any"]);
    }

    #[test]
    fn no_prefix_no_candidate() {
        assert!(names(&RouteTable::new(vec![gateway("uk", &["44"], 1, 1)]), "33", 0).is_empty());
    }

    #[test]
    fn lower_priority_comes_first() {
        let table = RouteTable::new(vec![
            gateway("b", &[""], 2, 1),
            gateway("c", &[""], 3, 1),
            gateway("a", &[""], 1, 1),
        ]);
        assert_eq!(names(&table, "1", 99), ["a", "b", "c"]);
    }

    #[test]
    fn weight_is_the_share_within_one_priority() {
        let table = RouteTable::new(vec![
            gateway("one", &[""], 1, 1),
            gateway("three", &[""], 1, 3),
            gateway("never", &[""], 1, 0),
        ]);
        let mut first = [0, 0];
        for draw in 0..4_000 {
            let order = names(&table, "1", draw);
            assert_eq!(order[2], "never");
            first[usize::from(order[0] == "three")] += 1;
        }
        assert!((900..1_100).contains(&first[0]), "{first:?}");
    }

    #[test]
    fn disabled_and_unusable_gateways_are_left_out() {
        let disabled = RoutingGateway { disabled: true, ..(*gateway("off", &[""], 1, 1)).clone() };
        let table = RouteTable::new(vec![
            Arc::new(disabled),
            gateway("down", &[""], 1, 1),
            gateway("up", &[""], 2, 1),
        ]);
        let usable = table.candidates("1", 0, |gateway| &*gateway.name != "down");
        assert_eq!(usable.len(), 1);
        assert_eq!(&*usable[0].name, "up");
    }

    #[test]
    fn a_number_of_any_characters_is_looked_up() {
        let table = RouteTable::new(vec![gateway("any", &["", "é"], 1, 1)]);
        assert_eq!(names(&table, "éé", 0), ["any"]);
        assert_eq!(names(&table, "日本", 0), ["any"]);
    }

    #[test]
    fn a_hundred_thousand_prefixes_are_one_table() {
        let prefixes: Vec<String> = (0..100_000).map(|number| format!("{number:06}")).collect();
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        let table = RouteTable::new(vec![gateway("all", &prefixes, 1, 1)]);
        assert_eq!(names(&table, "0123451234", 0), ["all"]);
        assert!(names(&table, "999999", 0).is_empty());
    }
}
