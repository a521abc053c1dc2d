//! A run and what was seen of it, summed up to a verdict.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::args::Load;
use crate::clients::load::Clients;
use crate::record::pods::PodHistory;
use crate::record::recorder::Observations;
use crate::record::shares::Shares;
use crate::record::tally::Tally;
use crate::session::{Ending, Session};

/// A schedule is kept when 99 of 100 requests were less late than this.
const KEPT: Duration = Duration::from_millis(20);

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
    /// What it does on SIGTERM, where several sequences are compared.
    pub(crate) sequence: Option<String>,
    /// What each rollout is made of.
    pub(crate) steps: Vec<String>,
    pub(crate) rollouts: u32,
    pub(crate) chaos: bool,
    pub(crate) scale: f64,
    /// As scaled; a cluster's are its own.
    pub(crate) timings: Option<Value>,
    pub(crate) clients: Clients,
    pub(crate) load: Load,
}

/// A run and what was seen of it.
pub(crate) struct Report {
    pub(crate) setting: Setting,
    pub(crate) observed: Observations,
    /// How long there was load.
    pub(crate) loaded: Duration,
    pub(crate) ending: Ending,
    pub(crate) histories: Vec<PodHistory>,
    /// After a scale-up, one after another.
    pub(crate) shares: Vec<Shares>,
    pub(crate) all: Tally,
    pub(crate) ended: SystemTime,
}

impl Verdict {
    /// As the JSON has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verdict::NothingLost => "nothing_lost",
            Verdict::Lost => "lost",
            Verdict::Unfinished => "unfinished",
        }
    }
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
    pub(crate) fn new(setting: Setting, session: Session, histories: Vec<PodHistory>) -> Self {
        let Session { observed, loaded, ending } = session;
        let mut all = Tally::new();
        observed.tallies.values().for_each(|tally| all.add(tally));
        let shares = Vec::new();
        Self { setting, observed, loaded, ending, histories, shares, all, ended: SystemTime::now() }
    }

    /// What the run came to.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.observed.own_fault.is_some() {
            Verdict::Unfinished
        } else if self.all.failures() > 0 {
            Verdict::Lost
        } else if self.finished() && self.all.ok > 0 {
            Verdict::NothingLost
        } else {
            Verdict::Unfinished
        }
    }

    /// Says whether the script came to its end.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.ending, Ending::Finished)
    }

    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.all.requests() as f64 / self.loaded.as_secs_f64().max(0.001)
    }

    /// How late requests were sent, at this quantile.
    pub(crate) fn late(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.observed.lateness.value_at_quantile(quantile))
    }

    /// Says whether this machine could send as fast as the mix asks.
    pub(crate) fn kept_schedule(&self) -> bool {
        self.late(0.99) < KEPT
    }
}
