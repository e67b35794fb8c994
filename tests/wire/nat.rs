//! A phone behind a real NAT: three network namespaces, with a router between that forgets what is idle for 12 s.
//!
//! `TANDEM_NAT_IDLE_S=120` lets the phone be idle for two minutes instead of 40 s.

use crate::place::Place;
use crate::process::Process;
use crate::switch::binary;
use crate::until::{SOON, until};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const SWITCH: &str = "198.51.100.1:5060";
const PHONE: &str = "10.0.0.2:5060";
const ROUTER_OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 254));

/// What the router does, as a carrier's or a cheap one at home does it. `$S`, `$R` and `$P` are the namespaces.
const ROUTER: &str = r#"
ip netns add $S; ip netns add $R; ip netns add $P
ip link add s0 netns $S type veth peer name r0 netns $R
ip link add p0 netns $P type veth peer name r1 netns $R
ip -n $S addr add 198.51.100.1/24 dev s0; ip -n $R addr add 198.51.100.254/24 dev r0
ip -n $R addr add 10.0.0.1/24 dev r1; ip -n $P addr add 10.0.0.2/24 dev p0
for end in "$S lo" "$S s0" "$R lo" "$R r0" "$R r1" "$P lo" "$P p0"; do set -- $end; ip -n $1 link set $2 up; done
ip -n $P route add default via 10.0.0.1
ip netns exec $R nft 'add table ip nat'
ip netns exec $R nft 'add chain ip nat out { type nat hook postrouting priority 100 ; }'
ip netns exec $R nft 'add rule ip nat out oifname r0 masquerade'
ip netns exec $R sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_udp_timeout=12 \
    net.netfilter.nf_conntrack_udp_timeout_stream=12
"#;

/// The three namespaces. They go with the test.
struct Network {
    switch: String,
    router: String,
    phone: String,
}

impl Network {
    /// `None`, with a notice, where this may not be done.
    fn build() -> Option<Network> {
        let name = |role: &str| format!("tandem-{}-{role}", std::process::id());
        let network = Network { switch: name("s"), router: name("r"), phone: name("p") };
        let [switch, router, phone] = [&network.switch, &network.router, &network.phone];
        let script = format!("S={switch} R={router} P={phone}{ROUTER}");
        let built = Command::new("sh").args(["-ec", &script]).output().expect("there is a shell");
        if built.status.success() {
            return Some(network);
        }
        let why = String::from_utf8_lossy(&built.stderr);
        println!("skipped: a NAT needs CAP_NET_ADMIN, ip and nft: {}", why.trim());
        None
    }

    /// A socket in one of them.
    fn socket(&self, namespace: &str, address: &str) -> UdpSocket {
        let path = format!("/run/netns/{namespace}");
        let address: SocketAddr = address.parse().expect("an address");
        let bind = move || {
            let file = File::open(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
            // It is this thread that moves, and it ends here.
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).expect("a namespace");
            UdpSocket::bind(address).expect("a free port")
        };
        thread::spawn(bind).join().expect("it does not panic")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [&self.switch, &self.router, &self.phone] {
            // Some may not have been made.
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

/// A switch, and a phone behind a NAT.
struct Scene {
    phone: UdpSocket,
    /// The phone, as the switch sees it.
    outside: SocketAddr,
    keep_alives: usize,
    switch: Process,
    /// The last to go.
    network: Network,
}

impl Scene {
    /// The phone has registered.
    fn begin(parameters: &str) -> Option<Scene> {
        let network = Network::build()?;
        let place = Place::new();
        let file = place.folder.join("tandem.toml");
        let text = format!(
            "[[listen]]\ntransport = \"udp\"\nbind = \"{SWITCH}\"\n[admin]\nbind = \"198.51.100.1:8080\"\n\
             [registrar]\nauthenticate = false\n[[endpoint]]\nuser = \"alice\"\npassword = \"unused\"\n\
             number = \"100\"\n[[mapping_gateway]]\nname = \"customer\"\nsources = [\"198.51.100.1/32\"]\n\
             [parameters]\n{parameters}\n"
        );
        fs::write(&file, text).expect("the test's folder is writable");
        let switch = binary(&place.folder);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &network.switch]).arg(switch.get_program());
        command.arg("run").arg("--config").arg(&file).current_dir(&place.folder);
        for (name, _) in switch.get_envs() {
            command.env_remove(name);
        }
        let mut switch = Process::start("tandem", command, &place.folder, vec![file]);
        let phone = network.socket(&network.phone, PHONE);
        phone.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let mut cseq = 0;
        let answer = until("the phone to be registered", SOON, || {
            assert_eq!(switch.ended(), None, "the switch ended at its start");
            cseq += 1;
            let register = format!(
                "REGISTER sip:198.51.100.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK-{cseq};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:alice@198.51.100.1>;tag=1\r\nTo: <sip:alice@198.51.100.1>\r\n\
                 Call-ID: phone\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:alice@{PHONE}>\r\nContent-Length: 0\r\n\r\n"
            );
            // Until the switch is there the router says that nobody is.
            let _ = phone.send_to(register.as_bytes(), SWITCH);
            heard(&phone).filter(|heard| heard.starts_with("SIP/2.0 200 "))
        });
        let rport =
            answer.split("rport=").nth(1).and_then(|rest| rest.split([';', '\r']).next()?.parse().ok());
        let outside = SocketAddr::new(ROUTER_OUTSIDE, rport.expect("a port"));
        assert!(answer.contains(&format!("received={ROUTER_OUTSIDE}")), "{answer}");
        Some(Scene { phone, outside, keep_alives: 0, switch, network })
    }

    /// The phone sends nothing, and counts what it is sent.
    fn idle(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(heard) = heard(&self.phone) {
                assert_eq!(heard, "HELLO");
                self.keep_alives += 1;
            }
        }
    }

    /// Whether something from the switch's socket reaches the phone: sent by us in its place, since it does nothing by itself.
    fn reaches_phone(self) -> bool {
        let Scene { phone, outside, switch, network, .. } = self;
        drop(switch);
        let socket = network.socket(&network.switch, SWITCH);
        socket.send_to(b"anybody there?", outside).expect("the router is there");
        let give_up = Instant::now() + Duration::from_secs(3);
        while Instant::now() < give_up {
            if heard(&phone).is_some_and(|heard| heard == "anybody there?") {
                return true;
            }
        }
        false
    }
}

/// The next datagram, if one comes soon.
fn heard(socket: &UdpSocket) -> Option<String> {
    let mut buffer = vec![0; 65_535];
    match socket.recv(&mut buffer) {
        Ok(length) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
        Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => None,
        Err(why) => panic!("{why}"),
    }
}

fn idle_time() -> Duration {
    let set =
        std::env::var("TANDEM_NAT_IDLE_S").ok().map(|text| text.parse().expect("TANDEM_NAT_IDLE_S: seconds"));
    Duration::from_secs(set.unwrap_or(40))
}

#[test]
fn a_phone_behind_a_nat_stays_reachable_while_it_is_idle() {
    let Some(mut scene) = Scene::begin("SS_SIP_NAT_KEEP_ALIVE_PERIOD = 10") else { return };
    let time = idle_time();
    scene.idle(time);
    let least = time.as_secs() as usize / 10 - 1;
    assert!(scene.keep_alives >= least, "{} keep-alives in {time:?}", scene.keep_alives);
    assert!(scene.reaches_phone());
}

#[test]
fn without_keep_alive_a_phone_behind_a_nat_is_lost() {
    let Some(mut scene) = Scene::begin("SS_SIP_NAT_KEEP_ALIVE_MESSAGE = \"\"") else { return };
    scene.idle(Duration::from_secs(20));
    assert_eq!(scene.keep_alives, 0);
    assert!(!scene.reaches_phone());
}
