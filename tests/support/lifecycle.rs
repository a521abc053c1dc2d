//! What the tests of the lifecycle share.

use serde_json::Value;

use super::{
    http1::{Http1, Response},
    process::{Process, testbed},
};

/// What the three probes and the phase gauge say: live, ready, started.
pub(crate) fn probes(process: &Process) -> [u16; 3] {
    ["/livez", "/readyz", "/startupz"].map(|path| process.probe(path))
}

pub(crate) fn assert_phase(process: &Process, now: &str) {
    for phase in ["starting", "serving", "draining", "closing", "stopped"] {
        let expected = u64::from(phase == now);
        assert_eq!(process.metric(&format!("lifecycle_phase{{phase=\"{phase}\"}}")), expected, "{phase}");
    }
}

pub(crate) fn assert_last(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(response.says_close(), "{response:?}");
}

/// A connection whose request the testbed holds until it is released.
pub(crate) fn held(process: &Process) -> Http1 {
    let before = process.lines("held", 0).len();
    let mut client = process.connect();
    client.ask("/held");
    process.lines("held", before + 1);
    client
}

/// The testbed with far deadlines, but for the drain's.
pub(crate) fn with_500_ms_to_close() -> Process {
    testbed()
        .set("APP_DRAIN_TIMEOUT", "500ms")
        .set("APP_REQUEST_TIMEOUT", "500ms")
        .set("APP_BODY_LIMIT", "1000000000")
        .set("APP_FIRST_BYTE_TIMEOUT", "5m")
        .set("APP_HEAD_TIMEOUT", "5m")
        .set("APP_STALL_TIMEOUT", "5m")
        .start()
}

/// A number in the last line of the log.
pub(crate) fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no number {field} in {report}"))
}
