//! Everything known of a run, for machines.

use serde_json::{Value, json};

use super::summary::Report;
use crate::record::tally::Tally;

/// Everything, for machines; durations in seconds unless their name says otherwise.
pub(crate) fn report(report: &Report) -> Value {
    let kinds: serde_json::Map<_, _> = report
        .observed
        .tallies
        .iter()
        .map(|(kind, of_kind)| (kind.name().to_string(), tally(of_kind)))
        .collect();
    json!({
        "name": report.setting.name,
        "finished": report.finished(),
        "rollouts": report.setting.rollouts,
        "chaos": report.setting.chaos,
        "scale": report.setting.scale,
        "seconds_of_load": report.loaded.as_secs_f64(),
        "requests_per_second": report.rate(),
        "timings": report.setting.timings,
        "all": tally(&report.all),
        "clients": kinds,
        "schedule": {
            "kept": report.kept_schedule(),
            "late_p99_us": report.late(0.99).as_micros() as u64,
            "late_max_us": report.late(1.0).as_micros() as u64,
        },
        "own_fault": report.observed.own_fault,
        "failures": report.observed.failures,
        "pods": report.histories,
        "timeline": {
            "bucket_seconds": report.observed.timeline.width.as_secs_f64(),
            "buckets": report.observed.timeline.buckets,
        },
    })
}

fn tally(tally: &Tally) -> Value {
    let [p50, p99, p999, max] = tally.latencies().map(|latency| latency.as_micros() as u64);
    json!({
        "requests": tally.requests(),
        "ok": tally.ok,
        "lost": tally.failures(),
        "statuses": tally.statuses,
        "lost_first": tally.lost_first,
        "lost_kept": tally.lost_kept,
        "refused": tally.refused,
        "connect_timeout": tally.connect_timeout,
        "response_timeout": tally.response_timeout,
        "cut": tally.cut,
        "stream_refused": tally.stream_refused,
        "library_error": tally.library_error,
        "killed_by_chaos": tally.killed,
        "latency_us": { "p50": p50, "p99": p99, "p99_9": p999, "max": max },
    })
}
