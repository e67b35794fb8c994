use super::*;
use crate::presets;
use proptest::prelude::*;

/// A preset with a stretch replaced by other text, and any environment that looks like ours.
fn mangled() -> impl Strategy<Value = (String, Vec<(String, String)>)> {
    let name = prop_oneof![
        "TANDEM(__?(LISTEN|ADMIN|TOKENS|ROUTING_GATEWAY|CAUSE_MAP|REWRITE|PARAMETERS|SS_X|BIND|[0-9]{1,20}|é)){0,4}",
        "SS_[A-Z_]{0,12}",
        Just("SS_SIP_RESEND_INTERVAL".to_owned()),
    ];
    let environment = prop::collection::vec((name, "[0-9a-zé,.\\[{$ -]{0,8}"), 0..4);
    (0..presets().len(), any::<prop::sample::Index>(), 0..200usize, "[\\PC\n]{0,12}", environment).prop_map(
        |(preset, at, length, inserted, environment)| {
            let mut characters: Vec<char> = presets()[preset].text().chars().collect();
            let from = at.index(characters.len());
            let to = (from + length).min(characters.len());
            characters.splice(from..to, inserted.chars());
            (characters.into_iter().collect(), environment)
        },
    )
}

proptest! {
    #[test]
    fn no_text_and_no_environment_panics((text, environment) in mangled()) {
        match Config::parse(&text, environment) {
            Ok(loaded) => prop_assert!(!loaded.config.listen.is_empty()),
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|error| !error.in_file("f").to_string().is_empty()));
            }
        }
    }
}
