//! The page of a run: one HTML file that needs no other.

use std::fmt::Write;

use serde_json::Value;

use super::chart::{self, Detail, LEGEND};
use super::columns::count;
use super::escape::escape;
use super::summary::{Report, Verdict};
use super::text::{headline, notes};
use super::{losses, table};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// All runs, with `runs` their JSON, and what the earlier ones lost beside them.
pub(crate) fn page(reports: &[Report], runs: &[Value], earlier: &[&Value]) -> String {
    let title = match reports {
        [report] => headline(report),
        _ => "What each sequence lost".to_string(),
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n",
        title = escape(&title),
    );
    if let [report] = reports {
        html += &heading(report, "h1");
    } else {
        let _ = writeln!(html, "<h1>{}</h1>", escape(&title));
    }
    if reports.len() + earlier.len() > 1 {
        html.push_str("<section class=\"comparison\">\n<h2>The comparison</h2>\n");
        let all: Vec<&Value> = earlier.iter().copied().chain(runs).collect();
        rows(&mut html, &table::comparison(&all), earlier.len());
        html.push_str("</section>\n");
    }
    for (report, run) in reports.iter().zip(runs) {
        html.push_str("<section class=\"run\">\n");
        if reports.len() > 1 {
            html += &heading(report, "h2");
        }
        section(&mut html, report, run);
        html.push_str("</section>\n");
    }
    let _ = write!(html, "<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    html
}

/// The verdict, the name, and the run in one line.
fn heading(report: &Report, level: &str) -> String {
    let lost = count(report.all.failures());
    let (class, verdict) = match (report.verdict(), report.all.failures()) {
        (Verdict::NothingLost, _) => ("none", "Nothing was lost".to_string()),
        (Verdict::Lost, 1) => ("some", "1 request was lost".to_string()),
        (Verdict::Lost, _) => ("some", format!("{lost} requests were lost")),
        (Verdict::Unfinished, _) => ("unfinished", "Unfinished: the run proves nothing".to_string()),
    };
    let line = headline(report);
    let name = report.setting.sequence.as_ref().unwrap_or(&report.setting.name);
    format!(
        "<header>\n<p class=\"verdict {class}\">{verdict}</p>\n<{level}>{}</{level}>\n<p>{}</p>\n</header>\n",
        escape(name),
        escape(line.strip_prefix(&format!("{}: ", report.setting.name)).unwrap_or(&line)),
    )
}

fn section(html: &mut String, report: &Report, run: &Value) {
    html.push_str("<h3>What the clients saw</h3>\n");
    rows(html, &table::narrow(report), 0);
    html.push_str("<h3>Over time</h3>\n<figure>\n<div class=\"plotting\">\n");
    html.push_str(&chart::draw(report, Detail::Full));
    html.push_str("<div class=\"tip\" role=\"status\" hidden></div>\n</div>\n<figcaption>");
    for (class, label) in LEGEND {
        let _ = write!(html, "<span><i class=\"{class}\"></i>{label}</span> ");
    }
    // What ends a script element must not stand in one.
    let data = run.to_string().replace('<', "\\u003c");
    let _ = write!(
        html,
        "</figcaption>\n<script type=\"application/json\" class=\"data\">{data}</script>\n</figure>\n"
    );
    losses::losses(html, report);
    html.push_str("<h3>What else was seen</h3>\n<dl>\n");
    for (label, note) in notes(report) {
        let _ = writeln!(html, "<dt>{label}</dt><dd>{}</dd>", escape(&note));
    }
    html.push_str("</dl>\n<h3>Settings</h3>\n<dl class=\"settings\">\n");
    for key in ["ended", "version", "steps", "rollouts", "chaos", "scale", "load", "timings"] {
        settings(html, key, &run[key]);
    }
    html.push_str("</dl>\n");
}

fn settings(html: &mut String, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Array(parts) if parts.is_empty() => {}
        Value::Object(parts) => {
            parts.iter().for_each(|(part, value)| settings(html, &format!("{name} {part}"), value));
        }
        value => {
            let (name, text) = (name.replace('_', " "), plain(value));
            let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&text));
        }
    }
}

/// A value without the marks of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(plain).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

/// A table; what was lost stands out in the rows after the `earlier` ones, and more faintly in these.
fn rows(html: &mut String, rows: &[Vec<String>], earlier: usize) {
    html.push_str("<div class=\"scroll\"><table>\n");
    for (n, row) in rows.iter().enumerate() {
        let class = if (1..=earlier).contains(&n) { " class=\"earlier\"" } else { "" };
        let _ = write!(html, "<tr{class}>");
        for (column, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = match (n, column) {
                (0, _) => write!(html, "<th scope=\"col\">{cell}</th>"),
                (_, 0) => write!(html, "<th scope=\"row\">{cell}</th>"),
                _ if is_loss(&rows[0][column], &cell) => write!(html, "<td class=\"some\">{cell}</td>"),
                _ => write!(html, "<td>{cell}</td>"),
            };
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n");
}

/// Says whether a cell counts requests that were lost: of its column, or as `lost / requests`.
fn is_loss(head: &str, cell: &str) -> bool {
    match cell.split_once(" / ") {
        Some((lost, _)) => lost != "0",
        None => table::FAILURES.iter().chain(&["lost"]).any(|failure| *failure == head) && cell != "0",
    }
}
