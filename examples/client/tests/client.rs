//! The recipe, and a server that keeps what it is sent.

#![allow(clippy::unwrap_used)]

use harness::{PATIENCE, Process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const RECIPE: &str = env!("CARGO_BIN_EXE_client");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The next request that arrives: its connection and its head.
async fn request(prices: &TcpListener) -> (TcpStream, String) {
    let receiving = async {
        let (mut stream, _) = prices.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    };
    timeout(PATIENCE, receiving).await.expect("a request arrives")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

async fn respond(mut stream: TcpStream, status: &str, body: &str) {
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await.unwrap();
}

/// Asks for an offer, as part of a trace.
async fn offer(url: &str) -> (u16, Value) {
    let request =
        reqwest::Client::new().get(url).header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn start(prices: &TcpListener, vars: &[(&str, &str)]) -> (Process, String) {
    let url = format!("http://{}/", prices.local_addr().unwrap());
    let vars = [&[("APP_PRICES_URL", url.as_str()), ("APP_ACCESS_LOG", "all")], vars].concat();
    let mut process = Process::start(RECIPE, &vars).await;
    let offer = process.url("/offers/7").await;
    (process, offer)
}

#[tokio::test]
async fn a_call_is_of_the_same_trace_with_the_requests_span_as_its_parent() {
    let prices = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut process, url) = start(&prices, &[]).await;
    let serve = async {
        let (stream, head) = request(&prices).await;
        respond(stream, "200 OK", r#"{"cents":1250}"#).await;
        head
    };
    let (head, (status, body)) = tokio::join!(serve, offer(&url));
    assert_eq!((status, body), (200, json!({ "item": 7, "price": { "cents": 1250 } })));
    assert!(head.starts_with("GET /prices/7 HTTP/1.1\r\n"), "{head}");

    let line = process.line("responded").await;
    assert_eq!(line["span"]["trace_id"], TRACE);
    let span = line["span"]["span_id"].as_str().unwrap();
    assert_eq!(header(&head, "traceparent"), Some(format!("00-{TRACE}-{span}-01").as_str()));
    assert_eq!(process.metric("prices_seconds_count{outcome=\"ok\"}").await, Some(1));

    process.drain().await;
    process.close().await;
    process.exit().await.assert_clean();
}

#[tokio::test]
async fn what_goes_wrong_there_is_told_here_as_a_problem_of_the_same_trace() {
    let prices = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut process, url) = start(&prices, &[("APP_PRICES_TIMEOUT", "200ms")]).await;

    // Accepted by the kernel, and never answered.
    let (status, problem) = offer(&url).await;
    assert_eq!((status, &problem["trace_id"]), (504, &json!(TRACE)), "{problem}");
    drop(request(&prices).await);

    let fail = async { respond(request(&prices).await.0, "404 Not Found", "{}").await };
    let ((), (status, _)) = tokio::join!(fail, offer(&url));
    assert_eq!(status, 502);
    let mumble = async { respond(request(&prices).await.0, "200 OK", "mumble").await };
    let ((), (status, _)) = tokio::join!(mumble, offer(&url));
    assert_eq!(status, 502);

    drop(prices);
    let (status, problem) = offer(&url).await;
    assert_eq!((status, &problem["trace_id"]), (503, &json!(TRACE)), "{problem}");
    for (outcome, count) in [("timeout", 1), ("failed", 2), ("unreachable", 1)] {
        let series = format!("prices_seconds_count{{outcome=\"{outcome}\"}}");
        assert_eq!(process.metric(&series).await, Some(count), "{outcome}");
    }
}

#[tokio::test]
async fn a_request_in_the_drain_still_has_its_call_answered() {
    let prices = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut process, url) = start(&prices, &[]).await;
    let asked = tokio::spawn(async move { offer(&url).await });
    let (stream, _) = request(&prices).await;
    process.drain().await;
    process.close().await;
    respond(stream, "200 OK", r#"{"cents":1}"#).await;
    assert_eq!(asked.await.unwrap().0, 200);
    process.exit().await.assert_clean();
}
