//! A log that nobody reads holds up nothing; what it costs is lines, and they are counted.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    eventually,
    process::{Exit, Process, Setup, testbed},
};

const DROPPED: &str = "log_lines_dropped_total";

fn with_short_times() -> Setup {
    testbed()
        .set("APP_ACCESS_LOG", "all")
        .set("APP_DRAIN_DELAY", "300ms")
        .set("APP_DRAIN_TIMEOUT", "1s")
        .set("APP_REQUEST_TIMEOUT", "1s")
        .set("APP_FLUSH_TIMEOUT", "2s")
}

/// Asks for something whose access line is long; tells how often it did.
fn fill_the_log(process: &Process) -> usize {
    let path = format!("/{}", "x".repeat(4096));
    let mut client = process.connect();
    // Twice what the kernel's pipe and the process' memory hold of it.
    let requests = 1200;
    for _ in 0..requests {
        assert_eq!(client.get(&path).status, 404);
    }
    requests
}

fn access_lines(exit: &Exit) -> usize {
    exit.messages().filter(|message| *message == "responded").count()
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_responses_nor_the_exit() {
    let process = with_short_times().start();
    process.pause_log(true);
    fill_the_log(&process);
    assert!(process.metric(DROPPED) > 0);
    assert_eq!(process.probe("/readyz"), 200);
    let asked = Instant::now();
    process.signal(Signal::TERM);
    assert_eq!(process.exit_unread(), Some(0));
    // The delay, and the part of the flush timeout that the log gets.
    assert!(asked.elapsed() < Duration::from_millis(300 + 2000), "{:?}", asked.elapsed());
}

#[test]
fn lines_that_were_dropped_are_counted_and_told_when_the_log_flows_again() {
    let process = with_short_times().start();
    process.pause_log(true);
    let requests = fill_the_log(&process);
    let dropped = process.metric(DROPPED);
    assert!((1..requests as u64).contains(&dropped), "{dropped}");
    process.pause_log(false);
    let line = process.line("log lines were dropped");
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["lines"], dropped);
    assert_eq!(process.connect().get("/livez").status, 200);
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    assert_eq!(access_lines(&exit) as u64 + dropped, requests as u64);
    let told = exit.messages().filter(|message| message.starts_with("log lines were dropped")).count();
    assert_eq!(told, 1);
    assert_eq!(exit.position("stopped"), exit.log.len() - 1, "the report is not lost");
}

#[test]
fn no_line_of_a_log_that_is_read_is_lost_at_the_exit() {
    let process = with_short_times().start();
    let mut client = process.connect();
    for _ in 0..500 {
        client.get("/");
    }
    client.get("/panic");
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    assert_eq!(access_lines(&exit), 501);
    exit.position("panicked");
    assert_eq!(exit.position("stopped"), exit.log.len() - 1);
}

#[test]
fn a_log_whose_reader_is_gone_holds_up_nothing() {
    let process = with_short_times().start();
    process.close_log();
    eventually("writes fail, and are counted", || {
        process.connect().get("/");
        process.metric(DROPPED) > 0
    });
    process.signal(Signal::TERM);
    assert_eq!(process.exit_unread(), Some(0));
}

#[test]
fn a_flood_of_errors_is_bounded_for_each_place_that_logs_and_what_is_left_out_is_counted() {
    let process = with_short_times().set("APP_ACCESS_LOG", "errors").start();
    let mut client = process.connect();
    let requests = 300;
    for _ in 0..requests {
        assert_eq!(client.get("/panic").status, 500);
    }
    // Told when the time is over in which no more than these may come, while the process runs on.
    let mut told = process.lines("log lines were left out", 2);
    drop(client);
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    assert_eq!(exit.position("stopped"), exit.log.len() - 1, "the report is not lost");
    for message in ["panicked", "responded"] {
        let written: Vec<_> = exit.log.iter().filter(|line| line["message"] == message).collect();
        assert!(written.len() < requests, "{}", written.len());
        let place =
            told.iter().position(|line| written.len() as u64 + line["lines"].as_u64().unwrap() == 300);
        let line = told.swap_remove(place.unwrap_or_else(|| panic!("{message} {}: {told:?}", written.len())));
        assert!(line["place"].as_str().unwrap().contains(".rs:"), "{line}");
    }
}

#[test]
fn what_is_left_out_of_a_flood_at_the_exit_is_told_before_the_report_with_and_without_layers() {
    for layers in [None, Some("TESTBED_SPANS")] {
        let setup = with_short_times().set("APP_ACCESS_LOG", "errors");
        let setup = layers.into_iter().fold(setup, |setup, name| setup.set(name, "any"));
        let process = setup.stderr(Stdio::null()).start();
        let mut client = process.connect();
        for _ in 0..150 {
            assert_eq!(client.get("/panic").status, 500);
        }
        drop(client);
        process.signal(Signal::TERM);
        let exit = process.exit();
        exit.with_code(0);
        assert!(exit.position("log lines were left out") < exit.position("stopped"), "{layers:?}");
        for message in ["panicked", "responded"] {
            assert_eq!(exit.messages().filter(|text| *text == message).count(), 100, "{layers:?}");
        }
        let told = exit.log.iter().filter(|line| line["place"].is_string());
        assert_eq!(told.map(|line| line["lines"].as_u64().unwrap()).sum::<u64>(), 100, "{layers:?}");
    }
}

#[test]
fn a_slow_request_gets_an_access_line_with_its_time_and_a_fast_one_none() {
    let process = testbed().set("APP_SLOW_REQUEST", "200ms").start();
    let mut client = process.connect();
    assert_eq!(client.get("/").status, 200);
    let since = Instant::now();
    assert_eq!(client.get("/block/300").status, 200);
    // The line counts from when its connection could have been served.
    let most = since.elapsed().as_secs_f64() * 1e3 + 100.0;
    let line = process.line("responded");
    assert_eq!((&line["route"], &line["level"]), (&"/block/{ms}".into(), &"INFO".into()));
    assert!((300.0..most).contains(&line["duration_ms"].as_f64().unwrap()), "{line}, {most} at most");
}

#[test]
fn a_check_that_changes_is_logged_once() {
    let process = testbed().set("TESTBED_UNREADY", "always").start();
    for _ in 0..3 {
        assert_eq!(process.probe("/readyz"), 503);
    }
    process.drain();
    let failures = process.lines("health check fails", 1);
    let unready: Vec<_> = failures.iter().filter(|line| line["check"] == "unready").collect();
    assert_eq!(unready.len(), 1, "{failures:?}");
    assert_eq!((&unready[0]["endpoint"], &unready[0]["reason"]), (&"readyz".into(), &"told to".into()));
}

#[test]
fn every_field_of_the_engines_lines_is_documented() {
    let docs = include_str!("../../docs/logs.md");
    let process = with_short_times().start();
    let mut client = process.connect();
    for path in ["/", "/panic", "/not-there"] {
        client.get(path);
    }
    drop(client);
    let mut admin = process.connect_to_admin();
    admin.send("PUT /log HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\ninfo");
    assert_eq!(admin.response().status, 200);
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    let engines =
        |line: &&Value| line["target"].as_str().is_some_and(|target| target.starts_with("landfall"));
    for line in exit.log.iter().filter(engines) {
        let message = line["message"].as_str().unwrap().split([':', ';']).next().unwrap();
        assert!(docs.contains(&format!("`{message}`")), "{message}");
        let span = line["span"].as_object().into_iter().flatten().map(|(name, _)| format!("`span.{name}`"));
        for field in line.as_object().unwrap().keys().map(|name| format!("`{name}`")).chain(span) {
            assert!(docs.contains(&field), "{field} of {line}");
        }
    }
}
