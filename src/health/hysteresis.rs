//! What single results of a background check come to.

use super::{Outcome, Schedule};

/// Turns single results into a steady one: down after `fall` failures in a row, up after `rise` successes.
#[derive(Debug)]
pub(super) struct Hysteresis {
    rise: u32,
    fall: u32,
    down_because: Option<String>,
    successes: u32,
    failures: u32,
}

impl Hysteresis {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let down_because = Some("not checked yet".to_owned());
        Self { rise: schedule.rise, fall: schedule.fall, down_because, successes: 0, failures: 0 }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Ok(()) => {
                self.successes += 1;
                self.failures = 0;
                if self.successes >= self.rise {
                    self.down_because = None;
                }
            }
            Err(reason) => {
                self.failures += 1;
                self.successes = 0;
                if self.failures >= self.fall || self.down_because.is_some() {
                    self.down_because = Some(reason);
                }
            }
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.down_because.clone().map_or(Ok(()), Err)
    }
}
