//! Clients that are slow or greedy: each meets its limit, is told so where HTTP has words for it, and is
//! counted.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::support::{
    eventually,
    http1::{Http1, post},
    http2::{ALL_STREAMS, Http2},
    process::{Process, metric, testbed},
};

/// The deadline under test; all others are far away.
const LIMIT: Duration = Duration::from_millis(300);

/// What passes at most, on a machine that is busy with other tests.
const LATE: Duration = Duration::from_secs(8);

fn assert_took_the_limit(since: Instant) {
    let took = since.elapsed();
    assert!(took >= LIMIT && took < LATE, "{took:?}");
}

// Slow

#[test]
fn a_client_that_sends_nothing_is_closed() {
    let process = testbed().set("APP_FIRST_BYTE_TIMEOUT", "300ms").start();
    let since = Instant::now();
    process.connect().ended();
    assert_took_the_limit(since);
    process.closed("first_byte", 1);
}

#[test]
fn half_an_http2_preface_is_closed() {
    let process = testbed().set("APP_FIRST_BYTE_TIMEOUT", "300ms").start();
    let since = Instant::now();
    let mut client = process.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM");
    assert!(client.is_cut_off());
    assert_took_the_limit(since);
    process.closed("first_byte", 1);
}

#[test]
fn a_head_that_trickles_in_gets_408() {
    let process = testbed().set("APP_HEAD_TIMEOUT", "300ms").start();
    let mut client = process.connect();
    let since = Instant::now();
    client.send("GET / HTTP/1.1\r\nx-slow: ");
    while client.is_silent_for(Duration::from_millis(50)) {
        client.send("a");
    }
    let response = client.response();
    assert_took_the_limit(since);
    response.problem(408);
    assert!(response.says_close());
    client.ended();
    process.closed("head", 1);
}

#[test]
fn the_head_of_a_later_request_has_the_same_deadline() {
    let process = testbed().set("APP_HEAD_TIMEOUT", "300ms").start();
    let mut client = process.connect();
    assert!(!client.get("/").says_close());
    let since = Instant::now();
    client.send("GET /");
    client.response().problem(408);
    assert_took_the_limit(since);
    client.ended();
    process.closed("head", 1);
}

#[test]
fn a_kept_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let process = testbed().set("APP_HEAD_TIMEOUT", "100ms").start();
    let mut client = process.connect();
    client.get("/");
    assert!(client.is_silent_for(LIMIT));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_kept_connection_that_is_idle_for_too_long_is_closed() {
    let process = testbed().set("APP_IDLE_TIMEOUT", "300ms").start();
    let mut client = process.connect();
    client.ask("/");
    let since = Instant::now();
    client.response();
    assert_eq!(client.try_rest().expect("it is closed without a reset"), b"");
    assert_took_the_limit(since);
    // Or what it has just sent would be answered with a reset.
    assert_eq!(process.metric("server_connections_open{network_protocol_name=\"http1\"}"), 1);
    drop(client);
    process.closed("idle", 1);
}

#[test]
fn an_http2_connection_that_is_idle_for_too_long_gets_goaway() {
    let process = testbed().set("APP_IDLE_TIMEOUT", "300ms").start();
    let mut client = Http2::connect(&process);
    let since = Instant::now();
    client.get("/");
    client.hear(|client| client.ended);
    assert_took_the_limit(since);
    assert_eq!(client.goaways.first(), Some(&(ALL_STREAMS, 0)));
    assert!(since.elapsed() >= LIMIT + Duration::from_secs(2), "what crosses GOAWAY has its time");
    process.closed("idle", 1);
}

#[test]
fn a_body_that_stalls_gets_408() {
    let process = testbed().set("APP_STALL_TIMEOUT", "300ms").start();
    let mut client = process.connect();
    let since = Instant::now();
    client.send(&(post("/greetings", 100) + "{\"name\":"));
    client.response().problem(408);
    assert_took_the_limit(since);
    client.ended();
    assert_eq!(process.responses("POST", "/greetings", 408), 1);
}

#[test]
fn a_body_that_trickles_in_meets_the_request_timeout() {
    let process = testbed().set("APP_REQUEST_TIMEOUT", "300ms").set("APP_STALL_TIMEOUT", "5m").start();
    let mut client = process.connect();
    let since = Instant::now();
    client.send(&post("/greetings", 1_000_000));
    while client.is_silent_for(Duration::from_millis(50)) {
        client.send(" ");
    }
    client.response().problem(504);
    assert_took_the_limit(since);
    client.ended();
    assert_eq!(process.metric("http_server_requests_timed_out_total"), 1);
}

#[test]
fn a_client_that_does_not_read_its_response_is_cut_off() {
    let process = testbed().set("APP_STALL_TIMEOUT", "300ms").start();
    let mut client = process.connect();
    let since = Instant::now();
    client.ask("/endless");
    process.closed("stalled", 1);
    assert_took_the_limit(since);
    assert_eq!(process.metric("server_connections_open{network_protocol_name=\"http1\"}"), 0);
}

#[test]
fn a_handler_that_takes_too_long_is_answered_504() {
    let process = testbed().set("APP_REQUEST_TIMEOUT", "300ms").start();
    let mut client = process.connect();
    let since = Instant::now();
    client.get("/held").problem(504);
    assert_took_the_limit(since);
    assert_eq!(process.metric("http_server_requests_timed_out_total"), 1);
    assert_eq!(process.responses("GET", "/held", 504), 1);
}

// Too many

#[test]
fn at_the_connection_cap_others_wait_and_the_pod_stays_ready() {
    let process = testbed().set("APP_MAX_CONNECTIONS", "2").start();
    let mut inside: Vec<_> = (0..2).map(|_| process.connect()).collect();
    for client in &mut inside {
        client.ask("/held");
    }
    process.lines("held", 2);
    let mut waiting = process.connect();
    waiting.ask("/livez");
    assert!(waiting.is_silent_for(LIMIT));
    assert_eq!(process.probe("/readyz"), 200);
    assert_eq!(process.probe("/livez"), 200);

    process.release();
    for client in &mut inside {
        let response = client.response();
        assert!(response.says_close(), "a kept connection would keep the others waiting: {response:?}");
        client.ended();
    }
    assert_eq!(waiting.response().status, 200);
}

#[test]
fn below_the_connection_cap_connections_are_kept() {
    let process = testbed().set("APP_MAX_CONNECTIONS", "3").start();
    assert!(!process.connect().get("/").says_close());
}

#[test]
fn at_the_in_flight_cap_requests_are_shed_and_the_pod_stays_ready() {
    let process = testbed().set("APP_MAX_IN_FLIGHT", "1").start();
    let mut working = process.connect();
    working.ask("/held");
    process.line("held");
    let mut other = process.connect();
    let response = other.get("/held");
    response.problem(503);
    assert!(response.header("retry-after").is_some(), "{response:?}");
    assert!(!response.says_close());
    assert_eq!(process.metric("http_server_requests_shed_total{reason=\"in_flight\"}"), 1);
    assert_eq!(process.probe("/readyz"), 200);
    assert_eq!(other.get("/readyz").status, 200, "probes are not shed");

    process.release();
    assert_eq!(working.response().status, 200);
    other.ask("/held");
    process.lines("held", 2);
    process.release();
    assert_eq!(other.response().status, 200);
}

#[test]
fn when_descriptors_run_out_clients_wait_and_are_served_later() {
    let process = testbed().start();
    let address = process.address_of_service();
    let mut admin = process.connect_to_admin();
    admin.get("/livez");
    let since = Instant::now();
    let before = limit_descriptors(&process, 2);

    let mut clients: Vec<_> = (0..6).map(|_| Http1::connect(address)).collect();
    clients.iter_mut().for_each(|client| client.ask("/"));
    assert_eq!(clients[0].response().status, 200);
    assert_eq!(clients[1].response().status, 200);
    eventually("accept fails", || metric(&mut admin, "server_accept_errors_total") > 2);
    let logged = process.lines("connections can't be accepted", 1).len();
    assert_eq!(logged, 1, "once, not each time");
    assert!(clients[2].is_silent_for(LIMIT));
    assert_eq!(admin.get("/livez").status, 200);
    assert_eq!(admin.get("/readyz").status, 200);
    let errors = metric(&mut admin, "server_accept_errors_total");
    let most = since.elapsed().as_millis() / 20 + 1;
    assert!(u128::from(errors) <= most, "{errors} attempts where a pause of 20 ms makes {most}");

    clients.drain(..2);
    // Each makes room for the next when it goes.
    for mut client in clients.drain(..3) {
        assert_eq!(client.response().status, 200);
    }
    prlimit(Some(process.pid()), Resource::Nofile, before).expect("as it was");
    assert_eq!(clients[0].response().status, 200);
}

#[test]
fn when_descriptors_run_out_at_closing_clients_in_the_accept_queue_wait_too() {
    let process = testbed().start();
    let address = process.address_of_service();
    let mut inside: Vec<_> = (0..2).map(|_| process.connect()).collect();
    inside.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    limit_descriptors(&process, 0);
    let mut waiting: Vec<_> = (0..3).map(|_| Http1::connect(address)).collect();
    waiting.iter_mut().for_each(|client| client.ask("/"));
    process.drain();
    process.close();
    assert!(waiting[0].is_silent_for(LIMIT));
    drop(inside);
    for mut client in waiting {
        let response = client.response();
        assert!(response.status == 200 && response.says_close(), "{response:?}");
        client.ended();
    }
    process.exit().with_code(0);
}

/// Leaves the process so many descriptors more than it has open; returns the limits before.
fn limit_descriptors(process: &Process, more: usize) -> Rlimit {
    let folder = format!("/proc/{}/fd", process.pid().as_raw_nonzero());
    let entries = fs::read_dir(folder).expect("the process runs").map(|entry| entry.expect("it is listed"));
    let open: Vec<u64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The limit is about the numbers of descriptors, and the lowest free one is taken first.
    let mut free = (0..).filter(|number| !open.contains(number));
    let limit = free.nth(more).expect("numbers don't end");
    // The process has inherited the maximum from us.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    prlimit(Some(process.pid()), Resource::Nofile, Rlimit { current: Some(limit), maximum })
        .expect("a limit may be lowered")
}

// Too much

#[test]
fn a_body_over_the_limit_gets_413_although_the_client_sends_on() {
    let process = testbed().set("APP_BODY_LIMIT", "1000").start();
    let body = "a".repeat(4_000_000);
    let mut client = process.connect();
    client.send(&(post("/greetings", body.len()) + &body));
    let response = client.response();
    response.problem(413);
    assert!(response.says_close());
    client.ended();
}

#[test]
fn a_chunked_body_over_the_limit_gets_413_although_the_client_sends_on() {
    let process = testbed().set("APP_BODY_LIMIT", "1000").start();
    let mut client = process.connect();
    client.send("POST /greetings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n");
    client.send("transfer-encoding: chunked\r\n\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 10_000, "a".repeat(10_000));
    for _ in 0..200 {
        client.send(&chunk);
    }
    let response = client.response();
    response.problem(413);
    assert!(response.says_close());
    client.ended();
}

#[test]
fn an_response_that_does_not_wait_for_the_body_says_close() {
    let process = testbed().start();
    let body = "a".repeat(1_000_000);
    let mut client = process.connect();
    client.send(&(post("/nothing", body.len()) + &body));
    let response = client.response();
    response.problem(404);
    assert!(response.says_close(), "hyper closes, and the next request would be lost: {response:?}");
    client.ended();
}

#[test]
fn an_response_to_a_body_that_was_read_keeps_the_connection() {
    let process = testbed().start();
    let mut client = process.connect();
    for (status, body) in [(201, r#"{"name":"Ada"}"#), (422, r#"{"name":""}"#)] {
        client.send(&(post("/greetings", body.len()) + body));
        let response = client.response();
        assert_eq!(response.status, status);
        assert!(!response.says_close(), "{response:?}");
    }
}

#[test]
fn a_head_that_is_too_large_gets_431() {
    let process = testbed().start();
    let mut client = process.connect();
    client.send(&format!("GET / HTTP/1.1\r\nx-large: {}\r\n\r\n", "a".repeat(1_000_000)));
    assert_eq!(client.response().status, 431);
    client.ended();
    process.closed("failed", 1);
}
