//! Durations as people write them: `500ms`, `5s`, `2m`.

use std::time::Duration;

/// Reads `500ms`, `1.5s`, `2m` or `1h`; a bare number is refused, it has no unit.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => {
            return Err(format!("`{text}` is not a duration such as 500ms, 5s or 2m"));
        }
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|n| Duration::try_from_secs_f64(n * seconds).ok())
        .ok_or_else(|| format!("`{text}` is not a duration such as 500ms, 5s or 2m"))
}

/// Writes a duration the way [`parse`] and the service's configuration read it.
pub(crate) fn write(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// Writes a latency with the three digits a reader can use.
pub(crate) fn brief(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["500ms", "5s", "120s", "0s"] {
            assert_eq!(write(parse(text).unwrap()), text);
        }
        assert_eq!(parse("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse("1h").unwrap(), Duration::from_secs(3600));
    }

    #[test]
    fn a_latency_has_three_digits() {
        let brief = |micros| brief(Duration::from_micros(micros));
        assert_eq!(
            [brief(1230), brief(9990), brief(10_000), brief(99_900)],
            ["1.23 ms", "9.99 ms", "10.0 ms", "99.9 ms"]
        );
        assert_eq!([brief(100_000), brief(999_000), brief(1_000_000)], ["100 ms", "999 ms", "1.00 s"]);
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for text in ["5", "s", "", "5 s", "-1s", "1d", "1.2.3s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
