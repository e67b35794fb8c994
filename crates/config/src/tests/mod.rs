mod cluster;
mod environment;
mod gateways;
mod limits;
mod node;
mod presets;
mod registrar;
mod robustness;

use crate::{Config, Loaded, Warning};

/// Errors of a file, as they are shown.
fn errors(text: &str) -> Vec<String> {
    errors_with(text, &[])
}

fn errors_with(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let errors = Config::parse(text, variables(environment)).expect_err("a wrong configuration");
    errors.iter().map(|error| error.in_file("tandem.toml").to_string()).collect()
}

fn load(text: &str) -> Config {
    load_with(text, &[])
}

fn load_with(text: &str, environment: &[(&str, &str)]) -> Config {
    loaded(text, environment).config
}

fn warnings(text: &str) -> Vec<String> {
    loaded(text, &[]).warnings.iter().map(Warning::to_string).collect()
}

fn loaded(text: &str, environment: &[(&str, &str)]) -> Loaded {
    match Config::parse(text, variables(environment)) {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{errors:#?}"),
    }
}

fn variables(environment: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    environment.iter().map(|(name, value)| (name.to_string(), value.to_string()))
}

/// Keys of a mapping gateway, below what every one needs.
fn mapping(keys: &str) -> String {
    format!("[[mapping_gateway]]\nname = \"customer\"\nsources = [\"192.0.2.0/24\"]\n{keys}\n")
}

/// Keys of a routing gateway, below what every one needs.
fn routing(keys: &str) -> String {
    format!("[[routing_gateway]]\nname = \"vendor\"\naddress = \"192.0.2.20:5060\"\n{keys}\n")
}
