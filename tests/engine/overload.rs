//! More requests than a thread can work on: those that waited too long in a crowd are shed, and nothing else is.

use std::time::Instant;

use crate::support::{
    http1::Http1,
    process::{Process, testbed},
};

const SHED: &str = "http_server_requests_shed_total{reason=\"wait\"}";

fn with_one_thread(max_wait: &str) -> Process {
    testbed().set("APP_WORKER_THREADS", "1").set("APP_MAX_WAIT", max_wait).start()
}

/// Asks for work that only one thread does, from so many clients at once.
fn crowd(process: &Process, count: usize, path: &str) -> Vec<Http1> {
    let mut clients: Vec<_> = (0..count).map(|_| process.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    for client in &mut clients {
        client.ask(path);
    }
    clients
}

#[test]
fn requests_that_waited_too_long_in_a_crowd_are_shed_and_their_connections_are_kept() {
    let process = with_one_thread("100ms");
    let mut shed = 0;
    for client in &mut crowd(&process, 40, "/block/50") {
        let response = client.response();
        if response.status == 200 {
            continue;
        }
        response.problem(503);
        let seconds = response.header("retry-after").and_then(|seconds| seconds.parse().ok());
        assert!(seconds.is_some_and(|seconds: u8| (1..=4).contains(&seconds)), "{response:?}");
        assert!(!response.says_close(), "{response:?}");
        shed += 1;
    }
    assert!((1..40).contains(&shed), "{shed} of 40");
    assert_eq!(process.metric(SHED), shed);
    assert!(process.metric("http_server_request_wait_seconds_count") >= shed);
    assert_eq!([process.probe("/livez"), process.probe("/readyz")], [200, 200]);
}

#[test]
fn a_few_that_wait_are_no_crowd() {
    let process = with_one_thread("10ms");
    for client in &mut crowd(&process, 6, "/block/200") {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(process.metric(SHED), 0);
}

#[test]
fn a_crowd_that_may_wait_is_answered() {
    let process = with_one_thread("1h");
    for client in &mut crowd(&process, 40, "/block/50") {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn probes_are_not_shed() {
    let process = with_one_thread("10ms");
    let mut probes: Vec<_> = (0..40).map(|_| process.connect()).collect();
    let mut crowd = crowd(&process, 40, "/block/50");
    for probe in &mut probes {
        probe.ask("/readyz");
    }
    for probe in &mut probes {
        assert_eq!(probe.response().status, 200);
    }
    assert!(crowd.iter_mut().any(|client| client.response().status == 503));
}

#[test]
fn a_crowd_that_keeps_the_thread_holds_up_no_others() {
    let process = with_one_thread("1h");
    let mut other = process.connect();
    assert_eq!(other.get("/").status, 200);
    let mut crowd = crowd(&process, 40, "/block/20");
    let began = Instant::now();
    // By then it is known for how long they keep it.
    assert!(crowd.drain(..8).all(|mut client| client.response().status == 200));
    let asked = Instant::now();
    assert_eq!(other.get("/").status, 200);
    let took = asked.elapsed();
    assert!(crowd.iter_mut().all(|client| client.response().status == 200));
    assert!(took < began.elapsed() / 4, "{took:?} of {:?}", began.elapsed());
}
