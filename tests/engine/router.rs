//! Both routers without a socket: what each path answers, and how errors look.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure")]

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{Method, StatusCode, Version, header},
    response::Response,
    routing::{get, post},
};
use http_body_util::BodyExt;
use landfall::{
    App, Phase, RouteLimits,
    error::{FieldError, Json, Path, Problem, Query},
    health::{Endpoint, Health, Severity},
    testing::{self, Started},
};
use serde_json::{Value, json};
use tower::ServiceExt;

struct Service(Started);

impl Service {
    async fn start(vars: &[(&str, &str)]) -> Self {
        let start = async |_: App| Ok(landfall::Service::new(faulty()));
        Self(testing::start(vars, start).await.unwrap())
    }

    fn health(&self) -> &Health {
        &self.0.health
    }

    async fn ask(&self, request: Request) -> Response {
        self.0.router.clone().oneshot(request).await.unwrap()
    }

    async fn ask_admin(&self, request: Request) -> Response {
        self.0.admin.clone().oneshot(request).await.unwrap()
    }

    async fn metrics(&self) -> String {
        text(self.ask_admin(request(Method::GET, "/metrics")).await).await
    }
}

fn request(method: Method, path: &str) -> Request {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

fn post_json(path: &str, body: impl Into<Body>) -> Request {
    let kind = (header::CONTENT_TYPE, "application/json");
    Request::post(path).header(kind.0, kind.1).body(body.into()).unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// Asserts that the response is a problem of this status, and returns it.
async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(response.headers().contains_key("x-request-id"));
    let body = json_of(response).await;
    assert_eq!(body["status"], status.as_u16());
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["title"], status.canonical_reason().unwrap());
    body
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let service = Service::start(&[("APP_BODY_LIMIT", "64")]).await;
    let nowhere = problem(service.ask(request(Method::GET, "/nowhere")).await, StatusCode::NOT_FOUND).await;
    assert_eq!(nowhere["detail"], "there is nothing at this path");
    let wrong_method = service.ask(request(Method::DELETE, "/plain")).await;
    assert_eq!(wrong_method.headers()[header::ALLOW], "GET,HEAD");
    let wrong_method = problem(wrong_method, StatusCode::METHOD_NOT_ALLOWED).await;
    assert_eq!(wrong_method["detail"], "this path takes the methods that the Allow header names");
    let no_type = Request::post("/guests").body(Body::from(r#"{"name":"Ada"}"#)).unwrap();
    problem(service.ask(no_type).await, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    problem(service.ask(post_json("/guests", "{")).await, StatusCode::BAD_REQUEST).await;
    let body = problem(service.ask(post_json("/guests", "{}")).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(body["detail"].as_str().unwrap().contains("missing field `name`"), "{body}");
    let large = post_json("/guests", format!(r#"{{"name":"{}"}}"#, "x".repeat(64)));
    problem(service.ask(large).await, StatusCode::PAYLOAD_TOO_LARGE).await;
}

#[tokio::test]
async fn a_request_id_is_kept_or_made() {
    let service = Service::start(&[]).await;
    let mut request = request(Method::GET, "/empty");
    request.headers_mut().insert("x-request-id", "from-the-caller".parse().unwrap());
    assert_eq!(service.ask(request).await.headers()["x-request-id"], "from-the-caller");
}

/// Routes that fail in each of the ways that a service's own routes can.
fn faulty() -> Router {
    Router::new()
        .route("/plain", get(async || (StatusCode::CONFLICT, "there is one already")))
        .route("/html", get(async || (StatusCode::BAD_GATEWAY, axum::response::Html("<p>no</p>"))))
        .route("/empty", get(async || StatusCode::GONE))
        .route("/long", get(async || (StatusCode::GONE, "x".repeat(5_000))))
        .route("/number/{n}", get(async |Path(n): Path<u8>| n.to_string()))
        .route("/query", get(async |Query(query): Query<Vec<(String, u8)>>| query.len().to_string()))
        .route("/panic", get(async || -> String { panic!("asked to") }))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_secs(60)).await))
        .route("/guests", post(async |Json(guest): Json<Guest>| guest.name))
        .route("/fields", get(fields))
}

#[derive(serde::Deserialize)]
struct Guest {
    name: String,
}

async fn fields() -> Problem {
    let wrong = |field, detail: &str| FieldError { field, detail: detail.to_owned() };
    Problem::fields(vec![wrong("name", "expected a name"), wrong("times", "expected 1 to 3, found 9")])
}

#[tokio::test]
async fn each_bad_field_is_listed() {
    let service = Service::start(&[]).await;
    let response = service.ask(request(Method::GET, "/fields")).await;
    let body = problem(response, StatusCode::UNPROCESSABLE_ENTITY).await;
    let fields: Vec<_> = body["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["name", "times"]);
    assert_eq!(body["errors"][1]["detail"], "expected 1 to 3, found 9");
}

#[tokio::test(start_paused = true)]
async fn errors_of_handlers_and_libraries_are_problems_too() {
    let service = Service::start(&[]).await;
    let ask = async |path, status| problem(service.ask(request(Method::GET, path)).await, status).await;
    assert_eq!(ask("/plain", StatusCode::CONFLICT).await["detail"], "there is one already");
    let unsaid = "the request could not be answered";
    for path in ["/empty", "/long"] {
        assert_eq!(ask(path, StatusCode::GONE).await["detail"], unsaid, "{path}");
    }
    ask("/number/x", StatusCode::BAD_REQUEST).await;
    ask("/query?a=x", StatusCode::BAD_REQUEST).await;
    ask("/panic", StatusCode::INTERNAL_SERVER_ERROR).await;
    ask("/slow", StatusCode::GATEWAY_TIMEOUT).await;
    let html = service.ask(request(Method::GET, "/html")).await;
    assert_eq!(text(html).await, "<p>no</p>", "what a handler made with care is left alone");
    let metrics = service.metrics().await;
    assert!(metrics.contains("http_server_panics_total 1"), "{metrics}");
    assert!(metrics.contains("http_server_requests_timed_out_total 1"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_cap_are_shed_and_say_when_to_come_back() {
    let service = Service::start(&[("APP_MAX_IN_FLIGHT", "1")]).await;
    let mut slow = Box::pin(service.ask(request(Method::GET, "/slow")));
    assert!(futures_util::poll!(&mut slow).is_pending());
    let shed = service.ask(request(Method::GET, "/plain")).await;
    let retry_after = shed.headers()[header::RETRY_AFTER].to_str().unwrap().parse::<u8>().unwrap();
    assert!((1..=4).contains(&retry_after), "{retry_after}");
    problem(shed, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(
        service.ask(request(Method::GET, "/readyz")).await.status(),
        StatusCode::OK,
        "probes are not shed"
    );
    drop(slow);
    problem(service.ask(request(Method::GET, "/plain")).await, StatusCode::CONFLICT).await;
    assert!(service.metrics().await.contains("http_server_requests_shed_total{reason=\"in_flight\"} 1"));
}

#[tokio::test]
async fn requests_are_measured_by_method_route_template_and_status() {
    let service = Service::start(&[]).await;
    for path in ["/number/1", "/number/2", "/nowhere", "/elsewhere"] {
        service.ask(request(Method::GET, path)).await;
    }
    service.ask(request(Method::from_bytes(b"BREW").unwrap(), "/number/1")).await;
    let metrics = service.metrics().await;
    let count = |method, route, status| {
        format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
             http_response_status_code=\"{status}\",http_route=\"{route}\",\
             network_protocol_version=\"1.1\",url_scheme=\"http\"}} "
        )
    };
    for expected in [
        count("GET", "/number/{n}", 200) + "2",
        count("GET", "unmatched", 404) + "2",
        count("_OTHER", "/number/{n}", 405) + "1",
        "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"} 0".to_owned(),
        "lifecycle_phase{phase=\"serving\"} 1".to_owned(),
        "lifecycle_phase{phase=\"draining\"} 0".to_owned(),
    ] {
        assert!(metrics.contains(&expected), "{expected}\n{metrics}");
    }
    assert!(!metrics.contains("elsewhere") && !metrics.contains("BREW"), "{metrics}");
}

#[tokio::test]
async fn nested_routers_and_services_are_measured_by_where_they_stand() {
    let start = async |_: App| {
        let inner = || Router::new().route("/{id}", get(async || "here"));
        let files = Router::new().nest_service("/deep", get(async || "there"));
        Ok(landfall::Service::new(
            Router::new()
                .nest("/users", inner())
                .nest_service("/files", get(async || "a file"))
                .nest_service("/router", inner())
                .nest("/users/{id}/more", files),
        ))
    };
    let service = Service(testing::start(&[], start).await.unwrap());
    let paths = [
        ("/users/1", "/users/{id}"),
        ("/files/a/b", "/files/{*path}"),
        ("/files", "/files"),
        ("/router/1", "/router/{*path}"),
        ("/users/1/more/deep/er", "/users/{id}/more/deep/{*path}"),
        ("/nowhere", "unmatched"),
    ];
    for (path, _) in paths.iter().chain(&paths) {
        service.ask(request(Method::GET, path)).await;
    }
    let metrics = service.metrics().await;
    for (path, route) in paths {
        let label = format!("http_route=\"{route}\"");
        let count =
            |line: &&str| line.contains("_seconds_count") && line.contains(&label) && line.ends_with(" 2");
        assert_eq!(metrics.lines().filter(count).count(), 1, "{path}\n{metrics}");
    }
}

#[tokio::test]
async fn each_version_of_http_is_measured_on_its_own() {
    let service = Service::start(&[]).await;
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_2] {
        let mut request = request(Method::GET, "/fields");
        *request.version_mut() = version;
        service.ask(request).await;
    }
    let metrics = service.metrics().await;
    for (version, count) in [("1.0", 1), ("1.1", 1), ("2", 2)] {
        let end = format!("network_protocol_version=\"{version}\",url_scheme=\"http\"}} {count}");
        assert!(metrics.lines().any(|line| line.contains("_count{") && line.ends_with(&end)), "{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_longer_than_time_itself_is_none() {
    let start = async |_: App| {
        let slow = RouteLimits::new().timeout(Duration::MAX);
        Ok(landfall::Service::new(faulty()).with_limits("/slow", slow))
    };
    let service = Service(testing::start(&[], start).await.unwrap());
    assert_eq!(service.ask(request(Method::GET, "/slow")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_body_may_be_as_large_as_its_route_says() {
    let take = || post(async |body: Bytes| body.len().to_string());
    let start = async |_: App| {
        let router = Router::new().route("/small", take()).route("/other", take());
        Ok(landfall::Service::new(router).with_limits("/small", RouteLimits::new().body(10)))
    };
    let service = Service(testing::start(&[], start).await.unwrap());
    let ask = async |path, length| service.ask(post_json(path, "a".repeat(length))).await.status();
    assert_eq!(ask("/small", 10).await, StatusCode::OK);
    assert_eq!(ask("/small", 11).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(ask("/other", 11).await, StatusCode::OK);
}

#[tokio::test]
async fn probes_are_terse_on_the_service_port() {
    let service = Service::start(&[]).await;
    service
        .health()
        .check(Endpoint::Readyz, "database", Severity::Critical, || Err("password rejected".to_owned()));
    let live = service.ask(request(Method::GET, "/livez")).await;
    assert_eq!(live.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(text(live).await, "ok\n");
    let ready = service.ask(request(Method::GET, "/readyz?verbose")).await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        text(ready).await,
        "[+]lifecycle ok\n[-]database failed: reason withheld\nreadyz check failed\n"
    );
    let missing = service.ask(request(Method::GET, "/startupz")).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn probes_tell_all_on_the_admin_port() {
    let service = Service::start(&[]).await;
    let get = async |path: &str| service.ask_admin(request(Method::GET, path)).await;
    assert_eq!(text(get("/readyz").await).await, "ok\n");
    assert_eq!(text(get("/readyz?verbose").await).await, "[+]lifecycle ok\nreadyz check passed\n");
    service.health().check(Endpoint::Readyz, "cache", Severity::Degraded, || Err("cold".to_owned()));
    assert_eq!(
        text(get("/readyz?verbose").await).await,
        "[+]lifecycle ok\n[~]cache degraded: cold\nreadyz check passed\n"
    );
    service.health().check(Endpoint::Readyz, "database", Severity::Critical, || Err("no route".to_owned()));
    let failing = get("/readyz").await;
    assert_eq!(failing.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(failing.headers()[header::CACHE_CONTROL], "no-store");
    assert!(text(failing).await.contains("[-]database failed: no route\n"));
    assert_eq!(get("/readyz?exclude=database").await.status(), StatusCode::OK);
    assert_eq!(get("/readyz?exclude=cache").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get("/readyz/database").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get("/readyz/cache").await.status(), StatusCode::OK);
    assert_eq!(get("/readyz/lifecycle").await.status(), StatusCode::OK);
    assert_eq!(get("/readyz/nothing").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get("/livez").await.status(), StatusCode::OK);
    assert_eq!(get("/startupz").await.status(), StatusCode::OK);
    let metrics = service.metrics().await;
    assert!(metrics.contains("health_check_up{check=\"database\",endpoint=\"readyz\"} 0"), "{metrics}");
}

#[tokio::test]
async fn probes_response_head_and_json_and_nothing_but_get() {
    let service = Service::start(&[]).await;
    let head = service.ask_admin(request(Method::HEAD, "/readyz")).await;
    assert_eq!((head.status(), text(head).await.as_str()), (StatusCode::OK, ""));
    let mut json = request(Method::GET, "/readyz");
    json.headers_mut().insert(header::ACCEPT, "application/json".parse().unwrap());
    let body = json_of(service.ask_admin(json).await).await;
    assert_eq!(body, json!({ "status": "ok", "checks": [{ "name": "lifecycle", "status": "ok" }] }));
}

#[tokio::test]
async fn a_wrong_method_at_a_probe_is_a_problem() {
    let service = Service::start(&[]).await;
    let post = || request(Method::POST, "/readyz");
    for response in [
        service.ask(post()).await,
        service.ask_admin(post()).await,
        service.ask_admin(request(Method::DELETE, "/livez/runtime")).await,
    ] {
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(json_of(response).await["status"], 405);
    }
}

#[tokio::test]
async fn readiness_follows_the_lifecycle_and_liveness_does_not() {
    let service = Service::start(&[]).await;
    for phase in [Phase::Draining, Phase::Closing] {
        service.0.enter(phase);
        let status = async |path| service.ask_admin(request(Method::GET, path)).await.status();
        assert_eq!(status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/livez").await, StatusCode::OK);
        assert_eq!(status("/startupz").await, StatusCode::OK);
        assert_eq!(
            service.ask(request(Method::GET, "/readyz")).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}

#[tokio::test]
async fn the_log_filter_is_read_and_changed() {
    let service = Service::start(&[]).await;
    let put = async |filter: &'static str| {
        let request = Request::put("/log").body(Body::from(filter)).unwrap();
        service.ask_admin(request).await
    };
    assert_eq!(text(service.ask_admin(request(Method::GET, "/log")).await).await, "info\n");
    assert_eq!(text(put("warn,landfall=debug").await).await, "warn,landfall=debug\n");
    assert_eq!(text(service.ask_admin(request(Method::GET, "/log")).await).await, "warn,landfall=debug\n");
    let bad = put("landfall=loud").await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    assert_eq!(bad.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert!(json_of(bad).await["detail"].as_str().unwrap().contains("landfall=loud"));
    assert_eq!(text(service.ask_admin(request(Method::GET, "/log")).await).await, "warn,landfall=debug\n");
}
