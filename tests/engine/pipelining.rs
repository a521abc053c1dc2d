//! Requests that a client sends together, without waiting for the responses between them.

use std::time::{Duration, Instant};

use crate::support::{
    http1::{Http1, post, request},
    process::testbed,
};

/// Requires so many responses, of which the last alone says close, and the end.
fn assert_answered(client: &mut Http1, count: usize) {
    for left in (0..count).rev() {
        let response = client.response();
        assert_eq!(response.status, 200);
        assert_eq!(response.says_close(), left == 0, "{left} are left: {response:?}");
    }
    client.ended();
}

#[test]
fn what_is_sent_together_is_answered_while_draining() {
    let process = testbed().start();
    let (mut kept, mut other) = (process.connect(), process.connect());
    kept.get("/");
    other.get("/");
    process.drain();
    let mut new = process.connect();
    for client in [&mut kept, &mut new] {
        client.send(&request("GET", "/").repeat(3));
        assert_answered(client, 3);
    }
    process.close();
    other.send(&request("GET", "/").repeat(3));
    assert_answered(&mut other, 3);
    process.exit().with_code(0);
}

#[test]
fn what_was_sent_before_the_drain_is_answered_too() {
    let process = testbed().start();
    let mut client = process.connect();
    client.send(&(request("GET", "/held") + &request("GET", "/") + &request("GET", "/")));
    process.line("held");
    process.drain();
    process.release();
    assert_answered(&mut client, 3);
}

#[test]
fn a_client_that_never_stops_sending_is_told_to_close() {
    let process = testbed().start();
    let mut client = process.connect();
    client.get("/");
    process.drain();
    let requests = request("GET", "/").repeat(2000);
    // It fails when the server has closed, which is what is awaited.
    let _ = client.try_send(requests.as_bytes());
    let mut count = 1;
    while !client.response().says_close() {
        count += 1;
    }
    assert!(count < 2000, "{count} responses");
    client.ended();
}

#[test]
fn a_response_to_a_body_says_close_while_draining() {
    let process = testbed().start();
    let mut client = process.connect();
    process.drain();
    let body = "{\"name\":\r\n\r\n\"Ada\"}";
    client.send(&(post("/greetings", body.len()) + body));
    let response = client.response();
    assert_eq!(response.status, 201);
    assert!(response.says_close(), "{response:?}");
    client.ended();
}

#[test]
fn half_a_head_behind_a_request_gets_408() {
    let process = testbed().set("APP_HEAD_TIMEOUT", "300ms").start();
    let mut client = process.connect();
    let since = Instant::now();
    client.send(&(request("GET", "/") + "GET / HT"));
    assert_eq!(client.response().status, 200);
    client.response().problem(408);
    assert!(since.elapsed() >= Duration::from_millis(300));
    client.ended();
}
