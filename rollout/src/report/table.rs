//! The tables of a run, as rows of cells: for a terminal, for a page and for Markdown.

use serde_json::Value;

use super::columns::count;
use super::summary::Report;
use crate::duration::brief;
use crate::record::kind::Kind;

/// The heads of the columns that count requests that were not answered with a 2xx.
pub(crate) const FAILURES: [&str; 8] =
    ["non-2xx", "lost first", "lost kept", "refused", "no connect", "no response", "cut", "h2 refused"];

/// What each kind of client saw: the heads, a row for each kind, and one for all.
pub(crate) fn clients(report: &Report) -> Vec<Vec<String>> {
    let heads =
        ["client", "requests", "ok"].into_iter().chain(FAILURES).chain(["p50", "p99", "p99.9", "max"]);
    let mut rows = vec![heads.map(String::from).collect()];
    let kinds = Kind::ALL.iter().filter_map(|kind| Some((kind.name(), report.observed.tallies.get(kind)?)));
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
    let tallies = Kind::ALL.iter().filter_map(|kind| report.observed.tallies.get(kind));
    let mut lost = vec!["lost".to_string()];
    lost.extend(tallies.chain([&report.all]).map(|tally| count(tally.failures())));
    for (row, lost) in rows.iter_mut().zip(lost) {
        let mut keep = happened.iter();
        row.retain(|_| *keep.next().expect("every row is as long as the heads"));
        row.insert(2, lost);
    }
    rows
}

/// What each run lost, of the runs' own JSON: the heads, and a row for each run.
pub(crate) fn comparison(runs: &[&Value]) -> Vec<Vec<String>> {
    let kinds: Vec<&str> = Kind::ALL
        .map(Kind::name)
        .into_iter()
        .filter(|kind| runs.iter().any(|run| !run["clients"][kind].is_null()))
        .collect();
    let mut heads = vec!["lost of requests, on SIGTERM:".to_string()];
    heads.extend(kinds.iter().map(|kind| kind.to_string()));
    heads.push("all".into());
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
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_comparison_has_a_column_for_each_kind_that_any_run_has() {
        let runs = [
            json!({ "name": "none", "sequence": "at once", "all": { "lost": 2, "requests": 3000 },
                    "clients": { "idle": { "lost": 2, "requests": 1000 }, "busy": { "lost": 0, "requests": 2000 } } }),
            json!({ "name": "mine", "all": { "lost": 0, "requests": 7 },
                    "clients": { "busy": { "lost": 0, "requests": 7 } } }),
        ];
        assert_eq!(
            comparison(&runs.iter().collect::<Vec<_>>()),
            [
                ["lost of requests, on SIGTERM:", "busy", "idle", "all"],
                ["at once", "0 / 2 000", "2 / 1 000", "2 / 3 000"],
                ["mine", "0 / 7", "-", "0 / 7"],
            ]
        );
    }
}
