//! A gateway that refuses every call, and looks hard at what it gets.

use std::net::{SocketAddrV4, UdpSocket};
use tandem_sip::{Limits, Message, Method, ResponseHead, StatusCode};

/// What it refuses calls with: no status of the switch's own.
pub(super) const REFUSAL: u16 = 480;

/// The gateway. It answers while it is served.
#[derive(Debug)]
pub(super) struct Vendor {
    socket: UdpSocket,
    called: usize,
    unsound: Vec<String>,
}

impl Vendor {
    /// One at that address.
    pub(super) fn at(address: SocketAddrV4) -> Vendor {
        let socket = UdpSocket::bind(address).expect("the port is this test's own");
        socket.set_nonblocking(true).expect("a socket can be non-blocking");
        Vendor { socket, called: 0, unsound: Vec::new() }
    }

    /// Takes what has come.
    pub(super) fn serve(&mut self) {
        let mut buffer = [0; 65_535];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let text = buffer[..length].to_vec();
            match Message::parse(text.clone().into(), &Limits::default()) {
                Ok(request) if request.validate().is_ok() => {
                    if request.method() != Some(Method::Invite) {
                        continue;
                    }
                    self.called += 1;
                    let status = StatusCode::new(REFUSAL).expect("a status");
                    let response = ResponseHead::of(&request, from).respond(status, Some("vendor")).finish();
                    self.socket.send_to(&response, from).expect("loopback takes it");
                }
                Ok(_) | Err(_) => self.unsound.push(String::from_utf8_lossy(&text).into_owned()),
            }
        }
    }

    /// How often it has been called since last asked.
    pub(super) fn called(&mut self) -> Result<usize, String> {
        self.serve();
        let unsound = std::mem::take(&mut self.unsound);
        let called = std::mem::take(&mut self.called);
        if unsound.is_empty() { Ok(called) } else { Err(format!("the gateway got {unsound:#?}")) }
    }
}
