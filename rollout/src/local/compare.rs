//! `rollout local --compare` and `--through`: the same run for each sequence and proxy, and one table of what each lost.

use serde_json::Value;

use super::pod::Program;
use super::proxy::running::find;
use super::run::{once, service};
use crate::args::{Local, Sequence};
use crate::interrupt::Interrupt;
use crate::proxies::Proxy;
use crate::report::columns::columns;
use crate::report::publish::{print, write_files};
use crate::report::summary::{Report, Verdict};
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

/// Landfall's worst verdict where it is among the cases, otherwise the worst of all; a case that was not run is none.
fn judge(cases: &[Case], verdicts: &[Verdict]) -> Verdict {
    if verdicts.len() < cases.len() {
        return Verdict::Unfinished;
    }
    let landfalls = cases.iter().zip(verdicts).filter(|(case, _)| case.sequence == Sequence::Landfall);
    let mut judged: Vec<Verdict> = landfalls.map(|(_, verdict)| *verdict).collect();
    if judged.is_empty() {
        judged = verdicts.to_vec();
    }
    let worst = [Verdict::Unfinished, Verdict::Lost].into_iter().find(|verdict| judged.contains(verdict));
    worst.unwrap_or(Verdict::NothingLost)
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
        let mut report = once(&case.name(), program, case.proxy, &args, interrupt.clone()).await?;
        report.setting.sequence = Some(case.meaning());
        print(&text::text(&report));
        reports.push(report);
        if interrupt.is_interrupted() {
            break;
        }
    }
    let runs: Vec<Value> = reports.iter().map(json::report).collect();
    print(&format!("\n{}", columns(&table::comparison(&runs.iter().collect::<Vec<_>>()))));
    write_files(&args.load, &reports, &Value::Array(runs))?;
    Ok(judge(&cases, &reports.iter().map(Report::verdict).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(proxy: Option<Proxy>) -> [Case; 3] {
        [Sequence::None, Sequence::Flag, Sequence::Landfall].map(|sequence| Case { sequence, proxy })
    }

    #[test]
    fn landfall_is_judged_and_where_it_is_not_the_worst_of_all() {
        use Verdict::{Lost, NothingLost, Unfinished};
        let all = cases(None);
        assert_eq!(judge(&all, &[Lost, Lost, NothingLost]), NothingLost);
        assert_eq!(judge(&all, &[NothingLost, NothingLost, Lost]), Lost);
        assert_eq!(judge(&all, &[NothingLost, Lost, Unfinished]), Unfinished);
        assert_eq!(judge(&all, &[NothingLost, NothingLost]), Unfinished, "landfall was not run");
        assert_eq!(judge(&all[..2], &[Lost, NothingLost]), Lost);
        assert_eq!(judge(&all[..2], &[Lost, Unfinished]), Unfinished);
        assert_eq!(judge(&all[..2], &[NothingLost, NothingLost]), NothingLost);
        let through_two = [&all[..], &all[..]].concat();
        assert_eq!(judge(&through_two, &[Lost, Lost, NothingLost, Lost, Lost, Lost]), Lost);
    }

    #[test]
    fn a_case_is_named_by_its_sequence_and_its_proxy() {
        let [none, .., landfall] = cases(None);
        assert_eq!((none.name(), landfall.name()), ("none".to_owned(), "landfall".to_owned()));
        assert_eq!(none.meaning(), "axum's graceful shutdown at once");
        let proxy = "nginx".parse::<Proxy>().unwrap();
        let [_, flag, _] = cases(Some(proxy));
        assert_eq!(flag.name(), format!("{proxy}-flag"));
        assert_eq!(flag.meaning(), format!("{proxy}: readiness flag, sleep, axum's graceful shutdown"));
    }
}
