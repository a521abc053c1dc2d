//! What is said of a run: the table, the JSON, the verdict.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::args;
use crate::chart;
use crate::duration::brief;
use crate::outcome::Kind;
use crate::pods::{End, Life};
use crate::recorder::{Seen, Tally};
use crate::session::{Ending, Session};
use crate::table::{count, text};
use crate::timings::Timings;
use crate::unable::{OrUnable, Unable};

/// A schedule is kept when 99 of 100 requests were less late than this.
const KEPT: Duration = Duration::from_millis(20);
const FAILURES_SHOWN: usize = 5;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    NothingLost,
    Lost,
    /// Ended early with nothing lost, or this tool could not do its part: nothing is proved.
    Unfinished,
}

/// What was run.
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) rollouts: u32,
    pub(crate) chaos: bool,
    pub(crate) scale: f64,
    /// As scaled; a cluster's are its own.
    pub(crate) timings: Option<Timings>,
}

/// A run and what was seen of it.
pub(crate) struct Report {
    pub(crate) setting: Setting,
    pub(crate) seen: Seen,
    /// How long there was load.
    pub(crate) loaded: Duration,
    pub(crate) ending: Ending,
    pub(crate) lives: Vec<Life>,
    pub(crate) all: Tally,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::NothingLost => ExitCode::SUCCESS,
            Verdict::Lost => ExitCode::from(1),
            Verdict::Unfinished => ExitCode::from(2),
        }
    }
}

impl Report {
    /// Sums up a run.
    pub(crate) fn new(setting: Setting, session: Session, lives: Vec<Life>) -> Self {
        let Session { seen, loaded, ending } = session;
        let mut all = Tally::new();
        seen.tallies.values().for_each(|tally| all.add(tally));
        Self { setting, seen, loaded, ending, lives, all }
    }

    /// What the run came to.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.seen.own_fault.is_some() {
            Verdict::Unfinished
        } else if self.all.failures() > 0 {
            Verdict::Lost
        } else if self.finished() && self.all.ok > 0 {
            Verdict::NothingLost
        } else {
            Verdict::Unfinished
        }
    }

    fn finished(&self) -> bool {
        matches!(self.ending, Ending::Finished)
    }

    /// Prints the table, and writes what else was asked for.
    pub(crate) fn publish(&self, load: &args::Load) -> Result<(), Unable> {
        print(&self.text());
        if let Some(path) = &load.json {
            let text = format!("{:#}\n", self.json());
            std::fs::write(path, text).or_unable(format!("writing {}", path.display()))?;
        }
        if let Some(path) = &load.chart {
            std::fs::write(path, chart::draw(self)).or_unable(format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// The table, with a line on each thing worth knowing below it.
    pub(crate) fn text(&self) -> String {
        let setting = &self.setting;
        let mut out = format!(
            "\n{}: {} rollout{} in {:.1} s{}, {} requests ({:.0} per second), {} lost\n\n",
            setting.name,
            setting.rollouts,
            if setting.rollouts == 1 { "" } else { "s" },
            self.loaded.as_secs_f64(),
            if self.finished() { "" } else { " (ended early)" },
            count(self.all.requests()),
            self.rate(),
            count(self.all.failures()),
        );
        out += &self.table();
        out.push('\n');
        for line in self.notes() {
            out += &line;
            out.push('\n');
        }
        out
    }

    fn table(&self) -> String {
        let heads = [
            "client",
            "requests",
            "ok",
            "non-2xx",
            "lost first",
            "lost kept",
            "refused",
            "no connect",
            "no answer",
            "cut",
            "h2 refused",
            "p50",
            "p99",
            "p99.9",
            "max",
        ];
        let mut rows = vec![heads.map(String::from).to_vec()];
        let kinds = Kind::ALL.iter().filter_map(|kind| Some((kind.name(), self.seen.tallies.get(kind)?)));
        for (name, tally) in kinds.chain([("all", &self.all)]) {
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
                    tally.answer_timeout,
                    tally.cut,
                    tally.stream_refused,
                ]
                .map(count),
            );
            row.extend(latencies(tally).map(brief));
            rows.push(row);
        }
        text(&rows)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (kind, tally) in &self.seen.tallies {
            for (status, times) in &tally.statuses {
                notes.push(format!("status     {} × {status} for {}", count(*times), kind.name()));
            }
        }
        notes.extend(self.pods_note());
        let left = self.lives.iter().filter_map(|life| Some(life.left_endpoints? - life.terminating?));
        if let Some((middle, most)) = spread(left.collect()) {
            notes.push(format!("endpoints  caught up {middle:.1} s (median), {most:.1} s (longest) after a pod was asked to end"));
        }
        if self.all.killed > 0 {
            notes.push(format!(
                "chaos      {} requests lost their connection to this tool, and are not counted",
                count(self.all.killed)
            ));
        }
        notes.push(self.schedule_note());
        for failure in self.seen.failures.iter().take(FAILURES_SHOWN) {
            let pod = failure.pod.as_ref().map(|pod| format!("; {pod}")).unwrap_or_default();
            notes.push(format!(
                "lost       at {:.3} s, {}: {} (its connection had answered {} before; {} bytes came{pod})",
                failure.at,
                failure.kind.name(),
                failure.detail,
                failure.answered_before,
                failure.bytes_received,
            ));
        }
        let more = self.all.failures().saturating_sub(FAILURES_SHOWN as u64);
        if more > 0 {
            notes.push(format!("           and {} more (--json has the first 200)", count(more)));
        }
        if let Ending::Failed(Unable(why)) = &self.ending {
            notes.push(format!("unfinished {why}"));
        }
        if let Some(fault) = &self.seen.own_fault {
            notes.push(format!("fault      of this tool, so the run proves nothing: {fault}"));
        }
        notes
    }

    fn pods_note(&self) -> Option<String> {
        let took = self.lives.iter().filter_map(|life| Some(life.gone? - life.terminating?));
        let (middle, most) = spread(took.collect())?;
        let ended = |wanted: fn(End) -> bool| {
            self.lives.iter().filter_map(|life| life.end).filter(|end| wanted(*end)).count()
        };
        let mut note = String::from("pods      ");
        for (number, what) in [
            (ended(|end| end == End::Exit(0)), "ended cleanly"),
            (ended(|end| matches!(end, End::Exit(code) if code != 0)), "ended with an error"),
            (ended(|end| end == End::Killed), "killed after the grace period"),
            (ended(|end| end == End::Crashed), "ended unasked"),
            (ended(|end| end == End::Unknown), "ended"),
        ] {
            if number > 0 {
                // Writing to a String cannot fail.
                let _ = write!(note, " {number} {what},");
            }
        }
        Some(format!("{note} after {middle:.1} s (median), {most:.1} s (longest)"))
    }

    fn schedule_note(&self) -> String {
        let late = |quantile| Duration::from_micros(self.seen.lateness.value_at_quantile(quantile));
        let verdict = match late(0.99) < KEPT {
            true => "kept",
            false => "NOT kept: this machine is too slow for so many clients, and latencies are too high",
        };
        format!(
            "schedule   {verdict}; requests were sent {} late (p99), {} at most",
            brief(late(0.99)),
            brief(late(1.0))
        )
    }

    fn rate(&self) -> f64 {
        self.all.requests() as f64 / self.loaded.as_secs_f64().max(0.001)
    }

    /// Everything, for machines; durations in seconds unless their name says otherwise.
    pub(crate) fn json(&self) -> Value {
        let kinds: serde_json::Map<_, _> = self
            .seen
            .tallies
            .iter()
            .map(|(kind, tally)| (kind.name().to_string(), tally_json(tally)))
            .collect();
        let late = &self.seen.lateness;
        json!({
            "name": self.setting.name,
            "finished": self.finished(),
            "rollouts": self.setting.rollouts,
            "chaos": self.setting.chaos,
            "scale": self.setting.scale,
            "seconds_of_load": self.loaded.as_secs_f64(),
            "requests_per_second": self.rate(),
            "timings": self.setting.timings,
            "all": tally_json(&self.all),
            "clients": kinds,
            "schedule": {
                "kept": Duration::from_micros(late.value_at_quantile(0.99)) < KEPT,
                "late_p99_us": late.value_at_quantile(0.99),
                "late_max_us": late.max(),
            },
            "own_fault": self.seen.own_fault,
            "failures": self.seen.failures,
            "pods": self.lives,
            "timeline": {
                "bucket_seconds": self.seen.timeline.width.as_secs_f64(),
                "buckets": self.seen.timeline.buckets,
            },
        })
    }
}

/// Prints to standard output; a reader that has gone is no reason to fail.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn latencies(tally: &Tally) -> [Duration; 4] {
    [0.5, 0.99, 0.999, 1.0].map(|quantile| Duration::from_micros(tally.latency.value_at_quantile(quantile)))
}

fn tally_json(tally: &Tally) -> Value {
    let [p50, p99, p999, max] = latencies(tally).map(|latency| latency.as_micros() as u64);
    json!({
        "requests": tally.requests(),
        "ok": tally.ok,
        "lost": tally.failures(),
        "statuses": tally.statuses,
        "lost_first": tally.lost_first,
        "lost_kept": tally.lost_kept,
        "refused": tally.refused,
        "connect_timeout": tally.connect_timeout,
        "answer_timeout": tally.answer_timeout,
        "cut": tally.cut,
        "stream_refused": tally.stream_refused,
        "killed_by_chaos": tally.killed,
        "latency_us": { "p50": p50, "p99": p99, "p99_9": p999, "max": max },
    })
}

/// The median and the largest.
fn spread(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    Some((*values.get(values.len() / 2)?, *values.last()?))
}
