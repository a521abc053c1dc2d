//! `rollout local --compare` and `--through`: the same run for each sequence and proxy, and one table of what each lost.

use std::collections::BTreeSet;

use serde_json::Value;

use super::pod::Program;
use super::proxy::running::find;
use super::run::{once, service};
use crate::args::{Local, Sequence};
use crate::interrupt::Interrupt;
use crate::proxies::Proxy;
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
        match self {
            Sequence::Landfall => service(args),
            naive => Ok(Program {
                path: std::env::current_exe().or_unable("finding this executable")?,
                arguments: vec![
                    "naive".into(),
                    naive.name().into(),
                    args.load.stream.clone(),
                    args.load.download.clone(),
                ],
                environment: args.environment.clone(),
                logs: args.logs.clone(),
            }),
        }
    }
}

/// One of the runs: what the servers do on SIGTERM, and what is in front of them.
#[derive(Clone, Copy)]
struct Case {
    sequence: Sequence,
    proxy: Option<Proxy>,
}

impl Case {
    /// Every sequence for each proxy, or without one.
    fn all(args: &Local) -> Vec<Self> {
        let sequences = if args.compare { &args.modes[..] } else { &[Sequence::Landfall] };
        let proxies: Vec<Option<Proxy>> = match args.through.is_empty() {
            true => vec![None],
            false => args.through.iter().copied().map(Some).collect(),
        };
        let of = |proxy| sequences.iter().map(move |sequence| Case { sequence: *sequence, proxy });
        proxies.into_iter().flat_map(of).collect()
    }

    fn program(self, args: &Local) -> Result<Program, Unable> {
        let program = self.sequence.program(args)?;
        let logs = program.logs.map(|logs| logs.join(self.name()));
        Ok(Program { logs, ..program })
    }

    fn name(self) -> String {
        match self.proxy {
            Some(proxy) => format!("{proxy}-{}", self.sequence.name()),
            None => self.sequence.name().into(),
        }
    }

    fn meaning(self) -> String {
        match self.proxy {
            Some(proxy) => format!("{proxy}: {}", self.sequence.meaning()),
            None => self.sequence.meaning().into(),
        }
    }
}

/// Runs every case in turn; the verdict is landfall's alone where it is among them.
pub(crate) async fn run(args: Local, interrupt: Interrupt) -> Result<Verdict, Unable> {
    let cases = Case::all(&args);
    for proxy in &args.through {
        find(proxy.program)?;
    }
    let programs: Vec<(Case, Program)> =
        cases.iter().map(|case| Ok((*case, case.program(&args)?))).collect::<Result<_, Unable>>()?;
    let mut reports = Vec::new();
    for (case, program) in programs {
        let report = once(&case.name(), program, case.proxy, &args, interrupt.clone()).await?;
        print(&text::text(&report));
        reports.push((case, report));
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
        for (case, report) in &reports {
            let path = path.with_file_name(format!(
                "{}-{}",
                case.name(),
                path.file_name().unwrap_or_default().display()
            ));
            write(&path, &chart::draw(report))?;
        }
    }
    if reports.len() < cases.len() {
        return Ok(Verdict::Unfinished);
    }
    let landfalls: Vec<Verdict> = reports
        .iter()
        .filter(|(case, _)| case.sequence == Sequence::Landfall)
        .map(|(_, report)| report.verdict())
        .collect();
    let judged: Vec<Verdict> = match landfalls.is_empty() {
        true => reports.iter().map(|(_, report)| report.verdict()).collect(),
        false => landfalls,
    };
    let worst = [Verdict::Unfinished, Verdict::Lost].into_iter().find(|verdict| judged.contains(verdict));
    Ok(worst.unwrap_or(Verdict::NothingLost))
}

fn comparison(reports: &[(Case, Report)]) -> String {
    let mut rows = vec![vec!["lost of requests, on SIGTERM:".to_string()]];
    let kinds: BTreeSet<Kind> =
        reports.iter().flat_map(|(_, report)| report.observed.tallies.keys().copied()).collect();
    rows[0].extend(kinds.iter().map(|kind| kind.name().to_string()));
    rows[0].extend(["all".into(), "pods ended after".into()]);
    for (case, report) in reports {
        let mut row = vec![case.meaning()];
        for tally in kinds.iter().map(|kind| report.observed.tallies.get(kind)).chain([Some(&report.all)]) {
            row.push(tally.map_or_else(
                || "-".into(),
                |tally| format!("{} / {}", count(tally.failures()), count(tally.requests())),
            ));
        }
        row.push(
            text::took_to_end(report)
                .map_or_else(|| "-".into(), |(middle, most)| format!("{middle:.1} s, at most {most:.1} s")),
        );
        rows.push(row);
    }
    format!("\n{}", columns(&rows))
}
