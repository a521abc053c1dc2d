//! What is counted of connections: which are open, and why others were closed.

use prometheus::{IntCounter, IntGauge};

use crate::metrics::Metrics;

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Nothing has been said yet.
    Undecided,
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

impl Protocol {
    const NAMES: [&str; 3] = ["undecided", "http1", "http2"];
}

/// What closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The peer closed it, or it got its last response.
    Done,
    /// It got its last response because of its age.
    Aged,
    /// It became something else, such as a WebSocket.
    Upgraded,
    /// It broke, or spoke no HTTP.
    Failed,
    /// It sent nothing in time.
    FirstByte,
    /// It did not finish the head of a request in time.
    Head,
    /// It asked nothing for too long.
    Idle,
    /// It did not read its response.
    Stalled,
    /// The peer left before it had its response.
    Gone,
    /// It was idle when the drain timeout was over.
    IdleAtDeadline,
    /// It was busy when the drain timeout was over.
    Aborted,
}

impl CloseReason {
    const NAMES: [&str; 11] = [
        "done",
        "aged",
        "upgraded",
        "failed",
        "first_byte",
        "head",
        "idle",
        "stalled",
        "gone",
        "idle_at_deadline",
        "aborted",
    ];
}

/// The connections of a server; each handle is resolved once, so that counting is one atomic addition.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Vec<IntGauge>,
    closed: Vec<IntCounter>,
    /// Failed attempts to accept a connection, as when file descriptors run out.
    pub(super) accept_errors: IntCounter,
}

impl Connections {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            open: metrics.gauges(
                "server_connections_open",
                "Connections open, by protocol; undecided until the first bytes came.",
                "network_protocol_name",
                &Protocol::NAMES,
            ),
            closed: metrics.counters(
                "server_connections_closed_total",
                "Connections that were closed, by what closed them.",
                "reason",
                &CloseReason::NAMES,
            ),
            accept_errors: metrics
                .counter("server_accept_errors_total", "Failed attempts to accept a connection."),
        }
    }

    /// Open now, whatever is spoken on them.
    pub(crate) fn open(&self) -> i64 {
        self.open.iter().map(IntGauge::get).sum()
    }

    /// Closed so far, for this reason.
    pub(crate) fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize].get()
    }

    pub(super) fn opened(&self, protocol: Protocol) {
        self.open[protocol as usize].inc();
    }

    pub(super) fn gone(&self, protocol: Protocol) {
        self.open[protocol as usize].dec();
    }

    pub(super) fn close(&self, reason: CloseReason) {
        self.closed[reason as usize].inc();
    }
}
