//! More requests than the threads can work on: those that waited too long are shed, cheaply, and nothing else is.

use crate::support::process::{Process, testbed};

fn with_one_thread(max_wait: &str) -> Process {
    testbed().set("TOKIO_WORKER_THREADS", "1").set("APP_MAX_WAIT", max_wait).start()
}

const SHED: &str = "http_server_requests_shed_total{reason=\"wait\"}";

/// Asks all at once for work of half a second that only one thread does; how many were answered so often.
fn crowd(process: &Process) -> [usize; 2] {
    let mut clients: Vec<_> = (0..6).map(|_| process.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    for client in &mut clients {
        client.ask("/block/500");
    }
    let mut ends = [0, 0];
    for mut client in clients {
        let response = client.response();
        if response.status == 200 {
            ends[0] += 1;
            continue;
        }
        response.problem(503);
        let retry_after: u8 =
            response.header("retry-after").expect("a shed client comes back").parse().expect("seconds");
        assert!((1..=4).contains(&retry_after), "{response:?}");
        assert!(!response.says_close(), "its connection is kept: {response:?}");
        ends[1] += 1;
    }
    ends
}

#[test]
fn requests_that_waited_too_long_for_a_thread_are_shed_and_their_connection_is_kept() {
    let process = with_one_thread("400ms");
    let [answered, shed] = crowd(&process);
    assert!(answered >= 1 && shed >= 1, "{answered} answered, {shed} shed");
    assert_eq!(process.metric(SHED), shed as u64);
    assert!(process.metric("http_server_request_wait_seconds_count") >= shed as u64);
    assert_eq!([process.probe("/livez"), process.probe("/readyz")], [200, 200]);
}

#[test]
fn a_wait_that_is_allowed_costs_no_request() {
    let process = with_one_thread("1m");
    assert_eq!(crowd(&process), [6, 0]);
    assert_eq!(process.metric(SHED), 0);
}

#[test]
fn probes_are_not_shed() {
    let process = with_one_thread("100ms");
    let mut work = process.connect();
    let mut probes: Vec<_> = (0..4).map(|_| process.connect()).collect();
    for probe in &mut probes {
        assert_eq!(probe.get("/readyz").status, 200);
    }
    work.ask("/block/300");
    for probe in &mut probes {
        probe.ask("/readyz");
    }
    for probe in &mut probes {
        assert_eq!(probe.response().status, 200);
    }
}
