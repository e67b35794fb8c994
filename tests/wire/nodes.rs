//! Several switches on one Redis: real processes, real server.

use crate::place::Place;
use crate::switch::{Switch, binary};
use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;
use tandem_testredis::Server;

/// A sink that writes into a node's folder.
pub(crate) const JSONL: &str = "type = \"jsonl\", path = \"cdr.jsonl\"";

/// A cluster of nodes `node-1`, `node-2` and so on. The customer at [`Place::caller`] may call through each of them.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Addresses and files.
    pub(crate) place: Place,
    /// The store.
    pub(crate) redis: Server,
    /// Where the nodes look for it.
    url: String,
    sections: String,
    sink: String,
    /// Whether nodes have journals.
    journal: bool,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    folder: PathBuf,
    sip: SocketAddrV4,
    admin: SocketAddrV4,
    listen: String,
    /// `None` while it is down.
    switch: Option<Switch>,
}

impl Cluster {
    /// So many nodes, each with these sections besides its own.
    pub(crate) fn start(place: Place, count: usize, sections: &str) -> Cluster {
        Cluster::writing(place, count, sections, JSONL)
    }

    /// The same, with another CDR sink.
    pub(crate) fn writing(place: Place, count: usize, sections: &str, sink: &str) -> Cluster {
        let redis = Server::start(&[]);
        let url = redis.url();
        Cluster::at(place, (redis, url), count, (sections, sink))
    }

    /// Nodes that peers know by one address, as behind a load balancer.
    pub(crate) fn behind(place: Place, address: &str, count: usize, sections: &str) -> Cluster {
        let redis = Server::start(&[]);
        let url = redis.url();
        let mut cluster = Cluster::at(place, (redis, url), 0, (sections, JSONL));
        cluster.add(count, &format!("advertise = {address:?}"));
        cluster
    }

    /// Nodes with journals.
    pub(crate) fn journalling(place: Place, count: usize, sections: &str, sink: &str) -> Cluster {
        let redis = Server::start(&[]);
        let url = redis.url();
        let mut cluster = Cluster::at(place, (redis, url), 0, (sections, sink));
        cluster.journal = true;
        cluster.add(count, "");
        cluster
    }

    /// The same, with the store at a URL that leads to that server, at least at first.
    pub(crate) fn at(
        place: Place,
        (redis, url): (Server, String),
        count: usize,
        (sections, sink): (&str, &str),
    ) -> Cluster {
        let (sections, sink) = (sections.to_owned(), sink.to_owned());
        let nodes = Vec::new();
        let mut cluster = Cluster { place, redis, url, sections, sink, journal: false, nodes };
        cluster.add(count, "");
        cluster
    }

    /// Nodes that are added from now on have these sections.
    pub(crate) fn is_configured_with(&mut self, sections: &str) {
        self.sections = sections.to_owned();
    }

    /// Nodes that are added from now on look for the store there.
    pub(crate) fn look_for_the_store_at(&mut self, url: &str) {
        self.url = url.to_owned();
    }

    /// Starts so many further nodes, with these keys at their listener.
    pub(crate) fn add(&mut self, count: usize, listen: &str) {
        for _ in 0..count {
            let place = &self.place;
            let name = format!("node-{}", self.nodes.len() + 1);
            let folder = place.folder.join(&name);
            fs::create_dir_all(&folder).expect("the test's folder is writable");
            let address = || SocketAddrV4::new(place.switch, place.port());
            let (sip, admin) = (address(), address());
            let listen = listen.to_owned();
            self.nodes.push(Node { name, folder, sip, admin, listen, switch: None });
            self.start_again(self.nodes.len() - 1);
        }
    }

    /// A node that is up.
    pub(crate) fn switch(&self, number: usize) -> &Switch {
        self.nodes[number].switch.as_ref().expect("it is up")
    }

    /// Where a node takes SIP.
    pub(crate) fn sip(&self, number: usize) -> SocketAddrV4 {
        self.nodes[number].sip
    }

    /// Where a node has its API.
    pub(crate) fn admin(&self, number: usize) -> SocketAddrV4 {
        self.nodes[number].admin
    }

    /// The file that a node writes its records to.
    pub(crate) fn records(&self, number: usize) -> PathBuf {
        self.nodes[number].folder.join("cdr.jsonl")
    }

    /// Starts a node that is down, at the address that it had.
    pub(crate) fn start_again(&mut self, number: usize) {
        let text = self.configuration(&self.nodes[number]);
        let node = &mut self.nodes[number];
        node.switch = Some(Switch::start_in(&node.folder, (node.sip, node.admin), &[], &text));
    }

    /// The same with a variable of the environment.
    pub(crate) fn start_again_with(&mut self, number: usize, variable: (&str, &str)) {
        let text = self.configuration(&self.nodes[number]);
        let node = &mut self.nodes[number];
        let addresses = (node.sip, node.admin);
        node.switch = Some(Switch::start_as(&node.folder, addresses, &[], &text, Some(variable)));
    }

    /// Ends a node in good order, and starts it again in vain: what it says.
    pub(crate) fn fails_to_start(&mut self, number: usize) -> String {
        self.stop(number);
        let node = &self.nodes[number];
        let file = node.folder.join("tandem.toml");
        std::fs::write(&file, self.configuration(node)).expect("the test's folder is writable");
        let output = binary(&node.folder).arg("run").arg("--config").arg(&file).output();
        let output = output.expect("the binary runs");
        assert!(!output.status.success(), "it has started and ended in good order");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Ends a node in good order.
    pub(crate) fn stop(&mut self, number: usize) -> crate::switch::Cdrs {
        self.nodes[number].switch.take().expect("it is up").stop()
    }

    /// Whether the process of a node that was asked to end still runs.
    pub(crate) fn is_running(&mut self, number: usize) -> bool {
        self.nodes[number].switch.as_mut().expect("it was up").is_running()
    }

    /// A node has ended in good order.
    pub(crate) fn ended(&mut self, number: usize) {
        let _ = self.nodes[number].switch.take().expect("it was up").ends(Duration::ZERO);
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, number: usize) {
        drop(self.nodes[number].switch.take().expect("it is up"));
    }

    /// What a node of another name would be configured with, at addresses of its own.
    pub(crate) fn configuration_of(&self, name: &str) -> String {
        let address = || SocketAddrV4::new(self.place.switch, self.place.port());
        let (name, folder) = (name.to_owned(), self.place.folder.clone());
        let (sip, admin) = (address(), address());
        self.configuration(&Node { name, folder, sip, admin, listen: String::new(), switch: None })
    }

    fn configuration(&self, node: &Node) -> String {
        let Node { name, sip, admin, listen, .. } = node;
        let source = self.place.caller;
        let journal = if self.journal { "journal = \"journal\"" } else { "" };
        let Cluster { url, sections, sink, .. } = self;
        format!(
            "[node]\nname = {name:?}\n[[listen]]\ntransport = \"udp\"\nbind = \"{sip}\"\n{listen}\n[store]\nurl = {url:?}\n{journal}\n\
             [admin]\nbind = \"{admin}\"\n[cdr]\nsinks = [{{ {sink} }}]\n\
             [[mapping_gateway]]\nname = \"customer\"\nsources = [\"{source}/32\"]\n{sections}"
        )
    }
}
