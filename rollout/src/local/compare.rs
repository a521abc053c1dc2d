//! `rollout local --compare`: the same run for each sequence, and one table of what each lost.

use std::path::PathBuf;

use serde_json::Value;

use super::pod::Program;
use super::run::{once, service};
use crate::args::{Local, Sequence};
use crate::interrupt::Interrupt;
use crate::report::columns::columns;
use crate::report::publish::{print, write_files};
use crate::report::summary::Verdict;
use crate::report::{json, table, text};
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
        let mut report = once(sequence.name(), program, &args, interrupt.clone()).await?;
        report.setting.sequence = Some(sequence.meaning());
        print(&text::text(&report));
        reports.push(report);
        if interrupt.is_interrupted() {
            break;
        }
    }
    let runs: Vec<Value> = reports.iter().map(json::report).collect();
    print(&format!("\n{}", columns(&table::comparison(&runs.iter().collect::<Vec<_>>()))));
    write_files(&args.load, &reports)?;
    if reports.len() < args.modes.len() {
        return Ok(Verdict::Unfinished);
    }
    let ours = args.modes.iter().position(|mode| *mode == Sequence::Landfall);
    let lost = reports.iter().any(|report| report.verdict() == Verdict::Lost);
    let all = if lost { Verdict::Lost } else { Verdict::NothingLost };
    Ok(ours.map_or(all, |n| reports[n].verdict()))
}
