//! The table that a run ends with, and a line below it for each thing worth knowing.

use std::fmt::Write;

use super::columns::{columns, count};
use super::summary::Report;
use crate::duration::brief;
use crate::record::pods::End;
use crate::session::Ending;
use crate::unable::Unable;

const FAILURES_SHOWN: usize = 5;

/// The table, with a line on each thing worth knowing below it.
pub(crate) fn text(report: &Report) -> String {
    let setting = &report.setting;
    let mut out = format!(
        "\n{}: {} rollout{} in {:.1} s{}, {} requests ({:.0} per second), {} lost\n\n",
        setting.name,
        setting.rollouts,
        if setting.rollouts == 1 { "" } else { "s" },
        report.loaded.as_secs_f64(),
        if report.finished() { "" } else { " (ended early)" },
        count(report.all.requests()),
        report.rate(),
        count(report.all.failures()),
    );
    out += &table(report);
    out.push('\n');
    for line in notes(report) {
        out += &line;
        out.push('\n');
    }
    out
}

fn table(report: &Report) -> String {
    let heads = [
        "client",
        "requests",
        "ok",
        "non-2xx",
        "lost first",
        "lost kept",
        "refused",
        "no connect",
        "no response",
        "cut",
        "h2 refused",
        "error",
        "p50",
        "p99",
        "p99.9",
        "max",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    let kinds = report.observed.tallies.iter().map(|(kind, tally)| (kind.name(), tally));
    for (name, tally) in kinds.chain([("all", &report.all)]) {
        let mut row = vec![name.to_string()];
        row.extend(
            [
                tally.requests(),
                tally.ok,
                tally.other_status(),
                tally.lost_first,
                tally.lost_kept,
                tally.refused,
                tally.connect_timeout,
                tally.response_timeout,
                tally.cut,
                tally.stream_refused,
                tally.library_error,
            ]
            .map(count),
        );
        row.extend(tally.latencies().map(brief));
        rows.push(row);
    }
    columns(&rows)
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    for (kind, tally) in &report.observed.tallies {
        for (status, times) in &tally.statuses {
            notes.push(format!("status     {} × {status} for {}", count(*times), kind.name()));
        }
    }
    notes.extend(pods_note(report));
    let left =
        report.histories.iter().filter_map(|history| Some(history.left_endpoints? - history.terminating?));
    if let Some((middle, most)) = spread(left.collect()) {
        notes.push(format!(
            "endpoints  updated {middle:.1} s (median), {most:.1} s (longest) after a pod began to terminate"
        ));
    }
    if report.all.killed > 0 {
        notes.push(format!(
            "chaos      {} requests lost their connection to this tool, and are not counted",
            count(report.all.killed)
        ));
    }
    notes.push(schedule_note(report));
    for failure in report.observed.failures.iter().take(FAILURES_SHOWN) {
        let pod = failure.pod.as_ref().map(|pod| format!("; {pod}")).unwrap_or_default();
        notes.push(format!(
            "lost       at {:.3} s, {}: {} (its connection had answered {} before; {} bytes came{pod})",
            failure.at,
            failure.kind.name(),
            failure.detail,
            failure.answered_before,
            failure.bytes_received,
        ));
    }
    let more = report.all.failures().saturating_sub(FAILURES_SHOWN as u64);
    if more > 0 {
        notes.push(format!("           and {} more (--json has the first 200)", count(more)));
    }
    if let Ending::Failed(Unable(why)) = &report.ending {
        notes.push(format!("unfinished {why}"));
    }
    if let Some(fault) = &report.observed.own_fault {
        notes.push(format!("fault      of this tool, so the run proves nothing: {fault}"));
    }
    notes
}

fn pods_note(report: &Report) -> Option<String> {
    let (middle, most) = took_to_end(report)?;
    let ended = |wanted: fn(End) -> bool| {
        report.histories.iter().filter_map(|history| history.end).filter(|end| wanted(*end)).count()
    };
    let mut note = String::from("pods      ");
    for (number, what) in [
        (ended(|end| end == End::Exit(0)), "exited cleanly"),
        (ended(|end| matches!(end, End::Exit(code) if code != 0)), "exited with an error"),
        (ended(|end| end == End::Killed), "killed after the grace period"),
        (ended(|end| end == End::Crashed), "exited without SIGTERM"),
        (ended(|end| end == End::Unknown), "terminated"),
    ] {
        if number > 0 {
            // Writing to a String cannot fail.
            let _ = write!(note, " {number} {what},");
        }
    }
    Some(format!("{note} after {middle:.1} s (median), {most:.1} s (longest)"))
}

fn schedule_note(report: &Report) -> String {
    let verdict = match report.kept_schedule() {
        true => "kept",
        false => "NOT kept: this machine is too slow for so many clients, and latencies are too high",
    };
    format!(
        "schedule   {verdict}; requests were sent {} late (p99), {} at most",
        brief(report.late(0.99)),
        brief(report.late(1.0))
    )
}

/// How long pods took to end once they began to terminate, in seconds: the median and the longest.
pub(crate) fn took_to_end(report: &Report) -> Option<(f64, f64)> {
    let took = report.histories.iter().filter_map(|history| Some(history.gone? - history.terminating?));
    spread(took.collect())
}

/// The median and the largest.
fn spread(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    Some((*values.get(values.len() / 2)?, *values.last()?))
}
