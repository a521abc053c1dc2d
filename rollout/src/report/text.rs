//! The table that a run ends with, and a line below it for each thing worth knowing.

use std::fmt::Write;

use super::columns::{columns, count};
use super::summary::Report;
use super::table::{self, spread};
use crate::duration::brief;
use crate::record::pods::End;
use crate::session::Ending;
use crate::unable::Unable;

const FAILURES_SHOWN: usize = 5;

/// The table, with a line on each thing worth knowing below it.
pub(crate) fn text(report: &Report) -> String {
    let mut out = format!("\n{}\n\n{}\n", headline(report), columns(&table::clients(report)));
    for (label, line) in notes(report).into_iter().chain(lost(report)) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:<10} {line}");
    }
    out
}

/// The run in one line.
pub(crate) fn headline(report: &Report) -> String {
    let setting = &report.setting;
    format!(
        "{}: {} rollout{} in {:.1} s{}, {} requests ({:.0} per second), {} lost",
        setting.name,
        setting.rollouts,
        if setting.rollouts == 1 { "" } else { "s" },
        report.loaded.as_secs_f64(),
        if report.finished() { "" } else { " (ended early)" },
        count(report.all.requests()),
        report.rate(),
        count(report.all.failures()),
    )
}

/// What else is worth knowing, each with the word that it stands under.
pub(crate) fn notes(report: &Report) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if let Ending::Failed(Unable(why)) = &report.ending {
        notes.push(("unfinished", why.clone()));
    }
    if let Some(fault) = &report.observed.own_fault {
        notes.push(("fault", format!("of this tool, so the run proves nothing: {fault}")));
    }
    for (kind, tally) in &report.observed.tallies {
        for (status, times) in &tally.statuses {
            notes.push(("status", format!("{} × {status} for {}", count(*times), kind.name())));
        }
    }
    notes.extend(report.shares.iter().map(|shares| ("shares", shares.to_string())));
    notes.extend(pods_note(report).map(|note| ("pods", note)));
    notes.extend(endpoints_note(report).map(|note| ("endpoints", note)));
    if report.all.killed > 0 {
        notes.push((
            "chaos",
            format!(
                "{} requests lost their connection to this tool, and are not counted",
                count(report.all.killed)
            ),
        ));
    }
    notes.push(("schedule", schedule_note(report)));
    notes
}

fn lost(report: &Report) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for failure in report.observed.failures.iter().take(FAILURES_SHOWN) {
        let pod = failure.pod.as_ref().map(|pod| format!("; {pod}")).unwrap_or_default();
        lines.push((
            "lost",
            format!(
                "at {:.3} s, {}: {} (its connection had answered {} before; {} bytes came{pod})",
                failure.at,
                failure.kind.name(),
                failure.detail,
                failure.answered_before,
                failure.bytes_received,
            ),
        ));
    }
    let more = report.all.failures().saturating_sub(FAILURES_SHOWN as u64);
    if more > 0 {
        lines.push(("", format!("and {} more (--json and --report have the first 200)", count(more))));
    }
    lines
}

fn pods_note(report: &Report) -> Option<String> {
    let took = report.histories.iter().filter_map(|history| Some(history.gone? - history.terminating?));
    let (middle, most) = spread(took.collect())?;
    let ended = |wanted: fn(End) -> bool| {
        report.histories.iter().filter_map(|history| history.end).filter(|end| wanted(*end)).count()
    };
    let mut parts = Vec::new();
    for (number, what) in [
        (ended(|end| end == End::Exit(0)), "exited cleanly"),
        (ended(|end| matches!(end, End::Exit(code) if code != 0)), "exited with an error"),
        (ended(|end| end == End::Killed), "killed after the grace period"),
        (ended(|end| end == End::Crashed), "exited without SIGTERM"),
        (ended(|end| end == End::Unknown), "terminated"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    Some(format!("{}, after {middle:.1} s (median), {most:.1} s (longest)", parts.join(", ")))
}

fn endpoints_note(report: &Report) -> Option<String> {
    let left =
        report.histories.iter().filter_map(|history| Some(history.left_endpoints? - history.terminating?));
    let of_cluster = report.setting.timings.is_none();
    match (spread(left.collect()), of_cluster) {
        (Some((middle, most)), false) => Some(format!(
            "updated {middle:.1} s (median), {most:.1} s (longest) after a pod began to terminate"
        )),
        (Some((middle, most)), true) => Some(format!(
            "sent the last new connection {middle:.1} s (median), {most:.1} s (longest) after a pod began to terminate"
        )),
        (None, true) if report.histories.iter().any(|history| history.gone.is_some()) => {
            Some("not known: no pod's last log line says when the last new connection came".into())
        }
        _ => None,
    }
}

fn schedule_note(report: &Report) -> String {
    let verdict = match report.kept_schedule() {
        true => "kept",
        false => "NOT kept: this machine is too slow for so many clients, and latencies are too high",
    };
    format!(
        "{verdict}; requests were sent {} late (p99), {} at most",
        brief(report.late(0.99)),
        brief(report.late(1.0))
    )
}
