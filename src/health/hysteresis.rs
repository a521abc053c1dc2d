//! What single results of a background check come to.

use super::{Outcome, Schedule};

/// Turns single results into a steady one: down after `fall` failures in a row, up after `rise` successes.
#[derive(Debug)]
pub(super) struct Hysteresis {
    rise: u32,
    fall: u32,
    outcome: Outcome,
    /// Results in a row that say otherwise.
    against: u32,
}

impl Hysteresis {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let outcome = Err("not checked yet".to_owned());
        Self { rise: schedule.rise, fall: schedule.fall, outcome, against: 0 }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        let needed = match (self.outcome.is_ok(), outcome.is_ok()) {
            (false, true) => self.rise,
            (true, false) => self.fall,
            // The same, for a reason that may be another.
            _ => 0,
        };
        self.against = if needed == 0 { 0 } else { self.against + 1 };
        if self.against >= needed {
            (self.outcome, self.against) = (outcome, 0);
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.outcome.clone()
    }
}
