//! Guessing.

use super::*;
use crate::admission::SourceKey;
use tandem_sip::time::Mono;

const RULES: SuspensionRules =
    SuspensionRules { after: 3, window: Duration::from_secs(60), time: Duration::from_secs(300) };

fn source(last: u8) -> Offender {
    Offender::Source(SourceKey::of(IpAddr::from([192, 0, 2, last])))
}

#[test]
fn who_fails_too_often_within_the_window_is_suspended_for_a_time() {
    let mut suspensions = Suspensions::new(RULES);
    let guesser = source(1);
    assert!(!suspensions.on_failure(Mono(0), &guesser));
    assert!(!suspensions.on_failure(Mono(59_000), &guesser));
    assert!(!suspensions.on_failure(Mono(60_000), &guesser), "the first has left the window");
    assert!(!suspensions.on_failure(Mono(61_000), &guesser));
    assert!(suspensions.on_failure(Mono(62_000), &guesser));
    assert_eq!(suspensions.until(Mono(62_000), &guesser), Some(Mono(362_000)));
    assert_eq!(suspensions.until(Mono(62_000), &source(2)), None);
    assert_eq!(suspensions.until(Mono(362_000), &guesser), None);
    assert_eq!(suspensions.all(Mono(362_000)).count(), 0);
}

#[test]
fn a_suspension_can_be_lifted() {
    let mut suspensions = Suspensions::new(RULES);
    let account = Offender::Account("alice".into());
    for _ in 0..3 {
        suspensions.on_failure(Mono(0), &account);
    }
    assert_eq!(suspensions.all(Mono(1)).map(|one| one.offender.to_string()).collect::<Vec<_>>(), ["alice"]);
    assert!(suspensions.lift(&account) && !suspensions.lift(&account));
    assert_eq!(suspensions.until(Mono(1), &account), None);
}

#[test]
fn suspensions_are_bounded_and_the_one_that_ends_first_gives_way() {
    let mut suspensions = Suspensions::new(SuspensionRules { after: 1, ..RULES });
    let account = |number: usize| Offender::Account(number.to_string().into());
    for number in 0..SUSPENSIONS_MAX + 2 {
        assert!(suspensions.on_failure(Mono(number as u64), &account(number)));
    }
    assert_eq!(suspensions.all(Mono(0)).count(), SUSPENSIONS_MAX);
    assert_eq!(suspensions.until(Mono(0), &account(1)), None);
    assert!(suspensions.until(Mono(0), &account(2)).is_some());
}

#[test]
fn with_suspend_after_0_nobody_is_suspended() {
    let mut suspensions = Suspensions::new(SuspensionRules { after: 0, ..RULES });
    assert!((0..100).all(|_| !suspensions.on_failure(Mono(0), &source(1))));
}
