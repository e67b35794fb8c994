//! A real softphone: baresip, headless: it hears itself. It is told what to do over its control socket.

use crate::place::Place;
use crate::process::Process;
use crate::switch::Switch;
use crate::until::{SOON, until};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};

/// Where Debian has baresip's modules.
const MODULES: &str = "/usr/lib/baresip/modules";

/// A running softphone, which takes every call.
#[derive(Debug)]
pub(crate) struct Softphone {
    process: Process,
    control: SocketAddrV4,
    switch: SocketAddrV4,
}

impl Softphone {
    /// The softphone of a user, whose password is `<user>-secret`. `None`, with a notice, where baresip is not installed.
    pub(crate) fn start(place: &Place, user: &str, switch: &Switch) -> Option<Softphone> {
        let there = Command::new("baresip").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if there.is_err() {
            eprintln!("SKIPPED: baresip is not installed (package baresip-core)");
            return None;
        }
        let folder = place.folder.join(user);
        fs::create_dir_all(&folder).expect("the test's folder is writable");
        let sip = SocketAddrV4::new(place.stranger, place.port());
        // It takes TLS there, whatever it is told.
        let _tls = place.port();
        let control = SocketAddrV4::new(place.stranger, place.port());
        let media = place.media_port();
        let write = |file: &str, text: String| {
            fs::write(folder.join(file), text).expect("the test's folder is writable");
        };
        write(
            "config",
            format!(
                "sip_listen {sip}\nsip_trans_def udp\nnet_interface {}\nrtp_ports {media}-{}\n\
                 audio_player aubridge,nil\naudio_source aubridge,nil\naudio_alert aubridge,nil\n\
                 ctrl_tcp_listen {control}\nmodule_path {}\nmodule g711.so\nmodule aubridge.so\n\
                 module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n",
                sip.ip(),
                media + 2,
                MODULES
            ),
        );
        let registrar = switch.sip;
        let account = format!(
            "<sip:{user}@{registrar}>;auth_user={user};auth_pass={user}-secret;answermode=auto;regint=60\n"
        );
        write("accounts", account);
        write("contacts", String::new());
        let mut command = Command::new("baresip");
        command.arg("-f").arg(&folder).current_dir(&folder);
        let process = Process::start(&format!("softphone-{user}"), command, &place.folder, Vec::new());
        Some(Softphone { process, control, switch: registrar })
    }

    /// Waits until it has said that.
    pub(crate) fn says(&self, what: &str) {
        until(&format!("the softphone says {what}"), SOON, || {
            self.process.output().contains(what).then_some(())
        });
    }

    /// Calls a number.
    pub(crate) fn dials(&self, number: &str) {
        self.command("dial", &format!("sip:{number}@{}", self.switch));
    }

    /// Ends its call.
    pub(crate) fn hangs_up(&self) {
        self.command("hangup", "");
    }

    /// A command as a netstring of JSON (baresip's module ctrl_tcp).
    fn command(&self, command: &str, parameters: &str) {
        let text = format!(r#"{{"command":"{command}","params":"{parameters}"}}"#);
        let mut socket = TcpStream::connect(self.control).expect("the softphone takes commands");
        socket.write_all(format!("{}:{text},", text.len()).as_bytes()).expect("the softphone takes commands");
        // It would be sorry for a socket that is gone when it has something to say.
        socket.set_read_timeout(Some(SOON)).expect("not zero");
        let mut said = String::new();
        while !said.contains("\"response\":true") {
            let mut buffer = [0; 1024];
            let length = socket.read(&mut buffer).expect("the softphone answers");
            assert_ne!(length, 0, "the softphone has closed its control socket: {said}");
            said.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }
}
