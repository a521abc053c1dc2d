//! `rollout local --compare`: the same run for each sequence, and one table of what each lost.

use std::path::PathBuf;

use serde_json::Value;

use super::pod::Program;
use super::run::{once, service};
use crate::args::{Local, Sequence};
use crate::interrupt::Interrupt;
use crate::record::kind::Kind;
use crate::report::columns::{columns, count};
use crate::report::publish::{print, write, write_json};
use crate::report::summary::{Report, Verdict};
use crate::report::{chart, json, text};
use crate::unable::{OrUnable, Unable};

impl Sequence {
    fn name(self) -> &'static str {
        match self {
            Sequence::None => "none",
            Sequence::Flag => "flag",
            Sequence::Close => "close",
            Sequence::Landfall => "landfall",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Sequence::None => "axum's graceful shutdown at once",
            Sequence::Flag => "readiness flag, sleep, axum's graceful shutdown",
            Sequence::Close => "the same, and Connection: close while it sleeps",
            Sequence::Landfall => "landfall",
        }
    }

    fn program(self, args: &Local) -> Result<Program, Unable> {
        let program = match self {
            Sequence::Landfall => service(args)?,
            naive => Program {
                path: std::env::current_exe().or_unable("finding this executable")?,
                arguments: vec!["naive".into(), naive.name().into(), args.load.stream.clone()],
                environment: args.environment.clone(),
                logs: args.logs.clone(),
            },
        };
        let logs = program.logs.map(|logs: PathBuf| logs.join(self.name()));
        Ok(Program { logs, ..program })
    }
}

/// Runs every sequence in turn; the verdict is landfall's alone where it is among them.
pub(crate) async fn run(args: Local, interrupt: Interrupt) -> Result<Verdict, Unable> {
    let programs: Vec<(Sequence, Program)> =
        args.modes.iter().map(|mode| Ok((*mode, mode.program(&args)?))).collect::<Result<_, Unable>>()?;
    let mut reports = Vec::new();
    for (sequence, program) in programs {
        let report = once(sequence.name(), program, &args, interrupt.clone()).await?;
        print(&text::text(&report));
        reports.push((sequence, report));
        if interrupt.is_interrupted() {
            break;
        }
    }
    print(&comparison(&reports));
    if let Some(path) = &args.load.json {
        let all: Vec<Value> = reports.iter().map(|(_, report)| json::report(report)).collect();
        write_json(path, &Value::Array(all))?;
    }
    if let Some(path) = &args.load.chart {
        for (sequence, report) in &reports {
            let path = path.with_file_name(format!(
                "{}-{}",
                sequence.name(),
                path.file_name().unwrap_or_default().display()
            ));
            write(&path, &chart::draw(report))?;
        }
    }
    if reports.len() < args.modes.len() {
        return Ok(Verdict::Unfinished);
    }
    let judged =
        |(sequence, report): &(Sequence, Report)| (*sequence == Sequence::Landfall).then(|| report.verdict());
    let lost = reports.iter().any(|(_, report)| report.verdict() == Verdict::Lost);
    Ok(reports.iter().find_map(judged).unwrap_or(if lost { Verdict::Lost } else { Verdict::NothingLost }))
}

fn comparison(reports: &[(Sequence, Report)]) -> String {
    let mut rows = vec![vec!["lost of requests, on SIGTERM:".to_string()]];
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| reports.iter().any(|(_, report)| report.observed.tallies.contains_key(kind)))
        .collect();
    rows[0].extend(kinds.iter().map(|kind| kind.name().to_string()));
    rows[0].push("all".into());
    for (sequence, report) in reports {
        let mut row = vec![sequence.meaning().to_string()];
        for tally in kinds.iter().map(|kind| report.observed.tallies.get(kind)).chain([Some(&report.all)]) {
            row.push(tally.map_or_else(
                || "-".into(),
                |tally| format!("{} / {}", count(tally.failures()), count(tally.requests())),
            ));
        }
        rows.push(row);
    }
    format!("\n{}", columns(&rows))
}
