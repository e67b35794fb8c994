//! The HTTP API: health, metrics, calls, gateways, registrations, nodes, configuration. JSON, described by the OpenAPI document it serves.
//!
//! The crate knows nothing of SIP. It asks a [`Control`], which the binary implements on the node.

mod audit;
mod auth;
mod bans;
mod calls;
mod configuration;
mod control;
mod drain;
mod gateways;
mod health;
mod nodes;
mod problem;
mod registrations;
mod server;
mod suspensions;
mod timestamp;
mod view;

pub use audit::{AuditFilter, AuditList, AuditView, Audited};
pub use auth::{Token, Tokens};
pub use configuration::{
    ConfigurationView, ParameterChange, ParameterList, ParameterView, PushProblem, PushRequest,
    RevisionFilter, RevisionList, RevisionText, RevisionView, RunView,
};
pub use control::{Annotation, BoxFuture, Control, Forgetting, HangUp, Raising, Readiness, Removal};
pub use drain::{DrainCancel, DrainRequest, DrainState, DrainView};
pub use nodes::{LevelRequest, LevelView, NodeList, NodeNote, NodeState, NodeView};
pub use problem::Problem;
pub use registrations::{RegistrationFilter, RegistrationPage, RegistrationView, RemovalFilter};
pub use server::{MAX_REQUESTS_IN_FLIGHT, REQUEST_TIMEOUT, router, serve};
pub use suspensions::{SuspensionKind, SuspensionList, SuspensionView};
pub use timestamp::Timestamp;
pub use view::{
    BanList, BanView, CallFilter, CallPage, CallSort, CallState, CallView, DEFAULT_PAGE, FailureView,
    GatewayBindingView, GatewayKind, GatewayList, GatewayState, GatewayView, MAX_LAST_FAILURES, MAX_PAGE,
    OurRegistrationView, ProbeView, PublicationView, RegisteredView, SortOrder, TargetView,
};
