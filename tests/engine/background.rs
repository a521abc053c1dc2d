//! Streams, upgrades and work in the background: told when the drain starts or when the last request was answered,
//! waited for, bounded, and in the report.

use crate::support::{
    eventually,
    http1::Http1,
    lifecycle::{assert_last, with_500_ms_to_close},
    process::{Process, testbed},
};

fn with_a_worker() -> Process {
    testbed().set("TESTBED_WORKER", "held").start()
}

#[test]
fn a_worker_is_told_after_the_last_response_and_waited_for() {
    let process = with_a_worker();
    let mut client = process.connect();
    client.ask("/held");
    process.lines("held", 1);
    process.drain();
    process.close();
    process.release();
    assert_eq!(client.response().status, 200);
    drop(client);
    // Only now is the worker told: it holds at what it does last.
    process.lines("held", 2);
    assert_eq!(process.metric("lifecycle_phase{phase=\"stopped\"}"), 1);
    process.release();
    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!(report["workers_aborted"], 0, "{report}");
    assert!(report["flush_ms"].is_u64(), "{report}");
    let order = ["closing", "shipped", "cleaned up", "stopped"].map(|line| exit.position(line));
    assert!(order.is_sorted(), "{order:?}: {:#?}", exit.log);
}

#[test]
fn a_worker_that_does_not_finish_is_left_and_clean_up_still_has_its_turn() {
    let process = testbed().set("TESTBED_WORKER", "held").set("APP_FLUSH_TIMEOUT", "600ms").start();
    process.drain();
    process.close();
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!(report["workers_aborted"], 1, "{report}");
    assert_eq!(report["cleaned_up"], true, "{report}");
    assert_eq!(report["clean"], false, "{report}");
    exit.position("cleaned up");
    assert!(exit.messages().all(|message| message != "shipped"));
}

#[test]
fn a_worker_gets_its_turn_when_connections_were_aborted() {
    let process = testbed()
        .set("TESTBED_WORKER", "held")
        .set("APP_DRAIN_TIMEOUT", "300ms")
        .set("APP_REQUEST_TIMEOUT", "300ms")
        .start();
    let mut client = process.connect();
    client.ask("/endless");
    assert_eq!(client.head().status, 200);
    process.drain();
    process.close();
    process.line("held");
    process.release();
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!(report["connections_aborted"], 1, "{report}");
    assert_eq!(report["workers_aborted"], 0, "{report}");
    exit.position("shipped");
}

// Streams, upgrades, background work

#[test]
fn the_tick_stream_ends_politely() {
    let process = testbed().start();
    let mut client = process.connect();
    client.ask("/ticks");
    let head = client.head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(client.chunk().as_deref(), Some("event: tick\ndata: 0\n\n"));
    process.drain();
    let rest: Vec<_> = std::iter::from_fn(|| client.chunk()).collect();
    let last = rest.last().expect("there is a last event");
    assert!(last.starts_with("event: drain\n") && last.contains("\nretry: "), "{last}");
    // Its head was sent before the signal and promised to keep the connection.
    assert_last(&client.get("/"), 200);
    client.ended();
    process.close();
    process.exit().with_code(0);
}

fn upgraded(process: &Process, path: &str) -> Http1 {
    let mut client = process.connect();
    client.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"));
    let response = client.head();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("connection"), Some("upgrade"));
    client.send("hello\n");
    assert_eq!(client.line(), "hello");
    client
}

#[test]
fn an_upgraded_connection_is_told_to_finish_and_waited_for() {
    for path in ["/echo", "/echo/untracked"] {
        let process = testbed().start();
        let mut client = upgraded(&process, path);
        eventually("its end as HTTP is counted", || {
            process.metric("server_connections_closed_total{reason=\"upgraded\"}") == 1
        });
        assert_eq!(process.metric("server_connections_open{network_protocol_name=\"http1\"}"), 1);
        process.drain();
        assert_eq!(client.line(), "bye");
        process.close();
        client.send("not yet\n");
        assert_eq!(client.line(), "not yet");
        drop(client);
        process.exit().with_code(0);
    }
}

#[test]
fn a_connection_can_still_be_upgraded_while_draining() {
    let process = testbed().start();
    process.drain();
    let mut client = process.connect();
    client.send("GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    let response = client.head();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("connection"), Some("upgrade"));
    assert_eq!(client.line(), "bye");
    drop(client);
    process.close();
    process.exit().with_code(0);
}

#[test]
fn an_upgraded_connection_that_does_not_finish_is_aborted_and_counted() {
    for (path, counted) in [("/echo", "tasks_aborted"), ("/echo/untracked", "connections_aborted")] {
        let process = with_500_ms_to_close();
        let mut client = upgraded(&process, path);
        process.drain();
        process.close();
        let exit = process.exit();
        let report = exit.with_code(1);
        assert_eq!(report[counted], 1, "{path}: {report}");
        assert_eq!(client.line(), "bye");
        assert!(client.is_cut_off());
    }
}

#[test]
fn a_background_task_is_told_to_finish_and_waited_for() {
    let process = testbed().set("TESTBED_TASK", "held").start();
    process.drain();
    process.line("held");
    process.close();
    process.release();
    let exit = process.exit();
    exit.with_code(0);
    let order = ["closing", "worked", "cleaned up", "stopped"].map(|line| exit.position(line));
    assert!(order.is_sorted(), "{order:?}: {:#?}", exit.log);
}

#[test]
fn a_background_task_that_does_not_finish_is_aborted_and_counted() {
    let process = testbed()
        .set("TESTBED_TASK", "held")
        .set("APP_DRAIN_TIMEOUT", "300ms")
        .set("APP_REQUEST_TIMEOUT", "300ms")
        .start();
    process.drain();
    process.line("held");
    process.close();
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!(report["tasks_aborted"], 1, "{report}");
    assert_eq!(report["connections_aborted"], 0, "{report}");
    assert!(exit.messages().all(|message| message != "worked"));
}
