//! Whether anything of the main runtime still runs, judged from another thread.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{runtime, time::sleep};

use crate::lifecycle::Lifecycle;

/// Everything that shows that a task has run counts. A heartbeat of its own would not do: it waits in the same queue as
/// all the work, and a runtime that has too much to do is not stuck.
pub(super) struct Heartbeat {
    runtime: runtime::RuntimeMetrics,
    lifecycle: Lifecycle,
    /// What was seen, and since when it is the same.
    last: Mutex<(Progress, Instant)>,
}

/// How much has been done so far: time that workers were busy, times that they had nothing to do, requests.
type Progress = (Duration, u64, u64);

impl Heartbeat {
    /// Starts to look, on the runtime that this is called on, at the one that serves.
    pub(super) fn watch(runtime: &runtime::Handle, lifecycle: &Lifecycle, limit: Duration) -> Arc<Self> {
        let metrics = runtime.metrics();
        let seen = progress(&metrics, lifecycle);
        let last = Mutex::new((seen, Instant::now()));
        let heartbeat = Arc::new(Self { runtime: metrics, lifecycle: lifecycle.clone(), last });
        let (watched, runtime) = (heartbeat.clone(), runtime.clone());
        tokio::spawn(async move {
            loop {
                // Gives a runtime that has nothing to do something to show.
                let ping = runtime.spawn(async {});
                loop {
                    sleep(limit.min(Duration::from_secs(5)) / 10).await;
                    watched.silence();
                    if ping.is_finished() {
                        break;
                    }
                }
            }
        });
        heartbeat
    }

    /// For how long nothing has run, as far as one can tell.
    pub(super) fn silence(&self) -> Duration {
        let seen = progress(&self.runtime, &self.lifecycle);
        let mut last = self.last.lock().expect("nothing panics while it holds this");
        if seen != last.0 {
            *last = (seen, Instant::now());
        }
        last.1.elapsed()
    }
}

fn progress(runtime: &runtime::RuntimeMetrics, lifecycle: &Lifecycle) -> Progress {
    let workers = || 0..runtime.num_workers();
    let busy = workers().map(|worker| runtime.worker_total_busy_duration(worker)).sum();
    let parks = workers().map(|worker| runtime.worker_park_count(worker)).sum();
    (busy, parks, lifecycle.requests().total())
}
