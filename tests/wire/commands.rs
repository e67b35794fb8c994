//! The command line, as a user meets it.

use crate::place::Place;
use crate::process::Process;
use crate::sipp::Scenario;
use crate::switch::binary;
use crate::until::SOON;
use crate::wire::Wire;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// What a command printed, and whether it went well.
struct Said {
    ok: bool,
    out: String,
    err: String,
}

fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    assert!(status.success() || status.code() == Some(1), "{status}: {}", text(stderr));
    Said { ok: status.success(), out: text(stdout), err: text(stderr) }
}

fn tandem(place: &Place, arguments: &[&str]) -> Said {
    run(binary(&place.folder).args(arguments))
}

/// The configuration in the test's folder.
fn write(place: &Place, text: &str) {
    fs::write(place.folder.join("tandem.toml"), text).expect("the test's folder is writable");
}

const RUN: [&str; 3] = ["run", "--config", "tandem.toml"];
const CHECK: [&str; 3] = ["check", "--config", "tandem.toml"];

#[test]
fn every_preset_is_a_configuration_that_check_accepts_without_a_warning() {
    let place = Place::new();
    for preset in
        ["wholesale", "call-center", "unstable-network", "enterprise-pbx", "high-security", "retail-prepaid"]
    {
        let written = tandem(&place, &["init", "--preset", preset]);
        assert!(written.ok && written.err.is_empty(), "{preset}: {}", written.err);
        write(&place, &written.out);
        let checked = tandem(&place, &CHECK);
        assert!(checked.ok, "{preset}: {}", checked.err);
        assert!(checked.out.contains("SS_SIP_SESSION_TTL"), "{preset}: {}", checked.out);
        assert!(checked.out.contains("valid, with 0 warning(s)"), "{preset}: {}", checked.out);
    }
    let unknown =
        binary(&place.folder).args(["init", "--preset", "retail"]).output().expect("the binary runs");
    assert_eq!(unknown.status.code(), Some(2), "a wrong use of the command line");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("retail-prepaid"), "the presets are listed");
}

#[test]
fn a_bad_configuration_is_told_whole_and_no_port_is_bound() {
    let place = Place::new();
    let (sip, admin) = ((place.switch, place.port()), (place.switch, place.port()));
    write(
        &place,
        &format!(
            "[[listen]]\nbind = \"{}:{}\"\n[admin]\nbind = \"{}:{}\"\n[parameters]\nSS_SIP_TIMEOUT_INVITE = 500\n\
             [[routing_gateway]]\nname = \"vendor\"\naddress = \"192.0.2.1:5060\"\nmax_cals = 3\n",
            sip.0, sip.1, admin.0, admin.1
        ),
    );
    // Whoever binds one of these fails now, and says something else than what is expected.
    let _sip = UdpSocket::bind(sip).expect("the port is this test's own");
    let _admin = TcpListener::bind(admin).expect("the port is this test's own");
    for command in [RUN, CHECK] {
        let said = tandem(&place, &command);
        assert!(!said.ok);
        for wanted in
            ["tandem.toml:6: ", "500", "1–120 s", "tandem.toml:10: ", "max_cals", "max_calls", "2 errors"]
        {
            assert!(said.err.contains(wanted), "{wanted} in {}", said.err);
        }
        assert!(!said.err.contains("bind"), "{}", said.err);
    }
    let missing = tandem(&place, &["run", "--config", "nowhere.toml"]);
    assert!(!missing.ok && missing.err.contains("cannot read nowhere.toml"), "{}", missing.err);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let place = Place::new();
    let (sip, admin) = ((place.switch, place.port()), (place.switch, place.port()));
    write(
        &place,
        &format!("[[listen]]\nbind = \"{}:{}\"\n[admin]\nbind = \"{}:{}\"\n", sip.0, sip.1, admin.0, admin.1),
    );
    {
        let _taken = UdpSocket::bind(sip).expect("the port is this test's own");
        let said = tandem(&place, &RUN);
        assert!(!said.ok);
        let wanted = format!("cannot bind {}:{}: Address already in use", sip.0, sip.1);
        assert!(said.err.contains(&wanted), "{}", said.err);
    }
    let _taken = TcpListener::bind(admin).expect("the port is this test's own");
    let said = tandem(&place, &RUN);
    let wanted = format!("cannot bind the API to {}:{}: Address already in use", admin.0, admin.1);
    assert!(!said.ok && said.err.contains(&wanted), "{}", said.err);
}

#[test]
fn the_environment_overrides_the_file_and_is_checked_like_it() {
    let place = Place::new();
    write(&place, "[parameters]\nSS_SIP_TIMEOUT_INVITE = 5\n[[listen]]\nbind = \"127.0.0.1:5060\"\n");
    let with = |name: &str, value: &str| run(binary(&place.folder).args(CHECK).env(name, value));
    let invite = |said: &Said| {
        let line = said.out.lines().find(|line| line.contains(" SS_SIP_TIMEOUT_INVITE "));
        line.unwrap_or_else(|| panic!("{} {}", said.out, said.err)).to_owned()
    };
    assert!(invite(&tandem(&place, &CHECK)).ends_with(" 5 s"));
    assert!(invite(&with("SS_SIP_TIMEOUT_INVITE", "7")).ends_with(" 7 s"));
    assert!(with("TANDEM_LISTEN__0__BIND", "127.0.0.9:5099").out.contains("udp 127.0.0.9:5099"));
    for (name, value, wanted) in [
        ("SS_SIP_TIMEOUT_INVITE", "soon", "SS_SIP_TIMEOUT_INVITE"),
        ("SS_NO_SUCH", "1", "SS_NO_SUCH"),
        ("TANDEM_LISTEN__0__BINT", "127.0.0.9:5099", "TANDEM_LISTEN__0__BINT"),
    ] {
        let said = with(name, value);
        assert!(!said.ok && said.err.contains(wanted), "{name}: {}", said.err);
    }
    // What the other commands read from the environment is nothing to this one.
    for (name, value) in
        [("TANDEM_API", "http://127.0.0.1:1"), ("TANDEM_TOKEN", "secret"), ("TANDEM_LOG", "warn")]
    {
        let said = with(name, value);
        assert!(said.ok, "{name}: {}", said.err);
    }
    use std::os::unix::ffi::OsStrExt;
    let foreign = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let said = run(binary(&place.folder).args(CHECK).env("PLACE", foreign));
    assert!(said.ok, "{}", said.err);
}

/// `tandem check | head -1`.
#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Place::new();
    for command in [["check"].as_slice(), &["init"]] {
        let mut child = binary(&place.folder)
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
        let status = child.wait().expect("it is ours");
        assert!(status.success() && err.is_empty(), "{command:?}: {status} {err}");
    }
}

#[test]
fn the_demo_shows_the_ladder_and_the_record() {
    let place = Place::new();
    let said = tandem(&place, &["demo"]);
    assert!(said.ok, "{}", said.err);
    for wanted in
        ["vendor-one", "503 Service Unavailable", "180 Ringing", "200 OK", "BYE", "call detail record"]
    {
        assert!(said.out.contains(wanted), "{wanted} in\n{}", said.out);
    }
    let record = &said.out[said.out.find('{').expect("a record")..];
    let record: Value = serde_json::from_str(record).expect("one JSON object");
    assert_eq!(record["end_reason"], "normal");
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(2));
    assert_eq!(said.err, "");
}

#[test]
fn calls_and_gateways_are_listed_and_a_call_is_hung_up() {
    let mut wire = Wire::new();
    let mut vendor = wire.gateway("vendor", Scenario::of("gateway_answers"));
    let switch = wire.start();
    let mut caller = wire.call(&switch, Scenario::of("caller_is_hung_up_on"));
    let id = switch.call_in("answered");
    let api = switch.api();
    let ask = |arguments: &[&str]| run(binary(&wire.place.folder).args(arguments).args(["--api", &api]));
    let calls = ask(&["calls"]).out;
    let row = calls.lines().nth(1).unwrap_or_else(|| panic!("{calls}"));
    for wanted in [&id, "answered", "4930111", "4420", "customer", "vendor", "PCMA"] {
        assert!(row.contains(wanted), "{wanted} in {row}");
    }
    assert_eq!(ask(&["calls", "--state", "ringing"]).out.lines().count(), 1, "only the headings");
    let json: Value = serde_json::from_str(&ask(&["calls", "--json"]).out).expect("JSON");
    assert_eq!(json["calls"][0]["id"], Value::from(id.clone()));
    let gateways = ask(&["gateways"]).out;
    assert!(gateways.contains("customer") && gateways.contains("vendor"), "{gateways}");
    let wrong = ask(&["calls", "--state", "sleeping"]);
    assert!(!wrong.ok && wrong.err.contains("400"), "{}", wrong.err);
    for nobody in ["nonsense", "no such/call?"] {
        let said = ask(&["calls", "--hang-up", nobody]);
        assert!(
            !said.ok && said.err.contains("404") && said.err.contains("no call has this id"),
            "{}",
            said.err
        );
    }
    let hung_up = ask(&["calls", "--hang-up", &id]);
    assert!(hung_up.ok && hung_up.out.contains(&id), "{} {}", hung_up.out, hung_up.err);
    caller.succeeds();
    vendor.succeeds();
    switch.stop();
    let gone = ask(&["calls"]);
    assert!(!gone.ok && gone.err.contains("is the switch running?"), "{}", gone.err);
}

#[test]
fn a_token_opens_the_api_to_the_commands() {
    let mut wire = Wire::new();
    let place = Place::new();
    let admin = format!("{}:{}", place.switch, place.port());
    // The wiring's own section has the address; a second switch has the token.
    wire.section("");
    write(
        &place,
        &format!(
            "[[listen]]\nbind = \"{}:{}\"\n[admin]\nbind = \"{admin}\"\ntokens = [\"open-sesame\"]\n",
            place.switch,
            place.port()
        ),
    );
    let mut command = binary(&place.folder);
    command.args(RUN);
    let mut switch = Process::start("tandem", command, &place.folder, Vec::new());
    let url = format!("http://{admin}");
    let ask = |token: Option<&str>| {
        let mut command = binary(&place.folder);
        command.args(["calls", "--api", &url]);
        if let Some(token) = token {
            command.env("TANDEM_TOKEN", token);
        }
        run(&mut command)
    };
    crate::until::until("the API is open", SOON, || ask(Some("open-sesame")).ok.then_some(()));
    for wrong in [None, Some("sesame")] {
        let said = ask(wrong);
        assert!(!said.ok && said.err.contains("401"), "{}", said.err);
    }
    switch.terminate();
    assert!(switch.end(Duration::from_secs(10)).success());
    assert!(!switch.output().contains("open-sesame"));
}
