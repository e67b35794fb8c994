//! Reliable provisional responses (RFC 3262), each leg on its own.

mod caller;
mod gateway;
mod hunting;
mod loss;
mod offers;
mod screening;
mod takeover;
pub(super) mod watch;

use super::messages::{Got, Reply, parse, reply};
use super::plan::Plan;
use super::world::World;
use crate::parameters::ReliableProvisionals;
use tandem_sip::{Message, Name};

/// A caller that supports 100rel and has it, with gateways that are not asked for it.
fn supporting(plan: &mut Plan) {
    plan.parameters.reliable_provisionals = ReliableProvisionals::Supported;
    plan.invite_lines = "Supported: 100rel\r\n".to_owned();
}

/// A caller that requires 100rel and has it.
fn requiring(plan: &mut Plan) {
    supporting(plan);
    plan.invite_lines = "Require: 100rel\r\n".to_owned();
}

/// Gateways that are offered 100rel.
pub(super) fn offering(plan: &mut Plan) {
    plan.every_gateway(|gateway| gateway.reliable_provisionals = ReliableProvisionals::Supported);
}

/// 100rel on both legs.
pub(super) fn on_both_legs(plan: &mut Plan) {
    supporting(plan);
    offering(plan);
}

/// A gateway's reliable response.
pub(super) fn reliable(status: u16, rseq: u32) -> Reply {
    reply(status).line("Require: 100rel").line(&format!("RSeq: {rseq}"))
}

/// The RSeq of a response, 0 without one.
fn rseq(got: &Got) -> u32 {
    let Some(number) = got.number(Name::RSeq) else { return 0 };
    assert!(got.has_token(Name::Require, "100rel"), "{}", got.text());
    number.expect("a number")
}

/// The caller's PRACK for that response, under its To tag.
pub(super) fn prack_for(world: &mut World, response: &Got, body: Option<&str>) -> Message {
    prack_with(world, response, &format!("RAck: {} 7 INVITE\r\n", rseq(response)), body)
}

/// A PRACK of the caller's under the response's To tag, with these lines.
fn prack_with(world: &mut World, response: &Got, lines: &str, body: Option<&str>) -> Message {
    world.caller.cseq += 1;
    let mut caller = world.caller.clone();
    caller.to = format!("<sip:4420@switch.example>;tag={}", response.tag_in_to());
    caller.request_with("PRACK", caller.cseq, lines, body)
}

impl World {
    /// The caller acknowledges a reliable response, and is answered with 200.
    pub(super) fn caller_pracks(&mut self, response: &Got) {
        let prack = prack_for(self, response, None);
        self.request(prack, self.plan.caller_address);
        let answer = self.at_caller("200");
        assert_eq!(answer.value(Name::CSeq), format!("{} PRACK", self.caller.cseq));
    }

    /// Gateway `number` was sent a PRACK for that RSeq, and answers it.
    pub(super) fn pracked(&mut self, number: usize, rseq: u32) -> Got {
        let prack = self.at(number, "PRACK");
        assert_eq!(prack.value(Name::RAck), format!("{rseq} 1 INVITE"));
        self.reply(number, &prack, reply(200));
        prack
    }
}

/// The message again, with its header lines changed.
fn altered(message: &Message, from: &str, to: &str) -> Message {
    let text = String::from_utf8_lossy(message.raw()).into_owned();
    assert!(text.contains(from), "{text}");
    parse(text.replace(from, to))
}
