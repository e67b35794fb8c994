//! Whose identity is shown to whom (RFC 3323, RFC 3325).

use super::messages::{Got, parse, reply};
use super::plan::{Plan, sdp};
use super::world::World;
use tandem_sip::Name;

const ASSERTED: &str =
    "P-Asserted-Identity: \"Alice\" <sip:100@c.example>\r\nP-Asserted-Identity: <tel:+100>\r\n";

/// The INVITE that the first gateway gets, from a caller and at a gateway that are trusted or not.
fn invite((from, to): (bool, bool), lines: &str, passed: &[&str]) -> Got {
    let mut world = World::with(|plan| {
        plan.trusted = from;
        plan.candidates[0].trusted = to;
        plan.invite_lines = lines.to_owned();
        plan.pass_headers = passed.iter().map(ToString::to_string).collect();
    });
    world.at(1, "INVITE")
}

fn from(invite: &Got) -> String {
    let from = invite.value(Name::From);
    from.split(";tag=").next().unwrap_or_default().to_owned()
}

#[test]
fn an_asserted_identity_goes_on_within_trust_and_nowhere_else() {
    for trust in [(true, true), (true, false), (false, true), (false, false)] {
        let invite = invite(trust, ASSERTED, &[]);
        let expected = if trust == (true, true) { 2 } else { 0 };
        assert_eq!(invite.asserted_identities().count(), expected, "{}", invite.text());
    }
}

#[test]
fn a_preferred_identity_goes_nowhere() {
    let invite =
        invite((true, true), "P-Preferred-Identity: <sip:1@c.example>\r\n", &["P-Preferred-Identity"]);
    assert!(invite.first(Name::PPreferredIdentity).is_none(), "{}", invite.text());
}

#[test]
fn a_pass_list_does_not_let_identity_headers_past_trust() {
    let lines = format!("{ASSERTED}Remote-Party-ID: <sip:100@c.example>\r\nPrivacy: id\r\n");
    let listed = ["P-Asserted-Identity", "remote-party-id", "Privacy"];
    for trust in [(true, false), (false, true), (false, false)] {
        let invite = invite(trust, &lines, &listed);
        assert_eq!(invite.asserted_identities().count(), 0, "{}", invite.text());
        assert_eq!(invite.named(b"Remote-Party-ID").count(), 0, "{}", invite.text());
    }
    let invite = invite((true, true), &lines, &listed);
    assert_eq!(invite.asserted_identities().count(), 2, "each once: {}", invite.text());
    assert_eq!(invite.named(b"Remote-Party-ID").count(), 1, "{}", invite.text());
    assert_eq!(invite.named(b"Privacy").count(), 1, "{}", invite.text());
}

#[test]
fn remote_party_id_takes_a_pass_list_besides_trust() {
    let invite = invite((true, true), "Remote-Party-ID: <sip:100@c.example>\r\n", &[]);
    assert_eq!(invite.named(b"Remote-Party-ID").count(), 0);
}

#[test]
fn privacy_goes_on_within_trust_with_the_identity_and_the_from() {
    for privacy in ["id", "user;id", "header", "none"] {
        let invite = invite((true, true), &format!("{ASSERTED}Privacy: {privacy}\r\n"), &[]);
        assert_eq!(invite.value(Name::Privacy), privacy);
        assert_eq!(invite.asserted_identities().count(), 2);
        assert!(from(&invite).starts_with("\"Alice\" <sip:100@"), "{}", invite.text());
    }
}

#[test]
fn whoever_asks_for_privacy_is_heard_though_not_trusted() {
    let invite = invite((false, true), "Privacy: user\r\n", &[]);
    assert_eq!(invite.value(Name::Privacy), "user");
}

#[test]
fn privacy_id_keeps_the_asserted_identity_from_an_untrusted_gateway() {
    let invite = invite((true, false), &format!("{ASSERTED}Privacy: id\r\n"), &[]);
    assert_eq!(invite.asserted_identities().count(), 0);
    assert!(invite.first(Name::Privacy).is_none(), "it has been done: {}", invite.text());
    assert!(from(&invite).starts_with("\"Alice\" <sip:100@"), "{}", invite.text());
}

#[test]
fn privacy_user_and_header_make_the_from_anonymous_for_an_untrusted_gateway() {
    for privacy in ["user", "header", "id;user", "USER;critical"] {
        for trusted in [true, false] {
            let invite = invite((trusted, false), &format!("{ASSERTED}Privacy: {privacy}\r\n"), &[]);
            assert_eq!(from(&invite), "\"Anonymous\" <sip:anonymous@anonymous.invalid>", "{privacy}");
            assert!(
                !invite.text().contains("Alice") && !invite.text().contains(":100@"),
                "{}",
                invite.text()
            );
        }
    }
}

#[test]
fn privacy_none_hides_nothing() {
    let invite = invite((true, false), "Privacy: none\r\n", &[]);
    assert!(from(&invite).starts_with("\"Alice\" <sip:100@"), "{}", invite.text());
}

#[test]
fn what_tells_of_a_private_caller_is_left_out_though_it_is_on_the_pass_list() {
    let lines = "Privacy: user\r\nDiversion: <sip:100@c.example>\r\nSubject: from Alice\r\nX-Account: 7\r\n\
        User-Agent: Alice's phone\r\n";
    let listed = ["Diversion", "Subject", "X-Account", "User-Agent"];
    let hidden = invite((true, false), lines, &listed);
    assert_eq!(hidden.named(b"X-Account").count(), 1, "{}", hidden.text());
    for name in [Name::Diversion, Name::Subject, Name::UserAgent] {
        assert!(hidden.first(name).is_none(), "{}", hidden.text());
    }
    let shown = invite((true, true), lines, &listed);
    assert!(shown.first(Name::Diversion).is_some() && shown.first(Name::Subject).is_some());
}

#[test]
fn a_hidden_caller_is_hidden_in_cancel_and_ack_and_after_a_takeover() {
    let mut world = World::with(|plan| plan.invite_lines = "Privacy: user\r\n".to_owned());
    let first = world.at(1, "INVITE");
    world.reply(1, &first, reply(503));
    assert_eq!(from(&world.at(1, "ACK")), from(&first));
    let second = world.at(2, "INVITE");
    world.take_over(100);
    let again = world.at(2, "INVITE");
    assert_eq!(from(&again), from(&second));
    world.reply(2, &again, reply(180));
    world.caller_cancels("");
    assert_eq!(from(&world.at(2, "CANCEL")), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
}

#[test]
fn privacy_that_is_critical_and_cannot_be_given_is_500() {
    let invite = |privacy: &str| {
        let plan = Plan { invite_lines: format!("Privacy: {privacy}\r\n"), ..Plan::default() };
        parse(plan.invite())
    };
    for privacy in ["session;critical", "critical, somewhat"] {
        let refused = crate::call::screen(&invite(privacy), &Plan::default().parameters)
            .expect_err("an INVITE to be refused");
        assert_eq!(refused.status.code(), 500, "{privacy}");
    }
    for privacy in ["id;critical", "session", "user;header;id;critical", "none"] {
        assert!(crate::call::screen(&invite(privacy), &Plan::default().parameters).is_ok(), "{privacy}");
    }
}

#[test]
fn the_identity_of_who_answers_reaches_the_caller_within_trust() {
    for (caller, gateway) in [(true, true), (true, false), (false, true)] {
        let mut world = World::with(|plan| {
            plan.trusted = caller;
            plan.candidates[0].trusted = gateway;
            plan.candidates[0].pass_headers = ["P-Asserted-Identity".to_owned()].into();
        });
        let invite = world.at(1, "INVITE");
        let line = "P-Asserted-Identity: <tel:+4420>";
        world.reply(1, &invite, reply(180).line(line));
        let expected = usize::from(caller && gateway);
        assert_eq!(world.at_caller("180").asserted_identities().count(), expected);
        world.reply(1, &invite, reply(200).sdp(sdp(5000)).line(line).line("Privacy: id"));
        let answer = world.at_caller("200");
        assert_eq!(answer.asserted_identities().count(), expected);
        assert_eq!(answer.has_privacy("id"), caller && gateway);
    }
}

#[test]
fn the_record_has_the_asserted_identity_of_a_trusted_caller() {
    for (trusted, expected) in [(true, serde_json::json!("100")), (false, serde_json::Value::Null)] {
        let mut world = World::with(|plan| {
            plan.trusted = trusted;
            plan.invite_lines = ASSERTED.to_owned();
        });
        world.caller_cancels("");
        world.caller_acks(None);
        assert_eq!(world.finish()["asserted"], expected);
    }
}
