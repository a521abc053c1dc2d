//! How long a peer that reads may pause. It takes what it is sent in steps, as its kernel and its HTTP/2 library say that there
//! is room again only when much of a buffer is free, and in between it looks like one that does not read.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes in a millisecond. Who reads them on average has the time that its steps take.
const SLOWEST: u64 = 16;

/// What our own kernel holds, about, of what is written to a socket: nobody has to read for it.
const OWN: u64 = 64 << 10;

/// How many times the stall limit one step may take.
const LONGEST: u32 = 6;

/// How long a peer's kernel may be silent, when asked or sent to, or have no room, unless the stall limit is longer: a dead
/// peer is found within a minute.
pub const SILENCE: Duration = Duration::from_secs(60);

/// What a peer has taken, in time that it takes to read.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    counted: u64,
    until: Option<Instant>,
}

impl Pace {
    /// Of a peer for which so many bytes have been written to a socket.
    pub fn of_socket(written: u64) -> Self {
        Self { counted: written + OWN, until: None }
    }

    /// The peer takes nothing now, and took so many bytes in all.
    pub fn pauses(&mut self, taken: u64, now: Instant) {
        let earned = Duration::from_millis(taken.saturating_sub(self.counted) / SLOWEST);
        self.counted = self.counted.max(taken);
        self.until = Some(self.until.map_or(now, |until| until.max(now)) + earned);
    }

    /// When the time is up of a peer that has taken nothing since then.
    pub fn due(&self, since: Instant, limit: Duration) -> Instant {
        let longest = (limit * LONGEST).min(SILENCE).max(limit);
        self.until.unwrap_or(since).clamp(since + limit, since + longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_peer_that_takes_nothing_has_the_limit() {
        let now = Instant::now();
        assert_eq!(Pace::default().due(now, LIMIT), now + LIMIT);
        let mut pace = Pace::of_socket(1 << 20);
        pace.pauses((1 << 20) + OWN, now);
        assert_eq!(pace.due(now, LIMIT), now + LIMIT);
    }

    #[test]
    fn a_peer_that_takes_large_steps_has_the_time_to_read_them() {
        let start = Instant::now();
        let (mut now, mut pace, mut taken) = (start, Pace::default(), 0);
        for _ in 0..100 {
            taken += 320_000;
            pace.pauses(taken, now);
            assert_eq!(pace.due(now, LIMIT), now + 20 * SECOND);
            now += 20 * SECOND;
        }
        // In small ones for as long as before, it has as much.
        for _ in 0..300_000 {
            taken += 1600;
            pace.pauses(taken, start);
        }
        assert_eq!(pace.due(now, LIMIT), now + SILENCE.min(LONGEST * LIMIT));
    }

    #[test]
    fn the_time_is_bounded_by_the_limit_and_by_the_kernel() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.pauses(1 << 40, now);
        for (limit, longest) in [(SECOND, 6 * SECOND), (20 * SECOND, SILENCE), (2 * SILENCE, 2 * SILENCE)] {
            assert_eq!(pace.due(now, limit), now + longest);
        }
    }
}
