//! `/api/v1/calls`.

use crate::control::{Control, HangUp};
use crate::problem::Problem;
use crate::view::{CallFilter, CallPage, CallView};
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use std::sync::Arc;

/// The id out of a path, or that it is not even text.
type PathId = Result<Path<String>, PathRejection>;

/// The current calls that the query selects.
#[utoipa::path(get, path = "/api/v1/calls", tag = "calls", security(("bearer" = [])), params(CallFilter), responses(
    (status = 200, body = CallPage),
    (status = 400, description = "an unknown query key or a bad value", body = Problem, content_type = "application/problem+json"),
    (status = 401, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn list(
    State(control): State<Arc<dyn Control>>,
    query: Result<Query<CallFilter>, QueryRejection>,
) -> Result<Json<CallPage>, Problem> {
    let Query(filter) = query.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.body_text()))?;
    Ok(Json(control.calls(filter).await))
}

/// One current call.
#[utoipa::path(get, path = "/api/v1/calls/{id}", tag = "calls", security(("bearer" = [])),
    params(("id" = String, Path, description = "the call's id, as the list and the CDR have it")),
    responses(
        (status = 200, body = CallView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such call, or it has ended", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn show(
    State(control): State<Arc<dyn Control>>,
    id: PathId,
) -> Result<Json<CallView>, Problem> {
    control.call(&text(id)?).await.map(Json).ok_or_else(no_such_call)
}

/// Hangs up: BYE, CANCEL or a final response on each leg, whatever its state asks for.
#[utoipa::path(delete, path = "/api/v1/calls/{id}", tag = "calls", security(("bearer" = [])),
    params(("id" = String, Path, description = "the call's id, as the list and the CDR have it")),
    responses(
        (status = 202, description = "the call has been told to end"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such call, or it has ended", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn hang_up(
    State(control): State<Arc<dyn Control>>,
    id: PathId,
) -> Result<StatusCode, Problem> {
    accepted(control.hang_up(&text(id)?).await)
}

/// Makes the call's actor panic at its next input.
#[cfg(feature = "fault-injection")]
#[utoipa::path(post, path = "/api/v1/faults/calls/{id}/panic", tag = "faults", security(("bearer" = [])),
    params(("id" = String, Path, description = "the call's id, as the list and the CDR have it")),
    responses(
        (status = 202, description = "the call will panic"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such call, or it has ended", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn panic(
    State(control): State<Arc<dyn Control>>,
    id: PathId,
) -> Result<StatusCode, Problem> {
    accepted(control.panic_call(&text(id)?).await)
}

fn text(id: PathId) -> Result<String, Problem> {
    id.map(|Path(id)| id).map_err(|_not_utf8| no_such_call())
}

fn accepted(outcome: HangUp) -> Result<StatusCode, Problem> {
    match outcome {
        HangUp::Accepted => Ok(StatusCode::ACCEPTED),
        HangUp::NotFound => Err(no_such_call()),
    }
}

fn no_such_call() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no call has this id; calls that have ended are in the CDRs")
}
