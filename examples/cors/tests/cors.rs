//! The recipe as a browser sees it.

#![allow(clippy::unwrap_used)]

use harness::{Process, eventually};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

const RECIPE: &str = env!("CARGO_BIN_EXE_cors");
const ORIGIN: &str = "https://shop.example.com";

/// A request whose body never comes, and which is in flight for as long as it may.
async fn stalled(process: &mut Process) -> TcpStream {
    let mut stream = TcpStream::connect(process.service().await).await.unwrap();
    let head =
        "POST /items HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let active = "http_server_active_requests{http_request_method=\"POST\",url_scheme=\"http\"}";
    eventually("it is in flight", async || process.metric(active).await == Some(1)).await;
    stream
}

async fn get(client: &Client, url: String) -> Response {
    client.get(url).header("origin", ORIGIN).send().await.unwrap()
}

fn assert_allowed(response: &Response) {
    assert_eq!(response.headers()["access-control-allow-origin"], ORIGIN, "{response:?}");
    let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("x-request-id"), "{response:?}");
}

async fn assert_problem(response: Response, status: u16) {
    assert_allowed(&response);
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{response:?}");
    assert_eq!(response.status(), status);
    assert_eq!(response.json::<Value>().await.unwrap()["status"], status);
}

#[tokio::test]
async fn a_preflight_is_answered_also_when_the_service_has_no_room() {
    let vars = [("APP_ORIGINS", ORIGIN), ("APP_MAX_IN_FLIGHT", "1"), ("APP_DRAIN_DELAY", "0s")];
    let mut process = Process::start(RECIPE, &vars).await;
    let (client, items) = (Client::new(), process.url("/items").await);
    let stalled = stalled(&mut process).await;

    let preflight = client
        .request(Method::OPTIONS, &items)
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,traceparent");
    let response = preflight.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], ORIGIN);
    assert!(response.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    assert!(response.headers()["access-control-allow-headers"].to_str().unwrap().contains("traceparent"));

    assert_problem(get(&client, items.clone()).await, 503).await;
    assert_eq!(process.metric("http_server_requests_shed_total{reason=\"in_flight\"}").await, Some(1));
    let stranger = client.get(items).header("origin", "https://evil.example").send().await.unwrap();
    assert!(!stranger.headers().contains_key("access-control-allow-origin"), "{stranger:?}");

    // Kept connections would be waited for.
    drop((stalled, client));
    process.drain().await;
    process.exit().await.assert_clean();
}

#[tokio::test]
async fn json_is_compressed_and_what_is_not_found_or_late_is_a_problem_with_cors_headers() {
    let vars = [("APP_ORIGINS", ORIGIN), ("APP_REQUEST_TIMEOUT", "100ms")];
    let mut process = Process::start(RECIPE, &vars).await;
    let items = process.url("/items").await;

    let raw = Client::builder().gzip(false).build().unwrap();
    let response =
        raw.get(&items).header("origin", ORIGIN).header("accept-encoding", "gzip").send().await.unwrap();
    assert_allowed(&response);
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["content-type"], "application/json");
    let client = Client::new();
    let list: Value = get(&client, items.clone()).await.json().await.unwrap();
    assert_eq!(list.as_array().unwrap().len(), 100);

    assert_problem(get(&client, process.url("/nowhere").await).await, 404).await;
    let (sender, late) = tokio::io::duplex(16);
    let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::new(late));
    let late =
        client.post(items).header("origin", ORIGIN).header("content-type", "application/json").body(body);
    let late = late.send().await.unwrap();
    assert!(late.status().is_server_error(), "{late:?}");
    let status = late.status().as_u16();
    assert_problem(late, status).await;
    drop(sender);
}

#[tokio::test]
async fn an_origin_that_is_none_stops_the_start() {
    let exit = Process::spawn(RECIPE, &[("APP_ORIGINS", "https://shop.example.com/,*")]).exit().await;
    assert_eq!(exit.code, Some(78));
    let bad = exit.log.iter().filter(|line| line["variable"] == "APP_ORIGINS");
    assert_eq!(bad.count(), 2, "{exit:#?}");
}
