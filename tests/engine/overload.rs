//! More requests than a thread can work on, or than a route keeps pace with: those that waited too long in a crowd are shed, those beyond what
//! a route answers in time are, and nothing else is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    routing::get,
};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use landfall::{App, RouteLimits, testing};
use tokio::{sync::Semaphore, time::sleep};
use tower::ServiceExt;

use crate::support::{
    PATIENCE,
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

#[tokio::test]
async fn a_route_that_does_not_keep_pace_is_limited_until_it_does_and_no_other_is() {
    let narrow = |places| {
        let few = Arc::new(Semaphore::new(places));
        async move || {
            let _place = few.acquire().await;
            sleep(Duration::from_millis(10)).await;
        }
    };
    let router = Router::new()
        .route("/narrow", get(narrow(16)))
        .route("/patient", get(narrow(16)))
        .route("/wide", get(async || ()));
    let patient = RouteLimits::new().no_timeout();
    let start = async |_: App| Ok(landfall::Service::new(router).with_limits("/patient", patient));
    let service = testing::start(&[], start).await.expect("it starts");
    let ask = async |router: &Router, path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("it is a path");
        router.clone().oneshot(request).await.expect("it answers")
    };
    let metric = async |name: &str| {
        let body = ask(&service.admin, "/metrics").await.into_body().collect().await.expect("it is there");
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("it is text");
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<usize>().ok())
    };
    let limit = "http_server_admission_limit{http_route=\"/narrow\"}";
    // What it takes when nobody is in a hurry.
    for _ in 0..15 {
        assert_eq!(ask(&service.router, "/narrow").await.status(), StatusCode::OK);
    }
    assert_eq!(metric(limit).await, None);
    // It takes 16 at once, and these are far more: nobody knows that yet.
    let crowd = || join_all((0..400).map(|_| ask(&service.router, "/narrow")));
    assert!(crowd().await.iter().all(|response| response.status() == StatusCode::OK));
    let most = metric(limit).await.expect("it is limited");
    // If they kept no pace at all, it would be 16.
    assert!((17..200).contains(&most), "{most}");
    let (answered, shed): (Vec<_>, Vec<_>) =
        crowd().await.into_iter().partition(|response| response.status() == StatusCode::OK);
    assert_eq!(answered.len(), most);
    assert!(shed.iter().all(|response| response.status() == StatusCode::SERVICE_UNAVAILABLE
        && response.headers().contains_key(header::RETRY_AFTER)));
    assert_eq!(metric("http_server_requests_shed_total{reason=\"pace\"}").await, Some(shed.len()));
    for path in ["/wide", "/patient", "/patient"] {
        let crowd = join_all((0..400).map(|_| ask(&service.router, path))).await;
        assert!(crowd.iter().all(|response| response.status() == StatusCode::OK), "{path}");
    }
    // The crowd is gone.
    let calm = async {
        while metric(limit).await.is_some() {
            ask(&service.router, "/narrow").await;
        }
    };
    tokio::time::timeout(PATIENCE, calm).await.expect("the limit goes with the crowd");
}
