//! What probes and scrapers read. No token: they have none, and there is nothing to learn here.

use crate::control::{Control, Readiness};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The media type of the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A probe's answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, `ready` or `not ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// The process serves HTTP.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", why: None })
}

/// New calls may be sent here.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, body = Health),
    (status = 503, description = "not ready: starting, draining or cut off", body = Health)
))]
pub(crate) async fn readyz(State(control): State<Arc<dyn Control>>) -> Response {
    match control.ready() {
        Readiness::Ready => Json(Health { status: "ready", why: None }).into_response(),
        Readiness::NotReady { why } => {
            let health = Health { status: "not ready", why: Some(why) };
            (StatusCode::SERVICE_UNAVAILABLE, Json(health)).into_response()
        }
    }
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, content_type = "text/plain", body = String)
))]
pub(crate) async fn metrics(State(control): State<Arc<dyn Control>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], control.metrics_text()).into_response()
}
