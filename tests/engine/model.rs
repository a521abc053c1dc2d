//! One connection against a model of it: random requests, splits, pauses, pipelining, half-closes, resets and signals,
//! and what docs/connections.md says of them. docs/testing.md says how to repeat a seed.

mod http1;
mod http2;
mod script;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU8, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use rustix::process::Signal;

use crate::support::process::{Process, testbed};

/// How long each model is run against the server unless `FUZZ_TIME` says otherwise.
const TIME: Duration = Duration::from_secs(2);

/// Connections at a time.
const CONNECTIONS: usize = 12;

/// How far a process is on its way out, as far as its clients know.
#[derive(Debug, Default)]
struct Progress(AtomicU8);

/// SIGTERM is being sent.
const SIGNALLED: u8 = 1;
/// The process has said that it drains.
const DRAINING: u8 = 2;
/// The signal that ends the delay is being sent.
const CLOSING: u8 = 3;

impl Progress {
    fn set(&self, step: u8) {
        self.0.store(step, SeqCst);
    }

    fn has(&self, step: u8) -> bool {
        self.0.load(SeqCst) >= step
    }

    fn wait_for(&self, step: u8) {
        while !self.has(step) {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Starts one process after another, for [`TIME`], and signals it while clients talk to it. Each has a seed, which stands
/// in front of what a failing client says.
fn run(client: impl Fn(&mut Rng, usize, &Process, &Progress) + Sync) {
    let variable = |name| env::var(name).ok();
    let time = variable("FUZZ_TIME").map(|text| humantime::parse_duration(&text).expect("a time such as 5m"));
    let only: Option<u64> = variable("FUZZ_SEED").map(|text| text.parse().expect("a number"));
    let first = only.unwrap_or_else(|| if time.is_some() { fastrand::u64(..1 << 32) } else { 0 });
    let until = Instant::now() + time.unwrap_or(TIME);
    for count in 0.. {
        if Instant::now() >= until {
            return println!("{count} processes from seed {first} on");
        }
        let seed = only.unwrap_or(first + count);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| round(&mut Rng::with_seed(seed), &client))) {
            eprintln!("to repeat it: FUZZ_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

fn round(rng: &mut Rng, client: &(impl Fn(&mut Rng, usize, &Process, &Progress) + Sync)) {
    let process = testbed().start();
    let progress = Progress::default();
    thread::scope(|scope| {
        let (process, progress) = (&process, &progress);
        for number in 0..CONNECTIONS {
            let mut rng = rng.fork();
            scope.spawn(move || client(&mut rng, number, process, progress));
        }
        thread::sleep(Duration::from_micros(rng.u64(0..20_000)));
        progress.set(SIGNALLED);
        process.drain();
        progress.set(DRAINING);
        thread::sleep(Duration::from_micros(rng.u64(0..20_000)));
        progress.set(CLOSING);
        process.signal(Signal::TERM);
    });
    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!(report["connections_aborted"], 0, "{report}");
}

/// Pauses as clients and networks do.
fn pause(rng: &mut Rng) -> Duration {
    let longest = [50, 500, 5_000][rng.usize(..3)];
    Duration::from_micros(rng.u64(..longest))
}
