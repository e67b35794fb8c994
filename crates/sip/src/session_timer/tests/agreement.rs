//! RFC 4028 §7.2 and §9 with table 2: who refreshes, and how often.

use super::*;
use Refreshes::{Peer, Us};

/// One row: what the request says, and what the 2xx agrees to.
struct Row {
    name: &'static str,
    supported: bool,
    expires: Option<SessionExpires>,
    min_se: Option<u32>,
    agreed: Option<(u32, Refreshes)>,
    line: &'static str,
}

#[test]
fn rfc_4028_table_2_row_by_row_as_server() {
    let rows = [
        Row {
            name: "no support, no interval: no session timer (ruling 3)",
            supported: false,
            expires: None,
            min_se: None,
            agreed: None,
            line: "",
        },
        Row {
            name: "no support, refresher none (a proxy asked): uas",
            supported: false,
            expires: expires(600, None),
            min_se: None,
            agreed: Some((600, Us)),
            line: "Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n",
        },
        Row {
            name: "no support, refresher uac: not possible, so we do",
            supported: false,
            expires: expires(600, UAC),
            min_se: None,
            agreed: Some((600, Us)),
            line: "Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n",
        },
        Row {
            name: "no support, refresher uas",
            supported: false,
            expires: expires(600, UAS),
            min_se: None,
            agreed: Some((600, Us)),
            line: "Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n",
        },
        Row {
            name: "support, refresher none: we choose ourselves",
            supported: true,
            expires: expires(600, None),
            min_se: None,
            agreed: Some((600, Us)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 600;refresher=uas\r\n",
        },
        Row {
            name: "support, refresher uac: the caller's choice stands, and Require: timer tells it",
            supported: true,
            expires: expires(600, UAC),
            min_se: None,
            agreed: Some((600, Peer)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 600;refresher=uac\r\n",
        },
        Row {
            name: "support, refresher uas",
            supported: true,
            expires: expires(600, UAS),
            min_se: None,
            agreed: Some((600, Us)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 600;refresher=uas\r\n",
        },
        Row {
            name: "support, no interval: ours",
            supported: true,
            expires: None,
            min_se: None,
            agreed: Some((600, Us)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 600;refresher=uas\r\n",
        },
        Row {
            name: "support, no interval, its Min-SE above ours",
            supported: true,
            expires: None,
            min_se: Some(900),
            agreed: Some((900, Us)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 900;refresher=uas\r\n",
        },
        Row {
            name: "a longer interval is made ours",
            supported: true,
            expires: expires(1800, None),
            min_se: None,
            agreed: Some((600, Us)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 600;refresher=uas\r\n",
        },
        Row {
            name: "a longer interval is not made shorter than its Min-SE",
            supported: true,
            expires: expires(1800, UAC),
            min_se: Some(1200),
            agreed: Some((1200, Peer)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 1200;refresher=uac\r\n",
        },
        Row {
            name: "a shorter interval is never made longer",
            supported: true,
            expires: expires(90, None),
            min_se: None,
            agreed: Some((90, Us)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 90;refresher=uas\r\n",
        },
        Row {
            name: "nor to a Min-SE that lies above it",
            supported: true,
            expires: expires(120, None),
            min_se: Some(4_000_000_000),
            agreed: Some((120, Us)),
            line: "Supported: timer\r\nRequire: timer\r\nSession-Expires: 120;refresher=uas\r\n",
        },
    ];
    for row in rows {
        let asked = TimerHeaders { expires: row.expires, min_se: row.min_se, supported: row.supported };
        let mut timer = SessionTimer::new(policy());
        assert_eq!(timer.screen(&asked), Ok(()), "{}", row.name);
        let lines = timer.accept(&asked, START.mono).print();
        let agreed = timer.agreed().map(|agreed| (agreed.interval_secs, agreed.refreshes));
        assert_eq!(agreed, row.agreed, "{}", row.name);
        assert_eq!(lines, row.line.as_bytes(), "{}", row.name);
    }
}

#[test]
fn rfc_4028_7_2_row_by_row_as_client() {
    let rows = [
        ("no Session-Expires: no session timer", None, None),
        ("refresher uac: we do", expires(600, UAC), Some((600, Us))),
        ("refresher uas: the peer does", expires(600, UAS), Some((600, Peer))),
        ("refresher none, which is against the rules: we do", expires(600, None), Some((600, Us))),
        ("a shorter interval than asked for", expires(90, UAS), Some((90, Peer))),
        ("a longer interval than asked for", expires(7200, UAS), Some((7200, Peer))),
        ("one that would have us send without end", expires(0, UAC), Some((30, Us))),
        ("one that never ends", expires(u32::MAX, UAS), Some((86_400, Peer))),
    ];
    for (name, expires, expected) in rows {
        for supported in [false, true] {
            let mut timer = SessionTimer::new(policy());
            timer.on_success(&TimerHeaders { expires, min_se: None, supported }, START.mono);
            let agreed = timer.agreed().map(|agreed| (agreed.interval_secs, agreed.refreshes));
            assert_eq!(agreed, expected, "{name}");
        }
    }
}

#[test]
fn a_session_expires_below_min_se_is_too_small() {
    let policy = SessionPolicy { min_se_secs: 300, ..policy() };
    let timer = SessionTimer::new(policy);
    for (secs, expected) in [(0, false), (90, false), (299, false), (300, true), (301, true)] {
        for refresher in [None, UAC, UAS] {
            let outcome = timer.screen(&capable(expires(secs, refresher)));
            assert_eq!(
                outcome,
                expected.then_some(()).ok_or(TooSmall { min_se: 300 }),
                "{secs} {refresher:?}"
            );
        }
    }
    assert_eq!(timer.screen(&capable(None)), Ok(()));
}

#[test]
fn an_invite_asks_for_the_interval_and_to_be_refresher() {
    let lines = policy().invite_lines(0).print();
    assert_eq!(lines, &b"Supported: timer\r\nSession-Expires: 600;refresher=uac\r\nMin-SE: 90\r\n"[..]);
    // After a 422 (§7.3).
    let lines = policy().invite_lines(1800).print();
    assert_eq!(lines, &b"Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 1800\r\n"[..]);
}

#[test]
fn a_request_inside_the_dialog_keeps_the_roles() {
    let ours = running(policy(), 400, Us).request_lines().print();
    assert_eq!(ours, &b"Supported: timer\r\nSession-Expires: 400;refresher=uac\r\nMin-SE: 90\r\n"[..]);
    let theirs = running(policy(), 400, Peer).request_lines().print();
    assert_eq!(theirs, &b"Supported: timer\r\nSession-Expires: 400;refresher=uas\r\nMin-SE: 90\r\n"[..]);
    // A leg without a session timer stays without one, unless its peer begins it.
    assert_eq!(SessionTimer::new(policy()).request_lines().print(), &b"Supported: timer\r\n"[..]);
}

#[test]
fn the_peers_min_se_is_respected_by_what_we_send_later() {
    let mut timer = SessionTimer::new(policy());
    timer.accept(
        &TimerHeaders { expires: expires(600, None), min_se: Some(500), supported: true },
        START.mono,
    );
    assert_eq!(timer.request_lines().min_se, Some(500));
}

#[test]
fn a_request_that_says_nothing_leaves_a_running_session_and_us_to_refresh_it() {
    let mut timer = running(policy(), 600, Peer);
    let lines = timer.accept(&TimerHeaders::default(), at(100));
    assert_eq!(lines.print(), &b"Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n"[..]);
    assert_eq!(timer.agreed(), Some(Agreed { interval_secs: 600, refreshes: Us }));
    assert_eq!(timer.deadline().map(since_start), Some(400));
    // Where there is none it begins none.
    let mut timer = SessionTimer::new(policy());
    assert_eq!(timer.accept(&TimerHeaders::default(), at(100)), TimerLines::default());
    assert_eq!(timer.deadline(), None);
}

#[test]
fn a_2xx_without_session_expires_turns_the_timer_off() {
    let mut timer = running(policy(), 600, Us);
    assert_eq!(timer.on_timer(at(300)), Due::Refresh);
    assert_eq!(timer.on_outcome(RefreshOutcome::Success(TimerHeaders::default()), at(300)), Due::Nothing);
    assert_eq!((timer.agreed(), timer.deadline()), (None, None));
    assert_eq!(timer.on_timer(at(100_000)), Due::Nothing);
}

#[test]
fn roles_change_where_the_answer_says_so() {
    let mut timer = running(policy(), 600, Us);
    assert_eq!(timer.on_timer(at(300)), Due::Refresh);
    let answer = RefreshOutcome::Success(capable(expires(600, UAS)));
    assert_eq!(timer.on_outcome(answer, at(301)), Due::Nothing);
    assert_eq!(timer.agreed().map(|agreed| agreed.refreshes), Some(Peer));
    assert_eq!(timer.deadline().map(since_start), Some(301 + 568));
}
