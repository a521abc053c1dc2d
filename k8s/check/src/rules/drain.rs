//! The durations of the drain against each other, and against what stands in front.

use crate::{Rendered, custom::Custom, units::millis};

/// Left over for the kubelet and the start of the process's own signal handling, in milliseconds.
const MARGIN: u64 = 5_000;

/// What stands in front: its ingress class or kind of route, how long it goes on sending to a pod that was
/// told to leave, and for how long it keeps an idle connection, both in milliseconds.
///
/// The sources are in docs/deploying.md.
const FRONTS: &[(&str, u64, u64)] = &[
    ("nginx", 5_000, 60_000),
    ("traefik", 5_000, 90_000),
    ("alb", 25_000, 60_000),
    ("azure-application-gateway", 40_000, 60_000),
    ("gateway-api", 5_000, 60_000),
    ("istio", 5_000, 60_000),
    // It keeps idle connections longer (`GKE_IDLE`), but sends nothing on them once it has let go of a pod.
    ("gke", 10_000, 60_000),
];

/// For how long Google's load balancers keep an idle connection, in milliseconds.
const GKE_IDLE: u64 = 600_000;

/// With nothing known in front: kube-proxy took up to 3 s when measured, and common proxies keep a connection
/// for 60 s.
const DEFAULT: (u64, u64) = (5_000, 60_000);

/// The longest lag and the longest keep-alive of all that stands in front, in milliseconds.
fn in_front(rendered: &Rendered) -> (u64, u64) {
    let known =
        rendered.fronts().into_iter().filter_map(|front| FRONTS.iter().find(|(name, ..)| *name == front));
    known.fold(DEFAULT, |(lag, idle), (_, l, i)| (lag.max(*l), idle.max(*i)))
}

/// The grace period covers delay, timeout, flush and a margin, and the process is told the same number.
pub(super) fn grace(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads() {
        let variables = rendered.environment(&workload);
        let value = |name: &str| variables.get(name).and_then(|text| millis(text));
        let grace =
            workload.pod.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(30)
                * 1_000;
        let pre_stop = workload
            .container
            .lifecycle
            .as_ref()
            .and_then(|l| l.pre_stop.as_ref()?.sleep.as_ref())
            .map_or(0, |sleep| sleep.seconds.unsigned_abs() * 1_000);
        let parts = ["APP_DRAIN_DELAY", "APP_DRAIN_TIMEOUT", "APP_FLUSH_TIMEOUT"].map(value);
        let Some(sum) = parts.into_iter().sum::<Option<u64>>() else {
            faults.push(format!(
                "{}: delay, timeout and flush are not all durations: {parts:?}",
                workload.name
            ));
            continue;
        };
        let needed = pre_stop + sum + MARGIN;
        if needed > grace {
            faults.push(format!(
                "{}: preStop + delay + timeout + flush + margin is {needed} ms, the grace period {grace} ms",
                workload.name
            ));
        }
        if value("APP_TERMINATION_GRACE_PERIOD") != Some(grace) {
            faults.push(format!(
                "{}: the process is told another grace period than the {grace} ms it has",
                workload.name
            ));
        }
    }
    faults
}

/// The delay covers the lag of what stands in front, its probes where it probes the pods, and the readiness
/// probe.
pub(super) fn delay(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let (lag, _) = in_front(rendered);
    for workload in rendered.workloads() {
        let variables = rendered.environment(&workload);
        let delay = variables.get("APP_DRAIN_DELAY").and_then(|text| millis(text)).unwrap_or(0);
        let mut cover = |needed: u64, what: &str| {
            if delay < needed {
                faults.push(format!(
                    "{}: a delay of {delay} ms does not cover {what}: {needed} ms",
                    workload.name
                ));
            }
        };
        cover(lag, "the lag of what stands in front");
        if let Some(probe) = &workload.container.readiness_probe {
            let seconds = probe.period_seconds.unwrap_or(10) * probe.failure_threshold.unwrap_or(3);
            cover(u64::try_from(seconds).unwrap_or(0) * 1_000, "the readiness probe, period × threshold");
        }
        for custom in &rendered.custom {
            if let Custom::HealthCheckPolicy(policy) = custom {
                let check = &policy.spec.default;
                let probes = check.check_interval_sec * check.unhealthy_threshold;
                cover(probes * 1_000, "Google's health check, period × threshold");
            }
        }
        for ingress in &rendered.ingresses {
            let annotations = ingress.metadata.annotations.clone().unwrap_or_default();
            let number = |name: &str, default: u64| {
                let text = annotations.get(&format!("alb.ingress.kubernetes.io/{name}"));
                text.map_or(default, |text| text.parse().unwrap_or(u64::from(u32::MAX)))
            };
            if annotations.keys().any(|key| key.starts_with("alb.")) {
                // 15 s and 2 are the load balancer's defaults.
                let probes =
                    number("healthcheck-interval-seconds", 15) * number("unhealthy-threshold-count", 2);
                cover(probes * 1_000, "the load balancer's probe, period × threshold");
                let attributes = annotations
                    .get("alb.ingress.kubernetes.io/target-group-attributes")
                    .map(String::as_str)
                    .unwrap_or_default();
                let deregistration = attributes.split(',').find_map(|a| {
                    a.strip_prefix("deregistration_delay.timeout_seconds=")?.parse::<u64>().ok()
                });
                // 300 s is the default.
                cover(deregistration.unwrap_or(300) * 1_000, "the load balancer's deregistration delay");
            }
        }
    }
    faults
}

/// The timeout covers the keep-alive of what stands in front, the idle timeout exceeds it, and a request ends
/// in time.
pub(super) fn keep_alive(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let (_, idle) = in_front(rendered);
    for workload in rendered.workloads() {
        let variables = rendered.environment(&workload);
        let value = |name: &str| variables.get(name).and_then(|text| millis(text)).unwrap_or(0);
        let timeout = value("APP_DRAIN_TIMEOUT");
        if timeout <= idle {
            faults.push(format!(
                "{}: a drain timeout of {timeout} ms does not cover a connection kept for {idle} ms",
                workload.name
            ));
        }
        let kept = if rendered.fronts().contains("gke") { GKE_IDLE } else { idle };
        if value("APP_IDLE_TIMEOUT") <= kept {
            faults.push(format!(
                "{}: the idle timeout closes a connection before the proxy does, after {kept} ms",
                workload.name
            ));
        }
        if value("APP_REQUEST_TIMEOUT") > timeout {
            faults.push(format!("{}: a request may take longer than the drain", workload.name));
        }
    }
    faults
}
