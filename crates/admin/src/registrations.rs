//! `/api/v1/registrations`: where endpoints are reached.

use crate::control::{Control, Removal};
use crate::problem::Problem;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Addresses of record in one answer when the query does not say.
const DEFAULT_PAGE: usize = 100;

/// The most addresses of record in one answer, whatever the query says.
const MAX_PAGE: usize = 1_000;

/// One binding of an endpoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RegistrationView {
    /// The address of record.
    pub aor: String,
    /// The Contact URI as it was registered.
    pub contact: String,
    /// The preference, 0 to 1: the highest is called first.
    pub q: f32,
    /// Seconds until it lapses.
    pub expires_s: u64,
    /// Whether the endpoint is behind a NAT.
    pub nat: bool,
    /// When it was last sent a keep-alive; none if it gets none, or has not had one yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub kept_alive_at: Option<Timestamp>,
    /// Since when its keep-alives do not arrive.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub unreachable_since: Option<Timestamp>,
    /// The transport that its REGISTER came by.
    pub transport: String,
    /// The address that its REGISTER came from.
    pub source: String,
    /// The proxies on the way to it (Path).
    pub path: Vec<String>,
    /// The device (`+sip.instance`).
    pub instance: Option<String>,
    /// Which of the device's flows it is (RFC 5626).
    pub reg_id: Option<u32>,
    /// What the device calls itself.
    pub user_agent: Option<String>,
    /// When it was first registered.
    #[schema(value_type = String, format = DateTime)]
    pub registered_at: Timestamp,
    /// When it was registered last.
    #[schema(value_type = String, format = DateTime)]
    pub refreshed_at: Timestamp,
}

/// A list of bindings.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RegistrationPage {
    /// The bindings, by address of record.
    pub registrations: Vec<RegistrationView>,
    /// What to ask for as `after` to get the next page; absent on the last one.
    pub next: Option<String>,
}

/// Which bindings to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RegistrationFilter {
    /// Only bindings whose address of record or contact contains this.
    #[serde(default)]
    pub filter: String,
    /// Only addresses of record after this one.
    pub after: Option<String>,
    /// Addresses of record in the answer: 100 if absent, never more than 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// What a removal is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemovalFilter {
    /// Only the binding of this contact, as the list has it.
    pub contact: Option<String>,
}

impl RegistrationFilter {
    /// Addresses of record in the answer.
    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }
}

/// The bindings of endpoints, page by page.
#[utoipa::path(get, path = "/api/v1/registrations", tag = "registrations", security(("bearer" = [])),
    params(RegistrationFilter),
    responses(
        (status = 200, body = RegistrationPage),
        (status = 400, description = "an unknown query key or a bad value", body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(control): State<Arc<dyn Control>>,
    query: Result<Query<RegistrationFilter>, QueryRejection>,
) -> Result<Json<RegistrationPage>, Problem> {
    let Query(filter) = query.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.body_text()))?;
    control.registrations(filter).await.map(Json).ok_or_else(store_away)
}

/// Removes the bindings of an address of record, or one of them. The endpoint is not told: it registers again when it next
/// refreshes, unless it is no endpoint any more.
#[utoipa::path(delete, path = "/api/v1/registrations/{aor}", tag = "registrations", security(("bearer" = [])),
    params(("aor" = String, Path, description = "the address of record, as the list has it"), RemovalFilter),
    responses(
        (status = 204, description = "removed"),
        (status = 400, description = "an unknown query key", body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such binding", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn remove(
    State(control): State<Arc<dyn Control>>,
    aor: Result<Path<String>, PathRejection>,
    query: Result<Query<RemovalFilter>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let Query(filter) = query.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.body_text()))?;
    let Ok(Path(aor)) = aor else { return Err(no_binding()) };
    match control.remove_registration(aor, filter.contact).await {
        Removal::Removed => Ok(StatusCode::NO_CONTENT),
        Removal::NotFound => Err(no_binding()),
        Removal::Away => Err(store_away()),
    }
}

fn no_binding() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "nothing is registered there")
}

fn store_away() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; try again")
}
