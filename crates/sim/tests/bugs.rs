//! Each planted bug is found: the reference model sees what it is there for.

use tandem_sim::{Bug, find, run};

/// Seeds within which a bug has to be found. They are found within tens; the rest is for worlds that change.
const SEEDS: u64 = 500;

fn is_found(bug: Bug) {
    let Some((seed, violation)) = find(bug, 0..SEEDS) else {
        panic!("{bug} is not found within {SEEDS} seeds")
    };
    println!("{bug}: seed {seed}: {violation}");
    let clean = run(seed, None, false);
    assert!(clean.violation.is_none(), "seed {seed} fails without the bug, too");
}

macro_rules! planted {
    ($($name:ident: $bug:ident,)+) => {
        $(#[test]
        fn $name() {
            is_found(Bug::$bug);
        })+

        #[test]
        fn every_bug_has_its_test() {
            let tested = [$(Bug::$bug),+];
            let missing: Vec<_> = Bug::ALL.iter().filter(|bug| !tested.contains(bug)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

planted! {
    busy_rule_ignored_is_found: BusyRuleIgnored,
    stop_code_ignored_is_found: StopCodeIgnored,
    sdp_commitment_ignored_is_found: SdpCommitmentIgnored,
    switch_limit_off_by_one_is_found: SwitchLimitOffByOne,
    invite_timeout_ignored_is_found: InviteTimeoutIgnored,
    stop_after_invite_timeout_ignored_is_found: StopAfterInviteTimeoutIgnored,
    trying_timeout_ignored_is_found: TryingTimeoutIgnored,
    ringing_timeout_late_is_found: RingingTimeoutLate,
    until_connect_ignored_is_found: UntilConnectIgnored,
    switch_after_cancel_is_found: SwitchAfterCancel,
    service_unavailable_passed_on_is_found: ServiceUnavailablePassedOn,
    cause_map_ignored_is_found: CauseMapIgnored,
    max_duration_ignored_is_found: MaxDurationIgnored,
    setup_timeout_ignored_is_found: SetupTimeoutIgnored,
    priority_ignored_is_found: PriorityIgnored,
    resend_missing_is_found: ResendMissing,
    timer_late_is_found: TimerLate,
    timer_not_cancelled_is_found: TimerNotCancelled,
    cancel_not_sent_is_found: CancelNotSent,
    failure_not_acknowledged_is_found: FailureNotAcknowledged,
    failure_ack_under_new_branch_is_found: FailureAckUnderNewBranch,
    answer_not_resent_is_found: AnswerNotResent,
    late_answer_not_acknowledged_is_found: LateAnswerNotAcknowledged,
    late_answer_not_ended_is_found: LateAnswerNotEnded,
    two_answers_is_found: TwoAnswers,
    ack_not_repeated_is_found: AckNotRepeated,
    bye_before_ack_is_found: ByeBeforeAck,
    to_tag_kept_is_found: ToTagKept,
    two_finals_is_found: TwoFinals,
    rings_after_the_end_is_found: RingsAfterTheEnd,
    request_terminated_lost_is_found: RequestTerminatedLost,
    slot_not_released_is_found: SlotNotReleased,
    slot_released_twice_is_found: SlotReleasedTwice,
    slot_released_early_is_found: SlotReleasedEarly,
    slot_above_limit_is_found: SlotAboveLimit,
    cps_ignored_is_found: CpsIgnored,
    record_missing_is_found: RecordMissing,
    record_twice_is_found: RecordTwice,
    record_of_another_status_is_found: RecordOfAnotherStatus,
    nonconnect_not_recorded_is_found: NonconnectNotRecorded,
    released_twice_is_found: ReleasedTwice,
    send_before_commit_is_found: SendBeforeCommit,
    commit_lost_is_found: CommitLost,
    fence_ignored_is_found: FenceIgnored,
    loss_ignored_is_found: LossIgnored,
    end_not_told_again_is_found: EndNotToldAgain,
    record_written_again_is_found: RecordWrittenAgain,
    restore_forgets_session_is_found: RestoreForgetsSession,
    silent_peer_kept_is_found: SilentPeerKept,
    silent_peer_dropped_is_found: SilentPeerDropped,
    refresh_late_is_found: RefreshLate,
    refresh_not_sent_is_found: RefreshNotSent,
    refresh_says_nothing_is_found: RefreshSaysNothing,
    no_timer_cap_ignored_is_found: NoTimerCapIgnored,
    prack_not_sent_is_found: PrackNotSent,
    prack_twice_is_found: PrackTwice,
    rseq_jumps_is_found: RseqJumps,
    answer_not_held_is_found: AnswerNotHeld,
    glare_accepted_is_found: GlareAccepted,
    offer_answered_twice_is_found: OfferAnsweredTwice,
    offer_to_its_maker_is_found: OfferToItsMaker,
    answer_lost_is_found: AnswerLost,
    nonce_count_repeated_is_found: NonceCountRepeated,
    credentials_again_is_found: CredentialsAgain,
    redirect_refusal_ignored_is_found: RedirectRefusalIgnored,
    target_counts_as_attempt_is_found: TargetCountsAsAttempt,
    restore_forgets_left_attempts_is_found: RestoreForgetsLeftAttempts,
    restore_forgets_candidates_is_found: RestoreForgetsCandidates,
    panic_loses_call_is_found: PanicLosesCall,
}

#[test]
fn a_bug_is_known_by_its_name() {
    for bug in Bug::ALL {
        assert_eq!(Bug::named(bug.text()), Some(*bug));
        assert!(!bug.describe().is_empty());
    }
    assert_eq!(Bug::named("nothing"), None);
}
