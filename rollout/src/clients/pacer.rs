//! When the next request is due.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::mix::Pace;

const SPREAD: Duration = Duration::from_secs(1);

/// One client's schedule.
#[derive(Clone)]
pub(crate) struct Pacer {
    pace: Pace,
    senders: u32,
    due: Option<Instant>,
}

impl Pacer {
    /// Shares a rate among this many senders; a pause is each one's own.
    pub(crate) fn new(pace: Pace, senders: u32) -> Self {
        Self { pace, senders, due: None }
    }

    /// When the last request was due.
    pub(crate) fn due(&self) -> std::time::Instant {
        self.due.unwrap_or_else(Instant::now).into_std()
    }

    /// Waits until a request is due, and returns how late it has become.
    pub(crate) async fn wait(&mut self) -> Duration {
        let due = match (self.pace, self.due) {
            // Clients that all begin at once would stay in step.
            (pace, None) => Instant::now() + between(Duration::ZERO, longest(pace, self.senders).min(SPREAD)),
            (Pace::Pause(min, max), Some(_)) => Instant::now() + between(min, max),
            (Pace::Rate(_), Some(last)) => last + longest(self.pace, self.senders),
        };
        self.due = Some(due);
        sleep_until(due).await;
        due.elapsed()
    }
}

fn longest(pace: Pace, senders: u32) -> Duration {
    match pace {
        Pace::Pause(_, max) => max,
        Pace::Rate(rate) => Duration::from_secs_f64(f64::from(senders) / rate),
    }
}

/// A duration between these two, evenly drawn.
pub(super) fn between(min: Duration, max: Duration) -> Duration {
    min + (max - min).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rate_that_cannot_be_kept_is_reported_late() {
        let mut pacer = Pacer::new(Pace::Rate(100.0), 1);
        pacer.due = Some(Instant::now() - Duration::from_secs(1));
        assert!(pacer.wait().await > Duration::from_millis(900));
        // It is not forgiven: the next request is late as well.
        assert!(pacer.wait().await > Duration::from_millis(900));
    }

    #[tokio::test]
    async fn clients_begin_apart_and_none_of_them_late() {
        let pause = Duration::from_secs(1);
        let first = async || {
            let mut pacer = Pacer::new(Pace::Pause(pause, pause), 1);
            let due = Instant::now();
            let late = pacer.wait().await;
            (due.elapsed(), late)
        };
        let (a, b, c, d) = tokio::join!(first(), first(), first(), first());
        let firsts = [a, b, c, d];
        assert!(firsts.iter().all(|(_, late)| *late < pause / 4), "{firsts:?}");
        assert!(firsts.iter().any(|(after, _)| *after > pause / 20), "{firsts:?}");
    }

    #[test]
    fn a_pause_is_between_its_bounds() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(20));
        let drawn: Vec<Duration> = (0..1000).map(|_| between(min, max)).collect();
        assert!(drawn.iter().all(|pause| (min..=max).contains(pause)));
        assert!(drawn.iter().any(|pause| *pause < min + (max - min) / 4));
        assert!(drawn.iter().any(|pause| *pause > max - (max - min) / 4));
    }

    #[tokio::test]
    async fn a_pause_follows_each_response() {
        let pause = Duration::from_millis(20);
        let mut pacer = Pacer::new(Pace::Pause(pause, pause), 1);
        let began = Instant::now();
        pacer.wait().await;
        pacer.wait().await;
        assert!(began.elapsed() >= pause);
    }
}
