//! Logs: JSON, or pretty on a terminal, behind a filter that can be changed at run time.

mod filter;
mod format;
mod queue;
mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, stdout},
    panic,
};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

use self::format::SpanFields;
pub(crate) use self::writer::LogWriter;
pub use self::{
    filter::{BadFilter, LogFilter, LogHandle},
    format::LogFormat,
};

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

/// A layer of the service's own.
pub type TracingLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The logs of the process.
#[derive(Debug)]
pub(crate) struct Logs {
    pub(crate) filter: LogHandle,
    pub(crate) writer: LogWriter,
}

/// Sends logs and panics of the whole process to stdout, and spans and events to the service's layers too; a second
/// call in one process changes nothing.
pub(crate) fn init(filter: &LogFilter, format: LogFormat, mut layers: Vec<TracingLayer>) -> io::Result<Logs> {
    let handle = LogHandle::new(filter.clone());
    let writer = LogWriter::start()?;
    let terminal = stdout().is_terminal();
    let pretty = match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(writer.clone());
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
    Ok(Logs { filter: handle, writer })
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
