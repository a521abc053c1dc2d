//! The end of the lifecycle: what may hold up the exit and what may not, signals that come again, and the report.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    PATIENCE, eventually,
    lifecycle::{assert_last, assert_phase, held, number, probes, with_500_ms_to_close},
    process::{Process, testbed},
};

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
fn an_endless_response_does_not_hold_up_the_exit() {
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
fn cleanup_runs_after_the_drain_and_the_admin_port_responses_until_the_end() {
    let process = testbed().set("TESTBED_CLEANUP", "held").start();
    let mut client = held(&process);
    process.drain();
    process.close();
    process.release();
    assert_last(&client.response(), 200);
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
    let process = testbed().set("TESTBED_CLEANUP", "held").set("APP_FLUSH_TIMEOUT", "2s").start();
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
    assert_last(&client.response(), 200);
    drop(client);
    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!(report["signal"], "SIGINT");
    assert!(number(report, "delay_ms") < 5000, "{report}");
}

// The report

#[test]
fn the_report_counts_what_came_and_when() {
    let process = testbed().start();
    let mut kept = process.connect();
    kept.get("/livez");
    let mut busy = held(&process);

    let before = Instant::now();
    assert_eq!(process.drain()["connections"], 2);
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
    let metrics = process.connect_to_admin().get("/metrics").body;
    let last = metrics.lines().find_map(|line| line.strip_prefix("lifecycle_last_request_seconds "));
    let last: f64 = last.and_then(|seconds| seconds.parse().ok()).expect("it is a number");
    // The metric has whole milliseconds.
    let ms = |time: Duration| time.as_millis() as f64 / 1000.0;
    assert!((ms(request_at_least)..=ms(request_at_most)).contains(&last), "{last}");
    process.release();
    assert_last(&busy.response(), 200);
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
