//! The engine's files that are to be tested, as they are, on loom's threads; what else they use is in `stand_ins.rs`.

// The names by which these files call what stands in.
extern crate self as prometheus;
extern crate self as tokio;
extern crate self as tokio_util;

#[allow(dead_code, reason = "only what threads share is tested")]
#[path = "../../src/lifecycle.rs"]
mod lifecycle;
#[allow(dead_code, reason = "only what threads share is tested")]
#[path = "../../telemetry/src/queue.rs"]
mod queue;
mod stand_ins;
#[allow(dead_code, reason = "only what threads share is tested")]
#[path = "../../src/server/unsent.rs"]
mod unsent;

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use loom::{future::block_on, thread};

pub use self::stand_ins::{IntCounter, sync, task};
use self::{
    lifecycle::{Lifecycle, Phase},
    queue::Queue,
    stand_ins::metrics,
    unsent::{Turn, Unsent},
};

/// Who waits for a phase finds that it has begun, and nobody finds an earlier one afterwards.
pub fn a_phase_that_was_reached_is_the_phase() {
    let lifecycle = Lifecycle::new(&metrics::Metrics);
    let threads = [Phase::Draining, Phase::Closing].map(|phase| {
        let lifecycle = lifecycle.clone();
        thread::spawn(move || lifecycle.enter(phase))
    });
    block_on(lifecycle.reached(Phase::Draining));
    let now = lifecycle.phase();
    assert!(now >= Phase::Draining);
    // What arrives is counted as in the drain, and when.
    lifecycle.count_request();
    assert!(lifecycle.requests().last_ms().is_some());
    assert!(lifecycle.phase() >= now);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(lifecycle.phase(), Phase::Closing);
}

/// A request that waits for memory hears of the response that leaves enough of it.
pub fn a_request_that_waits_gets_its_turn() {
    let unsent = Arc::new(Unsent::default());
    let mut responses: Vec<_> = (0..8).map(|_| unsent.count(u64::MAX)).collect();
    let last = responses.pop();
    let thread = thread::spawn(move || drop(last));
    let mut turn = Turn::new(&unsent);
    block_on(poll_fn(|cx| turn.poll(cx)));
    thread.join().unwrap();
}

/// Every line is taken, and what was logged before `flush` was written when it returns.
pub fn a_line_is_written_when_the_queue_was_flushed() {
    let queue = Arc::new(Queue::default());
    let written = Arc::new(Mutex::new(Vec::new()));
    let logging = {
        let queue = queue.clone();
        thread::spawn(move || queue.push(b"1"))
    };
    let writing = {
        let (queue, written) = (queue.clone(), written.clone());
        thread::spawn(move || {
            let mut lines = Vec::new();
            while !lines.contains(&b'!') {
                lines.clear();
                assert_eq!(queue.take(&mut lines), 0);
                written.lock().unwrap().extend(&lines);
            }
        })
    };
    queue.push(b"2");
    queue.flush(Duration::MAX);
    assert!(written.lock().unwrap().contains(&b'2'));
    logging.join().unwrap();
    queue.push(b"!");
    writing.join().unwrap();
    let mut written = written.lock().unwrap().clone();
    written.sort_unstable();
    assert_eq!(written, b"!12");
}
