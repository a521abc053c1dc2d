//! maxSurge and maxUnavailable: how many pods may be started, and how many ended.

use super::timings::Timings;

/// The bounds of a rolling update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolling {
    pub(crate) wanted: usize,
    surge: usize,
    unavailable: usize,
}

impl Rolling {
    /// The bounds of these timings, for this many pods.
    pub(crate) fn new(timings: &Timings, wanted: usize) -> Self {
        let (surge, unavailable) = match (timings.max_surge, timings.max_unavailable) {
            // Kubernetes does the same: nothing could move otherwise.
            (0, 0) => (0, 1),
            bounds => bounds,
        };
        Self { wanted, surge: surge as usize, unavailable: unavailable as usize }
    }

    /// How many may be started, when there are so many new and old ones.
    pub(crate) fn may_start(self, new: usize, old: usize) -> usize {
        self.wanted.saturating_sub(new).min((self.wanted + self.surge).saturating_sub(new + old))
    }

    /// How many of the available ones may be ended.
    pub(crate) fn may_end(self, available: usize) -> usize {
        available.saturating_sub(self.wanted.saturating_sub(self.unavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rollout_ends_and_stays_within_its_bounds() {
        for (wanted, max_surge, max_unavailable) in
            [(3, 1, 0), (3, 0, 1), (3, 0, 0), (5, 2, 1), (1, 1, 0), (4, 9, 9)]
        {
            let timings = Timings { max_surge, max_unavailable, ..Timings::default() };
            let rolling = Rolling::new(&timings, wanted);
            let (mut starting, mut ready, mut old, mut steps) = (0, 0, wanted, 0);
            while ready < wanted || old > 0 {
                starting += rolling.may_start(starting + ready, old);
                assert!(starting + ready + old <= wanted + rolling.surge, "too many pods");
                old -= rolling.may_end(ready + old).min(old);
                assert!(ready + old + rolling.unavailable >= wanted, "too few pods");
                // One more pod has become ready.
                (starting, ready) = (starting - starting.min(1), ready + starting.min(1));
                steps += 1;
                assert!(steps < 100, "stuck with {starting} starting, {ready} ready, {old} old");
            }
            assert_eq!((starting, ready), (0, wanted));
        }
    }
}
