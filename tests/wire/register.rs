//! Phones that register.

use crate::sipp::{Scenario, Sipp};
use crate::switch::{Switch, binary};
use crate::wire::Wire;
use std::process::Command;

/// A registrar. Debian's sipp answers the first challenge only, and only MD5.
fn registrar() -> Wire {
    let mut wire = Wire::new();
    wire.listen_on_tcp();
    wire.section(
        "[registrar]\nalgorithms = [\"MD5\"]\n[[endpoint]]\nuser = \"alice\"\npassword = \"wonderland\"\n\
         [[endpoint]]\nuser = \"bob\"\npassword = \"builder\"",
    );
    wire
}

fn phone(scenario: &'static str, user: &str, password: &str) -> Scenario {
    Scenario::of(scenario).with("USER", user).with("PASSWORD", password)
}

/// A phone is a stranger to the switch: its address belongs to no gateway.
fn registers(wire: &Wire, switch: &Switch, scenario: Scenario) -> Sipp {
    let mut sipp = wire.call_from_stranger(switch, scenario);
    sipp.succeeds();
    sipp
}

/// Who is registered, as the API says.
fn registered(switch: &Switch) -> Vec<(String, String)> {
    let page = switch.ask("GET", "/api/v1/registrations").json();
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().expect("a text").to_owned();
    let rows = page["registrations"].as_array().expect("a list");
    rows.iter().map(|row| (text(row, "aor"), text(row, "transport"))).collect()
}

#[test]
fn phones_register_over_udp_and_tcp() {
    let wire = registrar();
    let switch = wire.start();
    let alice = phone("phone_registers", "alice", "wonderland").with("STATUS", 200);
    let sipp = registers(&wire, &switch, alice);
    let answer = &sipp.received("SIP/2.0 200")[0];
    assert!(answer.must("Contact").ends_with(";expires=300"), "{answer:?}");
    assert!(answer.header("Date").is_some());
    let bob = phone("phone_registers", "bob", "builder").with("STATUS", 200);
    registers(&wire, &switch, bob.over_tcp());
    let expected = [("alice@tandem", "udp"), ("bob@tandem", "tcp")];
    let expected = expected.map(|(aor, transport)| (aor.to_owned(), transport.to_owned()));
    assert_eq!(registered(&switch), expected);
    // As an operator sees and removes them.
    let tandem = |arguments: &[&str]| {
        let mut command: Command = binary(&wire.place.folder);
        let said = command.args(arguments).args(["--api", &switch.api()]).output().expect("the binary runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).expect("text")
    };
    let table = tandem(&["registrations", "--filter", "bob"]);
    assert!(table.contains("bob@tandem") && !table.contains("alice@tandem"), "{table}");
    assert!(tandem(&["registrations", "--json"]).contains("\"next\": null"));
    assert_eq!(tandem(&["registrations", "remove", "alice@tandem"]), "removed alice@tandem\n");
    assert_eq!(registered(&switch), &expected[1..]);
    assert!(tandem(&["suspensions"]).starts_with("name"));
    assert!(!switch.log().contains("wonderland"));
    switch.stop();
}

#[test]
fn a_registration_is_refreshed_and_removed_and_too_short_a_one_gets_423() {
    let wire = registrar();
    let switch = wire.start();
    let sipp = registers(&wire, &switch, phone("phone_comes_and_goes", "alice", "wonderland"));
    assert_eq!(sipp.received("SIP/2.0 423")[0].must("Min-Expires"), "60");
    let answers = sipp.received("SIP/2.0 200");
    let expires = |place: usize| {
        let contact = answers[place].must("Contact").rsplit_once("expires=").expect("a lifetime").1;
        contact.parse::<u32>().expect("seconds")
    };
    assert_eq!((expires(0), expires(1)), (120, 200));
    assert!((190..=200).contains(&expires(2)), "what the query tells");
    assert_eq!(answers[3].header("Contact"), None, "all have gone");
    assert!(registered(&switch).is_empty());
    assert_eq!(sipp.received("SIP/2.0 401").len(), 1, "one challenge serves all of them");
    switch.stop();
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_status() {
    let wire = registrar();
    let switch = wire.start();
    for user in ["alice", "mallory"] {
        let guess = phone("phone_registers", user, "guess").with("STATUS", 401);
        let sipp = registers(&wire, &switch, guess);
        assert!(!sipp.received("SIP/2.0 401")[1].must("WWW-Authenticate").contains("stale"));
    }
    assert!(registered(&switch).is_empty());
    switch.stop();
}
