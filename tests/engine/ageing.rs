//! Connections that go because of their age, so that clients spread over the pods that came after them.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    eventually,
    http1::{Http1, request},
    http2::{ALL_STREAMS, Http2},
    lifecycle::{assert_last, held},
    process::{Process, testbed},
};

fn with_age(age: &str) -> Process {
    testbed().set("APP_CONNECTION_MAX_AGE", age).start()
}

/// Lets a connection that has been answered grow older than the shortest age that can be set.
fn grow() {
    // The test is about a time that passes.
    thread::sleep(Duration::from_millis(20));
}

/// A connection that has been accepted, and has reached its age.
fn aged_silent(process: &Process) -> Http1 {
    let client = process.connect();
    let open = "server_connections_open{network_protocol_name=\"undecided\"}";
    eventually("it is accepted", || process.metric(open) == 1);
    grow();
    client
}

/// A connection that has been answered, and has reached its age.
fn aged(process: &Process) -> Http2 {
    let mut client = Http2::connect(process);
    client.settle();
    grow();
    client
}

/// Asks until the response says close, and tells the age at which it did.
fn age_at_the_last_response(process: &Process, max_age: Duration) -> Duration {
    let connecting = Instant::now();
    let mut client = process.connect();
    let mut open_since = None;
    loop {
        let asked = Instant::now();
        let response = client.get("/");
        if response.says_close() {
            let age = connecting.elapsed();
            assert_last(&response, 200);
            client.ended();
            return age;
        }
        let since = *open_since.get_or_insert_with(Instant::now);
        assert!(asked <= since + max_age, "it is kept after {:?}", asked - since);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_first_response_after_its_age_says_close_and_none_before() {
    let process = with_age("500ms");
    let max_age = Duration::from_millis(500);
    let ages: Vec<Duration> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..20).map(|_| scope.spawn(|| age_at_the_last_response(&process, max_age))).collect();
        clients.into_iter().map(|client| client.join().expect("the client's thread ends well")).collect()
    });
    let (Some(youngest), Some(oldest)) = (ages.iter().min(), ages.iter().max()) else { unreachable!() };
    assert!(*youngest >= max_age.mul_f64(0.8), "{youngest:?}");
    assert!(*oldest - *youngest > max_age.mul_f64(0.04), "all go together, at {youngest:?} to {oldest:?}");
    process.closed("aged", 20);
}

#[test]
fn no_connection_ages_unless_it_is_asked_for() {
    let process = testbed().start();
    let (mut http1, mut http2) = (process.connect(), Http2::connect(&process));
    for _ in 0..5 {
        assert!(!http1.get("/").says_close());
        http2.get("/");
        grow();
    }
    http2.settle();
    assert_eq!((http2.goaways, http2.pings), (vec![], 0));
}

#[test]
fn an_idle_connection_is_answered_once_more() {
    let process = with_age("10ms");
    let mut client = aged_silent(&process);
    assert!(client.is_silent_for(Duration::from_millis(500)), "nothing ends it before its next response");
    assert_last(&client.get("/"), 200);
    client.ended();
}

#[test]
fn what_is_in_flight_is_not_cut() {
    let process = with_age("10ms");
    let mut client = held(&process);
    let mut stream = process.connect();
    stream.ask("/ticks");
    stream.head();
    grow();
    process.release();
    assert_eq!(client.response().status, 200);
    for _ in 0..2 {
        assert!(stream.chunk().is_some_and(|chunk| chunk.contains("tick")));
    }
}

#[test]
fn an_upgraded_connection_stays() {
    let process = with_age("10ms");
    let mut client = aged_silent(&process);
    client.send("GET /echo HTTP/1.1\r\nhost: landfall.test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    assert_eq!(client.head().status, 101);
    grow();
    client.send("still here\n");
    assert_eq!(client.line(), "still here");
}

#[test]
fn requests_sent_together_are_all_answered() {
    let process = with_age("10ms");
    let mut client = aged_silent(&process);
    client.send(&request("GET", "/").repeat(3));
    for left in (0..3).rev() {
        assert_eq!(client.response().says_close(), left == 0, "{left} are left");
    }
    client.ended();
}

#[test]
fn goaway_is_read_together_with_the_response() {
    let process = with_age("10ms");
    for _ in 0..20 {
        let mut client = aged(&process);
        client.gives_up_at_goaway = true;
        let stream = client.ask("/");
        client.answer_and_what_is_read_with_it(stream);
        assert_eq!(client.goaways, [(ALL_STREAMS, 0)], "read together with the response");
    }
    process.closed("aged", 20);
}

#[test]
fn a_client_that_hears_of_goaway_late_is_still_answered() {
    let process = with_age("10ms");
    let mut client = aged(&process);
    let stream = client.ask("/");
    client.answer_and_what_is_read_with_it(stream);
    assert_eq!(client.goaways, [(ALL_STREAMS, 0)]);
    // The test is about a time that passes; in the drain, the connection would be closed after 2 s.
    thread::sleep(Duration::from_secs(3));
    client.get("/");
    process.drain();
    client.hear(|client| client.ended);
}

#[test]
fn goaway_waits_for_a_moment_with_one_stream_and_at_twice_the_age_for_none() {
    let process = with_age("1s");
    let max_age = Duration::from_secs(1);
    let connecting = Instant::now();
    let mut client = Http2::connect(&process);
    client.settle();
    let open_since = Instant::now();
    let held = client.ask("/held");
    process.line("held");
    loop {
        let asked = Instant::now();
        let stream = client.ask("/");
        client.answer_and_what_is_read_with_it(stream);
        client.settle();
        if !client.goaways.is_empty() {
            break;
        }
        assert!(asked < open_since + 2 * max_age, "it never comes");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(connecting.elapsed() >= max_age.mul_f64(1.8), "after {:?}", connecting.elapsed());
    assert_eq!(client.goaways, [(ALL_STREAMS, 0)]);
    assert!(!client.is_complete(held));
    // As by a client that has not heard of it.
    client.get("/");
    process.release();
    client.response(held);
}

#[test]
fn clients_that_never_try_again_lose_nothing() {
    // A busy machine is no reason for a 503 here.
    let process = testbed().set("APP_CONNECTION_MAX_AGE", "200ms").set("APP_MAX_WAIT", "1h").start();
    let ask_until_told_five_times = || {
        for _ in 0..5 {
            let mut client = process.connect();
            while {
                let response = client.try_get("/").expect("no request is lost");
                assert_eq!(response.status, 200);
                !response.says_close()
            } {
                thread::sleep(Duration::from_millis(5));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(ask_until_told_five_times);
        }
    });
    process.closed("aged", 250);
}
