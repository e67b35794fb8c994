//! The router, its limits, and serving it.

use crate::auth::{Tokens, require_token};
use crate::control::Control;
use crate::problem::Problem;
use crate::{audit, bans, calls, configuration, drain, gateways, health, nodes, registrations, suspensions};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Requests to `/api` that are worked on at once; one more gets 503. Health and metrics are not counted, so that a
/// busy API does not look like a dead node.
pub const MAX_REQUESTS_IN_FLIGHT: usize = 32;

/// How long the node may take to answer a request to `/api`; then it gets 504.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest body of a request, in bytes: a configuration, its text escaped.
const MAX_BODY_BYTES: usize = 16 << 20;

/// The document's head; the routes fill in the rest.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tandem",
        description = "Health, metrics, calls, gateways and registrations of one node; the nodes of its cluster and their configuration.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Bearer)
)]
struct Document;

/// Declares the tokens; the routes that need one name the scheme.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// Every route of the API over `control`; those under `/api` need one of `tokens`, if there are any.
pub fn router(control: Arc<dyn Control>, tokens: Tokens) -> Router {
    let (open, probes) = probe_routes().split_for_parts();
    let (guarded, document) = api_routes().split_for_parts();
    let document = Document::openapi().merge_from(probes).merge_from(document);
    let guarded = guarded
        .route("/api/openapi.json", routing::get(async move || Json(document)))
        .layer(from_fn_with_state(Arc::new(Semaphore::new(MAX_REQUESTS_IN_FLIGHT)), bound_work))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(control.clone(), audit::note))
        .layer(from_fn_with_state(tokens, require_token));
    open.merge(guarded)
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no such path; see /api/openapi.json"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has other methods; see /api/openapi.json")
        })
        .with_state(control)
}

/// Serves `router` on `listener` until `shutdown` is ready and the requests in flight have been answered.
///
/// # Errors
/// When the listener fails for good; failures of single connections are not errors.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

fn probe_routes() -> OpenApiRouter<Arc<dyn Control>> {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

fn api_routes() -> OpenApiRouter<Arc<dyn Control>> {
    let routes = OpenApiRouter::new()
        .routes(routes!(calls::list))
        .routes(routes!(calls::show, calls::hang_up))
        .routes(routes!(gateways::list))
        .routes(routes!(bans::list))
        .routes(routes!(bans::lift))
        .routes(routes!(registrations::list))
        .routes(routes!(registrations::remove))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::annotate, nodes::forget))
        .routes(routes!(nodes::raise))
        .routes(routes!(configuration::status))
        .routes(routes!(configuration::history, configuration::push))
        .routes(routes!(configuration::show))
        .routes(routes!(configuration::parameters))
        .routes(routes!(configuration::set_parameter))
        .routes(routes!(audit::list))
        .routes(routes!(drain::show, drain::begin, drain::cancel))
        .routes(routes!(suspensions::list))
        .routes(routes!(suspensions::lift));
    #[cfg(feature = "fault-injection")]
    let routes = routes.routes(routes!(calls::panic));
    routes
}

/// Keeps the API within its limits on requests and time.
async fn bound_work(State(slots): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_slot) = slots.try_acquire() else {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once").into_response();
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "the node did not answer in time").into_response()
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
