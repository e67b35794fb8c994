//! What a gateway's actor does to know whether its gateway lives: probes, its publications, our registration at it.

use crate::call_actor::serial_of_request;
use crate::gateway_actor::{GatewayHandle, GatewayMessage};
use crate::publications::{Publications, SaveError, Saved};
use crate::shared::Shared;
use bytes::Bytes;
use ractor::ActorRef;
use std::collections::VecDeque;
use std::sync::Arc;
use tandem_sip::flow::Flow;
use tandem_sip::locate;
use tandem_sip::time::{Mono, Now};
use tandem_sip::transaction::ServerNonInvite;
use tandem_sip::{Message, Name, ResponseHead, StatusCode};
use tandem_store::StoreError;
use tandem_switch::call::{Branch, CallId, Refused, Serial, Sought, Token};
use tandem_switch::gateway::{
    GatewayState, Health, HealthAction, HealthEvent, HealthInput, HealthReport, Located, NonceCounts,
    RoutingGateway, Unavailable,
};
use tandem_switch::publication::Publication;
use tandem_switch::registrar::Binding;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The most answered PUBLISHes whose copies are told; the oldest is forgotten first.
const MAX_ANSWERED: usize = 16;

/// Seconds after which a PUBLISH may be tried again that could not be taken now.
const RETRY_AFTER_S: u32 = 1;

/// What happens to a gateway besides its calls.
#[derive(Debug)]
pub(crate) enum CareMessage {
    /// The deadline has come.
    Wake,
    /// A response to a request of its own.
    Response(Message),
    /// A request of its own was not delivered.
    Undeliverable(Serial),
    /// It publishes its state.
    Publish {
        /// By which way.
        flow: Flow,
        /// The PUBLISH.
        request: Message,
    },
    /// Its publication may have been written by another node.
    Reload {
        /// Whether the store may have lost it.
        lost: bool,
    },
    /// What the store holds.
    Loaded { saved: Option<Saved>, lost: bool },
    /// Whether the store has taken what was published, or what it had lost.
    Stored { result: Result<Saved, SaveError>, restores: bool },
    /// Whether the journal has what the store did not take.
    Journalled { publication: Box<Publication>, is_written: bool },
    /// Where it is registered now.
    Bindings(Vec<Binding>),
    /// The same, and where that leads.
    Placed(Placed),
    /// The node stops.
    Leave,
}

/// Where bindings lead.
#[derive(Debug)]
pub(crate) struct Placed {
    /// The number of the message that told of them.
    pub(crate) told: u64,
    pub(crate) bindings: Vec<Binding>,
    /// Best first.
    pub(crate) branches: Vec<Branch>,
}

pub(crate) struct Care {
    shared: Arc<Shared>,
    handle: Arc<GatewayHandle>,
    /// The configuration that it goes by.
    gateway: Arc<RoutingGateway>,
    health: Health,
    alarm: Alarm,
    publications: Publications,
    answered: VecDeque<ServerNonInvite>,
    /// The PUBLISH that waits for the store.
    pending: Option<Pending>,
    /// How often it was told where the gateway is registered.
    told: u64,
    /// Finds out where that leads.
    placing: Option<JoinHandle<()>>,
}

struct Pending {
    name: Bytes,
    flow: Flow,
    request: Message,
    publication: Publication,
}

impl Care {
    pub(crate) fn start(
        shared: Arc<Shared>,
        handle: Arc<GatewayHandle>,
        myself: ActorRef<GatewayMessage>,
    ) -> Self {
        let gateway = handle.gateway();
        let token = Token { id: CallId::of_gateway(&handle.name, &shared.keys.current), hint: shared.hint };
        let place = (gateway.address.to_string(), gateway.disabled);
        let names = (token, &shared.keys, handle.next_start());
        let now = shared.clock.now();
        let health = Health::new(place, gateway.account.clone(), &gateway.health, names, now);
        let publications = Publications::of(shared.clone(), handle.name.clone(), myself.clone());
        publications.load(false);
        let alarm = Alarm::start(shared.clone(), myself);
        let care = Self {
            shared,
            handle,
            gateway,
            health,
            alarm,
            publications,
            answered: VecDeque::new(),
            pending: None,
            told: 0,
            placing: None,
        };
        care.shared.ask_for_bindings(&care.handle);
        care.handle.health_metrics.registered.set(0);
        care
    }

    /// Whether nothing that it goes by is another in this configuration.
    pub(crate) fn goes_by(&self, gateway: &RoutingGateway) -> bool {
        let parts = |gateway: &RoutingGateway| {
            (gateway.address.to_string(), gateway.transport, gateway.listen.clone(), gateway.disabled)
        };
        parts(&self.gateway) == parts(gateway)
            && self.gateway.account == gateway.account
            && self.gateway.health == gateway.health
    }

    /// Whether it is registered where this configuration does not have it registered.
    pub(crate) fn registers_elsewhere(&self, gateway: &RoutingGateway) -> bool {
        self.gateway.health.register.is_some()
            && (self.gateway.address.to_string() != gateway.address.to_string()
                || self.gateway.account != gateway.account
                || self.gateway.health.register != gateway.health.register)
    }

    /// Brings the slots up to what is known of the gateway's health, and sets the next deadline.
    pub(crate) fn settle(&mut self, state: &mut GatewayState, now: Now) {
        // Started anew, it is as available as it was until the store has said what it has published.
        let may_be = self.publications.is_known() || self.handle.is_available();
        let is_available = may_be && self.health.availability(now).is_ok();
        state.set_health(is_available, self.health.capacity());
        self.handle.set_available(is_available);
        self.handle.metrics.available.set(is_available.into());
        self.handle.metrics.slots_limit.set(state.max_calls().unwrap_or(0).into());
        self.handle.set_left(self.health.has_left());
        self.alarm.set(self.health.deadline());
    }

    pub(crate) fn report(&self, now: Now) -> HealthReport {
        self.health.report(now)
    }

    pub(crate) fn handle(&mut self, message: CareMessage, counts: &mut NonceCounts, now: Now) {
        match message {
            CareMessage::Wake => self.feed(HealthInput::Timer, counts, now),
            CareMessage::Response(response) => self.feed(HealthInput::Response(response), counts, now),
            CareMessage::Undeliverable(serial) => self.feed(HealthInput::Undeliverable(serial), counts, now),
            CareMessage::Publish { flow, request } => self.on_publish(flow, request, now),
            CareMessage::Reload { lost } => self.publications.load(lost),
            CareMessage::Loaded { saved, lost } => {
                if let Some(publication) = self.publications.loaded(saved, lost) {
                    self.feed(HealthInput::Published(publication), counts, now);
                }
            }
            CareMessage::Stored { result, restores: true } => self.on_restored(result),
            CareMessage::Stored { result, restores: false } => self.on_stored(result, counts, now),
            CareMessage::Journalled { publication, is_written } => {
                self.on_journalled(*publication, is_written, counts, now);
            }
            CareMessage::Bindings(bindings) => self.on_bindings(bindings, counts, now),
            // What was told meanwhile counts.
            CareMessage::Placed(Placed { told, .. }) if told != self.told => {}
            CareMessage::Placed(Placed { bindings, branches, .. }) => {
                self.handle.set_branches(branches);
                self.feed(HealthInput::Bound(bindings), counts, now);
            }
            CareMessage::Leave => self.feed(HealthInput::Leave, counts, now),
        }
    }

    fn feed(&mut self, input: HealthInput, counts: &mut NonceCounts, now: Now) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.health.handle(input, counts, now) {
                match action {
                    HealthAction::Send { flow, message } => {
                        if self.shared.send(flow, &message).is_err()
                            && let Some(serial) = serial_of_request(&message)
                        {
                            inputs.push_back(HealthInput::Undeliverable(serial));
                        }
                    }
                    HealthAction::Locate(purpose) => {
                        inputs.push_back(HealthInput::Located(purpose, self.locate()));
                    }
                    HealthAction::TargetFailed(target) => {
                        let flow = target.flow;
                        let target = locate::Target { transport: flow.transport, address: flow.remote };
                        self.shared.locations.note_failed(target);
                    }
                    HealthAction::Event(event) => self.observe(event),
                }
            }
        }
    }

    /// Takes where the gateway is registered. It gets calls once it is known where that leads, and none from the moment on at
    /// which it is registered nowhere.
    fn on_bindings(&mut self, bindings: Vec<Binding>, counts: &mut NonceCounts, now: Now) {
        self.told += 1;
        if let Some(placing) = self.placing.take() {
            placing.abort();
        }
        if bindings.is_empty() {
            self.handle.set_branches(Vec::new());
            return self.feed(HealthInput::Bound(bindings), counts, now);
        }
        let id = CallId::of_gateway(&self.handle.name, &self.shared.keys.current);
        let placed = Placed { told: self.told, bindings, branches: Vec::new() };
        self.placing = Some(self.shared.place_bindings(self.handle.clone(), id, placed));
    }

    fn locate(&self) -> Located {
        let name = &self.handle.name;
        let id = CallId::of_gateway(name, &self.shared.keys.current);
        match self.shared.reach(id, 0, &Sought::Gateway(name.clone())) {
            Ok(targets) => Located::Targets(targets),
            // Names of gateways are looked up ahead, and again until DNS answers.
            Err(_) => Located::NotYet,
        }
    }

    fn observe(&self, event: HealthEvent) {
        let (metrics, gateway) = (&self.handle.health_metrics, &self.handle.name);
        match event {
            HealthEvent::Probed(Ok(rtt)) => {
                metrics.probes.inc();
                self.shared.metrics.probe_seconds.observe(rtt);
            }
            HealthEvent::Probed(Err(error)) => {
                metrics.probes.inc();
                metrics.probe_failures.inc();
                tracing::debug!(%gateway, %error, "a probe failed");
            }
            HealthEvent::Registered { granted_s } => {
                metrics.registered.set(1);
                tracing::info!(%gateway, granted_s, "registered at the gateway");
            }
            HealthEvent::RegistrationFailed(error) => {
                metrics.registration_failures.inc();
                tracing::warn!(%gateway, %error, "cannot register at the gateway");
            }
            HealthEvent::Unregistered => {
                metrics.registered.set(0);
                tracing::info!(%gateway, "gave the registration at the gateway back");
            }
            HealthEvent::RegistrationLapsed => {
                metrics.registered.set(0);
                tracing::warn!(%gateway, "the registration at the gateway has lapsed");
            }
            HealthEvent::Changed(Ok(())) => tracing::info!(%gateway, "the gateway takes calls again"),
            HealthEvent::Changed(Err(why)) => {
                if why == Unavailable::Lapsed {
                    metrics.publications_lapsed.inc();
                }
                tracing::warn!(%gateway, %why, "the gateway gets no calls");
            }
        }
    }

    fn on_publish(&mut self, flow: Flow, request: Message, now: Now) {
        let Some(name) = transaction_name(&request) else { return };
        self.answered.retain(|answered| answered.deadline() > now.mono);
        if let Some(answer) = self.answered.iter().find_map(|answered| answered.answer_to(&name)) {
            return self.shared.answer(flow, &request, &answer);
        }
        if let Some(pending) = &self.pending {
            if pending.name != name {
                self.refuse(flow, &request, &name, &not_now(), now);
            }
            return;
        }
        if !self.publications.is_known() {
            return self.refuse(flow, &request, &name, &not_now(), now);
        }
        match self.health.publish(&request, now) {
            Ok(publication) => {
                self.publications.save(publication.clone(), false);
                self.pending = Some(Pending { name, flow, request, publication });
            }
            Err(refused) => self.refuse(flow, &request, &name, &refused, now),
        }
    }

    fn on_stored(&mut self, result: Result<Saved, SaveError>, counts: &mut NonceCounts, now: Now) {
        let Some(pending) = self.pending.take() else { return };
        match result {
            Ok(saved) => {
                let published = self.publications.loaded(Some(saved), false);
                self.accept(pending, published, counts, now);
            }
            Err(SaveError::Store(StoreError::Away { .. }) | SaveError::TooLate)
                if self.shared.journal.is_some() =>
            {
                self.publications.journal(pending.publication.clone());
                self.pending = Some(pending);
            }
            Err(error) => {
                let Pending { name, flow, request, .. } = pending;
                if self.shared.complaints.may_be_logged(now.mono) {
                    tracing::error!(gateway = %self.handle.name, %error, "cannot store a publication");
                }
                self.shared.metrics.store_failures.inc();
                self.publications.load(false);
                self.refuse(flow, &request, &name, &not_now(), now);
            }
        }
    }

    /// The journal has what was published, or not.
    fn on_journalled(
        &mut self,
        publication: Publication,
        is_written: bool,
        counts: &mut NonceCounts,
        now: Now,
    ) {
        let Some(pending) = self.pending.take() else { return };
        // The store is given it when it answers again.
        self.publications.load(false);
        if is_written {
            self.publications.journalled(publication.clone());
            return self.accept(pending, Some(publication), counts, now);
        }
        let Pending { name, flow, request, .. } = pending;
        self.shared.metrics.store_failures.inc();
        self.refuse(flow, &request, &name, &not_now(), now);
    }

    /// The store has been given what it had lost, or not.
    fn on_restored(&mut self, result: Result<Saved, SaveError>) {
        match result {
            Ok(Saved { revision, .. }) => self.publications.saved(revision),
            // Another node has, or it is silent again: what is there then tells.
            Err(_) => self.publications.load(true),
        }
    }

    /// 200, and what was published counts.
    fn accept(
        &mut self,
        pending: Pending,
        published: Option<Publication>,
        counts: &mut NonceCounts,
        now: Now,
    ) {
        let Pending { name, flow, request, publication } = pending;
        let response = accepted(&request, flow, &self.health.tag(), &publication);
        if let Some(published) = published {
            self.feed(HealthInput::Published(published), counts, now);
        }
        self.handle.health_metrics.publications.inc();
        self.answer(flow, &request, name, response, now);
    }

    fn refuse(&mut self, flow: Flow, request: &Message, name: &Bytes, refused: &Refused, now: Now) {
        let tag = self.health.tag();
        let response = refused.response(request, flow.remote, &tag);
        self.answer(flow, request, name.clone(), response, now);
    }

    fn answer(&mut self, flow: Flow, request: &Message, name: Bytes, response: Bytes, now: Now) {
        self.shared.answer(flow, request, &response);
        if self.answered.len() >= MAX_ANSWERED {
            self.answered.pop_front();
        }
        let is_reliable = flow.transport.is_reliable();
        self.answered.push_back(ServerNonInvite::completed(name, response, is_reliable, now.mono));
    }
}

fn not_now() -> Refused {
    Refused::and(StatusCode::SERVICE_UNAVAILABLE, Name::RetryAfter, RETRY_AFTER_S.to_string())
}

fn accepted(request: &Message, flow: Flow, tag: &str, publication: &Publication) -> Bytes {
    ResponseHead::of(request, flow.remote)
        .respond(StatusCode::OK, Some(tag))
        .header(Name::SipEtag, &*publication.etag)
        .number(Name::Expires, publication.granted_s().into())
        .finish()
}

/// What copies of a request have in common (RFC 3261 §17.2.3): the branch and who sent it; Call-ID and sequence number as
/// well, for branches of RFC 2543.
fn transaction_name(request: &Message) -> Option<Bytes> {
    let via = request.top_via().ok()?;
    let number = request.cseq().ok()?.number;
    let port = via.port.unwrap_or_default();
    let parts = [via.branch().unwrap_or_default(), via.host, request.call_id()?];
    let mut name = parts.join(&b' ');
    name.extend_from_slice(format!(" {port} {number}").as_bytes());
    Some(name.into())
}

impl Drop for Care {
    fn drop(&mut self) {
        if let Some(placing) = &self.placing {
            placing.abort();
        }
    }
}

/// Wakes an actor at its deadline. One task, one sleep.
struct Alarm {
    at: watch::Sender<Option<Mono>>,
    task: JoinHandle<()>,
}

impl Alarm {
    fn start(shared: Arc<Shared>, actor: ActorRef<GatewayMessage>) -> Self {
        let (at, changes) = watch::channel(None);
        Self { at, task: tokio::spawn(ring(shared, changes, actor)) }
    }

    fn set(&self, at: Option<Mono>) {
        self.at.send_replace(at);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ring(shared: Arc<Shared>, mut at: watch::Receiver<Option<Mono>>, actor: ActorRef<GatewayMessage>) {
    loop {
        let due = *at.borrow_and_update();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep(due.since(shared.clock.mono())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = at.changed() => if changed.is_err() { return },
            () = wait => {
                // What is due is done in the actor, which then says what comes next.
                if actor.cast(GatewayMessage::Care(CareMessage::Wake)).is_err() || at.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
