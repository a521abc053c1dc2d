//! Which log lines are written: a filter that can be changed at run time.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, RwLock},
};

use serde::{Deserialize, Serialize};
use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, Filter},
};

use super::flood::Flood;

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
pub struct LogHandle {
    filter: Arc<RwLock<LogFilter>>,
    flood: Arc<Flood>,
}

impl LogHandle {
    /// A handle that starts with this filter; `init` makes the one that the process's logs obey.
    pub fn new(filter: LogFilter) -> Self {
        Self { filter: Arc::new(RwLock::new(filter)), flood: Arc::default() }
    }

    /// The filter in force.
    pub fn get(&self) -> LogFilter {
        self.filter.read().expect("no holder panics").clone()
    }

    /// Puts another filter in force at once.
    pub fn set(&self, filter: LogFilter) {
        *self.filter.write().expect("no holder panics") = filter;
        tracing::callsite::rebuild_interest_cache();
    }

    /// Says how many lines were left out of a flood that is over, or of any.
    pub(crate) fn tell_left_out(&self, of_any: bool) {
        self.flood.tell(of_any);
    }

    fn with<T>(&self, ask: impl FnOnce(&Targets) -> T) -> T {
        ask(&self.filter.read().expect("no holder panics").targets)
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

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.flood.admits(event.metadata())
    }
}

impl<S: Subscriber> Filter<S> for LogHandle {
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.with(|targets| Filter::<S>::callsite_enabled(targets, metadata));
        // What may be left out is asked for each time: a build with debug assertions panics where `event_enabled` alone
        // says no.
        match interest.is_always() && metadata.is_event() && *metadata.level() <= Level::WARN {
            true => Interest::sometimes(),
            false => interest,
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.with(|targets| Filter::<S>::enabled(targets, metadata, context))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.with(|targets| Filter::<S>::max_level_hint(targets))
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.flood.admits(event.metadata())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz_tests::holds;

    #[test]
    fn a_filter_is_levels_and_pairs() {
        for good in ["info", "off", "info,landfall=debug", "warn, hyper=off", "landfall::server=trace"] {
            assert!(good.parse::<LogFilter>().is_ok(), "{good}");
        }
        for bad in ["", "inof", "landfall=loud", "info,", "landfall", "info;debug", "=debug=x"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad}");
        }
    }

    #[test]
    fn any_filter_that_is_taken_has_a_level_in_each_part_and_is_read_back_as_it_is_shown() {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        holds("log-filter", |input| {
            let text = input.text();
            let says_level = |part: &str| {
                let level: String = part.rsplit('=').next().unwrap_or_default().split_whitespace().collect();
                level.parse().is_ok_and(|number: usize| number < LEVELS.len())
                    || LEVELS.contains(&level.to_ascii_lowercase().as_str())
            };
            if let Ok(filter) = text.parse::<LogFilter>() {
                prop_assert!(text.split(',').all(says_level));
                prop_assert_eq!(filter.to_string().parse::<LogFilter>().ok(), Some(filter));
            } else {
                // Levels alone are always taken.
                prop_assert!(text.contains('=') || !text.split(',').all(says_level));
            }
            Ok(())
        });
    }
}
