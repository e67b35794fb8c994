//! `/api/v1/configuration`: what the nodes of a cluster have in common, revision by revision; and the parameters in it.

use crate::audit::AuditDetail;
use crate::control::Control;
use crate::nodes::NodeState;
use crate::problem::Problem;
use crate::timestamp::Timestamp;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The longest name and comment of whoever pushes, in bytes.
const MAX_NOTE_BYTES: usize = 256;

/// One revision.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RevisionView {
    /// Counted from 1.
    pub revision: u64,
    /// When it was pushed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who says to have pushed it.
    pub by: String,
    /// What it is for.
    pub comment: String,
    /// The SHA-256 of its text, in hexadecimal.
    pub digest: String,
    /// The length of its text.
    pub bytes: u64,
    /// The earlier revision that it went back to.
    pub restores: Option<u64>,
}

/// A revision with its text.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RevisionText {
    /// The revision.
    #[serde(flatten)]
    pub revision: RevisionView,
    /// Its text, as it was pushed; passwords are `***` unless they were asked for.
    pub text: String,
}

/// All revisions that are kept.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RevisionList {
    /// Newest first.
    pub revisions: Vec<RevisionView>,
}

/// Which revision which node runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConfigurationView {
    /// The one that the node runs that answers; none: its own file.
    pub revision: Option<RevisionView>,
    /// All nodes, by name.
    pub nodes: Vec<RunView>,
}

/// What one node runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunView {
    /// The node.
    pub node: String,
    /// Whether it lives.
    pub state: NodeState,
    /// The revision that it runs; 0 for that of its own file.
    pub revision: u64,
}

/// A configuration for all nodes: a text, or an earlier revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// The text (TOML), with the sections that nodes have in common.
    pub text: Option<String>,
    /// The revision to go back to, instead of a text.
    pub restores: Option<u64>,
    /// Who pushes it, at most 256 bytes.
    #[serde(default)]
    pub by: String,
    /// What it is for, at most 256 bytes.
    #[serde(default)]
    pub comment: String,
    /// The revision that it was made from; if another one is in force by now it is refused.
    pub seen: Option<u64>,
    /// Only ask all nodes whether they could run it.
    #[serde(default)]
    pub dry_run: bool,
}

/// One of the system's parameters.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParameterView {
    /// `SS_…`.
    pub name: String,
    /// As it is written in a configuration.
    pub value: String,
    /// Its unit, possibly empty.
    pub unit: String,
    /// Its value unless it is set.
    pub default: String,
    /// Whether this release acts on it.
    pub acted_on: bool,
    /// What it does.
    pub description: String,
}

/// All parameters.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParameterList {
    /// In the order of the catalogue.
    pub parameters: Vec<ParameterView>,
}

/// Another value of a parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterChange {
    /// As it is written in a configuration; without one the default holds again.
    pub value: Option<String>,
    /// Who changes it, at most 256 bytes.
    #[serde(default)]
    pub by: String,
    /// What it is for, at most 256 bytes.
    #[serde(default)]
    pub comment: String,
}

/// Why a configuration was not pushed or not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushProblem {
    /// Something is wrong with it: which node says so, and what, in lines.
    Refused(String),
    /// It cannot be pushed now, or not over what is in force.
    Conflict(String),
    /// There is no such revision or parameter.
    NotFound(String),
    /// The store does not answer, or a node does not.
    Away(String),
}

impl From<PushProblem> for Problem {
    fn from(problem: PushProblem) -> Self {
        let (status, detail) = match problem {
            PushProblem::Refused(detail) => (StatusCode::UNPROCESSABLE_ENTITY, detail),
            PushProblem::Conflict(detail) => (StatusCode::CONFLICT, detail),
            PushProblem::NotFound(detail) => (StatusCode::NOT_FOUND, detail),
            PushProblem::Away(detail) => (StatusCode::SERVICE_UNAVAILABLE, detail),
        };
        Problem::new(status, detail)
    }
}

/// What is to be shown of a revision.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RevisionFilter {
    /// Whether passwords are shown.
    #[serde(default)]
    pub secrets: bool,
}

/// Which revision which node runs.
#[utoipa::path(get, path = "/api/v1/configuration", tag = "configuration", security(("bearer" = [])),
    responses(
        (status = 200, body = ConfigurationView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn status(
    State(control): State<Arc<dyn Control>>,
) -> Result<Json<ConfigurationView>, Problem> {
    control.configuration().await.map(Json).ok_or_else(store_away)
}

/// The revisions that are kept.
#[utoipa::path(get, path = "/api/v1/configuration/revisions", tag = "configuration", security(("bearer" = [])),
    responses(
        (status = 200, body = RevisionList),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn history(State(control): State<Arc<dyn Control>>) -> Result<Json<RevisionList>, Problem> {
    control.revisions().await.map(|revisions| Json(RevisionList { revisions })).ok_or_else(store_away)
}

/// A revision's text.
#[utoipa::path(get, path = "/api/v1/configuration/revisions/{revision}", tag = "configuration",
    security(("bearer" = [])),
    params(("revision" = u64, Path, description = "its number"), RevisionFilter),
    responses(
        (status = 200, body = RevisionText),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such revision", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn show(
    State(control): State<Arc<dyn Control>>,
    revision: Result<Path<u64>, PathRejection>,
    filter: Result<Query<RevisionFilter>, QueryRejection>,
) -> Result<Json<RevisionText>, Problem> {
    let Query(filter) = filter.map_err(|why| bad(why.body_text()))?;
    let Path(revision) = revision.map_err(|why| bad(why.body_text()))?;
    Ok(Json(control.revision(revision, filter.secrets).await?))
}

/// Has all nodes run a configuration, or go back to an earlier revision: all of them, or none.
#[utoipa::path(post, path = "/api/v1/configuration/revisions", tag = "configuration", security(("bearer" = [])),
    request_body = PushRequest,
    responses(
        (status = 200, description = "the revision that is in force", body = RevisionView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such revision", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "another one is in force by now, or is being pushed; or the store is in memory", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "nodes cannot run it: each error with its line", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store or a node does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn push(
    State(control): State<Arc<dyn Control>>,
    request: Result<Json<PushRequest>, JsonRejection>,
) -> Result<(Extension<AuditDetail>, Json<RevisionView>), Problem> {
    let Json(request) = request.map_err(|why| bad(why.body_text()))?;
    if request.text.is_some() == request.restores.is_some() {
        return Err(bad("either text or restores".to_owned()));
    }
    check_notes(&request.by, &request.comment)?;
    let dry_run = request.dry_run;
    let view = control.push(request).await?;
    let what = if dry_run { "tried as" } else { "in force:" };
    let detail = format!("{what} revision {}, {}", view.revision, view.comment);
    Ok((Extension(AuditDetail(detail)), Json(view)))
}

/// The system's parameters, as they are in force.
#[utoipa::path(get, path = "/api/v1/parameters", tag = "configuration", security(("bearer" = [])),
    responses(
        (status = 200, body = ParameterList),
        (status = 401, body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn parameters(State(control): State<Arc<dyn Control>>) -> Json<ParameterList> {
    Json(ParameterList { parameters: control.parameters() })
}

/// Changes a parameter for all nodes: another revision of the configuration.
#[utoipa::path(put, path = "/api/v1/parameters/{name}", tag = "configuration", security(("bearer" = [])),
    params(("name" = String, Path, description = "SS_…")),
    request_body = ParameterChange,
    responses(
        (status = 200, description = "the revision that is in force", body = RevisionView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such parameter", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "there is no configuration in common, or another one is being pushed", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "not a value of this parameter", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store or a node does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn set_parameter(
    State(control): State<Arc<dyn Control>>,
    name: Result<Path<String>, PathRejection>,
    change: Result<Json<ParameterChange>, JsonRejection>,
) -> Result<(Extension<AuditDetail>, Json<RevisionView>), Problem> {
    let Json(change) = change.map_err(|why| bad(why.body_text()))?;
    let Path(name) = name.map_err(|why| bad(why.body_text()))?;
    check_notes(&change.by, &change.comment)?;
    let value = change.value.clone().unwrap_or_else(|| "the default".to_owned());
    let view = control.set_parameter(name.clone(), change).await?;
    let detail = format!("{name} = {value}, in force: revision {}", view.revision);
    Ok((Extension(AuditDetail(detail)), Json(view)))
}

fn check_notes(by: &str, comment: &str) -> Result<(), Problem> {
    match by.len().max(comment.len()) {
        ..=MAX_NOTE_BYTES => Ok(()),
        _ => Err(bad("by and comment have at most 256 bytes".to_owned())),
    }
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn store_away() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; try again")
}
