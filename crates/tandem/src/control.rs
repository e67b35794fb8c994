//! The node as the API sees it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tandem_admin::{
    Annotation, AuditFilter, AuditView, Audited, BanView, BoxFuture, CallFilter, CallPage, CallState,
    CallView, ConfigurationView, Control, DrainCancel, DrainRequest, DrainState, DrainView, FailureView,
    Forgetting, GatewayBindingView, GatewayKind, GatewayState, GatewayView, HangUp, NodeNote, NodeState,
    NodeView, OurRegistrationView, ParameterChange, ParameterView, ProbeView, PublicationView, PushProblem,
    PushRequest, Raising, Readiness, RegisteredView, RegistrationFilter, RegistrationPage, RegistrationView,
    Removal, RevisionText, RevisionView, SuspensionKind, SuspensionView, TargetView, Timestamp,
};
use tandem_node::{
    DrainStage, GatewayReport, GatewayTarget, MappingReport, NatReport, Node, NodeReport, RaiseError,
    Registered,
};
use tandem_sip::time::{Mono, Now, Wall};
use tandem_switch::admission::Banned;
use tandem_switch::call::{CallId, CallStatus, Stage};
use tandem_switch::cdr::{AttemptOutcome, EndReason, failure_name};
use tandem_switch::failover::Failure;
use tandem_switch::gateway::{LastFailure, Limits, ProbeReport, RegistrationReport, Statistics, Unavailable};
use tandem_switch::publication::pidf::Basic;
use tandem_switch::publication::{Publication, Standing};
use tandem_switch::registrar::{Binding, Offender, Suspended};
use tokio::sync::watch;

pub(crate) struct NodeControl {
    pub(crate) node: Arc<Node>,
    /// Whether the node is to leave.
    leaves: watch::Sender<bool>,
}

impl NodeControl {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, leaves: watch::Sender::new(false) }
    }

    /// Tells when an operator has asked for the node to leave, or it was told to.
    pub(crate) fn leaves(&self) -> watch::Sender<bool> {
        self.leaves.clone()
    }
}

impl Control for NodeControl {
    fn calls(&self, filter: CallFilter) -> BoxFuture<'_, CallPage> {
        Box::pin(async move {
            let calls = self.node.calls().await;
            let now = self.node.now().wall;
            filter.page(calls.iter().map(|call| call_view(call, now)))
        })
    }

    fn call<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<CallView>> {
        Box::pin(async move {
            let status = self.node.call(CallId::parse(id)?).await?;
            Some(call_view(&status, self.node.now().wall))
        })
    }

    fn hang_up<'a>(&'a self, id: &'a str) -> BoxFuture<'a, HangUp> {
        let told = CallId::parse(id).is_some_and(|id| self.node.hang_up(id, EndReason::Admin));
        Box::pin(std::future::ready(if told { HangUp::Accepted } else { HangUp::NotFound }))
    }

    fn gateways(&self) -> BoxFuture<'_, Vec<GatewayView>> {
        Box::pin(async move {
            let mapping = self.node.mapping_gateways();
            let routing = self.node.routing_gateways().await;
            mapping.iter().map(mapping_view).chain(routing.iter().map(routing_view)).collect()
        })
    }

    fn bans(&self) -> Vec<BanView> {
        let now = self.node.now();
        let view = |ban: Banned| BanView {
            source: ban.source.to_string(),
            since: instant(now, ban.since),
            until: instant(now, ban.until),
            left_s: ban.until.since(now.mono).as_secs(),
        };
        self.node.bans().into_iter().map(view).collect()
    }

    fn lift_ban(&self, source: IpAddr) -> bool {
        self.node.lift_ban(source)
    }

    fn registrations(&self, filter: RegistrationFilter) -> BoxFuture<'_, Option<RegistrationPage>> {
        Box::pin(async move {
            let (max, after) = (filter.page_size(), filter.after.as_deref());
            let found = self.node.registrations(&filter.filter, after, max).await.ok()?;
            let now = self.node.now().wall;
            let next = found.last().filter(|_| found.len() == max).map(|last| last.aor.to_string());
            let mut registrations = Vec::new();
            for Registered { aor, bindings } in &found {
                for binding in bindings {
                    let nat = self.node.nat_report(binding).await.unwrap_or_default();
                    registrations.push(registration_view(aor, binding, nat, now));
                }
            }
            Some(RegistrationPage { registrations, next })
        })
    }

    fn remove_registration(&self, aor: String, contact: Option<String>) -> BoxFuture<'_, Removal> {
        Box::pin(async move {
            match self.node.remove_registration(&aor, contact.as_deref()).await {
                Some(0) => Removal::NotFound,
                Some(_) => Removal::Removed,
                None => Removal::Away,
            }
        })
    }

    fn suspensions(&self) -> Vec<SuspensionView> {
        let now = self.node.now();
        let view = |suspended: Suspended| SuspensionView {
            name: suspended.offender.to_string(),
            kind: match suspended.offender {
                Offender::Source(_) => SuspensionKind::Source,
                Offender::Account(_) => SuspensionKind::Account,
                Offender::Home(..) => SuspensionKind::Home,
            },
            since: instant(now, suspended.since),
            until: instant(now, suspended.until),
            left_s: suspended.until.since(now.mono).as_secs(),
        };
        self.node.suspensions().into_iter().map(view).collect()
    }

    fn lift_suspension(&self, name: &str) -> bool {
        self.node.lift_suspension(name)
    }

    fn nodes(&self) -> BoxFuture<'_, Option<Vec<NodeView>>> {
        Box::pin(async move { Some(self.node.nodes().await.ok()?.iter().map(node_view).collect()) })
    }

    fn annotate_node(&self, name: String, note: NodeNote) -> BoxFuture<'_, Annotation> {
        Box::pin(async move {
            match self.node.annotate_node(&name, note.mark, note.memo).await {
                Ok(true) => Annotation::Assigned,
                Ok(false) => Annotation::NotFound,
                Err(_) => Annotation::Away,
            }
        })
    }

    fn forget_node(&self, name: String) -> BoxFuture<'_, Forgetting> {
        Box::pin(async move {
            match self.node.forget_node(&name).await {
                Ok(Some(true)) => Forgetting::Forgotten,
                Ok(Some(false)) => Forgetting::NotFound,
                Ok(None) => Forgetting::Lives,
                Err(_) => Forgetting::Away,
            }
        })
    }

    fn configuration(&self) -> BoxFuture<'_, Option<ConfigurationView>> {
        Box::pin(self.configuration_view())
    }

    fn revisions(&self) -> BoxFuture<'_, Option<Vec<RevisionView>>> {
        Box::pin(self.revision_views())
    }

    fn revision(&self, number: u64, secrets: bool) -> BoxFuture<'_, Result<RevisionText, PushProblem>> {
        Box::pin(self.revision_text(number, secrets))
    }

    fn push(&self, request: PushRequest) -> BoxFuture<'_, Result<RevisionView, PushProblem>> {
        Box::pin(self.push_request(request))
    }

    fn parameters(&self) -> Vec<ParameterView> {
        self.parameter_views()
    }

    fn set_parameter(
        &self,
        name: String,
        change: ParameterChange,
    ) -> BoxFuture<'_, Result<RevisionView, PushProblem>> {
        Box::pin(self.change_parameter(name, change))
    }

    fn audit(&self, filter: AuditFilter) -> BoxFuture<'_, Option<Vec<AuditView>>> {
        Box::pin(self.audit_views(filter))
    }

    fn note_audit(&self, audited: Audited) -> BoxFuture<'_, ()> {
        Box::pin(self.note(audited))
    }

    fn raise_feature_level(&self, wanted: Option<u16>) -> BoxFuture<'_, Raising> {
        Box::pin(async move {
            match self.node.raise_feature_level(wanted).await {
                Ok(level) => Raising::Raised(level),
                Err(RaiseError::Store(_)) => Raising::Away,
                Err(why @ (RaiseError::NotRaised(_) | RaiseError::Conflict)) => {
                    Raising::Refused(why.to_string())
                }
            }
        })
    }

    fn drain(&self) -> DrainView {
        let leaves = *self.leaves.borrow();
        let calls = usize::try_from(self.node.calls_in_progress()).unwrap_or(0);
        let now = self.node.now();
        let Some(progress) = self.node.drain_progress() else {
            let (state, since) = (DrainState::None, None);
            return DrainView {
                state,
                leaves,
                since,
                seconds: 0,
                calls,
                handed_over: 0,
                placed: 0,
                setting_up: 0,
            };
        };
        DrainView {
            state: match progress.stage {
                DrainStage::HandingOver => DrainState::HandingOver,
                DrainStage::PassingOn => DrainState::PassingOn,
                DrainStage::Done => DrainState::Drained,
            },
            leaves,
            since: Some(instant(now, progress.since)),
            seconds: now.mono.since(progress.since).as_secs(),
            calls,
            handed_over: progress.handed,
            placed: progress.placed,
            setting_up: progress.setting_up,
        }
    }

    fn begin_drain(&self, request: DrainRequest) -> DrainView {
        self.node.begin_drain();
        if !request.stay {
            self.leaves.send_replace(true);
        }
        self.drain()
    }

    fn cancel_drain(&self) -> DrainCancel {
        match (*self.leaves.borrow(), self.node.is_draining()) {
            (true, _) => DrainCancel::Leaving,
            (false, false) => DrainCancel::NotDraining,
            (false, true) => {
                self.node.cancel_drain();
                DrainCancel::Cancelled
            }
        }
    }

    fn ready(&self) -> Readiness {
        if self.node.is_draining() {
            return Readiness::NotReady { why: "draining".to_owned() };
        }
        if !self.node.is_running() {
            return Readiness::NotReady { why: "failed".to_owned() };
        }
        Readiness::Ready
    }

    fn metrics_text(&self) -> String {
        self.node.metrics_text()
    }

    #[cfg(feature = "fault-injection")]
    fn panic_call<'a>(&'a self, id: &'a str) -> BoxFuture<'a, HangUp> {
        let told = CallId::parse(id).is_some_and(|id| self.node.panic_call(id));
        Box::pin(std::future::ready(if told { HangUp::Accepted } else { HangUp::NotFound }))
    }
}

fn node_view(node: &NodeReport) -> NodeView {
    NodeView {
        name: node.name.to_string(),
        mark: node.mark.clone(),
        state: node_state(node),
        this: node.is_this,
        created_at: timestamp(node.created),
        accessed_at: timestamp(node.accessed),
        started_at: timestamp(node.started),
        addresses: node.addresses.clone(),
        admin: node.admin.clone(),
        version: node.version.clone(),
        feature_level: node.feature_level,
        config_revision: node.config_revision,
        calls: node.calls,
        cps: node.calls_per_second,
        memo: node.memo.clone(),
    }
}

pub(crate) fn node_state(node: &NodeReport) -> NodeState {
    match node.standing {
        tandem_node::Standing::Alive => NodeState::Alive,
        tandem_node::Standing::Dead => NodeState::Dead,
        tandem_node::Standing::Left => NodeState::Left,
    }
}

fn call_view(call: &CallStatus, now: Wall) -> CallView {
    let record = &call.record;
    let answered = record.attempts.iter().find(|attempt| attempt.outcome == AttemptOutcome::Answered);
    CallView {
        id: record.id.to_string(),
        state: match call.stage {
            Stage::Setup => CallState::Setup,
            Stage::Ringing => CallState::Ringing,
            Stage::Answered => CallState::Answered,
            Stage::Ending => CallState::Ending,
        },
        caller: record.caller.clone(),
        called: record.called.clone(),
        mapping_gateway: record.mapping_gateway.to_string(),
        routing_gateway: answered.or(record.attempts.last()).map(|attempt| attempt.gateway.to_string()),
        started_at: timestamp(record.started_at),
        answered_at: record.answered_at.map(timestamp),
        duration_s: record.answered_at.map_or(0, |answered_at| now.since(answered_at).as_secs()),
        attempts: record.attempts.len() as u32,
        call_id_a: record.caller_call_id.clone(),
        call_id_b: record.callee_call_id.clone(),
        codec: record.codec.clone(),
    }
}

pub(crate) fn timestamp(wall: Wall) -> Timestamp {
    Timestamp::from_unix_ms(wall.0)
}

/// The wall-clock time of an instant.
fn instant(now: Now, at: Mono) -> Timestamp {
    timestamp(now.to_wall(at))
}

fn registration_view(aor: &str, binding: &Binding, nat: NatReport, now: Wall) -> RegistrationView {
    RegistrationView {
        aor: aor.to_owned(),
        contact: binding.contact.to_string(),
        q: f32::from(binding.q) / 1000.0,
        expires_s: binding.left_s(now),
        nat: binding.nat,
        kept_alive_at: nat.kept_alive.map(timestamp),
        unreachable_since: nat.unreachable_since.map(timestamp),
        transport: binding.flow.transport.via_name().to_ascii_lowercase(),
        source: binding.flow.remote.to_string(),
        path: binding.path.iter().map(ToString::to_string).collect(),
        instance: binding.instance.as_deref().map(str::to_owned),
        reg_id: binding.reg_id,
        user_agent: binding.user_agent.as_deref().map(str::to_owned),
        registered_at: timestamp(binding.registered),
        refreshed_at: timestamp(binding.refreshed),
    }
}

fn mapping_view(report: &MappingReport) -> GatewayView {
    let gateway = &report.gateway;
    let sources: Vec<_> = gateway.sources.iter().map(ToString::to_string).collect();
    let load = Load { calls: report.calls, limits: gateway.limits, unavailable: None, pause: None };
    view(
        &gateway.name,
        (GatewayKind::Mapping, sources.join(",")),
        &load,
        &report.statistics,
        &report.last_failures,
    )
}

fn routing_view(report: &GatewayReport) -> GatewayView {
    let gateway = &report.gateway;
    let health = &report.health;
    let load = Load {
        calls: report.calls,
        limits: Limits { max_calls: report.max_calls, ..gateway.limits },
        unavailable: health.availability.err(),
        pause: report.pause,
    };
    let place = (GatewayKind::Routing, gateway.address.to_string());
    let targets = report.targets.iter().map(target_view).collect();
    let view = view(&gateway.name, place, &load, &report.statistics, &report.last_failures);
    GatewayView {
        targets,
        changed_at: health.changed.map(timestamp),
        publication: health.publication.as_ref().map(publication_view),
        probe: health.probe.map(probe_view),
        registration: health.registration.as_ref().map(our_registration_view),
        registered: health.bindings.as_deref().map(registered_view),
        cluster_calls: report.cluster_calls,
        ..view
    }
}

fn publication_view((publication, standing): &(Publication, Standing)) -> PublicationView {
    PublicationView {
        basic: match publication.basic {
            Basic::Open => "open",
            Basic::Closed => "closed",
        }
        .to_owned(),
        standing: match standing {
            Standing::Alive => "alive",
            Standing::Lapsed => "lapsed",
            Standing::Removed => "removed",
        }
        .to_owned(),
        capacity: publication.capacity,
        etag: publication.etag.to_string(),
        content_type: publication.content_type.to_string(),
        since: timestamp(publication.since),
        refreshed_at: timestamp(publication.refreshed),
        expires_at: timestamp(publication.expires),
    }
}

fn probe_view(probe: ProbeReport) -> ProbeView {
    ProbeView {
        at: timestamp(probe.at),
        rtt_ms: probe.result.ok().map(|rtt| rtt.as_millis() as u64),
        failure: probe.result.err().map(|failure| failure.to_string()),
        failures: probe.failures,
    }
}

fn our_registration_view(registration: &RegistrationReport) -> OurRegistrationView {
    OurRegistrationView {
        aor: registration.aor.clone(),
        registered: registration.until.is_some(),
        since: registration.since.map(timestamp),
        expires_at: registration.until.map(timestamp),
        failed_at: registration.failure.map(|(at, _)| timestamp(at)),
        failure: registration.failure.map(|(_, failure)| failure.to_string()),
    }
}

fn registered_view(bindings: &[Binding]) -> RegisteredView {
    let view = |binding: &Binding| GatewayBindingView {
        contact: binding.contact.to_string(),
        since: timestamp(binding.registered),
        expires_at: timestamp(binding.expires),
    };
    RegisteredView { registered: !bindings.is_empty(), bindings: bindings.iter().map(view).collect() }
}

fn target_view(target: &GatewayTarget) -> TargetView {
    TargetView {
        transport: target.target.transport.via_name().to_ascii_lowercase(),
        address: target.target.address.to_string(),
        failed: target.failed,
    }
}

struct Load {
    calls: usize,
    limits: Limits,
    /// Why it gets no calls, whatever its limits.
    unavailable: Option<Unavailable>,
    /// For how long it gets no new calls, as it asked for a pause.
    pause: Option<Duration>,
}

impl Load {
    fn state(&self) -> (GatewayState, Option<String>) {
        if let Some(why) = self.unavailable {
            let state = match why {
                Unavailable::Disabled => GatewayState::Disabled,
                Unavailable::Closed
                | Unavailable::Lapsed
                | Unavailable::Removed
                | Unavailable::Down
                | Unavailable::NotRegistered
                | Unavailable::Absent => GatewayState::Unavailable,
            };
            return (state, Some(why.to_string()));
        }
        match self.limits.max_calls {
            _ if self.pause.is_some() => {
                let left = self.pause.unwrap_or_default().as_secs() + 1;
                (GatewayState::Paused, Some(format!("asked for a pause, {left} s of it left")))
            }
            Some(limit) if self.calls >= limit as usize => {
                (GatewayState::Full, Some(format!("carries {} of {limit} calls", self.calls)))
            }
            Some(_) | None => (GatewayState::Available, None),
        }
    }
}

fn view(
    name: &str,
    (kind, address): (GatewayKind, String),
    load: &Load,
    statistics: &Statistics,
    failures: &[LastFailure],
) -> GatewayView {
    let (state, why) = load.state();
    GatewayView {
        name: name.to_owned(),
        kind,
        address,
        targets: Vec::new(),
        state,
        why,
        changed_at: None,
        publication: None,
        probe: None,
        registration: None,
        registered: None,
        calls: u32::try_from(load.calls).unwrap_or(u32::MAX),
        cluster_calls: None,
        max_calls: load.limits.max_calls,
        cps: load.limits.cps,
        attempts: statistics.attempts,
        answered: statistics.answered,
        asr: statistics.asr().map(|ratio| ratio * 100.0),
        acd_s: statistics.acd.map(|acd| acd.as_secs_f64()),
        pdd_ms: statistics.pdd.map(|pdd| pdd.as_millis() as u64),
        last_failures: failures.iter().map(failure_view).collect(),
    }
}

fn failure_view(last: &LastFailure) -> FailureView {
    let status = match last.failure {
        Failure::Status(status) => Some(status.code()),
        Failure::InviteTimeout
        | Failure::TransportError
        | Failure::TryingTimeout
        | Failure::RingingTimeout
        | Failure::SessionProgressTimeout
        | Failure::UnusableAnswer => None,
    };
    FailureView { at: timestamp(last.at), status, outcome: failure_name(last.failure).to_owned() }
}
