//! State: waiting to be told where the call may go.

use super::State;
use super::action::{Action, Looked};
use super::clearing;
use super::context::Context;
use super::hunting;
use crate::failover::Failure;
use bytes::{BufMut, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tandem_sip::StatusCode;
use tandem_sip::time::{Mono, Now};

/// How long the look-up may take; then the call has no route.
const LOOKUP_LIMIT: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct Routing {
    until: Mono,
}

impl Routing {
    /// Tells the caller that its INVITE has arrived, and asks where the call may go.
    pub(super) fn enter(context: &mut Context, uri: Arc<str>, now: Now) -> State {
        let trying = context.caller.respond(&context.names, StatusCode::TRYING, b"").finish();
        context.caller.send_provisional(&mut context.out, &mut context.transaction, trying, None);
        context.out.push(Action::Lookup {
            mapping_gateway: context.record.mapping_gateway.clone(),
            caller: context.record.caller.clone(),
            called: context.record.called.clone(),
            uri,
        });
        State::Routing(Self { until: now.mono + LOOKUP_LIMIT })
    }

    pub(super) fn on_looked(self, context: &mut Context, looked: Looked, now: Now) -> State {
        context.record.called_routed = Some(looked.called);
        context.max_duration = looked.max_duration;
        context.emergency = looked.emergency;
        if !looked.headers.is_empty() {
            let mut lines = BytesMut::from(&context.caller.passed[..]);
            for (name, value) in looked.headers {
                // A line end in a value would begin another header.
                let value = value.replace(['\r', '\n'], " ");
                lines.put_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            context.caller.passed = lines.freeze();
        }
        if looked.absent {
            context.hunt.last_failure = Some(Failure::Status(StatusCode::TEMPORARILY_UNAVAILABLE));
        }
        context.hunt.candidates = looked.routes.into();
        hunting::next(context, now)
    }

    pub(super) fn on_timer(self, context: &mut Context, now: Now) -> State {
        if self.until > now.mono {
            return State::Routing(self);
        }
        clearing::give_up(context, crate::failover::StopReason::RoutesExhausted, now)
    }

    pub(super) fn deadline(&self) -> Mono {
        self.until
    }
}
