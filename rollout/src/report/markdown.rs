//! A run as Markdown, for the summary of a CI job.

use std::fmt::Write;

use serde_json::Value;

use super::summary::{Report, Verdict};
use super::table;
use super::text::{headline, notes};

/// Each run's table and notes, the comparison first where there are several.
pub(crate) fn summary(reports: &[Report], runs: &[Value]) -> String {
    let mut text = String::new();
    if runs.len() > 1 {
        text += "### The comparison\n\n";
        rows(&mut text, &table::comparison(&runs.iter().collect::<Vec<_>>()));
    }
    for report in reports {
        let verdict = match report.verdict() {
            Verdict::NothingLost => "✅",
            Verdict::Lost => "❌",
            Verdict::Unfinished => "⚠️ unfinished:",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "### {verdict} {}\n", cell(&headline(report)));
        rows(&mut text, &table::narrow(report));
        for (label, note) in notes(report) {
            let _ = writeln!(text, "- {label}: {}", cell(&note));
        }
        text.push('\n');
    }
    text
}

fn rows(text: &mut String, rows: &[Vec<String>]) {
    for (n, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if n == 0 {
            let _ = writeln!(text, "| --- |{}", " ---: |".repeat(row.len() - 1));
        }
    }
    text.push('\n');
}

/// Text that is no markup, on one line.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for letter in text.chars() {
        match letter {
            '\n' => cell.push(' '),
            '|' | '*' | '_' | '`' | '<' | '[' | '\\' => cell.extend(['\\', letter]),
            letter => cell.push(letter),
        }
    }
    cell
}
