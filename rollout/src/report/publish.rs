//! A report goes to standard output and to the files named on the command line.

use std::path::Path;

use serde_json::Value;

use super::summary::Report;
use super::{chart, json, text};
use crate::unable::{OrUnable, Unable};

/// Prints the table, and writes the JSON and the chart where they are wanted.
pub(crate) fn publish(
    report: &Report,
    json_file: Option<&Path>,
    chart_file: Option<&Path>,
) -> Result<(), Unable> {
    print(&text::text(report));
    if let Some(path) = json_file {
        write_json(path, &json::report(report))?;
    }
    if let Some(path) = chart_file {
        write(path, &chart::draw(report))?;
    }
    Ok(())
}

/// Prints to standard output; a reader that has gone is no reason to fail.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes JSON as people can read it.
pub(crate) fn write_json(path: &Path, json: &Value) -> Result<(), Unable> {
    write(path, &format!("{json:#}\n"))
}

/// Writes a file; the error names it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Unable> {
    std::fs::write(path, text).or_unable(format!("writing {}", path.display()))
}
