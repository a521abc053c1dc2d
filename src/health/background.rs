//! Checks that are made in the background, and how old their last result may be.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use super::{Outcome, PANICKED, Schedule, hysteresis::Hysteresis};

/// What the last checks came to, as the probe reads it.
#[derive(Debug)]
pub(super) struct LastResult {
    state: Mutex<(Hysteresis, Instant)>,
    stale_after: Duration,
}

impl LastResult {
    pub(super) fn new(schedule: &Schedule) -> Self {
        Self {
            state: Mutex::new((Hysteresis::new(schedule), Instant::now())),
            stale_after: schedule.interval.saturating_add(schedule.timeout).saturating_mul(3),
        }
    }

    fn add(&self, outcome: Outcome) {
        let mut state = self.state.lock().expect("nothing panics while it holds this");
        state.0.add(outcome);
        state.1 = Instant::now();
    }

    pub(super) fn outcome(&self) -> Outcome {
        let state = self.state.lock().expect("nothing panics while it holds this");
        let age = state.1.elapsed();
        state.0.outcome()?;
        if age > self.stale_after {
            return Err(format!("stale: the last result is {:.1} s old", age.as_secs_f64()));
        }
        Ok(())
    }
}

/// Asks for ever, on schedule.
pub(super) async fn run<R, E>(schedule: Schedule, ask: impl Fn() -> R, result: Arc<LastResult>)
where
    R: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    loop {
        let outcome = match catch_unwind(AssertUnwindSafe(&ask)) {
            Ok(asked) => outcome_of(asked, schedule.timeout).await,
            Err(_panic) => Err(PANICKED.to_owned()),
        };
        result.add(outcome);
        sleep(schedule.interval.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
    }
}

async fn outcome_of<E: fmt::Display>(asked: impl Future<Output = Result<(), E>>, limit: Duration) -> Outcome {
    let answer = AssertUnwindSafe(asked.map(|answer| answer.map_err(|error| error.to_string())));
    match timeout(limit, answer.catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => Err(PANICKED.to_owned()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}
