//! `/api/v1/nodes`: the nodes of the cluster.

use crate::control::{Annotation, Control, Forgetting, Raising};
use crate::problem::Problem;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The longest mark and memo, in bytes.
const MAX_NOTE_BYTES: usize = 256;

/// One node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeView {
    /// Its name (access name).
    pub name: String,
    /// The mark that an operator has assigned.
    pub mark: String,
    /// Whether it lives.
    pub state: NodeState,
    /// Whether it is the one that answers.
    pub this: bool,
    /// When a node of that name joined first.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was heard of last (access time).
    #[schema(value_type = String, format = DateTime)]
    pub accessed_at: Timestamp,
    /// When it was started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Where it takes SIP (access ip).
    pub addresses: Vec<String>,
    /// Where its API is.
    pub admin: String,
    /// Its release.
    pub version: String,
    /// Which language of the cluster it speaks.
    pub feature_level: u16,
    /// The revision of the configuration that it runs; 0 for that of its own file.
    pub config_revision: u64,
    /// Calls in progress.
    pub calls: u32,
    /// Calls that it admits per second.
    pub cps: f64,
    /// What an operator has noted.
    pub memo: String,
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It beats.
    Alive,
    /// It has stopped beating.
    Dead,
    /// It has left in good order.
    Left,
}

/// All nodes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeList {
    /// By name.
    pub nodes: Vec<NodeView>,
}

/// What is assigned to a node; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeNote {
    /// At most 256 bytes.
    #[schema(max_length = 256)]
    pub mark: Option<String>,
    /// At most 256 bytes.
    #[schema(max_length = 256)]
    pub memo: Option<String>,
}

/// To which feature level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LevelRequest {
    /// As high as all nodes know unless it is set.
    pub level: Option<u16>,
}

/// The cluster's feature level.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct LevelView {
    /// What all nodes write.
    pub feature_level: u16,
}

/// The nodes of the cluster.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", security(("bearer" = [])),
    responses(
        (status = 200, body = NodeList),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(State(control): State<Arc<dyn Control>>) -> Result<Json<NodeList>, Problem> {
    control.nodes().await.map(|nodes| Json(NodeList { nodes })).ok_or_else(store_away)
}

/// Raises the cluster's feature level: what is written from then on is not read by releases that do not know it.
#[utoipa::path(post, path = "/api/v1/feature-level", tag = "nodes", security(("bearer" = [])),
    request_body = LevelRequest,
    responses(
        (status = 200, description = "raised", body = LevelView),
        (status = 400, description = "no such key", body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "some node does not know it", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn raise(
    State(control): State<Arc<dyn Control>>,
    request: Result<Json<LevelRequest>, JsonRejection>,
) -> Result<Json<LevelView>, Problem> {
    let Json(request) = request.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.body_text()))?;
    match control.raise_feature_level(request.level).await {
        Raising::Raised(feature_level) => Ok(Json(LevelView { feature_level })),
        Raising::Refused(why) => Err(Problem::new(StatusCode::CONFLICT, why)),
        Raising::Away => Err(store_away()),
    }
}

/// Assigns a mark or a memo to a node.
#[utoipa::path(patch, path = "/api/v1/nodes/{name}", tag = "nodes", security(("bearer" = [])),
    params(("name" = String, Path, description = "the node's name")),
    request_body = NodeNote,
    responses(
        (status = 204, description = "assigned"),
        (status = 400, description = "no such key, or too long", body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such node", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn annotate(
    State(control): State<Arc<dyn Control>>,
    name: Result<Path<String>, PathRejection>,
    note: Result<Json<NodeNote>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(note) = note.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.body_text()))?;
    let Ok(Path(name)) = name else { return Err(no_node()) };
    let is_long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > MAX_NOTE_BYTES);
    if is_long(&note.mark) || is_long(&note.memo) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "mark and memo have at most 256 bytes"));
    }
    match control.annotate_node(name, note).await {
        Annotation::Assigned => Ok(StatusCode::NO_CONTENT),
        Annotation::NotFound => Err(no_node()),
        Annotation::Away => Err(store_away()),
    }
}

/// Forgets a node that is dead or has left.
#[utoipa::path(delete, path = "/api/v1/nodes/{name}", tag = "nodes", security(("bearer" = [])),
    params(("name" = String, Path, description = "the node's name")),
    responses(
        (status = 204, description = "forgotten"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such node", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "it lives", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn forget(
    State(control): State<Arc<dyn Control>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Ok(Path(name)) = name else { return Err(no_node()) };
    match control.forget_node(name).await {
        Forgetting::Forgotten => Ok(StatusCode::NO_CONTENT),
        Forgetting::NotFound => Err(no_node()),
        Forgetting::Lives => Err(Problem::new(StatusCode::CONFLICT, "the node lives; stop it first")),
        Forgetting::Away => Err(store_away()),
    }
}

fn no_node() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such node")
}

fn store_away() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; try again")
}
