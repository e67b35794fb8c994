//! The API as its clients meet it.

use super::*;
use crate::control::{BoxFuture, HangUp, Raising, Readiness, Removal};
use crate::drain::{DrainCancel, DrainRequest, DrainState, DrainView};
use crate::{Annotation, Forgetting, NodeNote, NodeState, NodeView};
use crate::{
    AuditFilter, AuditView, Audited, ConfigurationView, ParameterChange, ParameterView, PushProblem,
    PushRequest, RevisionText, RevisionView,
};
use crate::{
    BanView, CallFilter, CallPage, CallState, CallView, GatewayKind, GatewayState, GatewayView, ProbeView,
    RegistrationFilter, RegistrationPage, RegistrationView, SuspensionKind, SuspensionView, TargetView,
    Timestamp, Token,
};
use axum::body::{Body, to_bytes};
use axum::http::{Method, header};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tower::ServiceExt;

const PRESENT: &str = "0a1b";
const REGISTERED: &str = "alice@example.com";
const SUSPENDED: &str = "alice at 198.51.100.9";
const BANNED: &str = "198.51.100.7";

#[derive(Default)]
struct OneCall {
    draining: bool,
    leaving: bool,
    stuck: bool,
    hung_up: AtomicBool,
    audited: Mutex<Vec<Audited>>,
}

impl OneCall {
    fn view() -> CallView {
        CallView {
            id: PRESENT.into(),
            state: CallState::Ringing,
            caller: "4930".into(),
            called: "4420".into(),
            mapping_gateway: "customer".into(),
            routing_gateway: None,
            started_at: Timestamp::from_unix_ms(1_772_366_400_250),
            answered_at: None,
            duration_s: 0,
            attempts: 0,
            call_id_a: "a@192.0.2.1".into(),
            call_id_b: None,
            codec: None,
        }
    }

    fn about(id: &str) -> HangUp {
        if id == PRESENT { HangUp::Accepted } else { HangUp::NotFound }
    }
}

fn revision(revision: u64) -> RevisionView {
    RevisionView {
        revision,
        at: Timestamp::from_unix_ms(1_772_366_400_000),
        by: "ada".into(),
        comment: "begin".into(),
        digest: "00".into(),
        bytes: 4,
        restores: None,
    }
}

impl Control for OneCall {
    fn calls(&self, filter: CallFilter) -> BoxFuture<'_, CallPage> {
        Box::pin(async move {
            if self.stuck {
                std::future::pending::<()>().await;
            }
            filter.page([OneCall::view()])
        })
    }

    fn call<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<CallView>> {
        Box::pin(async move { (id == PRESENT).then(OneCall::view) })
    }

    fn hang_up<'a>(&'a self, id: &'a str) -> BoxFuture<'a, HangUp> {
        Box::pin(async move {
            let outcome = OneCall::about(id);
            self.hung_up.fetch_or(outcome == HangUp::Accepted, Ordering::Relaxed);
            outcome
        })
    }

    fn gateways(&self) -> BoxFuture<'_, Vec<GatewayView>> {
        Box::pin(async {
            vec![GatewayView {
                name: "vendor".into(),
                kind: GatewayKind::Routing,
                address: "vendor.example.com".into(),
                targets: vec![TargetView {
                    transport: "udp".into(),
                    address: "192.0.2.9:5060".into(),
                    failed: false,
                }],
                state: GatewayState::Available,
                why: None,
                changed_at: None,
                publication: None,
                probe: Some(ProbeView {
                    at: Timestamp::from_unix_ms(1_772_366_400_000),
                    rtt_ms: Some(12),
                    failure: None,
                    failures: 0,
                }),
                registration: None,
                registered: None,
                calls: 1,
                cluster_calls: Some(4),
                max_calls: Some(10),
                cps: None,
                attempts: 4,
                answered: 3,
                asr: Some(75.0),
                acd_s: None,
                pdd_ms: Some(800),
                last_failures: Vec::new(),
            }]
        })
    }

    fn bans(&self) -> Vec<BanView> {
        let at = |ms: u64| Timestamp::from_unix_ms(1_772_366_400_000 + ms);
        vec![BanView { source: BANNED.into(), since: at(0), until: at(300_000), left_s: 250 }]
    }

    fn lift_ban(&self, source: std::net::IpAddr) -> bool {
        source.to_string() == BANNED
    }

    fn registrations(&self, filter: RegistrationFilter) -> BoxFuture<'_, Option<RegistrationPage>> {
        let at = Timestamp::from_unix_ms(1_772_366_400_000);
        let view = RegistrationView {
            aor: REGISTERED.into(),
            contact: "sip:alice@192.0.2.7".into(),
            q: 0.5,
            expires_s: 250,
            nat: true,
            kept_alive_at: Some(at),
            unreachable_since: None,
            transport: "udp".into(),
            source: "198.51.100.9:4711".into(),
            path: Vec::new(),
            instance: None,
            reg_id: None,
            user_agent: Some("phone".into()),
            registered_at: at,
            refreshed_at: at,
        };
        let page = (filter.after.as_deref() != Some("away")).then(|| RegistrationPage {
            registrations: vec![view; filter.page_size().min(1)],
            next: Some(format!("{} of {}", filter.page_size(), filter.filter)),
        });
        Box::pin(std::future::ready(page))
    }

    fn remove_registration(&self, aor: String, contact: Option<String>) -> BoxFuture<'_, Removal> {
        let removal = match (aor.as_str(), contact.as_deref()) {
            (REGISTERED, None | Some("sip:alice@192.0.2.7")) => Removal::Removed,
            ("away", _) => Removal::Away,
            _ => Removal::NotFound,
        };
        Box::pin(std::future::ready(removal))
    }

    fn nodes(&self) -> BoxFuture<'_, Option<Vec<NodeView>>> {
        let at = Timestamp::from_unix_ms(1_772_366_400_000);
        let node = NodeView {
            name: "node-1".into(),
            mark: "rack 4".into(),
            state: NodeState::Alive,
            this: true,
            created_at: at,
            accessed_at: at,
            started_at: at,
            addresses: vec!["192.0.2.1:5060".into()],
            admin: "127.0.0.1:8080".into(),
            version: "0.1.0".into(),
            feature_level: 1,
            config_revision: 7,
            calls: 3,
            cps: 1.5,
            memo: String::new(),
        };
        Box::pin(std::future::ready(Some(vec![node])))
    }

    fn annotate_node(&self, name: String, note: NodeNote) -> BoxFuture<'_, Annotation> {
        assert_eq!(note, NodeNote { mark: None, memo: Some("new disk".into()) });
        Box::pin(std::future::ready(match name.as_str() {
            "node-1" | SUSPENDED => Annotation::Assigned,
            "away" => Annotation::Away,
            _ => Annotation::NotFound,
        }))
    }

    fn forget_node(&self, name: String) -> BoxFuture<'_, Forgetting> {
        Box::pin(std::future::ready(match name.as_str() {
            "node-1" => Forgetting::Lives,
            "node-2" | SUSPENDED => Forgetting::Forgotten,
            "away" => Forgetting::Away,
            _ => Forgetting::NotFound,
        }))
    }

    fn configuration(&self) -> BoxFuture<'_, Option<ConfigurationView>> {
        let revision = Some(revision(7));
        Box::pin(std::future::ready(Some(ConfigurationView { revision, nodes: Vec::new() })))
    }

    fn revisions(&self) -> BoxFuture<'_, Option<Vec<RevisionView>>> {
        Box::pin(std::future::ready(Some(vec![revision(7)])))
    }

    fn revision(&self, number: u64, secrets: bool) -> BoxFuture<'_, Result<RevisionText, PushProblem>> {
        let text = if secrets { "hush" } else { "***" }.to_owned();
        let found = (number == 7).then(|| RevisionText { revision: revision(7), text });
        Box::pin(std::future::ready(found.ok_or(PushProblem::NotFound("there is no revision".into()))))
    }

    fn push(&self, request: PushRequest) -> BoxFuture<'_, Result<RevisionView, PushProblem>> {
        Box::pin(std::future::ready(match request.text.as_deref() {
            Some("bad") => Err(PushProblem::Refused("node-2: line 1: unknown key".into())),
            Some("busy") => Err(PushProblem::Conflict("another push is under way".into())),
            Some("away") => Err(PushProblem::Away("the store does not answer".into())),
            Some(_) | None => Ok(revision(8)),
        }))
    }

    fn parameters(&self) -> Vec<ParameterView> {
        vec![ParameterView {
            name: "SS_X".into(),
            value: "30".into(),
            unit: "s".into(),
            default: "60".into(),
            acted_on: true,
            description: "what it does".into(),
        }]
    }

    fn set_parameter(
        &self,
        name: String,
        _: ParameterChange,
    ) -> BoxFuture<'_, Result<RevisionView, PushProblem>> {
        let unknown = || PushProblem::NotFound("there is no such parameter".into());
        Box::pin(std::future::ready(
            (name == "SS_X" || name == SUSPENDED).then(|| revision(8)).ok_or_else(unknown),
        ))
    }

    fn audit(&self, filter: AuditFilter) -> BoxFuture<'_, Option<Vec<AuditView>>> {
        let audited = self.audited.lock().expect("no panic");
        let view = |audited: &Audited| AuditView {
            id: "1".into(),
            at: Timestamp::from_unix_ms(1_772_366_400_000),
            node: "node-1".into(),
            by: audited.by.clone(),
            from: audited.from.clone(),
            request: audited.request.clone(),
            detail: audited.detail.clone(),
            status: audited.status,
        };
        let entries = audited.iter().rev().take(filter.page_size()).map(view).collect();
        Box::pin(std::future::ready(Some(entries)))
    }

    fn note_audit(&self, audited: Audited) -> BoxFuture<'_, ()> {
        self.audited.lock().expect("no panic").push(audited);
        Box::pin(std::future::ready(()))
    }

    fn suspensions(&self) -> Vec<SuspensionView> {
        let at = |ms: u64| Timestamp::from_unix_ms(1_772_366_400_000 + ms);
        let kind = SuspensionKind::Home;
        vec![SuspensionView { name: SUSPENDED.into(), kind, since: at(0), until: at(300_000), left_s: 250 }]
    }

    fn lift_suspension(&self, name: &str) -> bool {
        name == SUSPENDED
    }

    fn raise_feature_level(&self, wanted: Option<u16>) -> BoxFuture<'_, Raising> {
        Box::pin(std::future::ready(match wanted {
            Some(9) => Raising::Refused("node-2 knows no feature level beyond 1".into()),
            Some(8) => Raising::Away,
            wanted => Raising::Raised(wanted.unwrap_or(2)),
        }))
    }

    fn drain(&self) -> DrainView {
        DrainView {
            state: if self.draining { DrainState::HandingOver } else { DrainState::None },
            leaves: self.leaving,
            since: self.draining.then(|| Timestamp::from_unix_ms(1_772_366_400_000)),
            seconds: 3,
            calls: 1,
            handed_over: 40,
            placed: 2,
            setting_up: 1,
        }
    }

    fn begin_drain(&self, request: DrainRequest) -> DrainView {
        DrainView { state: DrainState::HandingOver, leaves: !request.stay, ..self.drain() }
    }

    fn cancel_drain(&self) -> DrainCancel {
        match (self.draining, self.leaving) {
            (_, true) => DrainCancel::Leaving,
            (true, false) => DrainCancel::NotDraining,
            (false, false) => DrainCancel::Cancelled,
        }
    }

    fn ready(&self) -> Readiness {
        if self.draining { Readiness::NotReady { why: "draining".into() } } else { Readiness::Ready }
    }

    fn metrics_text(&self) -> String {
        "tandem_calls 1\n".into()
    }

    #[cfg(feature = "fault-injection")]
    fn panic_call<'a>(&'a self, id: &'a str) -> BoxFuture<'a, HangUp> {
        Box::pin(async move { OneCall::about(id) })
    }
}

struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }
}

async fn ask(router: &Router, method: &str, path: &str, token: Option<&str>) -> Answer {
    ask_with(router, (method, path), token, None).await
}

async fn ask_with(
    router: &Router,
    (method, path): (&str, &str),
    token: Option<&str>,
    document: Option<&'static str>,
) -> Answer {
    let mut request = Request::builder().method(Method::try_from(method).expect("a method")).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if document.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(document.map_or(Body::empty(), Body::from)).expect("a request");
    let response = router.clone().oneshot(request).await.expect("axum does not fail");
    let content_type = response.headers().get(header::CONTENT_TYPE);
    Answer {
        status: response.status().as_u16(),
        content_type: content_type.map_or(String::new(), |v| v.to_str().expect("ASCII").to_owned()),
        body: String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.expect("a body").to_vec())
            .expect("UTF-8"),
    }
}

fn open() -> Router {
    router(Arc::new(OneCall::default()), Tokens::default())
}

fn locked() -> Router {
    router(Arc::new(OneCall::default()), Tokens::new([Token::new("s3cret")]))
}

/// Every (method, path) of the served document, ids filled in.
async fn documented() -> Vec<(String, String)> {
    let document = ask(&open(), "GET", "/api/openapi.json", None).await.json();
    let paths = document["paths"].as_object().expect("paths").clone();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let path = path.replace("{id}", PRESENT).replace("{address}", BANNED).replace("{revision}", "7");
            let path = path.replace("{aor}", REGISTERED).replace("{name}", &SUSPENDED.replace(' ', "%20"));
            let methods: Vec<String> = item.as_object().expect("a path item").keys().cloned().collect();
            methods.into_iter().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

/// What a request of that method needs.
fn document_for(method: &str, path: &str) -> Option<&'static str> {
    match method {
        "POST" if path.ends_with("/feature-level") => Some("{}"),
        "POST" if path.ends_with("/drain") => Some(r#"{"stay":true}"#),
        "PATCH" => Some(r#"{"memo":"new disk"}"#),
        "POST" => Some(r#"{"text":"x = 1"}"#),
        "PUT" => Some(r#"{"value":"5"}"#),
        _ => None,
    }
}

#[tokio::test]
async fn every_documented_route_is_served() {
    let routes = documented().await;
    for (method, path) in &routes {
        let answer = ask_with(&open(), (method, path), None, document_for(method, path)).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.status);
    }
    let mut paths: Vec<&str> = routes.iter().map(|(_, path)| path.as_str()).collect();
    paths.dedup();
    for known in
        ["/healthz", "/readyz", "/metrics", "/api/v1/calls", "/api/v1/calls/0a1b", "/api/v1/gateways"]
    {
        assert!(paths.contains(&known), "{known} is not documented");
    }
}

#[tokio::test]
async fn every_api_route_needs_a_token_when_tokens_are_configured() {
    let mut routes = documented().await;
    routes.push(("GET".into(), "/api/openapi.json".into()));
    for (method, path) in routes {
        let guarded = path.starts_with("/api/");
        for wrong in [None, Some("guess")] {
            let answer = ask(&locked(), &method, &path, wrong).await;
            assert_eq!(answer.status == 401, guarded, "{method} {path}: {}", answer.status);
        }
        let document = document_for(&method, &path);
        let right = ask_with(&locked(), (&method, &path), Some("s3cret"), document).await;
        assert!((200..300).contains(&right.status), "{method} {path}: {}", right.status);
    }
}

#[tokio::test]
async fn every_api_route_is_documented_as_needing_a_token() {
    let document = ask(&open(), "GET", "/api/openapi.json", None).await.json();
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    for (path, item) in document["paths"].as_object().expect("paths") {
        for operation in item.as_object().expect("a path item").values() {
            assert_eq!(operation.get("security").is_some(), path.starts_with("/api/"), "{path}: {operation}");
        }
    }
}

#[tokio::test]
async fn a_list_of_calls_shows_times_in_rfc_3339() {
    let page =
        ask(&open(), "GET", "/api/v1/calls?state=ringing&sort=duration_s&order=desc", None).await.json();
    assert_eq!(page["total"], 1);
    assert_eq!(page["calls"][0]["id"], PRESENT);
    assert_eq!(page["calls"][0]["state"], "ringing");
    assert_eq!(page["calls"][0]["started_at"], "2026-03-01T12:00:00.250Z");
    assert_eq!(page["calls"][0]["answered_at"], Value::Null);
}

#[tokio::test]
async fn a_bad_query_is_refused_with_what_is_wrong() {
    for (query, named) in [("state=asleep", "asleep"), ("colour=red", "colour"), ("limit=-1", "limit")] {
        let answer = ask(&open(), "GET", &format!("/api/v1/calls?{query}"), None).await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (400, "application/problem+json"),
            "{query}"
        );
        let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains(named), "{query}: {detail}");
    }
}

#[tokio::test]
async fn hanging_up_is_202_for_a_call_and_404_for_none() {
    let control = Arc::new(OneCall::default());
    let router = router(control.clone(), Tokens::default());
    assert_eq!(ask(&router, "DELETE", "/api/v1/calls/ffff", None).await.status, 404);
    assert!(!control.hung_up.load(Ordering::Relaxed));
    assert_eq!(ask(&router, "DELETE", "/api/v1/calls/0a1b", None).await.status, 202);
    assert!(control.hung_up.load(Ordering::Relaxed));
}

#[tokio::test]
async fn lifting_a_ban_is_204_for_a_source_that_is_banned_404_for_another_and_400_for_none() {
    let bans = ask(&open(), "GET", "/api/v1/bans", None).await.json();
    assert_eq!(bans["bans"][0]["source"], BANNED);
    for (address, status) in [(BANNED, 204), ("198.51.100.8", 404), ("somebody", 400)] {
        let answer = ask(&open(), "DELETE", &format!("/api/v1/bans/{address}"), None).await;
        assert_eq!(answer.status, status, "{address}");
    }
}

#[tokio::test]
async fn registrations_are_listed_page_by_page() {
    let page = ask(&open(), "GET", "/api/v1/registrations?filter=ali&limit=5000", None).await.json();
    assert_eq!(page["registrations"][0]["aor"], REGISTERED);
    assert_eq!(page["registrations"][0]["nat"], true);
    assert_eq!(page["next"], "1000 of ali");
    assert_eq!(ask(&open(), "GET", "/api/v1/registrations?after=away", None).await.status, 503);
    assert_eq!(ask(&open(), "GET", "/api/v1/registrations?page=2", None).await.status, 400);
}

#[tokio::test]
async fn removing_a_registration_is_204_or_404_or_503() {
    for (path, status) in [
        ("alice@example.com", 204),
        ("alice%40example.com?contact=sip%3Aalice%40192.0.2.7", 204),
        ("alice@example.com?contact=sip%3Abob", 404),
        ("bob@example.com", 404),
        ("away", 503),
        ("alice@example.com?contacts=x", 400),
    ] {
        let answer = ask(&open(), "DELETE", &format!("/api/v1/registrations/{path}"), None).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn lifting_a_suspension_is_204_for_one_that_is_listed_and_404_for_another() {
    let list = ask(&open(), "GET", "/api/v1/suspensions", None).await.json();
    assert_eq!(
        (&list["suspensions"][0]["name"], &list["suspensions"][0]["kind"]),
        (&SUSPENDED.into(), &"home".into())
    );
    for (name, status) in [("alice%20at%20198.51.100.9", 204), ("bob", 404)] {
        let answer = ask(&open(), "DELETE", &format!("/api/v1/suspensions/{name}"), None).await;
        assert_eq!(answer.status, status, "{name}");
    }
}

#[tokio::test]
async fn errors_are_problem_bodies() {
    let cases = [("GET", "/nowhere", 404), ("POST", "/healthz", 405), ("GET", "/api/v1/calls/ffff", 404)];
    for (method, path, status) in cases {
        let answer = ask(&open(), method, path, None).await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (status, "application/problem+json"),
            "{path}"
        );
        assert_eq!(answer.json()["status"], status);
    }
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_why_and_stays_alive() {
    let router = router(Arc::new(OneCall { draining: true, ..OneCall::default() }), Tokens::default());
    let ready = ask(&router, "GET", "/readyz", None).await;
    assert_eq!((ready.status, ready.json()["why"].as_str().expect("why")), (503, "draining"));
    assert_eq!(ask(&router, "GET", "/healthz", None).await.status, 200);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let metrics = ask(&open(), "GET", "/metrics", None).await;
    assert_eq!(metrics.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(metrics.body, "tandem_calls 1\n");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_gives_504() {
    let router = router(Arc::new(OneCall { stuck: true, ..OneCall::default() }), Tokens::default());
    assert_eq!(ask(&router, "GET", "/api/v1/calls", None).await.status, 504);
}

#[tokio::test(start_paused = true)]
async fn one_request_too_many_gives_503_and_probes_still_answer() {
    let router = router(Arc::new(OneCall { stuck: true, ..OneCall::default() }), Tokens::default());
    let asked = |_| {
        let router = router.clone();
        tokio::spawn(async move { ask(&router, "GET", "/api/v1/calls", None).await.status })
    };
    let waiting: Vec<_> = (0..MAX_REQUESTS_IN_FLIGHT).map(asked).collect();
    tokio::task::yield_now().await;
    assert_eq!(ask(&router, "GET", "/api/v1/calls", None).await.status, 503);
    assert_eq!(ask(&router, "GET", "/healthz", None).await.status, 200);
    for request in waiting {
        assert_eq!(request.await.expect("no panic"), 504);
    }
}

#[tokio::test]
async fn a_served_listener_answers_until_it_is_told_to_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, open(), async move {
        let _ = stopped.await;
    }));
    let mut client = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let mut answer = String::new();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
    client.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    stop.send(()).expect("still serving");
    server.await.expect("no panic").expect("a clean stop");
}

#[tokio::test]
async fn nodes_are_listed_annotated_and_forgotten() {
    let api = open();
    let listed = ask(&api, "GET", "/api/v1/nodes", None).await.json();
    let node = &listed["nodes"][0];
    assert_eq!(
        (&node["name"], &node["state"], &node["mark"]),
        (&"node-1".into(), &"alive".into(), &"rack 4".into())
    );
    let annotate = async |name: &str, document| {
        let path = format!("/api/v1/nodes/{name}");
        ask_with(&open(), ("PATCH", &path), None, Some(document)).await.status
    };
    let memo = r#"{"memo":"new disk"}"#;
    assert_eq!(annotate("node-1", memo).await, 204);
    assert_eq!((annotate("node-9", memo).await, annotate("away", memo).await), (404, 503));
    assert_eq!(annotate("node-1", r#"{"mem":"x"}"#).await, 400, "an unknown key");
    assert_eq!(annotate("node-1", "{").await, 400);
    let forget =
        async |name: &str| ask(&open(), "DELETE", &format!("/api/v1/nodes/{name}"), None).await.status;
    assert_eq!(
        (forget("node-1").await, forget("node-2").await, forget("node-9").await, forget("away").await),
        (409, 204, 404, 503)
    );
}

#[tokio::test]
async fn a_configuration_is_pushed_shown_and_refused() {
    let api = open();
    let base = "/api/v1/configuration/revisions";
    let push = async |document| ask_with(&open(), ("POST", base), None, Some(document)).await;
    assert_eq!(push(r#"{"text":"x = 1","by":"ada"}"#).await.json()["revision"], 8);
    assert_eq!(push(r#"{"restores":7}"#).await.status, 200);
    for (document, status) in [
        (r#"{"text":"bad"}"#, 422),
        (r#"{"text":"busy"}"#, 409),
        (r#"{"text":"away"}"#, 503),
        (r#"{"text":"x","restores":7}"#, 400),
        (r#"{"comment":"nothing"}"#, 400),
        (r#"{"txt":"x"}"#, 400),
    ] {
        assert_eq!(push(document).await.status, status, "{document}");
    }
    assert!(
        push(r#"{"text":"bad"}"#).await.json()["detail"].as_str().is_some_and(|why| why.contains("line 1"))
    );
    assert_eq!(ask(&api, "GET", &format!("{base}/7"), None).await.json()["text"], "***");
    assert_eq!(ask(&api, "GET", &format!("{base}/7?secrets=true"), None).await.json()["text"], "hush");
    assert_eq!(ask(&api, "GET", &format!("{base}/9"), None).await.status, 404);
    assert_eq!(ask(&api, "GET", &format!("{base}/x"), None).await.status, 400);
    assert_eq!(ask(&api, "GET", "/api/v1/configuration", None).await.json()["revision"]["revision"], 7);
    assert_eq!(ask(&api, "GET", "/api/v1/parameters", None).await.json()["parameters"][0]["value"], "30");
    let set = async |name: &str| {
        let path = format!("/api/v1/parameters/{name}");
        ask_with(&open(), ("PUT", &path), None, Some(r#"{"value":"5"}"#)).await.status
    };
    assert_eq!((set("SS_X").await, set("SS_Y").await), (200, 404));
}

#[tokio::test]
async fn what_is_to_change_something_is_noted_and_what_only_asks_is_not() {
    let api = open();
    ask(&api, "GET", "/api/v1/nodes", None).await;
    ask_with(
        &api,
        ("POST", "/api/v1/configuration/revisions"),
        None,
        Some(r#"{"text":"x","comment":"why"}"#),
    )
    .await;
    ask(&api, "DELETE", "/api/v1/calls/none", None).await;
    let audit = ask(&api, "GET", "/api/v1/audit?limit=10", None).await.json();
    let entries = audit["entries"].as_array().expect("a list");
    let shown = |entry: &Value| format!("{} {} {}", entry["request"], entry["status"], entry["detail"]);
    let shown: Vec<_> = entries.iter().map(shown).collect();
    assert_eq!(
        shown,
        [
            r#""DELETE /api/v1/calls/none" 404 """#,
            r#""POST /api/v1/configuration/revisions" 200 "in force: revision 8, begin""#,
        ]
    );
    assert_eq!(ask(&api, "GET", "/api/v1/audit?lim=1", None).await.status, 400);
}

#[tokio::test]
async fn a_drain_is_begun_shown_and_called_off() {
    let router = router(Arc::new(OneCall::default()), Tokens::default());
    let shown = ask(&router, "GET", "/api/v1/drain", None).await;
    assert_eq!((shown.status, shown.json()["state"].as_str().expect("a state")), (200, "none"));
    let wrong = ask_with(&router, ("POST", "/api/v1/drain"), None, Some(r#"{"stays":true}"#)).await;
    assert_eq!(wrong.status, 400);
    let begun = ask_with(&router, ("POST", "/api/v1/drain"), None, Some(r#"{"stay":true}"#)).await;
    assert_eq!((begun.status, begun.json()["leaves"].as_bool()), (202, Some(false)));
    let begun = ask_with(&router, ("POST", "/api/v1/drain"), None, Some("{}")).await;
    assert_eq!((begun.status, begun.json()["leaves"].as_bool()), (202, Some(true)));
    for (draining, leaving, status) in [(false, false, 204), (true, false, 404), (true, true, 409)] {
        let one_call = OneCall { draining, leaving, ..OneCall::default() };
        let router = crate::server::router(Arc::new(one_call), Tokens::default());
        assert_eq!(ask(&router, "DELETE", "/api/v1/drain", None).await.status, status);
    }
}

#[tokio::test]
async fn a_feature_level_is_raised_or_it_is_said_who_holds_it() {
    let router = router(Arc::new(OneCall::default()), Tokens::default());
    let level =
        async |document| ask_with(&router, ("POST", "/api/v1/feature-level"), None, Some(document)).await;
    let raised = level("{}").await;
    assert_eq!((raised.status, raised.json()["feature_level"].as_u64()), (200, Some(2)));
    for (document, status) in [(r#"{"level":9}"#, 409), (r#"{"level":8}"#, 503), (r#"{"to":2}"#, 400)] {
        assert_eq!(level(document).await.status, status, "{document}");
    }
}
