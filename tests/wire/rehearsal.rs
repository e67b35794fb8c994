//! The scenarios against each other, without a switch: what fails here is not the switch's fault.

use crate::place::Place;
use crate::sipp::{Scenario, Sipp};

fn rehearse(pairs: &[(Scenario, Scenario)]) {
    let place = Place::new();
    for (number, (caller, gateway)) in pairs.iter().enumerate() {
        let address = place.gateway_port();
        let mut gateway = Sipp::gateway(&place, &format!("gateway{number}"), address, gateway);
        let mut caller = Sipp::caller(&place, place.caller, address, caller);
        caller.succeeds();
        gateway.succeeds();
        let invites = gateway.received("INVITE");
        assert!(!invites.is_empty());
        assert_eq!(invites[0].must("Call-ID"), caller.sent("INVITE")[0].must("Call-ID"));
    }
}

fn of(name: &'static str) -> Scenario {
    Scenario::of(name)
}

#[test]
fn answered_scenarios_play_without_a_switch() {
    rehearse(&[
        (of("caller_hangs_up"), of("gateway_answers")),
        (of("caller_is_hung_up_on"), of("gateway_answers_and_hangs_up")),
        (of("caller_hangs_up"), of("gateway_answers_late").with("AFTER", 300)),
        (of("caller_hangs_up"), of("gateway_repeats_its_200").flag("-nr")),
        (of("caller_answers_in_its_ack"), of("gateway_offers_in_its_200")),
    ]);
}

#[test]
fn refused_and_cancelled_scenarios_play_without_a_switch() {
    let refused = || of("caller_is_refused").with("STATUS", 486);
    let cancels = || of("caller_cancels").with("AFTER", 50);
    rehearse(&[
        (refused(), of("gateway_rejects").busy()),
        (refused(), of("gateway_rings_then_rejects").busy()),
        (refused(), of("gateway_sends_media_then_rejects").busy()),
        (cancels(), of("gateway_rings_until_cancelled")),
        (of("caller_cancels_early"), of("gateway_tries_until_cancelled")),
    ]);
}

#[test]
fn reliable_scenarios_play_without_a_switch() {
    rehearse(&[(of("caller_pracks"), of("gateway_sends_media_reliably"))]);
}

#[test]
fn scenarios_of_a_conversation_play_without_a_switch() {
    rehearse(&[
        (of("caller_holds_and_resumes"), of("gateway_is_held_and_resumed")),
        (of("caller_asks_for_an_offer"), of("gateway_is_asked_for_an_offer")),
    ]);
}
