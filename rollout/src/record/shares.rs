//! Which share of the requests each pod got in a part of a run.

use std::fmt;

use serde::Serialize;

/// How many requests have come to each pod so far, by its name.
pub(crate) type Requests = Vec<(String, u64)>;

/// The share of each pod from one moment to another, in seconds after the last of them was ready.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Shares {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) pods: Vec<Share>,
}

/// The share of one pod, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Share {
    pub(crate) name: String,
    pub(crate) share: f64,
}

impl Shares {
    /// Of what has come to the pods in between.
    pub(crate) fn between((from, before): (f64, &Requests), (to, after): (f64, &Requests)) -> Self {
        let had = |name: &str| before.iter().find(|pod| pod.0 == name).map_or(0, |pod| pod.1);
        let got: Vec<u64> = after.iter().map(|(name, requests)| requests.saturating_sub(had(name))).collect();
        let all = got.iter().sum::<u64>().max(1) as f64;
        let share =
            |((name, _), got): (&(String, u64), u64)| Share { name: name.clone(), share: got as f64 / all };
        Self { from, to, pods: after.iter().zip(got).map(share).collect() }
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} s to {:.0} s after the scale-up:", self.from, self.to)?;
        self.pods.iter().try_for_each(|pod| write!(f, "  {} {:.1} %", pod.name, 100.0 * pod.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_what_came_in_between() {
        let requests =
            |pods: &[(&str, u64)]| pods.iter().map(|(name, n)| ((*name).to_string(), *n)).collect();
        let (before, after) = (requests(&[("pod-1", 100)]), requests(&[("pod-1", 103), ("pod-2", 1)]));
        let shares = Shares::between((0.0, &before), (10.0, &after));
        assert_eq!(shares.to_string(), "0 s to 10 s after the scale-up:  pod-1 75.0 %  pod-2 25.0 %");
        let nothing = Shares::between((0.0, &after), (1.0, &after));
        assert!(nothing.pods.iter().all(|pod| pod.share == 0.0));
    }
}
