//! Logs: JSON, or pretty on a terminal, behind a filter that can be changed at run time.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt,
    io::{IsTerminal, Write, stdout},
    mem, panic,
    str::FromStr,
    sync::{Arc, RwLock},
};

use serde::{Deserialize, Serialize};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::Record,
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer, Registry,
    field::RecordFields,
    filter::Targets,
    fmt::{FormatFields, FormattedFields, format::Writer},
    layer::{Context, Filter, SubscriberExt},
    util::SubscriberInitExt,
};

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

impl<S: Subscriber> Filter<S> for LogHandle {
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.with(|targets| Filter::<S>::callsite_enabled(targets, metadata))
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.with(|targets| Filter::<S>::enabled(targets, metadata, context))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.with(|targets| Filter::<S>::max_level_hint(targets))
    }
}

/// A layer of the service's own.
pub type TracingLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends logs and panics of the whole process to stdout, and spans and events to the service's layers too; a second
/// call in one process changes nothing.
pub(crate) fn init(filter: &LogFilter, format: LogFormat, mut layers: Vec<TracingLayer>) -> LogHandle {
    let handle = LogHandle::new(filter.clone());
    let terminal = stdout().is_terminal();
    let pretty = match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(stdout);
    let lines: TracingLayer = if pretty {
        Box::new(lines)
    } else {
        Box::new(lines.json().flatten_event(true).with_span_list(false).fmt_fields(SpanFields))
    };
    // A filter for all is cheaper than one for the lines alone, which leaves the service's layers what it leaves out.
    let installed = if layers.is_empty() {
        tracing_subscriber::registry().with(lines).with(handle.clone()).try_init()
    } else {
        layers.push(Box::new(lines.with_filter(handle.clone())));
        tracing_subscriber::registry().with(layers).try_init()
    };
    if installed.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    handle
}

/// Writes a span's fields as a JSON object straight into the span: every request opens one, and tracing-subscriber's
/// own way through a map of values costs as much as the rest of the span.
struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut object = JsonObject(Vec::with_capacity(192));
        object.0.push(b'{');
        fields.record(&mut object);
        object.0.push(b'}');
        writer.write_str(str::from_utf8(&object.0).map_err(|_| fmt::Error)?)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let mut object = JsonObject(mem::take(&mut current.fields).into_bytes());
        object.0.pop();
        fields.record(&mut object);
        object.0.push(b'}');
        current.fields = String::from_utf8(object.0).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

struct JsonObject(Vec<u8>);

impl JsonObject {
    fn add(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        // Plain values into memory: neither can fail.
        let _ = serde_json::to_writer(&mut self.0, field.name());
        self.0.push(b':');
        let _ = serde_json::to_writer(&mut self.0, value);
    }
}

impl Visit for JsonObject {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn span_fields_are_json_whatever_is_in_them() {
        let written = Arc::new(std::sync::Mutex::new(Vec::new()));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer({
                let written = written.clone();
                move || Shared(written.clone())
            })
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .fmt_fields(SpanFields);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let span = tracing::error_span!(
                "request",
                path = "/\"quoted\"\n",
                count = 3,
                debug = ?Some(1),
                later = tracing::field::Empty
            );
            span.record("later", "recorded");
            span.in_scope(|| tracing::info!("here"));
            tracing::error_span!("empty").in_scope(|| tracing::info!("there"));
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["span"]["path"], "/\"quoted\"\n");
        assert_eq!(lines[0]["span"]["count"], 3);
        assert_eq!(lines[0]["span"]["debug"], "Some(1)");
        assert_eq!(lines[0]["span"]["later"], "recorded");
        assert_eq!(lines[1]["message"], "there");
    }

    struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
