//! The timings in an overlay's manifests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::timings::{Probe, Timings};
use crate::unable::{OrUnable, Unable};

/// Reads the timings of an overlay: a directory that `kubectl kustomize` renders, or a file already rendered.
pub(crate) fn timings(path: &Path) -> Result<Timings, Unable> {
    let overlay = path.display();
    let rendered = if path.is_dir() {
        render(path)?
    } else {
        std::fs::read_to_string(path).or_unable(format!("reading the overlay {overlay}"))?
    };
    of_rendered(&rendered).or_unable(format!("the overlay {overlay}"))
}

fn of_rendered(yaml: &str) -> Result<Timings, String> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(|error| error.to_string())?;
    let mut deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    let deployment = deployments.next().ok_or("it renders no Deployment")?;
    if deployments.next().is_some() {
        return Err("it renders more than one Deployment".into());
    }
    let spec = &deployment["spec"];
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    let mut timings = Timings::default();
    timings.replicas = replicas(&objects, deployment).unwrap_or(timings.replicas);
    let strategy = &spec["strategy"]["rollingUpdate"];
    timings.max_surge = share(&strategy["maxSurge"], timings.replicas, true)?;
    timings.max_unavailable = share(&strategy["maxUnavailable"], timings.replicas, false)?;
    timings.min_ready = seconds(&spec["minReadySeconds"]).unwrap_or(timings.min_ready);
    timings.grace = seconds(&pod["terminationGracePeriodSeconds"]).unwrap_or(timings.grace);
    timings.pre_stop = seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"]).unwrap_or_default();
    timings.startup = probe(&container["startupProbe"], timings.startup);
    timings.readiness = probe(&container["readinessProbe"], timings.readiness);
    timings.with_environment(&environment(&objects, container))
}

fn render(directory: &Path) -> Result<String, Unable> {
    let output = Command::new("kubectl").arg("kustomize").arg(directory).output().or_unable(
        "rendering the overlay needs kubectl on the PATH (or give a file that is already rendered)",
    )?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Unable(format!("kubectl kustomize {}: {}", directory.display(), stderr.trim())));
    }
    String::from_utf8(output.stdout).or_unable("what kubectl kustomize rendered")
}

/// The HPA's minimum where there is one: with it the Deployment has no number of its own.
fn replicas(objects: &[Value], deployment: &Value) -> Option<u32> {
    let hpa = objects.iter().find(|object| object["kind"] == "HorizontalPodAutoscaler");
    hpa.and_then(|hpa| hpa["spec"]["minReplicas"].as_u64())
        .or_else(|| deployment["spec"]["replicas"].as_u64())
        .and_then(|count| u32::try_from(count).ok())
}

/// A number of pods or a share of them; surge rounds up and unavailable down, as Kubernetes does.
fn share(value: &Value, replicas: u32, up: bool) -> Result<u32, String> {
    let percent = |percent: f64| percent * f64::from(replicas) / 100.0;
    let number = match value {
        Value::Null => Some(percent(25.0)),
        Value::String(text) => text.strip_suffix('%').and_then(|number| number.parse().ok()).map(percent),
        value => value.as_f64(),
    };
    let wrong = || format!("`{value}` is not a number of pods or a percentage");
    let number = number.filter(|number| *number >= 0.0).ok_or_else(wrong)?;
    Ok(if up { number.ceil() } else { number.floor() } as u32)
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_secs)
}

fn probe(value: &Value, default: Probe) -> Probe {
    if value.is_null() {
        return default;
    }
    Probe {
        path: value["httpGet"]["path"].as_str().unwrap_or(&default.path).to_string(),
        // Kubernetes' own defaults, not ours: the manifest was silent.
        period: seconds(&value["periodSeconds"]).unwrap_or(Duration::from_secs(10)),
        timeout: seconds(&value["timeoutSeconds"]).unwrap_or(Duration::from_secs(1)),
        failures: value["failureThreshold"].as_u64().map_or(3, |count| count as u32),
    }
}

/// The container's plain variables: those of its ConfigMaps, then its own, which win.
fn environment(objects: &[Value], container: &Value) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let name = &source["configMapRef"]["name"];
        let map = objects
            .iter()
            .find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == *name);
        let data = map.and_then(|map| map["data"].as_object()).into_iter().flatten();
        for (key, value) in data.filter_map(|(key, value)| Some((key, value.as_str()?))) {
            variables.insert(key.clone(), value.to_string());
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            variables.insert(name.to_string(), value.to_string());
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENDERED: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: config-7h2k }
data: { APP_DRAIN_DELAY: 15s, APP_DRAIN_TIMEOUT: 30s }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: orders }
spec:
  minReadySeconds: 2
  strategy: { rollingUpdate: { maxSurge: 50%, maxUnavailable: 1 } }
  template:
    spec:
      terminationGracePeriodSeconds: 60
      containers:
        - name: orders
          envFrom: [{ configMapRef: { name: config-7h2k } }]
          env: [{ name: APP_DRAIN_TIMEOUT, value: 20s }]
          readinessProbe: { httpGet: { path: /readyz, port: admin }, periodSeconds: 3 }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: orders }
spec: { minReplicas: 5 }
"#;

    #[test]
    fn reads_what_the_manifests_say() {
        let timings = of_rendered(RENDERED).unwrap();
        assert_eq!((timings.replicas, timings.max_surge, timings.max_unavailable), (5, 3, 1));
        assert_eq!(timings.drain_delay, Duration::from_secs(15));
        assert_eq!(timings.drain_timeout, Duration::from_secs(20));
        assert_eq!(timings.grace, Duration::from_secs(60));
        assert_eq!(timings.min_ready, Duration::from_secs(2));
        assert_eq!(timings.readiness.period, Duration::from_secs(3));
        assert_eq!(timings.startup, Timings::default().startup);
    }

    #[test]
    fn surge_is_rounded_up_and_unavailable_down() {
        let both = |value| [share(&value, 5, true), share(&value, 5, false)];
        assert_eq!(both(Value::Null), [Ok(2), Ok(1)]);
        assert_eq!(both("50%".into()), [Ok(3), Ok(2)]);
        assert_eq!(both("0%".into()), [Ok(0), Ok(0)]);
        assert_eq!(both(0.into()), [Ok(0), Ok(0)]);
        assert_eq!(both(4.into()), [Ok(4), Ok(4)]);
        for wrong in [(-1).into(), "-1%".into(), "50".into(), "x%".into(), Value::Bool(true)] {
            assert!(share(&wrong, 5, true).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_variables_are_those_of_the_config_map_that_is_named() {
        let other = "kind: ConfigMap\nmetadata: { name: other }\ndata: { APP_DRAIN_DELAY: 1s }\n---";
        let timings = of_rendered(&format!("{other}{RENDERED}")).unwrap();
        assert_eq!(timings.drain_delay, Duration::from_secs(15));
    }

    #[test]
    fn refuses_what_is_no_deployment_and_names_a_bad_duration() {
        assert!(of_rendered("kind: Service\n").is_err());
        assert!(of_rendered("kind: [").is_err());
        let bad = RENDERED.replace("value: 20s", "value: '20'");
        assert!(of_rendered(&bad).unwrap_err().contains("APP_DRAIN_TIMEOUT"));
    }
}
