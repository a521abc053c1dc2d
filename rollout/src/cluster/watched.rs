//! A Deployment's pods, watched: what became of each, and when.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::kubectl::{Kubectl, Watch};
use crate::record::pods::{End, Pods};
use crate::unable::Unable;

/// The watch on the pods, and the logs of those that end.
pub(super) struct Watched {
    pub(super) pods: Arc<Pods>,
    watch: Watch,
    _logs: Arc<Logs>,
}

/// The logs of terminating pods, followed: the last line says when the last new connection came.
struct Logs {
    kubectl: Kubectl,
    pods: Arc<Pods>,
    following: Mutex<Vec<Watch>>,
}

impl Watched {
    /// Begins to watch the pods that have these labels.
    pub(super) fn begin(kubectl: &Kubectl, selector: &str, pods: Arc<Pods>) -> Result<Self, Unable> {
        let logs =
            Arc::new(Logs { kubectl: kubectl.clone(), pods: pods.clone(), following: Mutex::default() });
        let (of_pods, of_logs) = (pods.clone(), logs.clone());
        let watch = kubectl.watch(&["pods", "--selector", selector], move |event, pod| {
            if let Some(terminating) = on_pod(&of_pods, event, pod) {
                of_logs.follow(terminating);
            }
        })?;
        Ok(Self { pods, watch, _logs: logs })
    }

    /// Fails once the watch has ended: without it nobody would know when the old pods are gone.
    pub(super) fn check(&self) -> Result<(), Unable> {
        match self.watch.ended() {
            Some(stderr) => Err(Unable(format!("kubectl stopped watching: {}", stderr.trim()))),
            None => Ok(()),
        }
    }
}

impl Logs {
    fn follow(&self, pod: &str) {
        let (pods, name) = (self.pods.clone(), pod.to_string());
        let log = self.kubectl.follow(pod, move |line| {
            if let Some(after) = last_connection(line) {
                pods.left_endpoints_after(&name, after);
            }
        });
        let mut following = self.following.lock().expect("nothing panics while it holds the list");
        following.retain(|log| log.ended().is_none());
        // Without its log, the report says that the time is not known.
        following.extend(log);
    }
}

/// How long after SIGTERM the last new connection came, in seconds, if this line is a pod's report at its end.
fn last_connection(line: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok().filter(|line: &Value| line["message"] == "stopped")?;
    line.get("connections_while_draining")?;
    // Without the field there was none.
    Some(line["last_connection_ms"].as_f64().unwrap_or_default() / 1000.0)
}

/// Takes in an event; returns the pod's name if it has begun to terminate.
fn on_pod<'a>(pods: &Pods, event: &str, pod: &'a Value) -> Option<&'a str> {
    let name = pod["metadata"]["name"].as_str()?;
    if event != "DELETED" && !pods.knows(name) {
        pods.started(name);
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    if conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True") {
        pods.ready(name);
    }
    let begun = !pod["metadata"]["deletionTimestamp"].is_null() && pods.terminating(name);
    if event == "DELETED" {
        pods.gone(name, end(pod));
    }
    begun.then_some(name)
}

fn end(pod: &Value) -> End {
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    match terminated["exitCode"].as_i64().and_then(|code| i32::try_from(code).ok()) {
        Some(137) => End::Killed,
        Some(code) => End::Exit(code),
        None => End::Unknown,
    }
}

/// The labels by which a Deployment selects its pods, as `--selector` reads them.
pub(super) fn selector(deployment: &Value) -> Result<String, Unable> {
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object();
    let pairs: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(label, value)| Some(format!("{label}={}", value.as_str()?)))
        .collect();
    match pairs.is_empty() {
        true => Err(Unable("the Deployment selects its pods by expressions: say --selector LABELS".into())),
        false => Ok(pairs.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Instant;

    fn pod(ready: &str, deleted: bool, exit: Option<i64>) -> Value {
        let deleted = deleted.then_some("2030-01-01T00:00:00Z");
        json!({
            "metadata": { "name": "a", "deletionTimestamp": deleted },
            "status": {
                "conditions": [{ "type": "Ready", "status": ready }],
                "containerStatuses": [{ "state": { "terminated": { "exitCode": exit } } }],
            },
        })
    }

    #[test]
    fn a_pods_life_is_read_from_its_events() {
        let pods = Pods::new(Instant::now());
        assert_eq!(on_pod(&pods, "ADDED", &pod("False", false, None)), None);
        assert_eq!(pods.histories()[0].ready, None);
        on_pod(&pods, "MODIFIED", &pod("True", false, None));
        assert_eq!(on_pod(&pods, "MODIFIED", &pod("True", true, None)), Some("a"));
        assert_eq!(on_pod(&pods, "MODIFIED", &pod("False", true, None)), None, "followed twice");
        let history = pods.histories().remove(0);
        assert!(history.ready.is_some() && history.terminating.is_some());
        assert_eq!(pods.running(), ["a"]);
        on_pod(&pods, "DELETED", &pod("False", true, Some(0)));
        assert_eq!(pods.histories()[0].end, Some(End::Exit(0)));
        assert!(pods.running().is_empty());
        // The log may be read to its end later than the pod is gone.
        pods.left_endpoints_after("a", 2.5);
        let history = pods.histories().remove(0);
        assert_eq!(history.left_endpoints.unwrap() - history.terminating.unwrap(), 2.5);
    }

    #[test]
    fn the_last_line_says_when_the_last_connection_came() {
        let line = r#"{"message":"stopped","connections_while_draining":7,"last_connection_ms":2150}"#;
        assert_eq!(last_connection(line), Some(2.15));
        assert_eq!(last_connection(r#"{"message":"stopped","connections_while_draining":0}"#), Some(0.0));
        for other in ["", "stopped", r#"{"message":"responded"}"#, r#"{"message":"stopped"}"#] {
            assert_eq!(last_connection(other), None, "{other}");
        }
    }

    #[test]
    fn the_selector_is_made_of_labels() {
        let deployment = json!({ "spec": { "selector": { "matchLabels": { "app": "x", "part": "y" } } } });
        assert_eq!(selector(&deployment).unwrap(), "app=x,part=y");
        assert!(selector(&json!({})).is_err());
    }
}
