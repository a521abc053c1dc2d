use axum::{
    body::Body,
    http::{Method, header},
};
use http_body_util::BodyExt;
use landfall::testing::{self, Started};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

/// What the service cannot start without.
const REQUIRED: &str = include_str!("../../test.env");

async fn service(vars: &[(&str, &str)]) -> Started {
    let required =
        REQUIRED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    testing::start(&[required.collect::<Vec<_>>().as_slice(), vars].concat(), start).await.unwrap()
}

async fn ask(service: &Started, request: Request) -> Response {
    service.router.clone().oneshot(request).await.unwrap()
}

fn get(path: &str) -> Request {
    Request::builder().method(Method::GET).uri(path).body(Body::empty()).unwrap()
}

fn post_json(path: &str, body: impl Into<Body>) -> Request {
    let kind = (header::CONTENT_TYPE, "application/json");
    Request::post(path).header(kind.0, kind.1).body(body.into()).unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn the_root_says_what_runs_and_where() {
    let service = service(&[("APP_POD_NAME", "test-0"), ("APP_NODE_NAME", "node-1")]).await;
    let body = json_of(ask(&service, get("/")).await).await;
    assert_eq!(body["name"], "test");
    assert_eq!(body["version"], "0.0.0");
    assert_eq!(body["revision"], "unknown");
    assert_eq!((&body["pod"], &body["node"]), (&json!("test-0"), &json!("node-1")));
}

#[tokio::test]
async fn a_greeting_is_made_and_counted() {
    let service = service(&[]).await;
    let made = ask(&service, post_json("/greetings", r#"{"name":"Ada","times":2}"#)).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    assert_eq!(json_of(made).await, json!({ "greeting": "Hello, Ada! Hello, Ada!" }));
    let count = ask(&service, get("/greetings")).await;
    assert_eq!(json_of(count).await, json!({ "greetings": 1 }));
}

#[tokio::test]
async fn each_bad_field_is_listed() {
    let service = service(&[]).await;
    let response = ask(&service, post_json("/greetings", r#"{"name":"","times":9}"#)).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body = json_of(response).await;
    let fields: Vec<_> = body["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(fields, ["name", "times"]);
    assert_eq!(body["errors"][1]["detail"], "expected 1 to 3, found 9");
}

#[tokio::test]
async fn a_token_guards_what_writes_and_only_that() {
    let service = service(&[("APP_API_TOKEN", "s3cret")]).await;
    let greet = |token: Option<&str>| {
        let mut request = post_json("/greetings", r#"{"name":"Ada"}"#);
        if let Some(token) = token {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        ask(&service, request)
    };
    let refused = greet(None).await;
    assert_eq!(refused.headers()[header::WWW_AUTHENTICATE], "Bearer");
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(greet(Some("s3cre")).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(greet(Some("s3cret")).await.status(), StatusCode::CREATED);
    assert_eq!(ask(&service, get("/greetings")).await.status(), StatusCode::OK);
}
