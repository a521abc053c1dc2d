//! The tables of a run, as rows of cells: for a terminal, for a page and for Markdown.

use std::collections::BTreeSet;

use serde_json::Value;

use super::columns::count;
use super::summary::Report;
use crate::duration::brief;
use crate::record::kind::Kind;

/// The heads of the columns that count requests that were not answered with a 2xx.
pub(crate) const FAILURES: [&str; 9] = [
    "non-2xx",
    "lost first",
    "lost kept",
    "refused",
    "no connect",
    "no response",
    "cut",
    "h2 refused",
    "error",
];

/// What each kind of client saw: the heads, a row for each kind, and one for all.
pub(crate) fn clients(report: &Report) -> Vec<Vec<String>> {
    let heads =
        ["client", "requests", "ok"].into_iter().chain(FAILURES).chain(["p50", "p99", "p99.9", "max"]);
    let mut rows = vec![heads.map(String::from).collect()];
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
    rows
}

/// The same, narrower: what was lost in one column, and of the ways to be lost those that happened.
pub(crate) fn narrow(report: &Report) -> Vec<Vec<String>> {
    let mut rows = clients(report);
    let happened: Vec<bool> = (0..rows[0].len())
        .map(|n| !FAILURES.contains(&rows[0][n].as_str()) || rows[1..].iter().any(|row| row[n] != "0"))
        .collect();
    let mut lost = vec!["lost".to_string()];
    lost.extend(report.observed.tallies.values().chain([&report.all]).map(|tally| count(tally.failures())));
    for (row, lost) in rows.iter_mut().zip(lost) {
        let mut keep = happened.iter();
        row.retain(|_| *keep.next().expect("every row is as long as the heads"));
        row.insert(2, lost);
    }
    rows
}

/// What each run lost, of the runs' own JSON: the heads, and a row for each run.
pub(crate) fn comparison(runs: &[&Value]) -> Vec<Vec<String>> {
    let present: BTreeSet<&str> = runs
        .iter()
        .filter_map(|run| run["clients"].as_object())
        .flat_map(|of_run| of_run.keys())
        .map(String::as_str)
        .collect();
    let own = Kind::ALL.map(Kind::name);
    // This tool's own in the order of its table, the libraries after them.
    let mut kinds: Vec<&str> = own.into_iter().filter(|kind| present.contains(kind)).collect();
    kinds.extend(present.iter().filter(|kind| !own.contains(kind)));
    let mut heads = vec!["lost of requests, on SIGTERM:".to_string()];
    heads.extend(kinds.iter().map(|kind| kind.to_string()));
    heads.extend(["all".into(), "pods ended after".into()]);
    let mut rows = vec![heads];
    for run in runs {
        let title = run["sequence"].as_str().or(run["name"].as_str()).unwrap_or_default();
        let mut row = vec![title.to_string()];
        for tally in kinds.iter().map(|kind| &run["clients"][kind]).chain([&run["all"]]) {
            row.push(match (tally["lost"].as_u64(), tally["requests"].as_u64()) {
                (Some(lost), Some(requests)) => format!("{} / {}", count(lost), count(requests)),
                _ => "-".into(),
            });
        }
        row.push(ended_after(&run["pods"]));
        rows.push(row);
    }
    rows
}

/// How long the pods took to end, of a run's own JSON: the median and the longest.
fn ended_after(pods: &Value) -> String {
    let took = |pod: &Value| Some(pod["gone"].as_f64()? - pod["terminating"].as_f64()?);
    match spread(pods.as_array().into_iter().flatten().filter_map(took).collect()) {
        Some((middle, most)) => format!("{middle:.1} s, at most {most:.1} s"),
        None => "-".into(),
    }
}

/// The median and the largest.
pub(super) fn spread(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    Some((*values.get(values.len() / 2)?, *values.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_comparison_has_a_column_for_each_kind_that_any_run_has() {
        let runs = [
            json!({ "name": "none", "sequence": "at once", "all": { "lost": 2, "requests": 3000 },
                    "clients": { "idle": { "lost": 2, "requests": 1000 }, "busy": { "lost": 0, "requests": 2000 } },
                    "pods": [{ "terminating": 1.0, "gone": 2.5 }, { "terminating": 4.0, "gone": null }] }),
            json!({ "name": "mine", "all": { "lost": 0, "requests": 7 },
                    "clients": { "busy": { "lost": 0, "requests": 7 }, "go": { "lost": 0, "requests": 1 } } }),
        ];
        assert_eq!(
            comparison(&runs.iter().collect::<Vec<_>>()),
            [
                ["lost of requests, on SIGTERM:", "busy", "idle", "go", "all", "pods ended after"],
                ["at once", "0 / 2 000", "2 / 1 000", "-", "2 / 3 000", "1.5 s, at most 1.5 s"],
                ["mine", "0 / 7", "-", "0 / 1", "0 / 7", "-"],
            ]
        );
    }
}
