//! The outer layers around handlers that misbehave.

#![allow(clippy::unwrap_used)]

use std::future::pending;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode},
    routing::get,
};
use landfall::{App, Service, testing};
use tower::ServiceExt;

use super::{Variables, with_outer_layers};

const ORIGIN: &str = "https://shop.example.com";

async fn ask(path: &str) -> Response<Body> {
    let vars = [("APP_ORIGINS", ORIGIN), ("APP_REQUEST_TIMEOUT", "50ms")];
    let start = async |app: App<Variables>| {
        let router = Router::new()
            .route("/panics", get(async || -> () { panic!("as it does") }))
            .route("/hangs", get(async || pending::<()>().await))
            .route("/explains", get(async || (StatusCode::BAD_REQUEST, "no ".repeat(1000))));
        Ok(with_outer_layers(Service::new(router), &app.variables))
    };
    let started = testing::start(&vars, start).await.unwrap();
    let request = Request::get(path).header("origin", ORIGIN).header("accept-encoding", "gzip");
    started.router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_fails_is_a_problem_with_cors_headers() {
    for (path, class) in [("/panics", 5), ("/hangs", 5), ("/nowhere", 4), ("/explains", 4)] {
        let response = ask(path).await;
        assert_eq!(response.status().as_u16() / 100, class, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        assert_eq!(response.headers()["access-control-allow-origin"], ORIGIN, "{path}");
        assert_eq!(response.headers().contains_key("content-encoding"), path == "/explains", "{path}");
    }
}

#[tokio::test]
async fn a_long_problem_is_compressed() {
    let response = ask("/explains").await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(body.starts_with(&[0x1f, 0x8b]) && body.len() < 1000, "{} bytes", body.len());
}

#[test]
fn the_readme_has_the_table() {
    testing::assert_documented::<Variables>(include_str!("../README.md"));
}
