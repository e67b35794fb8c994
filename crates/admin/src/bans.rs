//! `/api/v1/bans`.

use crate::control::Control;
use crate::problem::Problem;
use crate::view::BanList;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use std::net::IpAddr;
use std::sync::Arc;

/// The sources that are not listened to for the bad messages they sent.
#[utoipa::path(get, path = "/api/v1/bans", tag = "bans", security(("bearer" = [])), responses(
    (status = 200, body = BanList),
    (status = 401, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn list(State(control): State<Arc<dyn Control>>) -> Json<BanList> {
    Json(BanList { bans: control.bans() })
}

/// Lifts a ban.
#[utoipa::path(delete, path = "/api/v1/bans/{address}", tag = "bans", security(("bearer" = [])),
    params(("address" = String, Path, description = "an address of the source")),
    responses(
        (status = 204, description = "the ban is lifted"),
        (status = 400, description = "no address", body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such ban", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn lift(
    State(control): State<Arc<dyn Control>>,
    address: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let address: Option<IpAddr> = address.ok().and_then(|Path(address)| address.parse().ok());
    let Some(address) = address else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "this is no address such as 192.0.2.1"));
    };
    if control.lift_ban(address) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(StatusCode::NOT_FOUND, "this address is not banned"))
    }
}
