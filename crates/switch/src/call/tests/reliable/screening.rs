//! What SS_SIP_100REL asks of an INVITE.

use super::super::messages::parse;
use super::super::plan::Plan;
use crate::call::{respond_outside_dialog, screen};
use crate::parameters::ReliableProvisionals::{self, Off, Required, Supported};
use tandem_sip::Name;

/// How an INVITE with these lines is refused.
fn refused(reliable: ReliableProvisionals, lines: &str) -> Option<(u16, Option<(Name, String)>)> {
    let mut plan = Plan::default();
    plan.parameters.reliable_provisionals = reliable;
    plan.invite_lines = lines.to_owned();
    let refused = screen(&parse(plan.invite()), &plan.parameters).err()?;
    Some((refused.status.code(), refused.headers.into_iter().next()))
}

#[test]
fn ss_sip_100rel_says_what_an_invite_may_and_must_know() {
    let unsupported = Some((420, Some((Name::Unsupported, "100rel".to_owned()))));
    let required = Some((421, Some((Name::Require, "100rel".to_owned()))));
    let (supports, requires) = ("Supported: timer, 100Rel\r\n", "Require: 100rel\r\n");
    let table = [
        (Off, "", None),
        (Off, supports, None),
        (Off, requires, unsupported),
        (Supported, "", None),
        (Supported, supports, None),
        (Supported, requires, None),
        (Required, "", required),
        (Required, supports, None),
        (Required, requires, None),
    ];
    for (parameter, lines, expected) in table {
        assert_eq!(refused(parameter, lines), expected, "{parameter:?} {lines:?}");
    }
}

#[test]
fn unsupported_names_what_is_not_known_and_nothing_else() {
    let header = Some((Name::Unsupported, "precondition".to_owned()));
    assert_eq!(refused(Supported, "Require: 100rel, precondition\r\n"), Some((420, header)));
}

#[test]
fn options_says_whether_100rel_is_supported() {
    let options = Plan::default().invite().replace("INVITE", "OPTIONS");
    for (parameter, expected) in [(Off, "timer"), (Supported, "100rel, timer"), (Required, "100rel, timer")] {
        let mut plan = Plan::default();
        plan.parameters.reliable_provisionals = parameter;
        let source = plan.caller_address;
        let answer = respond_outside_dialog(&parse(options.clone()), source, "ours", Some(&plan.parameters));
        let answer = parse(answer.expect("an answer"));
        assert_eq!(answer.first(Name::Supported), Some(expected.as_bytes()), "{parameter:?}");
    }
}
