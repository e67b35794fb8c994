//! A call's place on its node, given back when the call's actor goes, however it goes.

use crate::directory::Mailbox;
use crate::gateway_actor::GatewayMessage;
use crate::shared::Shared;
use std::sync::Arc;
use tandem_switch::call::{CallId, Stage};
use tandem_switch::gateway::{GatewayName, Holder, Outcome};

/// Entry in the directory, place in the admission limits, slots at gateways, share in the gauges.
pub(crate) struct Registration {
    shared: Arc<Shared>,
    id: CallId,
    mapping_gateway: GatewayName,
    mailbox: Arc<Mailbox>,
    stage: Option<Stage>,
    held: Vec<(GatewayName, Holder)>,
    admitted: bool,
}

impl Registration {
    /// The place of a call that was admitted.
    pub(crate) fn new(shared: Arc<Shared>, id: CallId, mapping_gateway: GatewayName) -> Self {
        Self {
            shared,
            id,
            mapping_gateway,
            mailbox: Arc::default(),
            stage: None,
            held: Vec::new(),
            admitted: true,
        }
    }

    pub(crate) fn id(&self) -> CallId {
        self.id
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    pub(crate) fn set_stage(&mut self, stage: Stage) {
        if self.stage != Some(stage) {
            self.leave_stage();
            self.shared.metrics.calls_active.of(crate::labels::stage(stage)).inc();
            self.stage = Some(stage);
        }
    }

    fn leave_stage(&mut self) {
        if let Some(stage) = self.stage.take() {
            self.shared.metrics.calls_active.of(crate::labels::stage(stage)).dec();
        }
    }

    /// Notes a slot that the call was or will be given.
    pub(crate) fn hold(&mut self, gateway: GatewayName, holder: Holder) {
        if !self.held.contains(&(gateway.clone(), holder)) {
            self.held.push((gateway, holder));
        }
    }

    /// Gives a slot back to its gateway.
    pub(crate) fn release(&mut self, gateway: &GatewayName, holder: Holder, outcome: Option<Outcome>) {
        self.held.retain(|held| held != &(gateway.clone(), holder));
        if let Some(outcome) = outcome {
            self.shared.metrics.attempts.of(crate::labels::attempt(outcome)).inc();
        }
        if let Some(handle) = self.shared.gateways.get(gateway) {
            // Without an actor there are no slots to count.
            let _ = handle.tell(GatewayMessage::Release { holder, outcome });
        }
    }

    /// Tells a gateway whose actor was started anew which of its slots this call holds.
    pub(crate) fn reclaim(&self, gateway: &str) {
        let Some(handle) = self.shared.gateways.get(gateway) else { return };
        for (_, holder) in self.held.iter().filter(|(name, _)| &**name == gateway) {
            let _ = handle.tell(GatewayMessage::Reclaim(*holder));
        }
    }

    /// The call has ended: it no longer counts for the limits, though its last transactions are still answered.
    pub(crate) fn released(&mut self, outcome: Outcome) {
        if std::mem::take(&mut self.admitted) {
            let now = self.shared.clock.now();
            self.shared.admission.release(now, self.id, &self.mapping_gateway, Some(outcome));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.leave_stage();
        for (gateway, holder) in std::mem::take(&mut self.held) {
            self.release(&gateway, holder, None);
        }
        self.released(Outcome::Cancelled);
        self.shared.calls.remove(self.id, &self.mailbox);
    }
}
