//! What the values of the command line have to look like.

use std::time::Duration;

use serde_json::Value;

use super::Earlier;
use crate::duration;

/// The variables that give each local pod its name and its addresses.
const POD_VARIABLES: [&str; 4] = ["APP_HOST", "APP_PORT", "APP_ADMIN_PORT", "APP_POD_NAME"];

pub(super) fn earlier(path: &str) -> Result<Earlier, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let runs = match serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))? {
        Value::Array(runs) => runs,
        run => vec![run],
    };
    match runs.iter().all(|run| run["all"]["requests"].is_u64()) {
        true => Ok(Earlier(runs)),
        false => Err("not what --json writes".into()),
    }
}

pub(super) fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.01..=10.0).contains(&scale) => Ok(scale),
        _ => Err("a scale is a number from 0.01 to 10".into()),
    }
}

pub(super) fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok() {
        true => Ok(text.to_string()),
        false => Err("a path begins with / and has no space".into()),
    }
}

pub(super) fn pause(text: &str) -> Result<(Duration, Duration), String> {
    let (min, max) = text.split_once('-').ok_or("write it as 3s-12s")?;
    let (min, max) = (duration::parse(min)?, duration::parse(max)?);
    if min > max {
        return Err("the longer pause stands first".into());
    }
    Ok((min, max))
}

pub(super) fn from_to(text: &str) -> Result<(u32, u32), String> {
    let (from, to) = text.split_once("..").ok_or("write it as 3..6")?;
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
    match (number(from), number(to)) {
        (Some(from), Some(to)) if from != to => Ok((from, to)),
        _ => Err("two different numbers of pods, of at least one each, as 3..6".into()),
    }
}

pub(super) fn json(text: &str) -> Result<String, String> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text.to_string()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a variable is written NAME=VALUE")?;
    let mut letters = name.chars();
    let starts = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if !starts || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        return Err(format!("`{name}` is not a variable's name: letters, digits and _, no digit first"));
    }
    if POD_VARIABLES.contains(&name) {
        return Err(format!("{name} is each pod's own, and set by this tool"));
    }
    Ok((name.to_string(), value.to_string()))
}

pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written `Name: value`")?;
    let (name, value) = (name.trim(), value.trim());
    http::HeaderName::try_from(name).map_err(|error| error.to_string())?;
    http::HeaderValue::try_from(value).map_err(|error| error.to_string())?;
    Ok((name.to_string(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_paths_are_checked() {
        assert_eq!(header("A: b c").unwrap(), ("A".to_string(), "b c".to_string()));
        assert!(header("no colon").is_err());
        assert!(header("bad name: x").is_err());
        assert!(path("/a?b=c").is_ok());
        assert!(path("a").is_err());
        assert!(path("/a b").is_err());
    }

    #[test]
    fn a_body_is_sent_as_it_is_written() {
        assert_eq!(json("[1, 2]"), Ok("[1, 2]".to_string()));
        assert!(json("[1,").is_err());
    }

    #[test]
    fn a_scale_and_a_pause_have_their_bounds() {
        assert_eq!((scale("0.01"), scale("10")), (Ok(0.01), Ok(10.0)));
        assert!(["0", "0.009", "10.1", "-1", "x"].iter().all(|text| scale(text).is_err()));
        let pause_of = |min, max| Ok((Duration::from_secs(min), Duration::from_secs(max)));
        assert_eq!((pause("3s-12s"), pause("3s-3s")), (pause_of(3, 12), pause_of(3, 3)));
        assert!(["12s-3s", "3s", "3-12"].iter().all(|text| pause(text).is_err()));
    }

    #[test]
    fn a_scale_goes_from_some_pods_to_another_number() {
        assert_eq!(from_to("3..6"), Ok((3, 6)));
        assert!(["3", "3..3", "0..3", "a..b", "3-6"].iter().all(|text| from_to(text).is_err()));
    }

    #[test]
    fn variables_have_a_name_that_is_not_the_pods_own() {
        let pair = |name: &str, value: &str| Ok((name.to_string(), value.to_string()));
        assert_eq!(variable("APP_X=a=b"), pair("APP_X", "a=b"));
        assert_eq!(variable("EMPTY="), pair("EMPTY", ""));
        for malformed in ["APP_X", "=x", "1A=x", "A B=x", "A-B=x", "APP_PORT=1", "APP_POD_NAME=x"] {
            assert!(variable(malformed).is_err(), "{malformed}");
        }
    }
}
