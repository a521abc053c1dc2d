//! Which clients run, how many of each, and how fast.

use std::fmt;
use std::time::Duration;

use crate::duration;
use crate::record::kind::Kind;

/// How fast one group of clients sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each client waits between these two after each response, evenly drawn; upload and download take so long instead.
    Pause(Duration, Duration),
    /// The group together sends this many requests per second, whether responses are slow or not.
    Rate(f64),
}

/// A number of clients of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) kind: Kind,
    pub(crate) count: u32,
    /// `None` is the kind's own pace.
    pub(crate) pace: Option<Pace>,
}

/// The clients of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mix(pub(crate) Vec<Group>);

impl Group {
    /// The open-loop client, which sends this many requests per second.
    pub(crate) fn open(rate: f64) -> Self {
        Self { kind: Kind::Open, count: 1, pace: Some(Pace::Rate(rate)) }
    }
}

impl fmt::Display for Group {
    /// As [`parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind.name(), self.count)?;
        match self.pace {
            Some(Pace::Pause(min, max)) => write!(f, "@{}-{}", duration::write(min), duration::write(max)),
            Some(Pace::Rate(rate)) => write!(f, "@{rate}/s"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.0.iter().map(Group::to_string).collect();
        f.write_str(&groups.join(","))
    }
}

/// Every kind that the sample has a path for and proxies let pass: about 2 500 requests per second.
pub(crate) const DEFAULT: &str = "busy=16,idle=60,fresh=8,h2=3,h2-idle=20,h2-blocking=20,post=6,stream=8,\
    pipeline=2,upload=4";

/// Reads `busy=24,idle=60@3s-12s,fresh=8@200/s`: kind, count, and optionally pause or rate.
pub(crate) fn parse(text: &str) -> Result<Mix, String> {
    let groups: Vec<Group> = text.split(',').map(group).collect::<Result<_, _>>()?;
    for (n, group) in groups.iter().enumerate() {
        if groups[..n].iter().any(|other| other.kind == group.kind) {
            return Err(format!("`{}` is named twice", group.kind.name()));
        }
    }
    if groups.iter().all(|group| group.count == 0) {
        return Err("no clients: at least one count must be above 0".into());
    }
    Ok(Mix(groups))
}

fn group(text: &str) -> Result<Group, String> {
    let (name, rest) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not KIND=COUNT, such as busy=24"))?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name).join(", ");
        format!("`{name}` is none of {names}")
    })?;
    let (count, pace) = match rest.split_once('@') {
        Some((count, text)) => (count, Some(pace(text)?)),
        None => (rest, None),
    };
    if kind == Kind::Open {
        return Err("`open` is not among them: --rate says how fast it sends".into());
    }
    if matches!((kind, pace), (Kind::Upload | Kind::Download, Some(Pace::Rate(_)))) {
        return Err(format!("{name} takes the time of each one, such as {name}=4@1s-3s, instead of a rate"));
    }
    let count = count.parse().map_err(|_| format!("`{count}` is not a number of {name} clients"))?;
    Ok(Group { kind, count, pace })
}

/// Reads `200/s`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.strip_suffix("/s").and_then(|rate| rate.parse::<f64>().ok());
    rate.filter(|rate| *rate > 0.0 && rate.is_finite())
        .ok_or_else(|| format!("`{text}` is not a rate such as 200/s"))
}

fn pace(text: &str) -> Result<Pace, String> {
    if text.ends_with("/s") {
        return Ok(Pace::Rate(rate(text)?));
    }
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    let (min, max) = (duration::parse(min)?, duration::parse(max)?);
    if min > max {
        return Err(format!("`{text}` has its longer pause first"));
    }
    Ok(Pace::Pause(min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_counts_pauses_and_rates() {
        let Mix(groups) = parse("busy=24,idle=60@3s-12s,fresh=8@200/s").unwrap();
        assert_eq!(groups[0], Group { kind: Kind::Busy, count: 24, pace: None });
        let pause = Pace::Pause(Duration::from_secs(3), Duration::from_secs(12));
        assert_eq!(groups[1].pace, Some(pause));
        assert_eq!(groups[2].pace, Some(Pace::Rate(200.0)));
    }

    #[test]
    fn writes_what_it_reads() {
        for text in [DEFAULT, "busy=24,idle=60@3s-12s,fresh=8@200/s", "h2=1@500ms-500ms"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_default_has_every_kind_but_four() {
        let Mix(groups) = parse(DEFAULT).unwrap();
        let left_out = [Kind::Download, Kind::HalfClose, Kind::Websocket, Kind::Open];
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !left_out.contains(kind)).collect();
        assert_eq!(groups.iter().map(|group| group.kind).collect::<Vec<_>>(), kinds);
    }

    #[test]
    fn refuses_what_it_cannot_run() {
        for text in [
            "",
            "busy",
            "busy=x",
            "lazy=3",
            "busy=0",
            "busy=1,busy=2",
            "busy=1@2s-1s",
            "busy=1@0/s",
            "open=1@9/s",
            "upload=1@2/s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
