//! `/api/v1/gateways`.

use crate::control::Control;
use crate::problem::Problem;
use crate::view::GatewayList;
use axum::Json;
use axum::extract::State;
use std::sync::Arc;

/// All gateways: state, load and quality.
#[utoipa::path(get, path = "/api/v1/gateways", tag = "gateways", security(("bearer" = [])), responses(
    (status = 200, body = GatewayList),
    (status = 401, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn list(State(control): State<Arc<dyn Control>>) -> Json<GatewayList> {
    Json(GatewayList { gateways: control.gateways().await })
}
