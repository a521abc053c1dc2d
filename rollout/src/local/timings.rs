//! How long things take in a rolling update.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::duration;

/// The durations and numbers of a rolling update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Timings {
    pub(crate) replicas: u32,
    pub(crate) max_surge: u32,
    pub(crate) max_unavailable: u32,
    #[serde(serialize_with = "written")]
    pub(crate) min_ready: Duration,
    #[serde(serialize_with = "written")]
    pub(crate) pre_stop: Duration,
    #[serde(serialize_with = "written")]
    pub(crate) grace: Duration,
    #[serde(serialize_with = "written")]
    pub(crate) drain_delay: Duration,
    #[serde(serialize_with = "written")]
    pub(crate) drain_timeout: Duration,
    #[serde(serialize_with = "written")]
    pub(crate) flush_timeout: Duration,
    #[serde(serialize_with = "written")]
    pub(crate) request_timeout: Duration,
    #[serde(serialize_with = "written")]
    pub(crate) idle_timeout: Duration,
    pub(crate) startup: Probe,
    pub(crate) readiness: Probe,
}

/// One of the kubelet's probes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Probe {
    pub(crate) path: String,
    #[serde(serialize_with = "written")]
    pub(crate) period: Duration,
    #[serde(serialize_with = "written")]
    pub(crate) timeout: Duration,
    pub(crate) failures: u32,
}

impl Default for Timings {
    /// The service's own defaults, and Kubernetes' rolling update of 25 % of 3.
    fn default() -> Self {
        Self {
            replicas: 3,
            max_surge: 1,
            max_unavailable: 0,
            min_ready: Duration::ZERO,
            pre_stop: Duration::ZERO,
            grace: Duration::from_secs(30),
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(20),
            flush_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            startup: Probe::new("/startupz", 1, 1, 30),
            readiness: Probe::new("/readyz", 5, 1, 3),
        }
    }
}

impl Probe {
    fn new(path: &str, period: u64, timeout: u64, failures: u32) -> Self {
        Self {
            path: path.into(),
            period: Duration::from_secs(period),
            timeout: Duration::from_secs(timeout),
            failures,
        }
    }
}

impl Timings {
    /// Multiplies every duration, but for the probes' timeouts: a slow response is no faster for it.
    pub(crate) fn scaled(mut self, scale: f64) -> Self {
        for duration in [
            &mut self.min_ready,
            &mut self.pre_stop,
            &mut self.grace,
            &mut self.drain_delay,
            &mut self.drain_timeout,
            &mut self.flush_timeout,
            &mut self.request_timeout,
            &mut self.idle_timeout,
            &mut self.startup.period,
            &mut self.readiness.period,
        ] {
            *duration = duration.mul_f64(scale);
        }
        self
    }

    /// With another number of replicas.
    pub(crate) fn with_replicas(mut self, replicas: Option<u32>) -> Self {
        self.replicas = replicas.unwrap_or(self.replicas);
        self
    }

    /// How long idle clients stay silent: mostly longer than the drain delay, and never so long
    /// that the drain is over before they come back, or that the server closes the connection for its idleness.
    pub(crate) fn idle_pause(&self) -> (Duration, Duration) {
        let longest = self.drain_delay.mul_f64(2.4);
        let longest =
            longest.min(self.drain_delay + self.drain_timeout / 2).min(self.idle_timeout.mul_f64(0.8));
        (self.drain_delay.mul_f64(0.6).min(longest), longest)
    }

    /// The environment that gives a service these timings.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut timings = self.clone();
        timings.variables().map(|(name, value)| (name.to_string(), duration::write(*value))).to_vec()
    }

    /// With what these variables say instead.
    pub(crate) fn with_environment(mut self, variables: &BTreeMap<String, String>) -> Result<Self, String> {
        for (name, value) in self.variables() {
            if let Some(text) = variables.get(name) {
                *value = duration::parse(text).map_err(|error| format!("{name}: {error}"))?;
            }
        }
        Ok(self)
    }

    fn variables(&mut self) -> [(&'static str, &mut Duration); 5] {
        [
            ("APP_DRAIN_DELAY", &mut self.drain_delay),
            ("APP_DRAIN_TIMEOUT", &mut self.drain_timeout),
            ("APP_FLUSH_TIMEOUT", &mut self.flush_timeout),
            ("APP_REQUEST_TIMEOUT", &mut self.request_timeout),
            ("APP_IDLE_TIMEOUT", &mut self.idle_timeout),
        ]
    }
}

fn written<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&duration::write(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_clients_outlast_the_delay_but_not_the_drain() {
        let timings = Timings::default();
        assert_eq!(timings.idle_pause(), (Duration::from_secs(3), Duration::from_secs(12)));
        let long = Timings { drain_delay: Duration::from_secs(60), ..timings };
        assert_eq!(long.idle_pause(), (Duration::from_secs(36), Duration::from_secs(60)));
        let patient = Timings { idle_timeout: Duration::from_secs(600), ..long };
        assert_eq!(patient.idle_pause().1, Duration::from_secs(70));
    }
    #[test]
    fn a_scale_shortens_all_but_the_probes_timeouts() {
        let timings = Timings::default().with_replicas(Some(7)).scaled(0.1);
        assert_eq!((timings.replicas, timings.grace), (7, Duration::from_secs(3)));
        assert_eq!(timings.readiness.period, Duration::from_millis(500));
        assert_eq!(timings.readiness.timeout, Duration::from_secs(1));
        assert_eq!(Timings::default().with_replicas(None), Timings::default());
        let timings = Timings { min_ready: Duration::from_secs(9), ..Timings::default() };
        assert_eq!(timings.with_replicas(Some(7)).min_ready, Duration::from_secs(9));
    }

    #[test]
    fn a_service_is_told_the_timings() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let told = Timings::default().scaled(0.1).environment();
        assert_eq!(
            told,
            [
                pair("APP_DRAIN_DELAY", "500ms"),
                pair("APP_DRAIN_TIMEOUT", "2s"),
                pair("APP_FLUSH_TIMEOUT", "300ms"),
                pair("APP_REQUEST_TIMEOUT", "1s"),
                pair("APP_IDLE_TIMEOUT", "7500ms"),
            ]
        );
        let read = Timings::default().with_environment(&told.into_iter().collect()).unwrap();
        assert_eq!(read.drain_timeout, Duration::from_secs(2));
    }
}
