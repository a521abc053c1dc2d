//! The number of pods: who sets it, what may take some away, and whether there is room for more.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::progressive::{primary_labels, rollout_of};
use crate::{Rendered, custom::Custom, rendered::selects};

/// A Deployment that is scaled has no `replicas`, every other one has, and nothing is scaled twice.
pub(super) fn owner(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads() {
        let replicas = workload.deployment.spec.as_ref().and_then(|spec| spec.replicas);
        match (rendered.scale(&workload), replicas) {
            (Some(_), Some(n)) => faults.push(format!(
                "{}: `replicas: {n}` beside an autoscaler: each apply would take its number back",
                workload.name
            )),
            (None, None) => faults.push(format!("{}: neither `replicas` nor an autoscaler", workload.name)),
            _ => {}
        }
        let by_hpa =
            rendered.autoscalers.iter().filter(|hpa| hpa.spec.scale_target_ref.name == workload.name).count();
        let by_keda = rendered
            .custom
            .iter()
            .filter(|c| matches!(c, Custom::ScaledObject(k) if k.spec.scale_target_ref.name == workload.name))
            .count();
        if by_hpa + by_keda > 1 {
            faults.push(format!("{}: scaled by {} objects", workload.name, by_hpa + by_keda));
        }
    }
    faults
}

/// Each autoscaler has a target that exists, sensible bounds, CPU and memory, and a behaviour in both
/// directions; with the pods of all tracks together there are at least two, save in a developer's own
/// cluster.
pub(super) fn autoscaler(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let exists = |name: &str| rendered.workloads().any(|workload| workload.name == name);
    for hpa in &rendered.autoscalers {
        let name = hpa.metadata.name.as_deref().unwrap_or_default();
        let spec = &hpa.spec;
        let target = &spec.scale_target_ref;
        let found = match (target.api_version.as_deref(), target.kind.as_str()) {
            (Some("apps/v1"), "Deployment") => {
                exists(&target.name) && rollout_of(rendered, &target.name).is_none()
            }
            (Some("argoproj.io/v1alpha1"), "Rollout") => rollout_of(rendered, &target.name).is_some(),
            _ => false,
        };
        if !found {
            faults.push(format!("{name}: its target {} {} does not exist", target.kind, target.name));
        }
        for resource in ["cpu", "memory"] {
            if !spec
                .metrics
                .iter()
                .flatten()
                .any(|metric| metric.resource.as_ref().is_some_and(|r| r.name == resource))
            {
                faults.push(format!("{name}: does not look at {resource}"));
            }
        }
        let behavior = spec.behavior.clone().unwrap_or_default();
        if behavior.scale_up.is_none() || behavior.scale_down.is_none() {
            faults.push(format!("{name}: does not say how fast, up and down"));
        }
    }
    for custom in &rendered.custom {
        match custom {
            Custom::ScaledObject(keda) => {
                let target = &keda.spec.scale_target_ref.name;
                if !exists(target) {
                    faults.push(format!("ScaledObject: its target {target} does not exist"));
                }
                let annotations = keda.metadata.annotations.clone().unwrap_or_default();
                let config = &keda.spec.advanced["horizontalPodAutoscalerConfig"];
                if annotations.get("scaledobject.keda.sh/transfer-hpa-ownership").map(String::as_str)
                    != Some("true")
                    || config["name"].as_str() != Some(target)
                {
                    faults
                        .push(format!("ScaledObject: does not take over the HPA {target} that may be there"));
                }
                let own = format!("namespace=\"{}\"", keda.metadata.namespace.as_deref().unwrap_or_default());
                let queries = keda.spec.triggers.iter().filter_map(|trigger| trigger.metadata.get("query"));
                for query in queries.filter(|query| !query.contains(&own)) {
                    faults.push(format!("ScaledObject: counts the requests of another namespace: {query}"));
                }
            }
            Custom::VerticalPodAutoscaler(vpa) => {
                if !exists(&vpa.spec.target_ref.name) {
                    faults.push(format!(
                        "VerticalPodAutoscaler: its target {} does not exist",
                        vpa.spec.target_ref.name
                    ));
                }
                if vpa.spec.update_policy.update_mode != "Off" {
                    faults.push(
                        "VerticalPodAutoscaler: changes the requests that the HPA divides by".to_owned(),
                    );
                }
            }
            _ => {}
        }
    }
    let mut fewest = 0;
    for workload in rendered.workloads() {
        let (min, max) = rendered.scale(&workload).unwrap_or((0, 0));
        if min < 1 || min >= max {
            faults.push(format!("{}: between {min} and {max} pods there is nothing to scale", workload.name));
        }
        // A canary may be one pod, but not the one that the others lean on.
        fewest += if workload.label("track") == "canary" { 0 } else { min };
    }
    if fewest < 2 && rendered.workloads().any(|workload| !workload.local()) {
        faults.push(format!("{fewest} pod: the loss of one is an outage"));
    }
    faults
}

/// Every track is under one budget of its own, which always lets one pod go, and does not count a pod that is not
/// ready: a broken canary under the same budget would take the one disruption of the pods that serve.
pub(super) fn budget(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads() {
        let over = rendered.budgets.iter().filter(|pdb| {
            pdb.spec.as_ref().and_then(|s| s.selector.as_ref()).is_some_and(|s| selects(s, &workload.labels))
        });
        // An eviction of a pod with two budgets is refused.
        if over.count() != 1 {
            faults.push(format!("{}: its pods must be under one PodDisruptionBudget", workload.name));
        }
    }
    for pdb in &rendered.budgets {
        let name = pdb.metadata.name.as_deref().unwrap_or_default();
        let Some(spec) = &pdb.spec else { continue };
        let under: Vec<_> = rendered
            .workloads()
            .filter(|w| spec.selector.as_ref().is_some_and(|s| selects(s, &w.labels)))
            .collect();
        let of_flagger = rendered.workloads().filter_map(|w| primary_labels(rendered, &w));
        let all = of_flagger.chain(under.iter().map(|w| w.labels.clone()));
        let tracks = all.filter(|labels| spec.selector.as_ref().is_some_and(|s| selects(s, labels))).count();
        if tracks != 1 {
            faults.push(format!("{name}: selects the pods of {tracks} tracks, and not of one"));
        }
        let fewest: i32 = under.iter().filter_map(|w| rendered.scale(w)).map(|(min, _)| min).sum();
        let room = match (&spec.max_unavailable, &spec.min_available) {
            (Some(IntOrString::Int(n)), None) => *n,
            (None, Some(IntOrString::Int(n))) => fewest - n,
            // Percentages round against the drain when there are few pods.
            _ => 0,
        };
        if room < 1 {
            faults.push(format!("{name}: with {fewest} pods it lets none go and blocks a node drain"));
        }
        if spec.unhealthy_pod_eviction_policy.as_deref() != Some("AlwaysAllow") {
            faults.push(format!("{name}: a pod that is not ready can block a node drain"));
        }
    }
    faults
}

/// A rolling update can go on, with no fewer ready pods than before, and is given the time it needs.
pub(super) fn rollout(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads() {
        let Some(spec) = &workload.deployment.spec else {
            continue;
        };
        let strategy = spec.strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() != Some("RollingUpdate") {
            faults.push(format!("{}: is not replaced by a rolling update", workload.name));
        }
        let unavailable = strategy.rolling_update.and_then(|rolling| rolling.max_unavailable);
        if unavailable != Some(IntOrString::Int(0)) {
            faults.push(format!("{}: an update takes pods away before new ones are ready", workload.name));
        }
        let (min, _) = rendered.scale(&workload).unwrap_or((1, 1));
        if Rendered::surge(&workload, min) < 1 {
            faults.push(format!(
                "{}: with no pod to spare and none to add an update cannot begin",
                workload.name
            ));
        }
        let startup = workload
            .container
            .startup_probe
            .as_ref()
            .map_or(0, |p| p.period_seconds.unwrap_or(10) * p.failure_threshold.unwrap_or(3));
        let ready = spec.min_ready_seconds.unwrap_or(0);
        if ready < 1 {
            faults.push(format!(
                "{}: a new pod counts at once, before it has shown that it stays",
                workload.name
            ));
        }
        if spec.progress_deadline_seconds.unwrap_or(600) <= startup + ready {
            faults.push(format!("{}: an update counts as failed before a slow pod is ready", workload.name));
        }
    }
    faults
}
