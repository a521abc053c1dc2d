//! The run as it goes: one line rewritten on a terminal, plain lines otherwise.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::record::recorder::Recorder;

/// Shows the run on standard error until dropped.
pub(crate) struct Progress {
    stage: Arc<Mutex<String>>,
    showing: JoinHandle<()>,
    terminal: bool,
}

impl Progress {
    /// Begins to show; `pods` says in a few words how the pods are.
    pub(crate) fn show(
        name: &str,
        recorder: Arc<Recorder>,
        pods: impl Fn() -> String + Send + 'static,
    ) -> Self {
        let terminal = stderr().is_terminal();
        let stage = Arc::new(Mutex::new(String::new()));
        let showing = tokio::spawn(show(name.to_string(), recorder, pods, stage.clone(), terminal));
        Self { stage, showing, terminal }
    }

    /// Says what the run does now.
    pub(crate) fn stage(&self, text: impl Into<String>) {
        *self.stage.lock().expect("nothing panics while it holds the text") = text.into();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.showing.abort();
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

async fn show(
    name: String,
    recorder: Arc<Recorder>,
    pods: impl Fn() -> String,
    stage: Arc<Mutex<String>>,
    terminal: bool,
) {
    let every = Duration::from_millis(if terminal { 250 } else { 5000 });
    let mut ticks = interval(every);
    let (mut before, mut then) = (0, recorder.elapsed());
    loop {
        ticks.tick().await;
        let (requests, failed) = recorder.totals();
        let now = recorder.elapsed();
        let rate = (requests - before) as f64 / (now - then).as_secs_f64().max(0.001);
        (before, then) = (requests, now);
        let stage = stage.lock().expect("nothing panics while it holds the text").clone();
        let line = format!(
            "{name} {:>6.1} s  {stage}  {}  {rate:.0} requests/s  {requests} sent  {failed} lost",
            now.as_secs_f64(),
            pods(),
        );
        // A closed standard error is no reason to end the run.
        let _ = match terminal {
            true => write!(stderr(), "\r\x1b[K{line}").and_then(|()| stderr().flush()),
            false => writeln!(stderr(), "{line}"),
        };
    }
}
