//! Everything known of a run, for machines.

use serde_json::{Value, json};

use super::summary::{Report, Setting};
use crate::record::tally::Tally;
use crate::session::Ending;
use crate::unable::Unable;

/// The version of `rollout/schema.json`; a field that goes or changes its meaning makes it another.
const SCHEMA: u32 = 1;

/// Everything, as `rollout/schema.json` has it; durations in seconds unless their name says otherwise.
pub(crate) fn report(report: &Report) -> Value {
    let kinds: serde_json::Map<_, _> = report
        .observed
        .tallies
        .iter()
        .map(|(kind, of_kind)| (kind.name().to_string(), tally(of_kind)))
        .collect();
    let unfinished = match &report.ending {
        Ending::Failed(Unable(why)) => Some(why),
        _ => None,
    };
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "ended": humantime::format_rfc3339_seconds(report.ended).to_string(),
        "name": report.setting.name,
        "sequence": report.setting.sequence,
        "verdict": report.verdict().name(),
        "finished": report.finished(),
        "unfinished": unfinished,
        "steps": report.setting.steps,
        "rollouts": report.setting.rollouts,
        "chaos": report.setting.chaos,
        "scale": report.setting.scale,
        "seconds_of_load": report.loaded.as_secs_f64(),
        "requests_per_second": report.rate(),
        "timings": report.setting.timings,
        "load": load(&report.setting),
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
        "shares": report.shares,
        "timeline": {
            "bucket_seconds": report.observed.timeline.width.as_secs_f64(),
            "buckets": report.observed.timeline.buckets,
        },
    })
}

/// What was sent; of headers only the names, their values may be secret.
fn load(setting: &Setting) -> Value {
    let Setting { load, clients, .. } = setting;
    json!({
        "clients": clients.mix.to_string(),
        "libraries": clients.libraries.iter().map(|library| library.kind.name()).collect::<Vec<_>>(),
        "h2_streams": clients.h2_streams,
        "path": load.path,
        "post": load.post,
        "stream": load.stream,
        "headers": load.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "idle_seconds": [clients.idle.0.as_secs_f64(), clients.idle.1.as_secs_f64()],
        "connect_timeout_seconds": load.connect_timeout.as_secs_f64(),
        "response_timeout_seconds": load.response_timeout.as_secs_f64(),
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
