//! A call's place on its node, given back when the call's actor goes, however it goes.

use crate::directory::{Mailbox, RouteKey};
use crate::gateway_actor::{GatewayMessage, Reclaiming};
use crate::ongoing::RequestKey;
use crate::shared::Shared;
use std::sync::Arc;
use tandem_switch::call::{CallId, Snapshot, Stage};
use tandem_switch::gateway::{GatewayName, Holder, Outcome};
use tandem_telemetry::AdmissionRefusal;

/// Entry in the directory, place in the admission limits, slots at gateways, share in the gauges.
pub(crate) struct Registration {
    shared: Arc<Shared>,
    id: CallId,
    /// Its INVITE, while forks of that are none of their own.
    request: Option<RequestKey>,
    mapping_gateway: GatewayName,
    mailbox: Arc<Mailbox>,
    stage: Option<Stage>,
    held: Vec<Held>,
    admitted: bool,
}

/// What came of asking for a place.
pub(crate) enum Place {
    /// It is the call's.
    Taken(Registration),
    /// A copy of the INVITE, by another listener, has taken it at this moment.
    TakenByItself,
    /// The call began with a fork of the INVITE.
    TakenByAFork,
}

/// A slot at a routing gateway.
struct Held {
    gateway: GatewayName,
    holder: Holder,
    /// Whether the gateway has said so; otherwise it was asked.
    granted: bool,
}

impl Registration {
    /// Takes the place of the call that an INVITE begins.
    pub(crate) fn take(
        shared: &Arc<Shared>,
        (id, request): (CallId, Option<RequestKey>),
        (mapping_gateway, route): (GatewayName, RouteKey),
    ) -> Place {
        let mailbox = Arc::new(Mailbox::of(route));
        if !shared.calls.reserve(id, &mailbox) {
            return Place::TakenByItself;
        }
        let mut registration = Self::at(shared, id, mapping_gateway, mailbox);
        if request.is_some_and(|request| !shared.ongoing.enter(request, id)) {
            return Place::TakenByAFork;
        }
        registration.request = request;
        Place::Taken(registration)
    }

    fn at(shared: &Arc<Shared>, id: CallId, mapping_gateway: GatewayName, mailbox: Arc<Mailbox>) -> Self {
        Self {
            shared: shared.clone(),
            id,
            request: None,
            mapping_gateway,
            mailbox,
            stage: None,
            held: Vec::new(),
            admitted: false,
        }
    }

    /// Takes the place of a call that another node had, with the slots that it holds, whatever the limits. `None` if there
    /// is a call of that name here.
    pub(crate) fn take_over(
        shared: &Arc<Shared>,
        snapshot: &Snapshot,
        (mapping_gateway, route): (GatewayName, RouteKey),
    ) -> Option<Self> {
        let id = snapshot.id();
        let mailbox = Arc::new(Mailbox::of(route));
        if !shared.calls.reserve(id, &mailbox) {
            return None;
        }
        let mut registration = Self::at(shared, id, mapping_gateway, mailbox);
        registration.admit_beyond_limits();
        for (gateway, holder) in snapshot.slots() {
            if let Some(handle) = shared.configured().gateways.get(&gateway) {
                // Without an actor there are no slots to count; one that starts asks.
                let _ = handle.tell(GatewayMessage::Reclaim(holder));
            }
            registration.held.push(Held { gateway, holder, granted: true });
        }
        Some(registration)
    }

    /// Asks for a place in the limits, or says which is reached.
    pub(crate) fn admit(&mut self) -> Result<(), AdmissionRefusal> {
        let now = self.shared.clock.now();
        self.shared.admission.admit(now, self.id, &self.mapping_gateway)?;
        self.admitted = true;
        Ok(())
    }

    /// Takes a place whatever the limits.
    pub(crate) fn admit_beyond_limits(&mut self) {
        self.shared.admission.admit_beyond_limits(self.id, &self.mapping_gateway);
        self.admitted = true;
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

    /// Notes a slot that a gateway was asked for.
    pub(crate) fn ask(&mut self, gateway: GatewayName, holder: Holder) {
        if !self.held.iter().any(|held| held.is(&gateway, holder)) {
            // Most calls hold one; a vector's own first step is four.
            self.held.reserve_exact(1);
            self.held.push(Held { gateway, holder, granted: false });
        }
    }

    /// Notes a gateway's answer.
    pub(crate) fn note_admission(&mut self, gateway: &str, attempt: u16, granted: bool) {
        let holder = Holder { call: self.id, attempt };
        if !granted {
            self.held.retain(|held| !held.is(gateway, holder));
        }
        for held in self.held.iter_mut().filter(|held| held.is(gateway, holder)) {
            held.granted = true;
        }
    }

    /// Gives a slot back to its gateway.
    pub(crate) fn release(&mut self, gateway: &GatewayName, holder: Holder, outcome: Option<Outcome>) {
        self.held.retain(|held| !held.is(gateway, holder));
        if let Some(outcome) = outcome {
            self.shared.metrics.attempts.of(crate::labels::attempt(outcome)).inc();
        }
        if let Some(handle) = self.shared.configured().gateways.get(gateway) {
            // Without an actor there are no slots to count.
            let _ = handle.tell(GatewayMessage::Release { holder, outcome });
        }
    }

    /// The call is another node's now, with its slots.
    pub(crate) fn lose(&mut self) {
        for held in std::mem::take(&mut self.held) {
            if let Some(handle) = self.shared.configured().gateways.get(&held.gateway) {
                // Without an actor there are no slots to count.
                let _ = handle.tell(GatewayMessage::Lose(held.holder));
            }
        }
    }

    /// Tells a gateway whose actor was started anew which of its slots this call holds.
    pub(crate) fn reclaim(&self, reclaiming: &Reclaiming) {
        let name = &reclaiming.gateway.name;
        for held in self.held.iter().filter(|held| held.granted && held.gateway == *name) {
            // An actor that has failed again will ask again.
            let _ = reclaiming.gateway.tell(GatewayMessage::Reclaim(held.holder));
        }
    }

    /// The call has ended: it no longer counts for the limits, though its last transactions are still answered.
    pub(crate) fn released(&mut self, outcome: Outcome) {
        self.mailbox.close();
        if let Some(request) = self.request.take() {
            self.shared.ongoing.leave(request, self.id);
        }
        if std::mem::take(&mut self.admitted) {
            let now = self.shared.clock.now();
            self.shared.admission.release(now, self.id, &self.mapping_gateway, Some(outcome));
        }
    }
}

impl Held {
    fn is(&self, gateway: &str, holder: Holder) -> bool {
        &*self.gateway == gateway && self.holder == holder
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.leave_stage();
        for held in std::mem::take(&mut self.held) {
            self.release(&held.gateway, held.holder, None);
        }
        self.released(Outcome::Cancelled);
        self.shared.calls.remove(self.id, &self.mailbox);
    }
}
