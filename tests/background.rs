//! Work in the background: told when the drain starts or when the last request was answered, waited for, bounded,
//! and in the report.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use support::process::{Process, testbed};

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
    assert_eq!(client.answer().status, 200);
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
