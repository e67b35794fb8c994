//! Any one message of an exchange inside the dialogs is lost, and it comes to its end all the same.

use super::messages::{Got, Peer, reply, what};
use super::midcall::moved;
use super::plan::{CALLER, address, gateway_address, sdp};
use super::world::World;
use crate::call::Stage;
use tandem_sip::Message;

/// How often a peer looks whether it has something to send again, in milliseconds.
const STEP: u64 = 500;

/// Longer than anything is sent again.
const LONG: u64 = 40_000;

/// More messages than an exchange has without any loss.
const MESSAGES: usize = 10;

/// How the caller asks, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Offer,
    NoOffer,
    Update,
    Info,
}

/// Two parties that send again until they are answered, with one message lost between them.
struct Lossy {
    world: World,
    way: Way,
    /// The message that is lost, counted from 0 in both directions.
    lost: usize,
    count: usize,
    read: usize,
    asked: Message,
    caller: Peer,
    /// Whether the caller still sends its request again, and whether it was answered with 200.
    asks: bool,
    accepted: bool,
    /// The callee's 200, until it is acknowledged.
    answer: Option<Got>,
    acknowledged: bool,
}

impl Lossy {
    fn run(way: Way, lost: usize) -> Self {
        let (mut world, _) = World::start().talking();
        world.wait(40);
        let read = world.sent.len();
        let mut caller = world.caller.clone();
        let asked = match way {
            Way::Offer => caller.offer("INVITE", Some(&moved())),
            Way::NoOffer => caller.offer("INVITE", None),
            Way::Update => caller.offer("UPDATE", Some(&moved())),
            Way::Info => caller.request("INFO"),
        };
        let mut lossy = Self {
            world,
            way,
            lost,
            count: 0,
            read,
            asked,
            caller,
            asks: true,
            accepted: false,
            answer: None,
            acknowledged: false,
        };
        for _ in 0..LONG / STEP {
            lossy.speak();
            lossy.world.advance(STEP);
        }
        lossy
    }

    /// Whether the next message arrives.
    fn arrives(&mut self) -> bool {
        self.count += 1;
        self.count != self.lost + 1
    }

    fn speak(&mut self) {
        if self.asks {
            self.caller_says(self.asked.clone());
        }
        if let Some(answer) = self.answer.clone() {
            self.callee_says(&answer);
        }
        self.hear();
    }

    fn caller_says(&mut self, message: Message) {
        if self.arrives() {
            self.world.request(message, address(CALLER));
        }
        self.hear();
    }

    fn callee_says(&mut self, request: &Got) {
        if self.arrives() {
            let answer = reply(200);
            let has_answer = request.what() != "INFO";
            self.world.reply(1, request, if has_answer { answer.sdp(sdp(5002)) } else { answer });
        }
        self.hear();
    }

    fn hear(&mut self) {
        while let Some(got) = self.world.sent.get(self.read).cloned() {
            self.read += 1;
            if !self.arrives() {
                continue;
            }
            if got.flow.remote == gateway_address(1) {
                self.callee_hears(got)
            } else {
                self.caller_hears(&got)
            }
        }
    }

    fn caller_hears(&mut self, got: &Got) {
        assert!(!got.is_request(), "{}", got.text());
        self.asks = false;
        if got.what() != "200" {
            assert_eq!(got.what(), "100");
            return;
        }
        self.accepted = true;
        if what(&self.asked) == "INVITE" {
            let answer = (self.way == Way::NoOffer).then(moved);
            let ack = self.caller.request_with("ACK", self.caller.cseq, "", answer.as_deref());
            self.caller_says(ack);
        }
    }

    fn callee_hears(&mut self, got: Got) {
        match got.what().as_str() {
            "ACK" => {
                let expected = if self.way == Way::NoOffer { moved() } else { String::new() };
                assert_eq!(got.body_text(), expected);
                (self.answer, self.acknowledged) = (None, true);
            }
            "INVITE" if !self.acknowledged => self.answer = Some(got),
            "INFO" => self.callee_says(&got),
            other => assert_eq!(other, "INVITE"),
        }
    }

    fn check(&self) {
        let at = format!("{:?}, message {} lost", self.way, self.lost);
        assert!(self.accepted && !self.asks, "{at}");
        assert_eq!(self.acknowledged, self.way != Way::Info, "{at}");
        assert_eq!(self.answer.as_ref().map(Got::what), None, "{at}");
        assert_eq!(self.world.stage(), Stage::Answered, "{at}");
        assert!(self.world.releases().is_empty(), "{at}");
    }
}

#[test]
fn an_exchange_comes_to_its_end_whichever_message_of_it_is_lost() {
    for way in [Way::Offer, Way::NoOffer, Way::Update, Way::Info] {
        for lost in 0..MESSAGES {
            Lossy::run(way, lost).check();
        }
    }
}
