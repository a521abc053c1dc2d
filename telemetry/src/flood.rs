//! How much one place in the code may log at warn and error, and how many of its lines were left out.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use tracing::{Level, Metadata, callsite::Identifier, warn};

/// Lines that one place may write in a [`WINDOW`].
const MOST: u64 = 100;

const WINDOW: Duration = Duration::from_secs(10);

/// What each place has logged of late.
#[derive(Debug, Default)]
pub(super) struct Flood(Mutex<HashMap<Identifier, Place>>);

#[derive(Debug)]
struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    lines: u64,
}

impl Flood {
    /// Whether a line is written.
    pub(super) fn admits(&self, metadata: &'static Metadata<'static>) -> bool {
        if *metadata.level() > Level::WARN {
            return true;
        }
        let mut places = self.0.lock().expect("nothing panics while it holds this");
        let fresh = || Place { metadata, since: Instant::now(), lines: 0 };
        let place = places.entry(metadata.callsite()).or_insert_with(fresh);
        // What was left out is told first.
        if place.lines <= MOST && place.since.elapsed() > WINDOW {
            *place = fresh();
        }
        place.lines += 1;
        place.lines <= MOST
    }

    /// Says how many lines were left out where a window is over, or everywhere.
    pub(super) fn tell(&self, everywhere: bool) {
        let mut told = Vec::new();
        self.0.lock().expect("nothing panics while it holds this").retain(|_, place| {
            let is_over = place.lines > MOST && (everywhere || place.since.elapsed() > WINDOW);
            if is_over {
                told.push((place.metadata, place.lines - MOST));
            }
            !is_over
        });
        for (metadata, lines) in told {
            warn!(lines, place = metadata.name(), "log lines were left out: too many from one place");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::callsite::Callsite;

    use super::*;

    #[test]
    fn a_place_that_logs_seldom_is_never_left_out_and_one_that_floods_until_it_was_told() {
        let place = tracing::callsite! {
            name: "place",
            kind: tracing::metadata::Kind::EVENT,
            level: Level::ERROR,
            fields: a
        };
        let (flood, metadata) = (Flood::default(), place.metadata());
        let wait = || {
            flood.0.lock().unwrap().values_mut().for_each(|place| place.since -= 2 * WINDOW);
        };
        for _ in 0..3 {
            assert!((0..MOST).all(|_| flood.admits(metadata)));
            wait();
        }
        assert!((0..MOST).all(|_| flood.admits(metadata)));
        assert!(!flood.admits(metadata));
        wait();
        assert!(!flood.admits(metadata), "what was left out is told first");
        flood.tell(false);
        assert!(flood.admits(metadata));
    }
}
