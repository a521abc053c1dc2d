//! Real processes, and clients that hide nothing from the tests.

pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod lifecycle;
pub(crate) mod process;

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that must happen: only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
