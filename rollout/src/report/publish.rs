//! A report goes to standard output and to the files named on the command line.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use super::chart::Detail;
use super::summary::{Report, Verdict};
use super::{chart, json, junit, markdown, page, text};
use crate::args::Load;
use crate::unable::{OrUnable, Unable};

/// Prints the table, writes the files that are wanted, and returns the verdict.
pub(crate) fn publish(report: Report) -> Result<Verdict, Unable> {
    print(&text::text(&report));
    write_files(&report.setting.load, std::slice::from_ref(&report), &json::report(&report))?;
    Ok(report.verdict())
}

/// Prints to standard output; a reader that has gone is no reason to fail.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes the files that are wanted; `json` is that of the run, or of several a list.
pub(crate) fn write_files(load: &Load, reports: &[Report], json: &Value) -> Result<(), Unable> {
    let runs = match json {
        Value::Array(runs) => &runs[..],
        run => std::slice::from_ref(run),
    };
    if let Some(path) = &load.report {
        let earlier: Vec<&Value> = load.beside.iter().flat_map(|earlier| &earlier.0).collect();
        write(path, &page::page(reports, runs, &earlier))?;
    }
    if let Some(path) = &load.junit {
        write(path, &junit::suites(reports))?;
    }
    if let Some(path) = &load.summary {
        append(path, &markdown::summary(reports, runs))?;
    }
    if let Some(path) = &load.chart {
        for report in reports {
            let file = path.file_name().unwrap_or_default().display();
            let path = match json {
                Value::Array(_) => path.with_file_name(format!("{}-{file}", report.setting.name)),
                _ => path.clone(),
            };
            write(&path, &chart::draw(report, Detail::Smooth))?;
        }
    }
    match &load.json {
        Some(path) => write(path, &format!("{json:#}\n")),
        None => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Unable> {
    std::fs::write(path, text).or_unable(format!("writing {}", path.display()))
}

fn append(path: &Path, text: &str) -> Result<(), Unable> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).or_unable(format!("writing {}", path.display()))
}
