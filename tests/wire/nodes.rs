//! Several switches on one Redis: real processes, real server.

use crate::place::Place;
use crate::switch::Switch;
use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use tandem_testredis::Server;

/// A cluster of nodes `node-1`, `node-2` and so on. The customer at [`Place::caller`] may call through each of them.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Addresses and files.
    pub(crate) place: Place,
    /// The store.
    pub(crate) redis: Server,
    sections: String,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    folder: PathBuf,
    sip: SocketAddrV4,
    admin: SocketAddrV4,
    /// `None` while it is down.
    switch: Option<Switch>,
}

impl Cluster {
    /// So many nodes, each with these sections besides its own.
    pub(crate) fn start(place: Place, count: usize, sections: &str) -> Cluster {
        let redis = Server::start(&[]);
        let node = |number: usize| {
            let name = format!("node-{number}");
            let folder = place.folder.join(&name);
            fs::create_dir_all(&folder).expect("the test's folder is writable");
            let address = || SocketAddrV4::new(place.switch, place.port());
            Node { name, folder, sip: address(), admin: address(), switch: None }
        };
        let nodes = (1..=count).map(node).collect();
        let mut cluster = Cluster { place, redis, sections: sections.to_owned(), nodes };
        (0..count).for_each(|number| cluster.start_again(number));
        cluster
    }

    /// A node that is up.
    pub(crate) fn switch(&self, number: usize) -> &Switch {
        self.nodes[number].switch.as_ref().expect("it is up")
    }

    /// Where a node takes SIP.
    pub(crate) fn sip(&self, number: usize) -> SocketAddrV4 {
        self.nodes[number].sip
    }

    /// Starts a node that is down, at the address that it had.
    pub(crate) fn start_again(&mut self, number: usize) {
        let text = self.configuration(&self.nodes[number]);
        let node = &mut self.nodes[number];
        node.switch = Some(Switch::start_in(&node.folder, (node.sip, node.admin), &[], &text));
    }

    /// Ends a node in good order.
    pub(crate) fn stop(&mut self, number: usize) -> crate::switch::Cdrs {
        self.nodes[number].switch.take().expect("it is up").stop()
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, number: usize) {
        drop(self.nodes[number].switch.take().expect("it is up"));
    }

    fn configuration(&self, node: &Node) -> String {
        let Node { name, sip, admin, .. } = node;
        let (url, source, sections) = (self.redis.url(), self.place.caller, &self.sections);
        format!(
            "[node]\nname = {name:?}\n[[listen]]\ntransport = \"udp\"\nbind = \"{sip}\"\n[store]\nurl = {url:?}\n\
             [admin]\nbind = \"{admin}\"\n[cdr]\nsinks = [{{ type = \"jsonl\", path = \"cdr.jsonl\" }}]\n\
             [[mapping_gateway]]\nname = \"customer\"\nsources = [\"{source}/32\"]\n{sections}"
        )
    }
}
