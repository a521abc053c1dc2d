//! Types of values that variables have: durations as people write them, and secrets.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration written as people write it: `10s`, `500ms`, `1m 30s`; a year at most, so that it can be added to a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// So many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// So many hours.
    pub const fn hours(hours: u32) -> Self {
        Self(Duration::from_secs(hours as u64 * 3600))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (seconds @ 1.., 0) if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            (seconds, 0) => write!(f, "{seconds}s"),
            _ => humantime::format_duration(self.0).fmt(f),
        }
    }
}

impl fmt::Debug for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let duration = humantime::parse_duration(&text).map_err(serde::de::Error::custom)?;
        if duration > Self::hours(365 * 24).0 {
            return Err(serde::de::Error::custom("longer than a year"));
        }
        Ok(Self(duration))
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A value that no log, error or listing shows.
#[derive(Debug, Clone, Deserialize)]
pub struct Secret(SecretString);

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{fuzz_tests::holds, parse};

    #[test]
    fn any_duration_that_is_taken_is_a_year_at_most_and_is_read_back_as_it_is_shown() {
        holds("duration", |input| {
            let text = input.text();
            let year = Duration::from_secs(365 * 24 * 3600);
            let taken = parse::<HumanDuration>(&text);
            let expected = humantime::parse_duration(&text).ok().filter(|duration| *duration <= year);
            prop_assert_eq!(taken.map(|HumanDuration(duration)| duration), expected);
            if let Some(duration) = taken {
                prop_assert_eq!(parse(&duration.to_string()), Some(duration));
            }
            Ok(())
        });
    }
}
