//! From a source address to the mapping gateway it belongs to.

use super::MappingGateway;
use ipnet::IpNet;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// All sources of all mapping gateways, looked up by the longest prefix. Built whole and swapped whole.
#[derive(Debug, Default)]
pub struct SourceTable {
    by_network: HashMap<IpNet, Arc<MappingGateway>>,
    /// The prefix lengths in use.
    v4_lengths: BTreeSet<u8>,
    v6_lengths: BTreeSet<u8>,
}

impl SourceTable {
    /// The table of these gateways. Where two name the same network, the first has it.
    pub fn new(gateways: &[Arc<MappingGateway>]) -> Self {
        let mut table = Self::default();
        for gateway in gateways {
            for source in &gateway.sources {
                let network = source.trunc();
                match network {
                    IpNet::V4(v4) => table.v4_lengths.insert(v4.prefix_len()),
                    IpNet::V6(v6) => table.v6_lengths.insert(v6.prefix_len()),
                };
                table.by_network.entry(network).or_insert_with(|| gateway.clone());
            }
        }
        table
    }

    /// The gateway whose network holds `source`; of several the one with the longest prefix.
    pub fn find(&self, source: IpAddr) -> Option<&Arc<MappingGateway>> {
        let source = source.to_canonical();
        let lengths = if source.is_ipv4() { &self.v4_lengths } else { &self.v6_lengths };
        lengths.iter().rev().find_map(|length| {
            let network = IpNet::new(source, *length).ok()?.trunc();
            self.by_network.get(&network)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Limits, NumberRules, SourceLimits};
    use crate::parameters::{Overrides, Parameters};

    fn gateway(name: &str, sources: &[&str]) -> Arc<MappingGateway> {
        Arc::new(MappingGateway {
            name: name.into(),
            sources: sources.iter().map(|source| source.parse().expect("a network")).collect(),
            limits: Limits::default(),
            per_source: SourceLimits::default(),
            trusted: false,
            pass_headers: Vec::new(),
            pass_methods: Default::default(),
            number_rules: NumberRules::default(),
            cause_map: std::collections::BTreeMap::new(),
            parameters: Parameters::default().call(&Overrides::default()),
        })
    }

    fn find(table: &SourceTable, source: &str) -> Option<String> {
        table.find(source.parse().expect("an address")).map(|gateway| gateway.name.to_string())
    }

    #[test]
    fn the_longest_prefix_names_the_mapping_gateway() {
        let table = SourceTable::new(&[
            gateway("wide", &["10.0.0.0/8", "2001:db8::/32"]),
            gateway("narrow", &["10.1.0.0/16", "10.2.3.4/32"]),
        ]);
        assert_eq!(find(&table, "10.9.9.9").as_deref(), Some("wide"));
        assert_eq!(find(&table, "10.1.9.9").as_deref(), Some("narrow"));
        assert_eq!(find(&table, "10.2.3.4").as_deref(), Some("narrow"));
        assert_eq!(find(&table, "2001:db8::1").as_deref(), Some("wide"));
        assert_eq!(find(&table, "::ffff:10.2.3.4").as_deref(), Some("narrow"));
        assert_eq!(find(&table, "192.0.2.1"), None);
    }
}
