//! The table of the lifecycle, cell by cell, as a cluster and its clients see it: real processes, real signals.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use support::{
    PATIENCE, eventually,
    http1::{Answer, Http1, post, request},
    http2::Http2,
    process::{Process, testbed},
};

/// What the three probes and the phase gauge say: live, ready, started.
fn probes(process: &Process) -> [u16; 3] {
    ["/livez", "/readyz", "/startupz"].map(|path| process.probe(path))
}

fn assert_phase(process: &Process, now: &str) {
    for phase in ["starting", "serving", "draining", "closing", "stopped"] {
        let expected = u64::from(phase == now);
        assert_eq!(process.metric(&format!("lifecycle_phase{{phase=\"{phase}\"}}")), expected, "{phase}");
    }
}

fn assert_last(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.says_close(), "{answer:?}");
}

/// A connection whose request the testbed holds until it is released.
fn held(process: &Process) -> Http1 {
    let before = process.lines("held", 0).len();
    let mut client = process.connect();
    client.ask("/held");
    process.lines("held", before + 1);
    client
}

// Starting

#[test]
fn while_starting_only_livez_passes_and_the_listener_keeps_clients_waiting() {
    let process = testbed().set("TESTBED_START", "held").spawn();
    process.line("held");
    assert_eq!(probes(&process), [200, 503, 503]);
    assert_phase(&process, "starting");
    let mut early = process.connect();
    early.ask("/readyz");
    assert!(early.is_silent_for(Duration::from_millis(100)));

    process.release();
    assert_eq!(early.answer().status, 200);
    assert_eq!(probes(&process), [200, 200, 200]);
}

#[test]
fn sigterm_during_the_start_ends_it_with_0() {
    let process = testbed().set("TESTBED_START", "held").spawn();
    process.line("held");
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    assert!(exit.messages().all(|message| message != "serving"));
}

/// Waits until the handlers of SIGTERM and SIGINT are installed, without a pause between looks.
fn wait_for_handlers(process: &Process) {
    // SIGINT's handler is installed after SIGTERM's, so that when Linux shows it, SIGTERM's is complete. While the
    // handler of a signal is being installed, for some microseconds, the library's own is there and drops it.
    const SIGINT_BIT: u64 = 1 << (2 - 1);
    let status = format!("/proc/{}/status", process.pid().as_raw_nonzero());
    let started = Instant::now();
    loop {
        let status = fs::read_to_string(&status).expect("it has not ended");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).expect("Linux says");
        if u64::from_str_radix(caught, 16).expect("a mask") & SIGINT_BIT != 0 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "signals are never caught");
    }
}

#[test]
fn sigterm_is_caught_from_the_first_moment() {
    for _ in 0..10 {
        let process = testbed().set("APP_DRAIN_DELAY", "0s").spawn();
        wait_for_handlers(&process);
        process.signal(Signal::TERM);
        process.exit().with_code(0);
    }
}

/// Takes a lease on a file, with which the kernel lets whoever opens it wait for the holder.
const HOLD: &str = r#"$| = 1; $SIG{IO} = "IGNORE"; open F, "<", shift or die; fcntl(F, 1024, 1) or die $!; print "held\n"; sleep 60"#;

#[test]
fn sigterm_ends_a_process_whose_configuration_can_not_be_read_to_its_end() {
    let path = format!("{}/token-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    fs::write(&path, "secret").expect("the directory is there");
    let mut holder =
        Command::new("perl").args(["-e", HOLD, &path]).stdout(Stdio::piped()).spawn().expect("perl is there");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut line).expect("it tells");
    assert_eq!(line, "held\n");

    let process = testbed().set("APP_API_TOKEN_FILE", &path).spawn();
    wait_for_handlers(&process);
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    exit.position("stopped: received a signal before anything was served");
    let process = testbed().command("config").set("APP_API_TOKEN_FILE", &path).spawn();
    wait_for_handlers(&process);
    process.signal(Signal::TERM);
    process.exit().with_code(1);
    // Not before: it would have gone on by itself.
    holder.kill().expect("it sleeps");
    holder.wait().expect("it was killed");
    fs::remove_file(path).expect("it is ours");
}

#[test]
fn a_variable_in_a_pipe_is_refused() {
    let pipe = format!("{}/pipe-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there");
    assert!(made.success());
    let exit = testbed().set("APP_API_TOKEN_FILE", &pipe).spawn().exit();
    exit.with_code(78);
    assert_eq!(exit.log[0]["variable"], "APP_API_TOKEN_FILE");
    fs::remove_file(pipe).expect("it is ours");
}

#[test]
fn bad_configuration_ends_it_with_78() {
    let exit = testbed()
        .set("APP_PORT", "eighty")
        .set("APP_DRAIN_DELY", "1s")
        .set("APP_STALL_TIMEOUT", "18446744073709551615s")
        .spawn()
        .exit();
    exit.with_code(78);
    let variables: Vec<_> = exit.log.iter().filter_map(|line| line["variable"].as_str()).collect();
    assert_eq!(variables, ["APP_DRAIN_DELY", "APP_PORT", "APP_STALL_TIMEOUT"]);
}

#[test]
fn a_port_that_is_taken_ends_it_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let exit = testbed().set("APP_PORT", &port).spawn().exit();
    exit.with_code(1);
    exit.position("the service could not start");
}

// Serving

#[test]
fn while_serving_all_probes_pass_and_connections_are_kept() {
    let process = testbed().start();
    assert_eq!(probes(&process), [200, 200, 200]);
    assert_phase(&process, "serving");
    let mut client = process.connect();
    for path in ["/", "/livez", "/readyz", "/nothing", "/"] {
        let answer = client.get(path);
        assert_eq!(answer.header("connection"), None, "{path}: {answer:?}");
    }
    let mut h2 = Http2::connect(&process);
    h2.get("/");
    h2.get("/");
    assert_eq!(h2.goaways, []);
}

// Draining

#[test]
fn while_draining_readyz_fails_and_new_connections_are_served() {
    let process = testbed().start();
    process.drain();
    assert_eq!(probes(&process), [200, 503, 200]);
    assert_phase(&process, "draining");
    assert_last(&process.connect().get("/"), 200);
    assert_last(&process.connect().get("/livez"), 200);
    assert_last(&process.connect().get("/readyz"), 503);
    let mut h2 = Http2::connect(&process);
    h2.get("/");
    drop(h2);
    process.close();
    process.exit().with_code(0);
}

#[test]
fn every_http1_answer_while_draining_says_close() {
    let process = testbed().start();
    let mut kept: Vec<_> = (0..8).map(|_| process.connect()).collect();
    for client in &mut kept {
        assert!(!client.get("/").says_close());
    }
    process.drain();
    let bad_json = post("/greetings", 3) + "{\"}";
    let greeting = post("/greetings", 14) + r#"{"name":"Ada"}"#;
    let asked = [
        (200, request("GET", "/")),
        (200, "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n".to_owned()),
        (200, "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\n\r\n".to_owned()),
        (200, request("GET", "/livez")),
        (503, request("GET", "/readyz")),
        (404, request("GET", "/nothing")),
        (400, bad_json),
        (201, greeting),
    ];
    for (mut client, (status, request)) in kept.into_iter().zip(asked) {
        client.send(&request);
        assert_last(&client.answer(), status);
        client.ended();
        let mut fresh = process.connect();
        fresh.send(&request);
        assert_last(&fresh.answer(), status);
        fresh.ended();
    }
    // The admin port is not going anywhere yet.
    let mut admin = process.connect_to_admin();
    assert!(!admin.get("/livez").says_close());
    assert!(!admin.get("/metrics").says_close());
}

#[test]
fn a_request_in_flight_longer_than_the_delay_finishes() {
    let process = testbed().start();
    let mut client = held(&process);
    process.drain();
    process.close();
    process.release();
    assert_last(&client.answer(), 200);
    client.ended();
    process.exit().with_code(0);
}

#[test]
fn connections_in_the_accept_queue_at_the_signal_are_answered() {
    let process = testbed().start();
    process.signal(Signal::STOP);
    let mut queue = queue(&process, 50);
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    for client in &mut queue {
        // The first ones may be answered before the signal is heard, and be kept.
        assert_eq!(client.answer().status, 200);
    }
    process.line("draining");
}

// Closing

/// Clients that have connected and asked, whether or not the process has accepted them.
fn queue(process: &Process, count: usize) -> Vec<Http1> {
    let asking = |_| {
        let mut client = process.connect();
        client.ask("/livez");
        client
    };
    (0..count).map(asking).collect()
}

#[test]
fn connections_in_the_accept_queue_at_closing_are_answered() {
    let process = testbed().start();
    process.drain();
    process.signal(Signal::STOP);
    let mut queue = queue(&process, 50);
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    for client in &mut queue {
        assert_last(&client.answer(), 200);
        client.ended();
    }
    process.line("closing");
    process.exit().with_code(0);
}

#[test]
fn connections_kept_waiting_by_the_cap_are_answered_at_closing() {
    let process = testbed().set("APP_MAX_CONNECTIONS", "1").start();
    let mut first = held(&process);
    let mut queue = queue(&process, 20);
    process.drain();
    process.close();
    for client in &mut queue {
        assert_last(&client.answer(), 200);
    }
    process.release();
    assert_last(&first.answer(), 200);
    drop((first, queue));
    process.exit().with_code(0);
}

#[test]
fn after_the_delay_no_connection_is_taken() {
    let process = testbed().start();
    let mut client = held(&process);
    let address = process.address_of_service();
    process.drain();
    process.close();
    eventually("the listener closes", || Http1::try_connect(address).is_err());
    process.release();
    assert_last(&client.answer(), 200);
}

#[test]
fn while_closing_livez_and_startupz_still_pass() {
    let process = testbed().start();
    let mut client = held(&process);
    process.drain();
    process.close();
    assert_eq!(probes(&process), [200, 503, 200]);
    assert_phase(&process, "closing");
    process.release();
    assert_last(&client.answer(), 200);
    drop(client);
    process.exit().with_code(0);
}

#[test]
fn connections_idle_through_the_whole_delay_get_one_last_answer() {
    let process = testbed().set("APP_DRAIN_DELAY", "300ms").start();
    let mut used = process.connect();
    assert!(!used.get("/").says_close());
    let mut unused = process.connect();
    process.drain();
    let mut late = process.connect();
    process.line("closing");
    for client in [&mut used, &mut unused, &mut late] {
        assert_last(&client.get("/"), 200);
        client.ended();
    }
    process.exit().with_code(0);
}

// Stopped

#[test]
fn an_idle_service_exits_right_after_the_delay() {
    let process = testbed().set("APP_DRAIN_DELAY", "400ms").start();
    process.connect().get("/");
    let asked = Instant::now();
    process.drain();
    let exit = process.exit();
    let report = exit.with_code(0);
    let took = exit.at - asked;
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_millis(400) + PATIENCE / 3, "{took:?}");
    assert!((400..10_000).contains(&number(report, "delay_ms")), "{report}");
}

/// Drains a process, with 500 ms to close, that one client keeps from its end, and expects that it ends
/// nevertheless.
fn ends_in_spite_of(process: Process) {
    process.drain();
    let closing = Instant::now();
    process.close();
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!(report["clean"], false);
    assert_eq!(report["connections_aborted"], 1, "{report}");
    let took = exit.at - closing;
    assert!(took >= Duration::from_millis(500), "{took:?}");
    // Far below every other deadline.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

fn with_500_ms_to_close() -> Process {
    testbed()
        .set("APP_DRAIN_TIMEOUT", "500ms")
        .set("APP_REQUEST_TIMEOUT", "500ms")
        .set("APP_BODY_LIMIT", "1000000000")
        .set("APP_FIRST_BYTE_TIMEOUT", "5m")
        .set("APP_HEAD_TIMEOUT", "5m")
        .set("APP_STALL_TIMEOUT", "5m")
        .start()
}

#[test]
fn half_a_request_head_does_not_hold_up_the_exit() {
    let process = with_500_ms_to_close();
    let mut client = process.connect();
    client.send("GET / HTTP/1.1\r\nhost: ");
    ends_in_spite_of(process);
}

#[test]
fn half_a_second_request_head_does_not_hold_up_the_exit() {
    let process = with_500_ms_to_close();
    let mut client = process.connect();
    client.get("/livez");
    client.send("GET / HTTP/1.1\r\nhost: ");
    ends_in_spite_of(process);
}

#[test]
fn half_an_http2_preface_does_not_hold_up_the_exit() {
    let process = with_500_ms_to_close();
    let mut client = process.connect();
    client.send("PRI * HTTP/2.0\r\n");
    ends_in_spite_of(process);
}

#[test]
fn an_endless_answer_does_not_hold_up_the_exit() {
    let process = with_500_ms_to_close();
    let mut client = process.connect();
    client.ask("/endless");
    assert_eq!(client.head().status, 200);
    let reader = thread::spawn(move || while client.try_chunk().is_ok() {});
    ends_in_spite_of(process);
    reader.join().expect("the reader does not panic");
}

#[test]
fn an_endless_body_does_not_hold_up_the_exit() {
    let process = with_500_ms_to_close();
    let mut client = process.connect();
    client.send("POST /mirror HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status, 200);
    let sender = thread::spawn(move || {
        while client.try_send(b"1\r\na\r\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    ends_in_spite_of(process);
    sender.join().expect("the sender does not panic");
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_up_the_exit() {
    let process = with_500_ms_to_close();
    let mut client = process.connect();
    client.ask("/endless");
    assert_eq!(client.head().status, 200);
    ends_in_spite_of(process);
}

#[test]
fn connections_that_are_idle_at_the_deadline_are_let_go_and_the_exit_is_clean() {
    let process = with_500_ms_to_close();
    let mut kept = process.connect();
    kept.get("/livez");
    let mut silent = process.connect();
    process.drain();
    process.close();
    kept.ended();
    silent.ended();
    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!(report["connections_idle_at_deadline"], 2, "{report}");
    assert_eq!(report["connections_aborted"], 0, "{report}");
}

#[test]
fn cleanup_runs_after_the_drain_and_the_admin_port_answers_until_the_end() {
    let process = testbed().set("TESTBED_CLEANUP", "held").start();
    let mut client = held(&process);
    process.drain();
    process.close();
    process.release();
    assert_last(&client.answer(), 200);
    drop(client);
    process.lines("held", 2);
    assert_eq!(probes(&process), [200, 503, 200]);
    assert_phase(&process, "stopped");
    process.release();
    let exit = process.exit();
    exit.with_code(0);
    let order = ["serving", "draining", "closing", "cleaned up", "stopped"].map(|line| exit.position(line));
    assert!(order.is_sorted(), "{order:?}: {:#?}", exit.log);
    assert_eq!(order[4], exit.log.len() - 1, "the report is the last line");
}

#[test]
fn a_cleanup_that_does_not_end_is_cut_off_and_makes_the_exit_unclean() {
    let process = testbed().set("TESTBED_CLEANUP", "held").set("APP_FLUSH_TIMEOUT", "300ms").start();
    process.drain();
    process.close();
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!(report["cleaned_up"], false);
    assert_eq!(report["connections_aborted"], 0);
}

// Signals

#[test]
fn a_second_signal_skips_what_is_left_of_the_delay() {
    for second in [Signal::TERM, Signal::INT] {
        let process = testbed().set("APP_DRAIN_DELAY", "10m").start();
        process.drain();
        process.signal(second);
        let exit = process.exit();
        assert!(number(exit.with_code(0), "delay_ms") < 60_000, "{}", exit.report);
    }
}

#[test]
fn a_third_signal_aborts_what_is_left() {
    let process = testbed().start();
    let mut client = held(&process);
    process.drain();
    process.close();
    process.signal(Signal::TERM);
    let exit = process.exit();
    let report = exit.with_code(1);
    assert_eq!(report["connections_aborted"], 1, "{report}");
    assert!(client.is_cut_off());
}

#[test]
fn sigint_has_no_delay() {
    let process = testbed().start();
    let mut client = held(&process);
    process.signal(Signal::INT);
    process.line("closing");
    process.release();
    assert_last(&client.answer(), 200);
    drop(client);
    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!(report["signal"], "SIGINT");
    assert!(number(report, "delay_ms") < 5000, "{report}");
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
    let answer = client.head();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("connection"), Some("upgrade"));
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
    let answer = client.head();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("connection"), Some("upgrade"));
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

// The report

fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no number {field} in {report}"))
}

#[test]
fn the_report_counts_what_came_and_when() {
    let process = testbed().start();
    let mut kept = process.connect();
    kept.get("/livez");
    let mut busy = held(&process);

    let before = Instant::now();
    process.drain();
    let draining = Instant::now();
    for _ in 0..3 {
        process.connect().get("/livez");
    }
    eventually("a second has passed", || draining.elapsed() > Duration::from_secs(1));
    let last_at_least = draining.elapsed();
    process.connect().get("/livez");
    let last_at_most = before.elapsed();

    process.close();
    let request_at_least = draining.elapsed();
    assert_last(&kept.get("/livez"), 200);
    let request_at_most = before.elapsed();
    process.release();
    assert_last(&busy.answer(), 200);
    drop((kept, busy));

    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!(report["clean"], true);
    assert_eq!(report["signal"], "SIGTERM");
    assert_eq!(report["connections_while_draining"], 4);
    assert_eq!(report["connections_while_closing"], 0);
    assert_eq!(report["requests_while_draining"], 4);
    assert_eq!(report["requests_while_closing"], 1);
    assert_eq!(report["connections_idle_at_deadline"], 0);
    assert_eq!(report["connections_aborted"], 0);
    assert_eq!(report["tasks_aborted"], 0);
    assert_eq!(report["cleaned_up"], true);
    let millis = |time: Duration| u64::try_from(time.as_millis()).expect("a short time");
    let last = number(report, "last_connection_ms");
    assert!((millis(last_at_least)..=millis(last_at_most)).contains(&last), "{report}");
    let last = number(report, "last_request_ms");
    assert!((millis(request_at_least)..=millis(request_at_most)).contains(&last), "{report}");
    assert!(number(report, "delay_ms") >= millis(last_at_least), "{report}");
}

#[test]
fn the_report_of_a_quiet_drain_names_no_arrivals() {
    let process = testbed().start();
    process.drain();
    process.close();
    let exit = process.exit();
    let report = exit.with_code(0);
    for count in ["requests_while_draining", "connections_while_draining", "requests_while_closing"] {
        assert_eq!(report[count], 0, "{report}");
    }
    assert_eq!(report["last_connection_ms"], Value::Null, "{report}");
    assert_eq!(report["last_request_ms"], Value::Null, "{report}");
    for line in ["listening", "serving", "draining", "closing", "stopped"] {
        let times = exit.messages().filter(|message| message.starts_with(line)).count();
        assert_eq!(times, 1, "{line}");
    }
}
