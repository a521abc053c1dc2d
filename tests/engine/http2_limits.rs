//! HTTP/2 peers that hold up their responses, or the connection: each stream meets its limit, and the others don't.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::support::{
    eventually,
    http2::{END_HEADERS, HEADERS, Http2, SETTINGS},
    process::{Process, Setup, testbed},
};

/// The limit under test; all others are far away.
const LIMIT: Duration = Duration::from_millis(300);

/// RFC 9113 section 6.5.2.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Why a stream is reset that is held up, RFC 9113 section 7.
const CANCEL: u32 = 8;

fn with_stall_limit() -> Setup {
    testbed().set("APP_STALL_TIMEOUT", "300ms")
}

/// Waits until connections have been closed for this reason.
fn closed(process: &Process, reason: &str, count: u64) {
    let series = format!("server_connections_closed_total{{reason=\"{reason}\"}}");
    eventually(&series, || process.metric(&series) == count);
}

fn nothing_is_in_flight(process: &Process) {
    let active = "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"}";
    eventually("no request is in flight", || process.metric(active) == 0);
}

fn assert_reset_at_the_limit(client: &mut Http2, stream: u32, since: Instant) {
    client.hear(|client| client.resets.contains_key(&stream));
    assert_eq!(client.resets[&stream], CANCEL);
    assert!(since.elapsed() >= LIMIT);
}

// Windows

#[test]
fn a_stream_whose_window_is_never_opened_is_reset() {
    let process = with_stall_limit().start();
    let mut client = Http2::connect_with(&process, &[(INITIAL_WINDOW_SIZE, 0)]);
    let since = Instant::now();
    let stream = client.ask("/");
    assert_reset_at_the_limit(&mut client, stream, since);
    nothing_is_in_flight(&process);

    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
    client.get("/");
}

#[test]
fn streams_that_take_one_byte_and_no_more_are_reset() {
    let process = with_stall_limit().start();
    let mut client = Http2::connect_with(&process, &[(INITIAL_WINDOW_SIZE, 1)]);
    let since = Instant::now();
    let streams: Vec<_> = ["/", "/livez", "/endless"].iter().map(|path| client.ask(path)).collect();
    for stream in streams {
        assert_reset_at_the_limit(&mut client, stream, since);
    }
    nothing_is_in_flight(&process);
}

#[test]
fn a_stream_whose_window_is_taken_back_is_reset() {
    let process = with_stall_limit().start();
    let mut client = Http2::connect(&process);
    let stream = client.ask("/ticks");
    client.hear(|client| client.has_begun(stream));
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    assert_reset_at_the_limit(&mut client, stream, Instant::now());
}

#[test]
fn streams_that_wait_for_the_window_of_the_connection_are_reset() {
    let process = with_stall_limit().start();
    let mut client = Http2::connect_with(&process, &[(INITIAL_WINDOW_SIZE, 1 << 30)]);
    let since = Instant::now();
    let stream = client.ask("/endless");
    assert_reset_at_the_limit(&mut client, stream, since);
    nothing_is_in_flight(&process);
    client.allow(0, 1 << 20);
    client.get("/");
}

#[test]
fn a_stream_that_takes_a_byte_now_and_then_is_served() {
    let process = testbed().set("APP_STALL_TIMEOUT", "1s").start();
    let mut client = Http2::connect_with(&process, &[(INITIAL_WINDOW_SIZE, 0)]);
    let since = Instant::now();
    let stream = client.ask("/");
    while !client.is_complete(stream) {
        thread::sleep(Duration::from_millis(100));
        client.allow(stream, 1);
        client.settle();
        assert!(client.resets.is_empty());
    }
    client.response(stream);
    assert!(since.elapsed() > Duration::from_millis(1500));
}

#[test]
fn a_stream_that_is_quiet_by_itself_is_left_alone() {
    let process = with_stall_limit().start();
    let mut client = Http2::connect(&process);
    let ticks = client.ask("/ticks");
    let held = client.ask("/held");
    process.line("held");
    client.hear(|client| client.has_begun(ticks));
    thread::sleep(3 * LIMIT);
    client.settle();
    assert!(client.resets.is_empty());
    process.release();
    client.response(held);
}

#[test]
fn a_stream_that_is_held_up_does_not_hold_up_the_others() {
    let process = with_stall_limit().start();
    let mut client = Http2::connect_with(&process, &[(INITIAL_WINDOW_SIZE, 0)]);
    let since = Instant::now();
    let (shut, open) = (client.ask("/"), client.ask("/ticks"));
    client.allow(open, 1 << 20);
    assert_reset_at_the_limit(&mut client, shut, since);
    process.drain();
    client.response(open);
}

#[test]
fn a_peer_that_is_held_up_inside_of_a_frame_of_its_own_is_closed() {
    let process = with_stall_limit().start();
    let mut client = Http2::connect_with(&process, &[(INITIAL_WINDOW_SIZE, 0)]);
    let since = Instant::now();
    client.ask("/");
    // DATA of 100 bytes, of which none comes.
    client.send(&[0, 0, 100, 0, 0, 0, 0, 0, 3]);
    closed(&process, "stalled", 1);
    assert!(since.elapsed() >= 2 * LIMIT, "it has the limit again for its frame");
    nothing_is_in_flight(&process);
}

// Memory

/// Resident memory in MiB.
fn memory(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid().as_raw_nonzero()));
    let status = status.expect("it has not ended");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    kib.expect("Linux says").trim().parse::<u64>().expect("a number") >> 10
}

#[test]
fn responses_that_are_not_taken_do_not_take_the_memory() {
    let process = testbed().set("APP_STALL_TIMEOUT", "3s").start();
    let before = memory(&process);
    let mut most = before;
    let mut clients: Vec<_> =
        (0..4).map(|_| Http2::connect_with(&process, &[(INITIAL_WINDOW_SIZE, 1)])).collect();
    let streams: Vec<Vec<_>> =
        clients.iter_mut().map(|client| (0..100).map(|_| client.ask("/large/1024")).collect()).collect();
    for (client, streams) in clients.iter_mut().zip(&streams) {
        client.hear(|client| {
            most = most.max(memory(&process));
            streams.iter().any(|stream| client.resets.contains_key(stream))
        });
    }
    println!("{before} MiB, then {most} MiB at most");
    assert!(most < 100, "{most} MiB, {before} before");
    // Who reads again is served, by the same connection.
    let mut client = clients.pop().expect("there are four");
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0xff, 0xff, 0xff]);
    client.allow(0, 1 << 30);
    client.get("/");
}

// Heads

#[test]
fn a_head_that_does_not_come_to_its_end_is_closed() {
    let process = testbed().set("APP_HEAD_TIMEOUT", "300ms").start();
    let mut client = Http2::connect(&process);
    client.frame(HEADERS, 0, 1, &[0x80 | 2]);
    closed(&process, "head", 1);

    let mut client = Http2::connect(&process);
    client.send(&[0, 0, 100, HEADERS, END_HEADERS, 0, 0, 0, 1]);
    closed(&process, "head", 2);
}

#[test]
fn a_connect_that_hyper_ends_the_connection_for_is_counted_as_failed() {
    let process = testbed().start();
    let mut client = Http2::connect(&process);
    client.get("/");
    client.ask("/held");
    process.line("held");
    // Fields of the static table: method, authority, content-length.
    client.open(END_HEADERS, &[], &[(2, "CONNECT"), (1, "landfall.test:80"), (28, "5")]);
    closed(&process, "failed", 1);
}

// The admin port

#[test]
fn the_admin_port_does_not_speak_http2() {
    let process = testbed().start();
    let mut client = process.connect_to_admin();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.ended();
}

#[test]
fn connections_that_hang_do_not_keep_the_admin_port_from_probes() {
    let process = testbed().start();
    let hanging: Vec<_> = (0..200)
        .map(|number| {
            let mut client = process.connect_to_admin();
            match number % 4 {
                0 => {}
                1 => client.send("GET /livez HTTP/1.1\r\nhost:"),
                2 => client.send("PUT /log HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n"),
                _ => client.ask("/livez"),
            }
            client
        })
        .collect();
    for probe in ["/livez", "/readyz", "/startupz"] {
        let since = Instant::now();
        assert_eq!(process.probe(probe), 200);
        let took = since.elapsed();
        assert!(took < Duration::from_secs(5), "the kubelet does not wait: {took:?}");
    }
    drop(hanging);
}
