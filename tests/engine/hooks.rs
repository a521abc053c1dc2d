//! The hooks that a service has: outer layers, limits of its own routes, metrics, and the ids of a trace.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure")]

use std::{io::Read, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::Response,
    routing::{get, post},
};
use http_body_util::BodyExt;
use landfall::{
    App, RouteLimits, Service,
    error::Json,
    metrics::IntCounter,
    testing::{self, Started},
    trace,
};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_http::{compression::CompressionLayer, cors::CorsLayer};

async fn slow() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async || "a text that is long enough to be compressed, and long enough again"))
        .route("/slow", get(slow))
        .route("/patient/{name}", get(slow))
        .route("/any-time", get(slow))
        .route("/upload", post(async |body: String| body.len().to_string()))
        .route(
            "/conflict",
            get(async || (StatusCode::CONFLICT, "there is one already, and that is a long text")),
        )
        .route("/panic", get(async || -> String { panic!("asked to") }))
}

async fn started(service: Service, vars: &[(&str, &str)]) -> Started {
    testing::start(vars, async |_: App| Ok(service)).await.unwrap()
}

async fn ask(service: &Started, request: Request) -> Response {
    service.router.clone().oneshot(request).await.unwrap()
}

fn request(path: &str) -> Request {
    let request = Request::get(path).header(header::ORIGIN, "https://elsewhere.test");
    request.header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).unwrap()
}

async fn bytes(response: Response) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

/// The problem in a response, compressed or not.
async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let gzipped = response.headers().get(header::CONTENT_ENCODING).is_some();
    let body = bytes(response).await;
    let mut text = String::new();
    if gzipped {
        flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(body).unwrap();
    }
    serde_json::from_str(&text).unwrap()
}

// Layers

#[tokio::test(start_paused = true)]
async fn what_is_shed_times_out_fails_or_panics_passes_the_outer_layers_too() {
    let outer = |router: Router| router.layer(CompressionLayer::new()).layer(CorsLayer::permissive());
    let vars = [("APP_MAX_IN_FLIGHT", "1")];
    let service = started(Service::new(routes()).with_outer_layers(outer), &vars).await;
    let check = async |response: Response, status| {
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{status}");
        problem(response, status).await
    };
    let mut slow = Box::pin(ask(&service, request("/slow")));
    assert!(futures_util::poll!(&mut slow).is_pending());
    check(ask(&service, request("/")).await, StatusCode::SERVICE_UNAVAILABLE).await;
    check(slow.await, StatusCode::GATEWAY_TIMEOUT).await;
    check(ask(&service, request("/panic")).await, StatusCode::INTERNAL_SERVER_ERROR).await;
    check(ask(&service, request("/nothing")).await, StatusCode::NOT_FOUND).await;
    let conflict = ask(&service, request("/conflict")).await;
    assert_eq!(conflict.headers()[header::CONTENT_ENCODING], "gzip");
    let conflict = check(conflict, StatusCode::CONFLICT).await;
    assert_eq!(conflict["detail"], "there is one already, and that is a long text");
}

#[tokio::test]
async fn an_error_that_an_inner_layer_compressed_is_a_problem_nevertheless() {
    let inner = routes().layer(CompressionLayer::new());
    let service = started(Service::new(inner), &[]).await;
    assert_eq!(ask(&service, request("/")).await.headers()[header::CONTENT_ENCODING], "gzip");
    let response = ask(&service, request("/conflict")).await;
    assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
    assert_eq!(problem(response, StatusCode::CONFLICT).await["status"], 409);
}

#[tokio::test]
async fn the_first_outer_layers_stand_inside_those_added_later() {
    let mark = |value: &'static str| {
        move |router: Router| {
            let set = move |mut response: Response| {
                response.headers_mut().append("mark", value.parse().unwrap());
                response
            };
            router.layer(tower::ServiceBuilder::new().map_response(set))
        }
    };
    let service = Service::new(routes()).with_outer_layers(mark("first")).with_outer_layers(mark("second"));
    let service = started(service, &[]).await;
    let response = ask(&service, request("/")).await;
    let marks: Vec<_> = response.headers().get_all("mark").iter().collect();
    assert_eq!(marks, ["first", "second"]);
}

// Limits

#[tokio::test(start_paused = true)]
async fn a_route_has_a_timeout_of_its_own() {
    let limits = RouteLimits::new().timeout(Duration::from_secs(90));
    let service = started(Service::new(routes()).with_limits("/patient/{name}", limits), &[]).await;
    assert_eq!(ask(&service, request("/patient/one")).await.status(), StatusCode::OK);
    assert_eq!(ask(&service, request("/slow")).await.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_route_has_no_timeout_at_all() {
    let limits = RouteLimits::new().no_timeout();
    let service = started(Service::new(routes()).with_limits("/any-time", limits), &[]).await;
    assert_eq!(ask(&service, request("/any-time")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_route_has_a_body_limit_of_its_own() {
    let limits = RouteLimits::new().body(3_000_000);
    for (service, length, status) in [
        (Service::new(routes()).with_limits("/upload", limits), 2_500_000, StatusCode::OK),
        (Service::new(routes()).with_limits("/upload", limits), 3_000_001, StatusCode::PAYLOAD_TOO_LARGE),
        (Service::new(routes()), 2_500_000, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let service = started(service, &[]).await;
        let upload = Request::post("/upload").body(Body::from("x".repeat(length))).unwrap();
        assert_eq!(ask(&service, upload).await.status(), status, "{length}");
    }
}

#[tokio::test]
async fn limits_for_a_route_that_is_not_there_stop_the_start() {
    for route in ["/uplaod", "/patient/{id}", "/patient/one", "upload"] {
        let service = Service::new(routes()).with_limits(route, RouteLimits::new().no_timeout());
        let error = testing::start(&[], async |_: App| Ok(service)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("limits are given for {route}, and there is no such route"));
    }
}

// Metrics

#[tokio::test]
async fn metrics_of_the_service_take_a_line_each() {
    let start = async |app: App| {
        let made: IntCounter = app.metrics.counter("made_total", "Things made.");
        app.metrics.gauge("shelves", "Shelves there are.").set(3);
        app.metrics.gauge_on_scrape("queued", "Things that wait.", || 7);
        app.metrics.histogram("weight_grams", "How heavy things are.", &[1.0, 10.0]).observe(5.0);
        let by_colour = app.metrics.counter_vec("colours_total", "Things by colour.", &["colour"]);
        by_colour.with_label_values(&["red"]).inc();
        made.inc();
        Ok(Service::new(routes()))
    };
    let service = testing::start(&[], start).await.unwrap();
    let metrics = service.admin.oneshot(request("/metrics")).await.unwrap();
    let metrics = String::from_utf8(bytes(metrics).await).unwrap();
    for line in [
        "# HELP made_total Things made.",
        "made_total 1",
        "shelves 3",
        "queued 7",
        "weight_grams_bucket{le=\"10\"} 1",
        "colours_total{colour=\"red\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
}

// Traces

#[tokio::test]
async fn problems_and_outgoing_calls_carry_the_trace_of_the_request() {
    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    async fn outgoing() -> Json<Value> {
        let context = trace::current().expect("a handler is inside a request");
        let header = context.traceparent();
        Json(json!({ "traceparent": header.to_str().unwrap(), "parent": context.parent_id }))
    }
    let service = started(Service::new(routes().route("/call", get(outgoing))), &[]).await;
    let traced = |path: &str| {
        let mut request = request(path);
        request.headers_mut().insert(trace::TRACEPARENT, CALLER.parse().unwrap());
        request
    };
    let call: Value = serde_json::from_slice(&bytes(ask(&service, traced("/call")).await).await).unwrap();
    let traceparent = call["traceparent"].as_str().unwrap();
    assert!(traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{traceparent}");
    assert!(traceparent.ends_with("-01") && !traceparent.contains("00f067aa0ba902b7"), "{traceparent}");
    assert_eq!(call["parent"], 0x00f0_67aa_0ba9_02b7_u64);

    let problem = problem(ask(&service, traced("/nothing")).await, StatusCode::NOT_FOUND).await;
    assert_eq!(problem["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(trace::current(), None);
}
