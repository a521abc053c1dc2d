//! Logs: JSON, or pretty on a terminal, behind a filter that can be changed at run time.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt,
    io::{IsTerminal, Write, stdout},
    panic,
    str::FromStr,
    sync::{Arc, RwLock},
};

use serde::{Deserialize, Serialize};
use tracing::{Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::config::Config;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty when stdout is a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Which requests get an access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// Every request.
    All,
    /// Those answered with a 5xx status, and slow ones.
    Errors,
    /// None.
    Off,
}

/// Which log lines are written: levels and `target=level` pairs, separated by commas.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

/// Says what is wrong with a log filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected levels (off, error, warn, info, debug, trace) or target=level pairs, separated by commas; found {0:?}"
)]
pub struct BadFilter(String);

impl FromStr for LogFilter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let bad = || BadFilter(text.to_owned());
        // `Targets` takes a misspelt level for the name of a target, and would switch all logs off.
        let is_level = |part: &str| part.parse::<LevelFilter>().is_ok() && !part.is_empty();
        let well_formed =
            |part: &str| part.rsplit_once('=').map_or(is_level(part), |(_, level)| is_level(level));
        let text: String = text.split_whitespace().collect();
        if !text.split(',').all(well_formed) {
            return Err(bad());
        }
        let targets = text.parse().map_err(|_| bad())?;
        Ok(Self { text, targets })
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        "info".parse().expect("a level is a filter")
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for LogFilter {
    type Error = BadFilter;

    fn try_from(text: String) -> Result<Self, BadFilter> {
        text.parse()
    }
}

impl From<LogFilter> for String {
    fn from(filter: LogFilter) -> Self {
        filter.text
    }
}

/// Reads and changes the log filter of the running process.
#[derive(Debug, Clone)]
pub struct LogHandle(Arc<RwLock<LogFilter>>);

impl LogHandle {
    /// A handle that starts with this filter; [`init`] makes the one that the process's logs obey.
    pub fn new(filter: LogFilter) -> Self {
        Self(Arc::new(RwLock::new(filter)))
    }

    /// The filter in force.
    pub fn get(&self) -> LogFilter {
        self.0.read().expect("no holder panics").clone()
    }

    /// Puts another filter in force at once.
    pub fn set(&self, filter: LogFilter) {
        *self.0.write().expect("no holder panics") = filter;
        tracing::callsite::rebuild_interest_cache();
    }

    fn with<T>(&self, ask: impl FnOnce(&Targets) -> T) -> T {
        ask(&self.0.read().expect("no holder panics").targets)
    }
}

/// Asked once per place in the code that logs, and again after a change: its lock is not on the hot path.
impl<S: Subscriber> Layer<S> for LogHandle {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.with(|targets| Layer::<S>::register_callsite(targets, metadata))
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.with(|targets| Layer::<S>::enabled(targets, metadata, context))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.with(|targets| Layer::<S>::max_level_hint(targets))
    }
}

/// Sends logs and panics of the whole process to stdout; a second call in one process changes nothing.
pub fn init(config: &Config) -> LogHandle {
    let handle = LogHandle::new(config.log.clone());
    let terminal = stdout().is_terminal();
    let pretty = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(stdout);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if pretty {
        Box::new(lines)
    } else {
        Box::new(lines.json().flatten_event(true).with_span_list(false))
    };
    if tracing_subscriber::registry().with(lines).with(handle.clone()).try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    handle
}

/// Writes out what is still buffered; the last thing a process does.
pub fn flush() {
    // Nobody is left to tell when stdout is gone.
    let _ = stdout().flush();
}

fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        panic = info.payload_as_str().unwrap_or("a value that is no text"),
        location = info.location().map(tracing::field::display),
        backtrace = backtrace.as_ref().map(tracing::field::display),
        "panicked"
    );
}
