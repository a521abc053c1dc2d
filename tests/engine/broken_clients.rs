//! Clients that speak no HTTP, vanish, or make a handler panic: each is answered if it can be, and counted.

use std::{thread, time::Duration};

use crate::support::{eventually, http1::request, process::testbed};

#[test]
fn a_client_that_closes_its_side_after_the_request_still_gets_the_response() {
    let process = testbed().start();
    let mut client = process.connect();
    client.ask("/held");
    client.finish_sending();
    process.line("held");
    // So that the process hears of the end first.
    thread::sleep(Duration::from_millis(50));
    process.release();
    assert_eq!(client.response().status, 200);
    client.ended();
}

#[test]
fn what_is_not_http_gets_400_and_is_closed() {
    let process = testbed().start();
    let not_http = [
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "HELO landfall.test\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: many\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ];
    for (count, text) in (1..).zip(not_http) {
        let mut client = process.connect();
        client.send(text);
        let response = client.response();
        assert_eq!(response.status, 400, "{text:?}: {response:?}");
        client.ended();
        process.closed("failed", count);
    }
    assert_eq!(process.connect().get("/").status, 200);
}

#[test]
fn what_was_answered_before_a_body_broke_is_not_destroyed() {
    let process = testbed().start();
    let mut client = process.connect();
    client.send("POST /mirror HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().as_deref(), Some("a"));
    client.send(&format!("1\r\nb\r\nthis is no chunk\r\n{}", "a".repeat(1_000_000)));
    // No reset, which would take what is on its way, but the end.
    let rest = client.try_rest().expect("the end is proper");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the body is not complete: {}", rest.escape_ascii());
    drop(client);
    process.closed("failed", 1);
}

#[test]
fn a_client_that_vanishes_from_its_response_leaves_nothing_behind() {
    let process = testbed().start();
    let mut client = process.connect();
    client.ask("/endless");
    assert_eq!(client.head().status, 200);
    let open = "server_connections_open{network_protocol_name=\"http1\"}";
    let active = "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"}";
    assert_eq!(process.metric(open), 1);
    drop(client);
    eventually("no connection is open", || process.metric(open) == 0);
    assert_eq!(process.metric(active), 0);
}

#[test]
fn a_handler_that_panics_is_answered_500_counted_and_logged() {
    let process = testbed().start();
    let mut client = process.connect();
    client.send(&request("GET", "/panic").replace("\r\n\r\n", "\r\nx-request-id: the-one\r\n\r\n"));
    let response = client.response();
    response.problem(500);
    assert!(!response.body.contains("asked to"), "the reason is for the log: {response:?}");
    let line = process.line("panicked");
    assert_eq!(line["panic"], "asked to");
    assert_eq!(line["span"]["request_id"], "the-one");
    assert!(line["backtrace"].is_null(), "nobody has asked for it: {line}");
    assert_eq!(process.metric("http_server_panics_total"), 1);
    assert_eq!(process.responses("GET", "/panic", 500), 1);
    assert_eq!(client.get("/livez").status, 200, "the connection is none the worse for it");
}
