//! A Deployment's pods and endpoints, watched: what became of each pod, and when.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use super::kubectl::{Kubectl, Watch};
use crate::record::pods::{End, Pods};
use crate::unable::Unable;

/// The watches on a Deployment's pods and on the namespace's EndpointSlices.
pub(super) struct Watched {
    pub(super) pods: Arc<Pods>,
    watches: [Watch; 2],
}

/// The pods that an EndpointSlice has as not ready.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<HashSet<String>>>);

impl Watched {
    /// Begins to watch.
    pub(super) fn begin(kubectl: &Kubectl, deployment: &Value, pods: Arc<Pods>) -> Result<Self, Unable> {
        let selector = selector(deployment)?;
        let out = Out::default();
        let (by_pod, by_slice, out_too) = (pods.clone(), pods.clone(), out.clone());
        let watches = [
            kubectl.watch(&["pods", "--selector", &selector], move |event, pod| {
                on_pod(&by_pod, &out, event, pod);
            })?,
            kubectl.watch(&["endpointslices"], move |event, slice| {
                on_slice(&by_slice, &out_too, event, slice);
            })?,
        ];
        Ok(Self { pods, watches })
    }

    /// Fails once a watch has ended: without it nobody would know when the old pods are gone.
    pub(super) fn check(&self) -> Result<(), Unable> {
        match self.watches.iter().find_map(Watch::ended) {
            Some(stderr) => Err(Unable(format!("kubectl stopped watching: {}", stderr.trim()))),
            None => Ok(()),
        }
    }
}

impl Out {
    fn pods(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().expect("nothing panics while it holds the set")
    }
}

fn on_pod(pods: &Pods, out: &Out, event: &str, pod: &Value) {
    let Some(name) = pod["metadata"]["name"].as_str() else { return };
    if event != "DELETED" && !pods.knows(name) {
        pods.started(name);
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    if conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True") {
        pods.ready(name);
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        pods.terminating(name);
        if out.pods().contains(name) {
            pods.left_endpoints(name);
        }
    }
    if event == "DELETED" {
        out.pods().remove(name);
        pods.gone(name, end(pod));
    }
}

fn end(pod: &Value) -> End {
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    match terminated["exitCode"].as_i64().and_then(|code| i32::try_from(code).ok()) {
        Some(137) => End::Killed,
        Some(code) => End::Exit(code),
        None => End::Unknown,
    }
}

fn on_slice(pods: &Pods, out: &Out, event: &str, slice: &Value) {
    for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
        let Some(name) = endpoint["targetRef"]["name"].as_str() else { continue };
        // A missing condition means ready, as the API says.
        let ready = event != "DELETED" && endpoint["conditions"]["ready"] != false;
        if ready {
            out.pods().remove(name);
        } else {
            out.pods().insert(name.to_string());
            pods.left_endpoints(name);
        }
    }
}

fn selector(deployment: &Value) -> Result<String, Unable> {
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object();
    let pairs: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(label, value)| Some(format!("{label}={}", value.as_str()?)))
        .collect();
    match pairs.is_empty() {
        true => {
            Err(Unable("the Deployment selects its pods by expressions; only matchLabels are read".into()))
        }
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

    fn slice(ready: bool) -> Value {
        json!({ "endpoints": [{ "targetRef": { "name": "a" }, "conditions": { "ready": ready } }] })
    }

    #[test]
    fn a_pods_life_is_read_from_its_events_in_either_order() {
        for slice_first in [false, true] {
            let (pods, out) = (Pods::new(Instant::now()), Out::default());
            on_pod(&pods, &out, "ADDED", &pod("False", false, None));
            on_slice(&pods, &out, "ADDED", &slice(false));
            assert_eq!(pods.histories()[0].ready, None);
            on_pod(&pods, &out, "MODIFIED", &pod("True", false, None));
            on_slice(&pods, &out, "MODIFIED", &slice(true));
            if slice_first {
                on_slice(&pods, &out, "MODIFIED", &slice(false));
            }
            on_pod(&pods, &out, "MODIFIED", &pod("True", true, None));
            on_slice(&pods, &out, "MODIFIED", &slice(false));
            let history = pods.histories().remove(0);
            assert!(
                history.ready.is_some() && history.terminating.is_some() && history.left_endpoints.is_some()
            );
            assert_eq!(pods.running(), ["a"]);
            on_pod(&pods, &out, "DELETED", &pod("False", true, Some(0)));
            assert_eq!(pods.histories()[0].end, Some(End::Exit(0)));
            assert!(pods.running().is_empty());
        }
    }

    #[test]
    fn the_selector_is_made_of_labels() {
        let deployment = json!({ "spec": { "selector": { "matchLabels": { "app": "x", "part": "y" } } } });
        assert_eq!(selector(&deployment).unwrap(), "app=x,part=y");
        assert!(selector(&json!({})).is_err());
    }
}
