//! A test's wiring: gateways, parameters, a switch between them and the callers.

use crate::place::Place;
use crate::silent::Silent;
use crate::sipp::{Scenario, Sipp};
use crate::switch::Switch;
use std::fmt::{Display, Write};
use std::net::SocketAddrV4;

/// Gateways are tried in the order in which they are added; each takes every number. The customer at
/// [`Place::caller`] may call them all. Calls that never connect get CDRs.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Addresses and files.
    pub(crate) place: Place,
    parameters: String,
    customer: String,
    gateways: String,
    sections: String,
    priority: u32,
}

impl Wire {
    /// A switch without gateways.
    pub(crate) fn new() -> Wire {
        Wire {
            place: Place::new(),
            parameters: "SS_CDR_RECORD_NONCONNECT = \"On\"\n".into(),
            customer: String::new(),
            gateways: String::new(),
            sections: String::new(),
            priority: 0,
        }
    }

    /// Leaves `SS_CDR_RECORD_NONCONNECT` at its default.
    pub(crate) fn without_nonconnect_cdrs(&mut self) {
        self.parameters.clear();
    }

    /// Adds lines to `[parameters]`.
    pub(crate) fn parameters(&mut self, lines: &str) {
        self.parameters.push_str(lines);
        self.parameters.push('\n');
    }

    /// Adds lines to the customer's `[[mapping_gateway]]`.
    pub(crate) fn customer(&mut self, lines: &str) {
        self.customer.push_str(lines);
        self.customer.push('\n');
    }

    /// Listens on TCP as well, at the same port.
    pub(crate) fn listen_on_tcp(&mut self) {
        self.section("[[listen]]\ntransport = \"tcp\"\nbind = \"@SIP@\"");
    }

    /// Adds whole sections; `@SIP@` stands for the switch's address for SIP.
    pub(crate) fn section(&mut self, lines: &str) {
        self.sections.push_str(lines);
        self.sections.push('\n');
    }

    /// A gateway that plays a scenario.
    pub(crate) fn gateway(&mut self, name: &str, scenario: Scenario) -> Sipp {
        self.gateway_with(name, "", scenario)
    }

    /// The same, with further lines of configuration.
    pub(crate) fn gateway_with(&mut self, name: &str, lines: &str, scenario: Scenario) -> Sipp {
        let address = self.place.gateway_port();
        self.configure(name, address, lines);
        Sipp::gateway(&self.place, name, address, &scenario)
    }

    /// A gateway that never answers.
    pub(crate) fn silent(&mut self, name: &str) -> Silent {
        self.silent_with(name, "")
    }

    /// The same, with further lines of configuration.
    pub(crate) fn silent_with(&mut self, name: &str, lines: &str) -> Silent {
        let address = self.place.gateway_port();
        self.configure(name, address, lines);
        Silent::at(address)
    }

    /// A gateway that the test plays itself, at the address that is given back.
    pub(crate) fn gateway_at(&mut self, name: &str, lines: &str) -> SocketAddrV4 {
        let address = self.place.gateway_port();
        self.configure(name, address, lines);
        address
    }

    /// A gateway whose host says that nobody listens there.
    pub(crate) fn closed(&mut self, name: &str) {
        self.closed_with(name, "");
    }

    /// The same, with further lines of configuration.
    pub(crate) fn closed_with(&mut self, name: &str, lines: &str) {
        let address = self.place.gateway_port();
        self.configure(name, address, lines);
    }

    /// A gateway that is known by a name; who plays it, its hosts say.
    pub(crate) fn gateway_by_name(&mut self, name: &str, host: &str) {
        self.configure(name, host, "");
    }

    /// A host of a gateway that is known by a name.
    pub(crate) fn host(&self, name: &str, scenario: Scenario) -> (SocketAddrV4, Sipp) {
        let address = self.place.gateway_port();
        (address, Sipp::gateway(&self.place, name, address, &scenario))
    }

    /// The switch, ready for calls.
    pub(crate) fn start(&self) -> Switch {
        self.start_with(&[])
    }

    /// The switch, started with further options.
    pub(crate) fn start_with(&self, options: &[&str]) -> Switch {
        Switch::start(&self.place, options, |sip, admin, cdrs| self.configuration(sip, admin, cdrs))
    }

    /// A customer's caller, under way.
    pub(crate) fn call(&self, switch: &Switch, scenario: Scenario) -> Sipp {
        Sipp::caller(&self.place, self.place.caller, switch.sip, &scenario)
    }

    /// A caller that the switch does not know, under way.
    pub(crate) fn call_from_stranger(&self, switch: &Switch, scenario: Scenario) -> Sipp {
        Sipp::caller(&self.place, self.place.stranger, switch.sip, &scenario)
    }

    fn configure(&mut self, name: &str, address: impl Display, lines: &str) {
        self.priority += 1;
        let prefixes = if lines.contains("prefixes") { "" } else { "prefixes = [\"\"]" };
        let priority = self.priority;
        write!(
            self.gateways,
            "[[routing_gateway]]\nname = {name:?}\naddress = \"{address}\"\npriority = {priority}\n{prefixes}\n{lines}\n\n"
        )
        .expect("a string takes everything");
    }

    fn configuration(&self, sip: SocketAddrV4, admin: SocketAddrV4, cdrs: &str) -> String {
        let Wire { place, parameters, customer, gateways, sections, .. } = self;
        let (source, sections) = (place.caller, sections.replace("@SIP@", &sip.to_string()));
        format!(
            "[node]\nname = \"wire\"\n\n[[listen]]\ntransport = \"udp\"\nbind = \"{sip}\"\n\n\
             [store]\nurl = \"memory:\"\n\n[admin]\nbind = \"{admin}\"\n\n\
             [cdr]\nsinks = [{{ type = \"jsonl\", path = {cdrs:?} }}]\n\n{sections}\n\
             [parameters]\n{parameters}\n\
             [[mapping_gateway]]\nname = \"customer\"\nsources = [\"{source}/32\"]\n{customer}\n{gateways}"
        )
    }
}
