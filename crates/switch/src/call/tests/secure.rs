//! Calls over TLS, and to `sips:` URIs (RFC 5630).

use super::messages::reply;
use super::plan::sdp;
use super::world::World;
use crate::call::Reach;
use tandem_sip::Name;
use tandem_sip::flow::Transport;

/// A caller under TLS, who calls a URI of that scheme; of the gateways only two is called over TLS.
fn calling(scheme: &'static str) -> World {
    World::with(|plan| {
        plan.scheme = scheme;
        plan.caller_transport = Transport::Tls;
        match &mut plan.candidates[1].reach {
            Reach::At(target) => target.flow.transport = Transport::Tls,
            Reach::Named(_) | Reach::Bindings(_) | Reach::Registered(_) => panic!("it has an address"),
        }
    })
}

#[test]
fn a_call_to_a_sips_uri_goes_to_gateways_under_tls_only_and_its_contact_is_sips() {
    let mut world = calling("sips");
    let invite = world.at(2, "INVITE");
    assert!(invite.value(Name::Via).starts_with("SIP/2.0/TLS "), "{}", invite.value(Name::Via));
    assert!(invite.value(Name::Contact).ends_with(";transport=tls>"), "{}", invite.value(Name::Contact));
    world.reply(2, &invite, reply(200).sdp(sdp(5000)));
    world.at(2, "ACK");
    let answer = world.at_caller("200");
    assert!(answer.value(Name::Contact).starts_with("<sips:"), "{}", answer.value(Name::Contact));
    assert_eq!(world.attempted(), ["one", "two"], "one is not reached over TLS");
}

#[test]
fn a_call_to_a_sip_uri_goes_anywhere_and_its_contact_asks_for_tls_only() {
    let mut world = calling("sip");
    let invite = world.answered_by(1);
    assert!(invite.value(Name::Via).starts_with("SIP/2.0/UDP "), "{}", invite.value(Name::Via));
    let answers = world.sent.iter().filter(|sent| sent.what().starts_with("200"));
    let contacts: Vec<_> = answers.map(|answer| answer.value(Name::Contact)).collect();
    assert!(
        contacts.iter().all(|contact| contact.starts_with("<sip:") && contact.ends_with(";transport=tls>")),
        "{contacts:?}"
    );
}
