//! What the API asks of the node.

use crate::audit::{AuditFilter, AuditView, Audited};
use crate::configuration::{
    ConfigurationView, ParameterChange, ParameterView, PushProblem, PushRequest, RevisionText, RevisionView,
};
use crate::drain::{DrainCancel, DrainRequest, DrainView};
use crate::nodes::{NodeNote, NodeView};
use crate::registrations::{RegistrationFilter, RegistrationPage};
use crate::suspensions::SuspensionView;
use crate::view::{BanView, CallFilter, CallPage, CallView, GatewayView};
use std::net::IpAddr;
use std::pin::Pin;

/// A future that the API awaits; at most [`crate::REQUEST_TIMEOUT`], then the request is answered 504.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The node as the API sees it. Call ids are the text form that [`CallView::id`] carries; to the API they are opaque.
pub trait Control: Send + Sync + 'static {
    /// The current calls that `filter` selects; [`CallFilter::page`] does the selecting.
    fn calls(&self, filter: CallFilter) -> BoxFuture<'_, CallPage>;

    /// One current call, `None` when there is none of that id.
    fn call<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<CallView>>;

    /// Starts to end a call on both legs, in whatever state it is. Its CDR says that the operator did it.
    fn hang_up<'a>(&'a self, id: &'a str) -> BoxFuture<'a, HangUp>;

    /// All gateways, mapping and routing.
    fn gateways(&self) -> BoxFuture<'_, Vec<GatewayView>>;

    /// The sources that are banned, by address.
    fn bans(&self) -> Vec<BanView>;

    /// Lifts the ban of an address. `false` if it is not banned.
    fn lift_ban(&self, source: IpAddr) -> bool;

    /// The bindings of endpoints that the filter selects; `None` while the store does not answer.
    fn registrations(&self, filter: RegistrationFilter) -> BoxFuture<'_, Option<RegistrationPage>>;

    /// Removes the binding of a contact, or all bindings of an address of record.
    fn remove_registration(&self, aor: String, contact: Option<String>) -> BoxFuture<'_, Removal>;

    /// The sources and accounts that are suspended for wrong credentials.
    fn suspensions(&self) -> Vec<SuspensionView>;

    /// Lifts the suspension of that name. `false` if there is none.
    fn lift_suspension(&self, name: &str) -> bool;

    /// The nodes of the cluster, by name; `None` while the store does not answer.
    fn nodes(&self) -> BoxFuture<'_, Option<Vec<NodeView>>>;

    /// Assigns a mark or a memo to a node.
    fn annotate_node(&self, name: String, note: NodeNote) -> BoxFuture<'_, Annotation>;

    /// Forgets a node that does not live.
    fn forget_node(&self, name: String) -> BoxFuture<'_, Forgetting>;

    /// Raises the cluster's feature level, as high as all nodes know or to that one.
    fn raise_feature_level(&self, wanted: Option<u16>) -> BoxFuture<'_, Raising>;

    /// Which revision of the configuration which node runs; `None` while the store does not answer.
    fn configuration(&self) -> BoxFuture<'_, Option<ConfigurationView>>;

    /// The revisions that are kept, newest first; `None` while the store does not answer.
    fn revisions(&self) -> BoxFuture<'_, Option<Vec<RevisionView>>>;

    /// A revision with its text, passwords only with `secrets`.
    fn revision(&self, number: u64, secrets: bool) -> BoxFuture<'_, Result<RevisionText, PushProblem>>;

    /// Has all nodes run a configuration, or none.
    fn push(&self, request: PushRequest) -> BoxFuture<'_, Result<RevisionView, PushProblem>>;

    /// The system's parameters.
    fn parameters(&self) -> Vec<ParameterView>;

    /// Changes a parameter for all nodes.
    fn set_parameter(
        &self,
        name: String,
        change: ParameterChange,
    ) -> BoxFuture<'_, Result<RevisionView, PushProblem>>;

    /// Who changed what, newest first; `None` while the store does not answer.
    fn audit(&self, filter: AuditFilter) -> BoxFuture<'_, Option<Vec<AuditView>>>;

    /// Notes that somebody has changed something, or was not let.
    fn note_audit(&self, audited: Audited) -> BoxFuture<'_, ()>;

    /// How far the node's drain has come.
    fn drain(&self) -> DrainView;

    /// Begins to drain the node, or says anew what is to become of it then.
    fn begin_drain(&self, request: DrainRequest) -> DrainView;

    /// Has the node take new calls again.
    fn cancel_drain(&self) -> DrainCancel;

    /// Whether new calls may be sent here.
    fn ready(&self) -> Readiness;

    /// The metrics in the Prometheus text format.
    fn metrics_text(&self) -> String;

    /// Makes the call's actor panic at its next input.
    #[cfg(feature = "fault-injection")]
    fn panic_call<'a>(&'a self, id: &'a str) -> BoxFuture<'a, HangUp>;
}

/// What became of a request about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// The call was told; it ends when its peers have answered.
    Accepted,
    /// There is no such call.
    NotFound,
}

/// What became of the removal of bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// There were some, and they have gone.
    Removed,
    /// There were none.
    NotFound,
    /// The store does not answer.
    Away,
}

/// What became of a mark or a memo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotation {
    /// It is assigned.
    Assigned,
    /// There is no such node.
    NotFound,
    /// The store does not answer.
    Away,
}

/// What became of a node that is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgetting {
    /// It is.
    Forgotten,
    /// There is no such node.
    NotFound,
    /// It lives.
    Lives,
    /// The store does not answer.
    Away,
}

/// What became of a feature level that was to be raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raising {
    /// It is that now.
    Raised(u16),
    /// It stays as it is, for this reason.
    Refused(String),
    /// The store does not answer.
    Away,
}

/// Whether the node takes new calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, for this reason: starting, draining, cut off.
    NotReady {
        /// For the operator.
        why: String,
    },
}
