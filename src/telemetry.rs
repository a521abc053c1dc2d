//! Logs: the engine's part of what the crate `landfall-telemetry` does.

pub use landfall_telemetry::{BadFilter, LogFilter, LogFormat, LogHandle, TracingLayer};
use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;

/// Which requests get an access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// Every request.
    All,
    /// Those answered with a 5xx status, and slow ones.
    Errors,
    /// None.
    Off,
}

/// Exports how many lines were dropped.
pub(crate) fn export(lost: impl Fn() -> u64 + Send + 'static, metrics: &Metrics) {
    let dropped = metrics.counter(
        "log_lines_dropped_total",
        "Log lines that were not written, because stdout was not read or failed.",
    );
    metrics.on_scrape(move || dropped.inc_by(lost().saturating_sub(dropped.get())));
}
