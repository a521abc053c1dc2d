//! Handlers that finish though their caller has left, on routes that say so: waited for, bounded, counted.

use serde_json::Value;

use crate::support::{
    eventually,
    http1::{Http1, request},
    http2::{Http2, RST_STREAM},
    process::{Process, testbed},
};

const OUTLIVED: &str = "http_server_requests_outlived_total";
const IN_FLIGHT: &str = "http_server_active_requests{http_request_method=\"POST\",url_scheme=\"http\"}";
const SHED: &str = "http_server_requests_shed_total{reason=\"in_flight\"}";
const TIMED_OUT: &str = "http_server_requests_timed_out_total";

const CANCEL: u32 = 8;

/// A client whose request is held.
fn asking(process: &Process, path: &str) -> Http1 {
    let before = process.lines("held", 0).len();
    let mut client = process.connect();
    client.send(&request("POST", path));
    process.lines("held", before + 1);
    client
}

/// Asks, and leaves while the request is held.
fn ask_and_leave(process: &Process, path: &str) {
    let before = process.metric("server_connections_closed_total{reason=\"gone\"}");
    asking(process, path).reset();
    process.closed("gone", before + 1);
}

fn assert_only_done_on(log: &[Value], path: &str) {
    let done: Vec<_> =
        log.iter().filter(|line| line["message"] == "done").map(|line| &line["span"]["path"]).collect();
    assert_eq!(done, [path]);
}

#[test]
fn a_handler_finishes_on_a_route_that_says_so_and_is_dropped_on_others() {
    let process = testbed().start();
    ask_and_leave(&process, "/effect");
    eventually("the handler is dropped", || process.metric(IN_FLIGHT) == 0);
    assert_eq!(process.metric(OUTLIVED), 0);
    ask_and_leave(&process, "/effect/kept");
    assert_eq!((process.metric(IN_FLIGHT), process.metric(OUTLIVED)), (1, 1));
    process.release();
    let done = process.line("done");
    let span = &done["span"];
    assert!(span["request_id"].is_string() && span["trace_id"].is_string(), "{done}");
    eventually("it ends", || process.metric(IN_FLIGHT) == 0);
    assert_eq!(process.responses("POST", "/effect/kept", 201), 1);
    process.drain();
    process.close();
    let exit = process.exit();
    exit.with_code(0);
    assert_only_done_on(&exit.log, "/effect/kept");
}

#[test]
fn a_caller_that_stays_gets_its_response() {
    let process = testbed().start();
    let mut client = asking(&process, "/effect/kept");
    process.release();
    assert_eq!(client.response().status, 201);
    assert_eq!((process.metric(IN_FLIGHT), process.metric(OUTLIVED)), (0, 0));
    assert!(!client.get("/").says_close());
}

#[test]
fn a_stream_that_its_caller_resets_is_finished_too() {
    let process = testbed().start();
    let mut client = Http2::connect(&process);
    // Fields of the static table: POST and http as they stand, path and authority with values of our own.
    let stream = client.open(5, &[0x80 | 3, 0x80 | 6], &[(4, "/effect/kept"), (1, "landfall.test")]);
    process.line("held");
    client.frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    eventually("it outlives its caller", || process.metric(OUTLIVED) == 1);
    process.release();
    process.line("done");
}

#[test]
fn the_drain_waits_for_it() {
    let process = testbed().start();
    ask_and_leave(&process, "/effect/kept");
    process.drain();
    let closing = process.close();
    assert_eq!((&closing["connections"], &closing["tasks"]), (&0.into(), &1.into()), "{closing}");
    process.release();
    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!(report["tasks_aborted"], 0, "{report}");
    assert!(exit.position("done") < exit.position("stopped"));
}

#[test]
fn a_caller_that_leaves_while_the_process_is_closing_is_outlived_too() {
    for over_http2 in [false, true] {
        let process = testbed().start();
        let mut http1 = (!over_http2).then(|| asking(&process, "/effect/kept"));
        let mut http2 = over_http2.then(|| {
            let mut client = Http2::connect(&process);
            client.open(5, &[0x80 | 3, 0x80 | 6], &[(4, "/effect/kept"), (1, "landfall.test")]);
            process.line("held");
            client
        });
        process.drain();
        process.close();
        if let Some(client) = http1.take() {
            client.reset();
        }
        drop(http2.take());
        eventually("it outlives its caller", || process.metric(OUTLIVED) == 1);
        assert_eq!(process.metric("lifecycle_phase{phase=\"closing\"}"), 1);
        process.release();
        let exit = process.exit();
        exit.with_code(0);
        exit.position("done");
    }
}

#[test]
fn the_end_of_the_drain_timeout_aborts_it_and_says_so() {
    let process = testbed().set("APP_DRAIN_TIMEOUT", "300ms").set("APP_REQUEST_TIMEOUT", "300ms").start();
    ask_and_leave(&process, "/effect/kept");
    process.drain();
    process.close();
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!((&report["tasks_aborted"], &report["clean"]), (&1.into(), &false.into()), "{report}");
    assert_eq!(report["connections_aborted"], 0, "{report}");
    assert!(exit.messages().all(|message| message != "done"));
}

#[test]
fn it_is_in_flight_until_its_end() {
    let process = testbed().set("APP_MAX_IN_FLIGHT", "1").start();
    ask_and_leave(&process, "/effect/kept");
    let mut other = process.connect();
    other.get("/").problem(503);
    assert_eq!(process.metric(SHED), 1);
    process.release();
    process.line("done");
    eventually("there is room again", || other.get("/").status == 200);
}

#[test]
fn its_timeout_ends_it() {
    let process = testbed().set("APP_PATIENCE", "2s").start();
    let mut client = asking(&process, "/effect/kept");
    client.response().problem(504);
    drop(client);
    ask_and_leave(&process, "/effect/kept");
    eventually("both have timed out", || process.metric(TIMED_OUT) == 2);
    process.release();
    assert_eq!((process.metric(IN_FLIGHT), process.metric(OUTLIVED)), (0, 1));
    process.drain();
    process.close();
    let exit = process.exit();
    exit.with_code(0);
    assert!(exit.messages().all(|message| message != "done"));
}

#[test]
fn its_panic_is_caught() {
    let process = testbed().start();
    let mut client = asking(&process, "/effect/panic");
    ask_and_leave(&process, "/effect/panic");
    process.release();
    client.response().problem(500);
    eventually("both have panicked", || process.metric("http_server_panics_total") == 2);
    assert_eq!((process.metric(IN_FLIGHT), process.metric(OUTLIVED)), (0, 1));
    assert_eq!(client.get("/").status, 200);
}
