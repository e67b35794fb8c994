//! From the switch's words to the metrics' labels.

use tandem_switch::call::Stage;
use tandem_switch::cdr::{EndReason, Origin, Release};
use tandem_switch::failover::Failure;
use tandem_switch::gateway::{Outcome, Refusal};
use tandem_telemetry as metric;

pub(crate) fn stage(stage: Stage) -> metric::CallState {
    match stage {
        Stage::Setup => metric::CallState::Setup,
        Stage::Ringing => metric::CallState::Ringing,
        Stage::Answered => metric::CallState::Answered,
        Stage::Ending => metric::CallState::Ending,
    }
}

pub(crate) fn release(release: Release) -> (metric::EndReason, metric::Origin) {
    let cause = match release.cause {
        EndReason::Normal => metric::EndReason::Normal,
        EndReason::Cancelled => metric::EndReason::Cancelled,
        EndReason::Rejected => metric::EndReason::Rejected,
        EndReason::Busy => metric::EndReason::Busy,
        EndReason::NoAnswer => metric::EndReason::NoAnswer,
        EndReason::SessionTimeout => metric::EndReason::SessionTimeout,
        EndReason::NoTimerCap => metric::EndReason::NoTimerCap,
        EndReason::MaxDuration => metric::EndReason::MaxDuration,
        EndReason::NoMedia => metric::EndReason::NoMedia,
        EndReason::SetupTimeout => metric::EndReason::SetupTimeout,
        EndReason::Admin => metric::EndReason::Admin,
        EndReason::Drained => metric::EndReason::Drained,
        EndReason::NodeLost => metric::EndReason::NodeLost,
        EndReason::RoutesExhausted => metric::EndReason::RoutesExhausted,
        EndReason::SwitchLimit => metric::EndReason::SwitchLimit,
        EndReason::ProtocolError => metric::EndReason::ProtocolError,
    };
    let origin = match release.origin {
        Origin::Caller => metric::Origin::Caller,
        Origin::Callee => metric::Origin::Callee,
        Origin::Server => metric::Origin::Server,
    };
    (cause, origin)
}

pub(crate) fn attempt(outcome: Outcome) -> metric::AttemptOutcome {
    match outcome {
        Outcome::Answered { .. } => metric::AttemptOutcome::Answered,
        Outcome::Cancelled => metric::AttemptOutcome::Cancelled,
        Outcome::Failed(failure) => match failure {
            Failure::InviteTimeout => metric::AttemptOutcome::InviteTimeout,
            Failure::TransportError => metric::AttemptOutcome::TransportError,
            Failure::TryingTimeout => metric::AttemptOutcome::TryingTimeout,
            Failure::RingingTimeout => metric::AttemptOutcome::RingingTimeout,
            Failure::SessionProgressTimeout => metric::AttemptOutcome::SessionProgressTimeout,
            Failure::UnusableAnswer => metric::AttemptOutcome::UnusableAnswer,
            Failure::Status(status) => match status.class() {
                3 => metric::AttemptOutcome::Redirected,
                4 => metric::AttemptOutcome::ClientError,
                5 => metric::AttemptOutcome::ServerError,
                _ => metric::AttemptOutcome::GlobalError,
            },
        },
    }
}

pub(crate) fn refusal(refusal: Refusal) -> metric::AdmissionRefusal {
    match refusal {
        Refusal::Calls => metric::AdmissionRefusal::GatewayCalls,
        Refusal::Cps => metric::AdmissionRefusal::GatewayCps,
        Refusal::Paused => metric::AdmissionRefusal::GatewayPaused,
        Refusal::Unavailable | Refusal::NoAnswer => metric::AdmissionRefusal::GatewayUnavailable,
    }
}
