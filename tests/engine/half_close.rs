//! Clients that close their side: those that still read are answered, those that have left hold nothing.

use std::{thread, time::Duration};

use crate::support::{
    eventually,
    http1::{Http1, post},
    process::{Process, testbed},
};

const OPEN: &str = "server_connections_open{network_protocol_name=\"http1\"}";
const GONE: &str = "server_connections_closed_total{reason=\"gone\"}";

/// Longer than a client takes to close its side if it only says that it sends no more.
const LATE: Duration = Duration::from_millis(700);

/// Longer than a response may pause for a client that has closed its side.
const PAUSE: Duration = Duration::from_millis(2500);

fn left(process: &Process, count: u64) {
    eventually("they are noticed", || process.metric(GONE) == count);
    assert_eq!(process.metric(OPEN), 0);
    assert_eq!(
        process.metric("http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"}"),
        0
    );
}

/// Clients that have got the first chunk of a response which then is quiet.
fn quiet(process: &Process, count: usize) -> Vec<Http1> {
    let mut clients: Vec<_> = (0..count).map(|_| process.connect()).collect();
    for client in &mut clients {
        client.ask("/quiet");
        assert_eq!(client.head().status, 200);
        assert_eq!(client.chunk().as_deref(), Some("once"));
    }
    clients
}

#[test]
fn clients_that_leave_a_quiet_stream_are_noticed() {
    let process = testbed().start();
    let clients = quiet(&process, 20);
    assert_eq!(process.metric(OPEN), 20);
    drop(clients);
    left(&process, 20);
}

#[test]
fn clients_that_have_left_do_not_hold_the_drain_and_are_not_aborted() {
    let process = testbed().start();
    let clients = quiet(&process, 5);
    process.drain();
    process.close();
    drop(clients);
    let exit = process.exit();
    assert_eq!(exit.with_code(0)["connections_aborted"], 0);
}

#[test]
fn a_client_that_gives_up_waiting_ends_the_work() {
    let process = testbed().start();
    let mut client = process.connect();
    client.ask("/held");
    process.line("held");
    assert!(client.is_silent_for(LATE));
    drop(client);
    left(&process, 1);
}

#[test]
fn a_client_that_resets_the_connection_ends_the_work_at_once() {
    let process = testbed().start();
    let mut client = process.connect();
    client.ask("/held");
    process.line("held");
    client.reset();
    left(&process, 1);
}

#[test]
fn a_client_that_closes_its_side_with_its_request_is_answered_when_the_handler_is_done() {
    let process = testbed().start();
    let mut client = process.connect();
    client.ask("/held");
    client.finish_sending();
    process.line("held");
    assert!(client.is_silent_for(PAUSE));
    process.release();
    assert_eq!(client.response().status, 200);
    client.ended();
    assert_eq!(process.metric(GONE), 0);
}

#[test]
fn a_client_that_closes_its_side_gets_a_stream_that_goes_on() {
    let process = testbed().start();
    let mut client = process.connect();
    client.ask("/ticks");
    client.finish_sending();
    assert_eq!(client.head().status, 200);
    for _ in 0..5 {
        assert!(client.chunk().is_some());
    }
    process.drain();
    while client.chunk().is_some() {}
    client.ended();
    assert_eq!(process.metric(GONE), 0);
}

#[test]
fn a_client_that_is_slow_with_its_body_may_close_its_side_after_it() {
    let process = testbed().start();
    let mut client = process.connect();
    let body = r#"{"name":"Ada"}"#;
    client.send(&post("/greetings/held", body.len()));
    thread::sleep(LATE);
    client.send(body);
    client.finish_sending();
    process.line("held");
    assert!(client.is_silent_for(LATE));
    process.release();
    assert_eq!(client.response().status, 201);
    client.ended();
}
