//! A main runtime that is stuck is seen, reported and ended from outside of it; one that is busy is left alone.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use support::{
    PATIENCE, eventually,
    process::{Setup, testbed},
};

/// One thread serves, so that one handler can block them all, and whoever waits for it is not shed.
fn one_worker() -> Setup {
    testbed().set("APP_WORKER_THREADS", "1").set("APP_MAX_WAIT", "1h")
}

#[test]
fn a_blocked_main_runtime_fails_livez_and_recovers() {
    let process = one_worker().set("APP_HEARTBEAT_LIMIT", "500ms").start();
    assert_eq!(process.probe("/livez"), 200);
    let mut client = process.connect();
    client.ask("/block/4000");
    eventually("/livez fails", || process.probe("/livez") == 503);
    assert_eq!(process.probe("/readyz"), 503, "nobody else is sent to it");
    let response = process.connect_to_admin().get("/livez");
    assert!(
        response.body.starts_with("[-]runtime failed: no task of the main runtime has run for "),
        "{response:?}"
    );
    assert_eq!(process.connect_to_admin().get("/nothing").problem(404)["title"], "Not Found");
    assert_eq!(process.metric("health_check_up{check=\"runtime\",endpoint=\"livez\"}"), 0);
    assert_eq!(process.probe("/startupz"), 200);

    assert_eq!(client.response().status, 200);
    eventually("/livez passes", || process.probe("/livez") == 200);
    assert_eq!(process.probe("/readyz"), 200);
    assert_eq!(process.connect().get("/livez").status, 200);
}

#[test]
fn a_saturated_main_runtime_passes_livez_and_readyz() {
    let process = one_worker().set("APP_HEARTBEAT_LIMIT", "3s").start();
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = process.connect();
                while !enough.load(Ordering::Relaxed) {
                    assert_eq!(client.get("/block/20").status, 200);
                }
            });
        }
        let started = Instant::now();
        let mut admin = process.connect_to_admin();
        let mut failed = Vec::new();
        // Well beyond the heartbeat's limit, with a queue of 7 requests all the time.
        while started.elapsed() < Duration::from_secs(4) {
            for probe in ["/livez", "/readyz"] {
                let response = admin.get(probe);
                if response.status != 200 {
                    failed.push(response);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        // First, or a failure would leave the clients running for ever.
        enough.store(true, Ordering::Relaxed);
        assert!(failed.is_empty(), "{failed:?}");
    });
}

#[test]
fn six_hundred_clients_with_blocking_work_for_one_thread_do_not_fail_livez() {
    // A queue of 36 s: what runs in its turn runs too late.
    let process = one_worker().set("APP_HEARTBEAT_LIMIT", "2s").start();
    let mut clients: Vec<_> = (0..600).map(|_| process.connect()).collect();
    for client in &mut clients {
        client.ask("/block/60");
    }
    let asked = Instant::now();
    let mut admin = process.connect_to_admin();
    while asked.elapsed() < Duration::from_secs(8) {
        let response = admin.get("/livez");
        assert_eq!(response.status, 200, "{response:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sigterm_ends_a_blocked_main_runtime_in_time() {
    let process = one_worker()
        .set("APP_DRAIN_DELAY", "300ms")
        .set("APP_DRAIN_TIMEOUT", "300ms")
        .set("APP_REQUEST_TIMEOUT", "300ms")
        .set("APP_FLUSH_TIMEOUT", "300ms")
        .start();
    let mut client = process.connect();
    client.ask("/block/600000");
    eventually("the request has arrived", || {
        process.metric("lifecycle_requests_total{phase=\"serving\"}") == 1
    });
    let asked = Instant::now();
    process.signal(Signal::TERM);
    process.line("draining");
    assert_eq!(process.probe("/readyz"), 503);
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!(report["clean"], false);
    // The one that is blocked, and the accept queue that was never emptied.
    assert!(report["connections_aborted"].as_u64().is_some_and(|count| count >= 1), "{report}");
    let took = exit.at - asked;
    assert!(took < PATIENCE / 3, "{took:?}");
    assert!(client.is_cut_off());
}

#[test]
fn a_drain_in_which_everything_hangs_takes_no_longer_than_the_sum_that_is_checked_against_the_grace_period() {
    let sum = Duration::from_millis(200 + 200 + 3000);
    let process = one_worker()
        .set("APP_DRAIN_DELAY", "200ms")
        .set("APP_DRAIN_TIMEOUT", "200ms")
        .set("APP_REQUEST_TIMEOUT", "200ms")
        .set("APP_FLUSH_TIMEOUT", "3s")
        .set("APP_TERMINATION_GRACE_PERIOD", "3400ms")
        .start();
    let mut client = process.connect();
    client.ask("/block/600000");
    eventually("the request has arrived", || {
        process.metric("lifecycle_requests_total{phase=\"serving\"}") == 1
    });
    let asked = Instant::now();
    process.signal(Signal::TERM);
    let exit = process.exit();
    assert_eq!(exit.with_code(1)["cleaned_up"], false);
    let took = exit.at - asked;
    // What a busy machine may add, which is less than the second that a blocked runtime is waited for.
    assert!(took < sum + Duration::from_millis(700), "{took:?}");
}
