//! `/api/v1/suspensions`: who has guessed passwords.

use crate::control::Control;
use crate::problem::Problem;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What of a suspension is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SuspensionKind {
    /// A source, whichever account it names.
    Source,
    /// An account, from wherever it is named.
    Account,
    /// An account at the source where it was last seen.
    Home,
}

/// A source or an account whose credentials are not looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SuspensionView {
    /// An address, a /64 of IPv6, a user name, or both.
    pub name: String,
    /// Which of these.
    pub kind: SuspensionKind,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// Seconds until then.
    pub left_s: u64,
}

/// A list of suspensions.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SuspensionList {
    /// Sources first.
    pub suspensions: Vec<SuspensionView>,
}

/// The sources and accounts that are suspended for wrong credentials.
#[utoipa::path(get, path = "/api/v1/suspensions", tag = "suspensions", security(("bearer" = [])), responses(
    (status = 200, body = SuspensionList),
    (status = 401, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn list(State(control): State<Arc<dyn Control>>) -> Json<SuspensionList> {
    Json(SuspensionList { suspensions: control.suspensions() })
}

/// Lifts a suspension.
#[utoipa::path(delete, path = "/api/v1/suspensions/{name}", tag = "suspensions", security(("bearer" = [])),
    params(("name" = String, Path, description = "the name, as the list has it")),
    responses(
        (status = 204, description = "the suspension is lifted"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such suspension", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn lift(
    State(control): State<Arc<dyn Control>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    match name {
        Ok(Path(name)) if control.lift_suspension(&name) => Ok(StatusCode::NO_CONTENT),
        Ok(_) | Err(_) => Err(Problem::new(StatusCode::NOT_FOUND, "nothing of this name is suspended")),
    }
}
