//! Logs of a process that must not stand still for them: JSON, or pretty on a terminal, behind a filter that can be
//! changed at run time.
//!
//! Nobody who logs waits: lines go into a bounded queue, and a thread writes them to stdout. What does not fit is dropped
//! and counted. One place in the code writes so many warnings and errors in ten seconds, and how many more it had is told.

// In place of which tests/loom has loom's.
use std::sync;

mod filter;
mod flood;
mod format;
#[cfg(test)]
#[path = "../../src/fuzz_tests.rs"]
mod fuzz_tests;
mod on_demand;
mod queue;
mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, stdout},
    panic,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tracing_subscriber::{Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

pub use self::{
    filter::{BadFilter, LogFilter, LogHandle},
    format::LogFormat,
};
use self::{format::SpanFields, on_demand::OnDemand, queue::Queue};

/// A layer of one's own, which sees spans and events beside the lines.
pub type TracingLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The logs of the process.
#[derive(Debug)]
pub struct Logs {
    /// The filter that they obey.
    pub filter: LogHandle,
    /// Whether the span that surrounds everything may wait until it is asked for.
    pub spans_on_demand: bool,
    queue: Arc<Queue>,
}

impl Logs {
    /// Waits until everything is written, but no longer than this.
    pub fn flush(&self, limit: Duration) {
        self.queue.flush(limit);
    }

    /// Says in the log how many lines were left out, of floods that go on too; those that are over are told each second.
    pub fn tell_left_out(&self) {
        self.filter.tell_left_out(true);
    }

    /// What tells how many lines were dropped so far, because stdout was not read or failed.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + 'static {
        let queue = self.queue.clone();
        move || queue.dropped.load(Relaxed)
    }
}

/// Sends logs and panics of the whole process to stdout, and spans and events to these layers, whatever the filter is; a
/// second call in one process changes nothing. It fails where no thread can be started. Without layers, which see every
/// span, `open_span` is called when the current one is needed.
pub fn init(
    filter: &LogFilter,
    format: LogFormat,
    mut layers: Vec<TracingLayer>,
    open_span: fn(),
) -> io::Result<Logs> {
    let handle = LogHandle::new(filter.clone());
    let floods = handle.clone();
    let queue = Arc::<Queue>::default();
    writer::start(queue.clone(), move || floods.tell_left_out(false))?;
    let terminal = stdout().is_terminal();
    let pretty = match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(queue.clone());
    let lines: TracingLayer = if pretty {
        Box::new(lines)
    } else {
        Box::new(lines.json().flatten_event(true).with_span_list(false).fmt_fields(SpanFields))
    };
    // A filter for all is cheaper than one for the lines alone, which leaves the other layers what it leaves out.
    let lines_alone = layers.is_empty();
    let installed = if lines_alone {
        let inner = tracing_subscriber::registry().with(lines).with(handle.clone());
        OnDemand { inner, open: open_span }.try_init()
    } else {
        layers.push(Box::new(lines.with_filter(handle.clone())));
        tracing_subscriber::registry().with(layers).try_init()
    };
    if installed.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Ok(Logs { filter: handle, spans_on_demand: lines_alone && installed.is_ok(), queue })
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
