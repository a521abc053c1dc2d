//! How HTTP/2 clients hear that they have to go: with a response, or while they are idle if they read then. What they
//! asked before is answered, also for a client that can't read a response behind GOAWAY.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    eventually,
    http2::{ALL_STREAMS, Http2},
    process::{Process, testbed},
};

/// A client that gives up at GOAWAY, and has been answered once.
fn used(process: &Process) -> Http2 {
    let mut client = Http2::connect(process);
    client.gives_up_at_goaway = true;
    client.get("/livez");
    client
}

/// Asks what the testbed holds until it is released.
fn hold(process: &Process, client: &mut Http2) -> u32 {
    let before = process.lines("held", 0).len();
    let stream = client.ask("/held");
    process.lines("held", before + 1);
    stream
}

fn assert_goaway_comes_with(client: &mut Http2, stream: u32) {
    client.answer_and_what_is_read_with_it(stream);
    assert_eq!(client.goaways, [(ALL_STREAMS, 0)], "read together with the response of stream {stream}");
}

// Draining

#[test]
fn a_response_while_draining_brings_goaway_with_it() {
    for path in ["/", "/livez", "/nothing"] {
        let process = testbed().start();
        let mut client = used(&process);
        process.drain();
        let stream = client.ask(path);
        client.hear(|client| !client.goaways.is_empty());
        assert!(client.is_complete(stream), "GOAWAY is behind the response to {path}");
    }
}

#[test]
fn goaway_is_read_together_with_the_response() {
    let process = testbed().start();
    let mut clients: Vec<_> = (0..20).map(|_| used(&process)).collect();
    process.drain();
    for client in &mut clients {
        let stream = client.ask("/");
        assert_goaway_comes_with(client, stream);
    }
}

#[test]
fn a_response_in_flight_at_the_signal_brings_goaway_with_it() {
    let process = testbed().start();
    let mut client = used(&process);
    let held = hold(&process, &mut client);
    process.drain();
    process.release();
    assert_goaway_comes_with(&mut client, held);
}

#[test]
fn goaway_comes_behind_the_last_of_several_responses() {
    let process = testbed().start();
    let mut client = used(&process);
    let held = hold(&process, &mut client);
    process.drain();
    for _ in 0..3 {
        client.get("/");
    }
    assert_eq!(client.goaways, [], "a client that can't read behind it would lose the stream that is held");
    process.release();
    assert_goaway_comes_with(&mut client, held);
}

#[test]
fn what_crosses_goaway_is_answered() {
    let process = testbed().start();
    let mut client = Http2::connect(&process);
    client.get("/");
    process.drain();
    let first = client.ask("/");
    client.response(first);
    // As by a client that has not heard of it.
    let late = [client.ask("/"), hold(&process, &mut client)];
    client.hear(|client| !client.goaways.is_empty());
    client.response(late[0]);
    process.close();
    process.release();
    client.response(late[1]);
    client.hear(|client| client.ended);
    assert_eq!(client.goaways, [(ALL_STREAMS, 0), (late[1], 0)], "in the end it hears what was answered");
    process.exit().with_code(0);
}

#[test]
fn an_idle_peer_that_reads_gets_goaway_at_once() {
    let process = testbed().start();
    let mut client = Http2::connect(&process);
    client.get("/");
    process.drain();
    client.hear(|client| !client.goaways.is_empty());
    assert_eq!(client.pings, 2);
    // As by one that has not heard of it.
    client.get("/");
    assert_eq!(client.goaways, [(ALL_STREAMS, 0)]);
    // Nobody but the peer itself is to see that we ask whether it reads.
    process.close();
    let exit = process.exit();
    exit.with_code(0);
    let of_h2 =
        exit.log.iter().filter(|line| line["target"].as_str().is_some_and(|text| text.starts_with("h2")));
    assert_eq!(of_h2.count(), 0, "{:#?}", exit.log);
}

#[test]
fn a_peer_that_pauses_now_and_then_is_not_told_in_a_pause_of_that_length() {
    let process = testbed().start();
    let mut client = Http2::connect(&process);
    client.get("/");
    // The test is about a time that passes.
    thread::sleep(Duration::from_secs(3));
    client.get("/");
    process.drain();
    thread::sleep(Duration::from_secs(4));
    client.settle();
    assert_eq!(client.goaways, [], "twice as long is a pause too long");
    let stream = client.ask("/");
    assert_goaway_comes_with(&mut client, stream);
}

#[test]
fn an_idle_peer_that_does_not_read_gets_goaway_with_its_next_response() {
    let process = testbed().start();
    let mut client = used(&process);
    process.drain();
    let stream = client.ask("/");
    assert_goaway_comes_with(&mut client, stream);
    process.close();
    client.hear(|client| client.ended);
    process.exit().with_code(0);
}

#[test]
fn a_peer_that_read_a_ping_behind_a_response_is_not_taken_for_one_that_reads_while_idle() {
    let process = testbed().start();
    let mut client = used(&process);
    process.drain();
    client.hear(|client| client.pings == 1);
    let stream = client.ask("/");
    assert_goaway_comes_with(&mut client, stream);
}

#[test]
fn an_response_to_a_ping_with_a_request_in_front_of_it_is_no_sign_of_idleness() {
    let process = testbed().start();
    let mut client = used(&process);
    process.drain();
    client.let_something_come();
    let held = hold(&process, &mut client);
    client.hear(|client| client.pings == 1);
    client.get("/");
    assert_eq!(client.goaways, []);
    process.release();
    assert_goaway_comes_with(&mut client, held);
}

#[test]
fn a_connection_that_has_not_asked_yet_is_not_told_while_draining() {
    let process = testbed().start();
    let mut client = Http2::connect(&process);
    // It is being served, so it did not come during the drain.
    client.settle();
    process.drain();
    client.settle();
    assert_eq!(client.goaways, [], "it would go, and its next connection too, and never ask");
    assert_eq!(client.pings, 0);
    let stream = client.ask("/");
    assert_goaway_comes_with(&mut client, stream);
}

/// Go's requests wait for a connection together. Those that GOAWAY finds still waiting are lost if they have a body that
/// cannot be read again, as a proxy's has.
#[test]
fn a_connection_that_comes_during_the_drain_is_told_a_second_later() {
    let process = testbed().start();
    process.drain();
    let began = Instant::now();
    let mut client = Http2::connect(&process);
    // Thousands are answered meanwhile.
    client.allow(0, 1 << 30);
    loop {
        let stream = client.ask("/");
        client.answer_and_what_is_read_with_it(stream);
        if !client.goaways.is_empty() {
            break;
        }
    }
    assert_eq!(client.goaways, [(ALL_STREAMS, 0)], "read together with a response");
    assert!(began.elapsed() >= Duration::from_secs(1), "told after {:?}", began.elapsed());
}

#[test]
fn who_stays_after_goaway_is_closed() {
    let process = testbed().start();
    let mut client = used(&process);
    process.drain();
    client.get("/");
    let since = Instant::now();
    client.hear(|client| client.ended);
    let took = since.elapsed();
    assert!(took > Duration::from_secs(1), "a request that crosses GOAWAY has its time: {took:?}");
    closed(&process, "done", 1);
}

/// Waits until connections have been closed for this reason.
fn closed(process: &Process, reason: &str, count: u64) {
    let series = format!("server_connections_closed_total{{reason=\"{reason}\"}}");
    eventually(&series, || process.metric(&series) == count);
}

// Closing

#[test]
fn a_connection_that_has_never_asked_gets_goaway_at_closing_if_it_reads() {
    let process = testbed().start();
    let mut client = Http2::connect(&process);
    process.drain();
    client.settle();
    process.close();
    client.hear(|client| client.ended);
    assert_eq!(client.goaways.first(), Some(&(ALL_STREAMS, 0)));
    process.exit().with_code(0);
}

#[test]
fn a_peer_that_does_not_read_while_idle_is_answered_while_closing() {
    let process = testbed().start();
    let (mut used, mut unused) = (used(&process), Http2::connect(&process));
    unused.gives_up_at_goaway = true;
    process.drain();
    process.close();
    for client in [&mut used, &mut unused] {
        let stream = client.ask("/");
        assert_goaway_comes_with(client, stream);
    }
    drop((used, unused));
    process.exit().with_code(0);
}

#[test]
fn a_request_in_flight_at_closing_brings_goaway_with_its_response() {
    let process = testbed().start();
    let mut client = used(&process);
    let held = hold(&process, &mut client);
    process.drain();
    process.close();
    process.release();
    assert_goaway_comes_with(&mut client, held);
    drop(client);
    process.exit().with_code(0);
}

#[test]
fn a_connection_that_always_has_streams_open_is_told_at_closing() {
    let process = testbed().start();
    let mut client = Http2::connect(&process);
    let held = [hold(&process, &mut client), hold(&process, &mut client)];
    process.drain();
    client.get("/");
    assert_eq!(client.goaways, []);
    process.close();
    client.hear(|client| !client.goaways.is_empty());
    assert_eq!(client.goaways, [(ALL_STREAMS, 0)], "no stream is refused, and nothing is wrong");
    client.get("/");
    process.release();
    for stream in held {
        client.response(stream);
    }
    client.hear(|client| client.ended);
    process.exit().with_code(0);
}

// Stopped

fn with_500_ms_to_close() -> Process {
    testbed().set("APP_DRAIN_TIMEOUT", "500ms").set("APP_REQUEST_TIMEOUT", "500ms").start()
}

#[test]
fn who_is_idle_and_does_not_read_gets_goaway_at_the_deadline_and_the_exit_is_clean() {
    let process = with_500_ms_to_close();
    let (mut used, mut unused) = (used(&process), Http2::connect(&process));
    unused.gives_up_at_goaway = true;
    process.drain();
    process.close();
    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!(report["connections_idle_at_deadline"], 2, "{report}");
    assert_eq!(report["connections_aborted"], 0, "{report}");
    for (client, last) in [(&mut used, 1), (&mut unused, 0)] {
        client.hear(|client| client.ended);
        assert_eq!(client.goaways, [(last, 0)], "it can see that nothing else was answered");
    }
}

#[test]
fn what_is_in_flight_at_the_deadline_is_aborted_behind_goaway() {
    let process = testbed().set("APP_DRAIN_TIMEOUT", "500ms").set("APP_REQUEST_TIMEOUT", "500ms").start();
    let mut client = Http2::connect(&process);
    let held = client.ask("/patient/held");
    process.line("held");
    process.drain();
    process.close();
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!(report["connections_aborted"], 1, "{report}");
    client.hear(|client| client.ended);
    assert_eq!(client.goaways, [(held, 0)]);
}

// Without a drain

#[test]
fn an_idle_peer_that_does_not_read_is_kept() {
    let process = testbed().set("APP_STALL_TIMEOUT", "100ms").start();
    let mut client = used(&process);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(50));
    }
    client.get("/");
    assert_eq!(client.pings, 0, "a client that does not read could not answer");
    assert_eq!(client.goaways, []);
}

#[test]
fn an_idle_peer_that_does_not_read_is_closed_at_the_idle_limit() {
    let process = testbed().set("APP_IDLE_TIMEOUT", "300ms").start();
    let _silent = used(&process);
    closed(&process, "idle", 1);
}
