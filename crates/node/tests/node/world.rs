//! A node with a customer and vendors.

use crate::agent::{Agent, Dialled, unique};
use crate::until::{SOON, until};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io, thread};
use tandem_config::Config;
use tandem_node::Node;
use tandem_sip::{Message, Method};
use tandem_switch::call::CallStatus;

/// How long a test waits for calls that have ended to be forgotten: 64·T1, and then some.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(45);

/// What a node is started with. All callers on loopback are the customer's.
#[derive(Debug)]
pub(crate) struct Plan {
    listen: Vec<String>,
    /// The customer's networks.
    pub(crate) sources: String,
    /// Lines of the section of each listener on TCP or TLS.
    pub(crate) listen_lines: String,
    /// Whether the listeners are named `listener-0`, `listener-1`, …
    pub(crate) name_listeners: bool,
    /// Lines of the customer's section.
    pub(crate) customer: String,
    /// Lines of `[parameters]`.
    pub(crate) parameters: String,
    /// Whole sections.
    pub(crate) sections: String,
    vendors: String,
    /// Further lines of `[cdr]`.
    pub(crate) records: String,
    sinks: Vec<String>,
    /// For this test's files.
    pub(crate) folder: PathBuf,
}

impl Plan {
    /// A node on 127.0.0.1 with one CDR file and no vendor.
    pub(crate) fn new() -> Plan {
        let name = thread::current().name().unwrap_or("unnamed").replace("::", ".");
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("node").join(format!("{name}-{}", unique()));
        match fs::remove_dir_all(&folder) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => panic!("{}: {why}", folder.display()),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(&folder).expect("target is writable");
        let sinks = vec![folder.join("cdr.jsonl").display().to_string()];
        Plan {
            listen: vec!["127.0.0.1:0".into()],
            sources: "\"127.0.0.0/8\", \"::1/128\"".into(),
            listen_lines: String::new(),
            name_listeners: false,
            customer: String::new(),
            parameters: "SS_CDR_RECORD_NONCONNECT = \"On\"\n".into(),
            sections: String::new(),
            vendors: String::new(),
            records: String::new(),
            sinks,
            folder,
        }
    }

    /// Listens there instead; on UDP where no transport stands before the address, as in `tcp:127.0.0.1:0`.
    pub(crate) fn listening(mut self, addresses: &[&str]) -> Plan {
        self.listen = addresses.iter().map(ToString::to_string).collect();
        self
    }

    /// Writes CDRs there instead.
    pub(crate) fn writing(mut self, sinks: &[&str]) -> Plan {
        self.sinks = sinks.iter().map(ToString::to_string).collect();
        self
    }

    /// Adds a vendor, called after those before it.
    pub(crate) fn vendor(&mut self, name: &str, address: impl Display, lines: &str) {
        let priority = self.vendors.matches("[[").count() + 1;
        self.vendors.push_str(&format!(
            "[[routing_gateway]]\nname = \"{name}\"\naddress = \"{address}\"\npriority = {priority}\n{lines}\n"
        ));
    }

    fn text(&self) -> String {
        let Plan { sources, customer, parameters, sections, vendors, records, .. } = self;
        let listen = |(number, place): (usize, &String)| {
            let (transport, bind) = match place.split_once(':') {
                Some((transport @ ("tcp" | "tls"), bind)) => (transport, bind),
                Some(_) | None => ("udp", place.as_str()),
            };
            let lines = if transport == "udp" { "" } else { &self.listen_lines };
            let name =
                if self.name_listeners { format!("name = \"listener-{number}\"") } else { String::new() };
            format!("[[listen]]\n{name}\ntransport = \"{transport}\"\nbind = \"{bind}\"\n{lines}\n")
        };
        let listen: String = self.listen.iter().enumerate().map(listen).collect();
        let sink = |path: &String| format!("{{ type = \"jsonl\", path = {path:?} }}");
        let sinks = self.sinks.iter().map(sink).collect::<Vec<_>>().join(", ");
        format!(
            "{listen}\n{sections}\n[cdr]\nsinks = [{sinks}]\n{records}\n[parameters]\n{parameters}\n[[mapping_gateway]]\n\
             name = \"customer\"\nsources = [{sources}]\n{customer}\n{vendors}"
        )
    }

    /// Starts the node.
    pub(crate) async fn start(&self) -> World {
        self.try_start().await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts the node, or says why not.
    pub(crate) async fn try_start(&self) -> Result<World, String> {
        let loaded = Config::parse(&self.text(), []).unwrap_or_else(|errors| panic!("{errors:?}"));
        let started = Node::start(&loaded.config, "test", None).await;
        let node = started.map_err(|why| why.to_string())?;
        Ok(World { node, cdrs: self.folder.join("cdr.jsonl") })
    }
}

/// A running node.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) cdrs: PathBuf,
}

impl World {
    /// Where it takes SIP.
    pub(crate) fn sip(&self) -> SocketAddr {
        self.node.listening_on()[0]
    }

    /// The sum of a metric's series that have this in their labels.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.node.metrics_text();
        let series = text.lines().filter_map(|line| line.rsplit_once(' '));
        let of_name = series.filter(|(id, _)| id.split('{').next() == Some(name) && id.contains(label));
        of_name.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
    }

    /// Waits for a metric to have that value.
    pub(crate) async fn counts(&self, name: &str, label: &str, value: f64) {
        let look = async || (self.metric(name, label) == value).then_some(());
        let what = format!("{name}{{{label}}} = {value}; it is {}", self.metric(name, label));
        until(&what, SOON, look).await;
    }

    /// Waits until no call is in progress; ended ones may still be answering.
    pub(crate) async fn is_idle(&self) {
        let look = async || (self.node.calls_in_progress() == 0).then_some(());
        until("all calls have ended", SOON, look).await;
    }

    /// Waits until nothing is left of any call, and says what is if it takes too long.
    pub(crate) async fn forgets(&self) {
        let gone = async || {
            (self.metric("tandem_wheel_wakeups", "") == 0.0 && self.node.calls().await.is_empty())
                .then_some(())
        };
        until("all calls are forgotten", FORGOTTEN, gone).await;
        for name in ["tandem_calls_active", "tandem_gateway_calls", "tandem_gateway_slots"] {
            assert_eq!(self.metric(name, ""), 0.0, "{name}");
        }
        for gateway in self.node.mapping_gateways() {
            assert_eq!(gateway.calls, 0, "{}", gateway.gateway.name);
        }
        for gateway in self.node.routing_gateways().await {
            assert_eq!(gateway.calls, 0, "{}", gateway.gateway.name);
        }
        let (started, ended) =
            (self.metric("tandem_calls_started_total", ""), self.metric("tandem_calls_ended_total", ""));
        assert_eq!(started, ended, "each call is released once");
    }

    /// Slots in use at a vendor.
    pub(crate) async fn slots(&self, vendor: &str) -> usize {
        let gateways = self.node.routing_gateways().await;
        let found = gateways.iter().find(|report| &*report.gateway.name == vendor);
        found.unwrap_or_else(|| panic!("no {vendor}")).calls
    }

    /// The only call, once there is one.
    pub(crate) async fn only_call(&self) -> CallStatus {
        until("a call", SOON, async || self.node.calls().await.pop()).await
    }

    /// The records in the file.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(&self.cdrs).unwrap_or_default();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        // What is being written has no line end yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(parse).collect()
    }

    /// The records of whole calls in the file.
    pub(crate) fn call_records(&self) -> Vec<serde_json::Value> {
        self.records().into_iter().filter(|record| record["record"] == "call").collect()
    }
}

/// A caller and a vendor in conversation.
pub(crate) struct Talk {
    pub(crate) call: Dialled,
    /// The 200 that the caller got.
    pub(crate) answer: Message,
    /// The INVITE that the vendor got.
    pub(crate) invite: (Message, SocketAddr),
}

impl Talk {
    /// Brings a caller and a vendor together.
    pub(crate) async fn begin(caller: &mut Agent, vendor: &mut Agent, switch: SocketAddr) -> Talk {
        let call = caller.dial(switch, "4420").await;
        let invite = vendor.request(Method::Invite).await;
        vendor.respond(&invite, 200).await;
        let answer = caller.connects(&call).await;
        vendor.request(Method::Ack).await;
        Talk { call, answer, invite }
    }

    /// The caller hangs up.
    pub(crate) async fn end(&self, caller: &mut Agent, vendor: &mut Agent) {
        caller.send(&self.call.bye(&self.answer), self.call.switch).await;
        let bye = vendor.request(Method::Bye).await;
        vendor.respond(&bye, 200).await;
        caller.status_of(&self.call, 200).await;
    }
}
