//! `/api/v1/drain`: a node that is to stop hands its calls to others first.

use crate::control::Control;
use crate::problem::Problem;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainState {
    /// The node takes new calls.
    None,
    /// Calls are being handed to other nodes, or waited for.
    HandingOver,
    /// The node has no calls; what still comes for them is passed on.
    PassingOn,
    /// Nobody needs the node any more.
    Drained,
}

/// A node's drain.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DrainView {
    /// How far it has come.
    pub state: DrainState,
    /// Whether the node leaves once it is drained.
    pub leaves: bool,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Seconds since then.
    pub seconds: u64,
    /// Calls in progress here.
    pub calls: usize,
    /// Calls that were handed to other nodes.
    pub handed_over: usize,
    /// New calls that other nodes set up, though they came here.
    pub placed: usize,
    /// Those of them that are not answered yet, and need this node until they are.
    pub setting_up: usize,
}

/// What is to become of a node that is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainRequest {
    /// It stays, takes no calls, and can be told to take some again.
    pub stay: bool,
}

/// What became of a drain that was to be called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainCancel {
    /// The node takes new calls.
    Cancelled,
    /// It did so anyway.
    NotDraining,
    /// The node leaves, which cannot be called off.
    Leaving,
}

/// How far the drain has come.
#[utoipa::path(get, path = "/api/v1/drain", tag = "drain", security(("bearer" = [])), responses(
    (status = 200, body = DrainView),
    (status = 401, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn show(State(control): State<Arc<dyn Control>>) -> Json<DrainView> {
    Json(control.drain())
}

/// Has the node take no new calls and hand those that it has to other nodes; then it leaves, unless it is to stay.
#[utoipa::path(post, path = "/api/v1/drain", tag = "drain", security(("bearer" = [])),
    request_body = DrainRequest,
    responses(
        (status = 202, description = "the drain has begun, or goes on", body = DrainView),
        (status = 400, description = "no such key", body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn begin(
    State(control): State<Arc<dyn Control>>,
    request: Result<Json<DrainRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<DrainView>), Problem> {
    let Json(request) = request.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.body_text()))?;
    Ok((StatusCode::ACCEPTED, Json(control.begin_drain(request))))
}

/// Has a node that was to stay take new calls again.
#[utoipa::path(delete, path = "/api/v1/drain", tag = "drain", security(("bearer" = [])), responses(
    (status = 204, description = "the node takes new calls"),
    (status = 401, body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "the node is not being drained", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "the node leaves", body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn cancel(State(control): State<Arc<dyn Control>>) -> Result<StatusCode, Problem> {
    match control.cancel_drain() {
        DrainCancel::Cancelled => Ok(StatusCode::NO_CONTENT),
        DrainCancel::NotDraining => Err(Problem::new(StatusCode::NOT_FOUND, "the node is not being drained")),
        DrainCancel::Leaving => {
            Err(Problem::new(StatusCode::CONFLICT, "the node leaves, which cannot be called off"))
        }
    }
}
