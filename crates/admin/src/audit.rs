//! `/api/v1/audit`: who changed what. Every request that is to change something is noted, with what became of it.

use crate::control::Control;
use crate::problem::Problem;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The header in which a client says for whom it acts.
const AUTHOR: &str = "Tandem-Author";

/// The longest part of it that is noted, in characters.
const MAX_AUTHOR: usize = 128;

/// Entries in one answer when the query does not say.
const DEFAULT_PAGE: usize = 100;

/// The most entries in one answer, whatever the query says.
const MAX_PAGE: usize = 1_000;

/// What a request has changed, where its path does not say.
#[derive(Clone, Debug)]
pub(crate) struct AuditDetail(pub(crate) String);

/// A request that was to change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// For whom the client says to act; possibly empty.
    pub by: String,
    /// Where the request came from, if that is known.
    pub from: String,
    /// Its method and path.
    pub request: String,
    /// What it has changed, where the path does not say; possibly empty.
    pub detail: String,
    /// The answer.
    pub status: u16,
}

/// One entry.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// What it is listed by; the next page is asked for with the last one's.
    pub id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The node that was asked.
    pub node: String,
    /// For whom the client said to act.
    pub by: String,
    /// Where the request came from.
    pub from: String,
    /// Its method and path.
    pub request: String,
    /// What it has changed, where the path does not say.
    pub detail: String,
    /// The answer.
    pub status: u16,
}

/// Some entries.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditList {
    /// Newest first.
    pub entries: Vec<AuditView>,
}

/// Which entries.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditFilter {
    /// At most so many, 1 to 1000; 100 unless said.
    pub limit: Option<usize>,
    /// Only those before this one, by its id.
    pub after: Option<String>,
}

impl AuditFilter {
    /// How many entries are asked for.
    pub fn page_size(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }
}

/// Who changed what, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", security(("bearer" = [])),
    params(AuditFilter),
    responses(
        (status = 200, body = AuditList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the store does not answer", body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(control): State<Arc<dyn Control>>,
    filter: Result<Query<AuditFilter>, QueryRejection>,
) -> Result<Json<AuditList>, Problem> {
    let Query(filter) = filter.map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.body_text()))?;
    let away = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; try again");
    control.audit(filter).await.map(|entries| Json(AuditList { entries })).ok_or_else(away)
}

/// The middleware that notes requests.
pub(crate) async fn note(State(control): State<Arc<dyn Control>>, request: Request, next: Next) -> Response {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return next.run(request).await;
    }
    let author = request.headers().get(AUTHOR).and_then(|author| author.to_str().ok()).unwrap_or_default();
    let by = author.chars().take(MAX_AUTHOR).collect();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from = peer.map(|ConnectInfo(peer)| peer.ip().to_string()).unwrap_or_default();
    let line = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    let detail = response.extensions().get::<AuditDetail>().map(|detail| detail.0.clone());
    let audited = Audited {
        by,
        from,
        request: line,
        detail: detail.unwrap_or_default(),
        status: response.status().as_u16(),
    };
    control.note_audit(audited).await;
    response
}
