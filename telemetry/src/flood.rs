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
