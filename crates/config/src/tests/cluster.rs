//! What the nodes of a cluster have in common.

use super::*;
use crate::{with_parameter, without_secrets};

const OWN: &str = "[node]\nname = \"a\"\n[[listen]]\ntransport = \"udp\"\nbind = \"127.0.0.1:5060\"\nname = \"edge\"\n\
    [parameters]\nSS_SIP_SESSION_TTL = 700\n[[mapping_gateway]]\nname = \"own\"\nsources = [\"10.0.0.0/8\"]\n";

fn own(environment: &[(&str, &str)]) -> Config {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(OWN, environment).expect("it is right").config
}

fn wrong(common: &str) -> Vec<String> {
    let errors = own(&[]).with_cluster(common).expect_err("it is wrong");
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn the_clusters_sections_take_the_place_of_a_nodes_own_and_the_rest_stays() {
    let loaded = own(&[]).with_cluster("[[mapping_gateway]]\nname = \"common\"\nsources = [\"192.0.2.1\"]\n");
    let loaded = loaded.expect("it is right");
    let names: Vec<_> = loaded.config.mapping_gateways.iter().map(|one| &*one.gateway.name).collect();
    assert_eq!(names, ["common"]);
    assert_eq!(loaded.config.node.name.as_deref(), Some("a"));
    assert_eq!(loaded.config.listen[0].name.as_deref(), Some("edge"));
    assert_ne!(loaded.config.parameters.session_ttl.as_secs(), 700, "the own parameters are not used either");
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    for section in ["parameters", "mapping_gateway"] {
        let warning = format!("{section} of the file is not used");
        assert!(warnings.iter().any(|one| one.starts_with(&warning)), "{warnings:?}");
    }
    // A second revision takes the place of the first, not of what that had made.
    let again = loaded.config.with_cluster("").expect("it is right").config;
    assert!(again.mapping_gateways.is_empty());
}

#[test]
fn the_environment_of_a_node_overrides_what_the_cluster_has_in_common() {
    let config = own(&[("SS_SIP_SESSION_TTL", "900")]);
    let common = config.with_cluster("[parameters]\nSS_SIP_SESSION_TTL = 800\n").expect("it is right").config;
    assert_eq!(common.parameters.session_ttl.as_secs(), 900);
}

#[test]
fn a_section_of_a_node_is_refused_in_common_and_so_is_what_does_not_go_with_the_node() {
    assert_eq!(
        wrong("[[listen]]\ntransport = \"udp\"\n\n[store]\nurl = \"memory:\"\n"),
        [
            "line 1: listen: belongs into each node's own file, not into the configuration of the cluster",
            "line 4: store: belongs into each node's own file, not into the configuration of the cluster"
        ]
    );
    let gateway = |listen: &str| {
        format!(
            "[[routing_gateway]]\nname = \"v\"\naddress = \"192.0.2.2:5060\"\nprefixes = [\"\"]\nlisten = {listen:?}\n"
        )
    };
    assert!(own(&[]).with_cluster(&gateway("edge")).is_ok());
    let said = wrong(&gateway("other"));
    assert!(said[0].starts_with("line 5: ") && said[0].contains("other"), "{said:?}");
    assert_eq!(wrong("x").len(), 1, "no TOML");
}

#[test]
fn passwords_are_hidden_and_a_hidden_one_is_not_taken_for_one() {
    let text = "[[endpoint]] # password = \"a comment\"\nuser = \"u\"\npassword = 'h\"ush' # hers\n\
        [[routing_gateway]]\nname = \"v\"\naddress = \"192.0.2.2:5060\"\nusername = \"u\"\npassword = \"hush\"\n\
        prefixes = [\"\"]\n";
    let shown = without_secrets(text);
    assert_eq!(shown, text.replace("'h\"ush'", "\"***\"").replace("\"hush\"", "\"***\""));
    let mark =
        "is the mark of a password that is not shown; write the password, or fetch the text with its secrets";
    assert_eq!(
        wrong(&shown),
        [
            format!("line 3: endpoint[0].password: {mark}"),
            format!("line 8: routing_gateway[0].password: {mark}")
        ]
    );
    assert_eq!(without_secrets("no TOML, password = \"hush\""), "");
}

#[test]
fn a_parameter_is_changed_and_all_else_stays_as_it_is_written() {
    let text = "# ours\n[parameters]\nSS_A = 1 # one\n\n[routing]\n";
    let set = |name, value| with_parameter(text, name, value).expect("it is TOML");
    assert_eq!(set("SS_A", Some("2")), text.replace("SS_A = 1", "SS_A = 2"));
    assert_eq!(set("SS_B", Some("on")), text.replace("# one\n", "# one\nSS_B = \"on\"\n"));
    assert_eq!(set("SS_A", None), "# ours\n[parameters]\n\n[routing]\n");
    assert_eq!(with_parameter("", "SS_A", Some("5")).expect("it is TOML"), "[parameters]\nSS_A = 5\n");
    assert_eq!(with_parameter("", "SS_A", None).expect("it is TOML"), "");
    assert!(with_parameter("x", "SS_A", Some("5")).is_err());
}
