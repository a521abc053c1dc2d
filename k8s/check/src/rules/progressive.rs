//! Argo Rollouts and Flagger: what they name exists, and what they make is found by the rest.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    Rendered,
    custom::{Custom, Object, Rollout},
    rendered::{Labels, Workload, selects},
};

/// The Rollout that has the pods of a Deployment.
pub(super) fn rollout_of<'a>(rendered: &'a Rendered, deployment: &str) -> Option<&'a Object<Rollout>> {
    rendered.custom.iter().find_map(|custom| match custom {
        Custom::Rollout(rollout) if rollout.spec.workload_ref.name == deployment => Some(rollout),
        _ => None,
    })
}

/// Whether Flagger makes the Services of a Deployment.
pub(super) fn by_flagger(rendered: &Rendered, deployment: &str) -> bool {
    rendered
        .custom
        .iter()
        .any(|custom| matches!(custom, Custom::Canary(c) if c.spec.target_ref.name == deployment))
}

/// Every text below a key of this name, however deep.
fn texts<'a>(value: &'a Value, key: &str, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                match inner.as_str() {
                    Some(text) if name == key => {
                        found.insert(text);
                    }
                    _ => texts(inner, key, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| texts(inner, key, found)),
        _ => {}
    }
}

/// What a controller names exists, its questions are about this service, and the pods that it makes are as guarded and as
/// measured as ours.
pub(super) fn delivery(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let deployment = |name: &str| rendered.workloads().any(|workload| workload.name == name);
    let has = |kind: &str, name: &str| {
        rendered.every.iter().any(|(k, metadata)| k == kind && metadata.name.as_deref() == Some(name))
    };
    for custom in &rendered.custom {
        match custom {
            Custom::Rollout(rollout) => {
                let spec = &rollout.spec;
                if !deployment(&spec.workload_ref.name) {
                    faults.push(format!("Rollout: no Deployment {}", spec.workload_ref.name));
                }
                let mut templates = BTreeSet::new();
                texts(&spec.strategy, "templateName", &mut templates);
                if templates.is_empty() {
                    faults.push("Rollout: asks nothing of the metrics".to_owned());
                }
                for template in templates.into_iter().filter(|name| !has("AnalysisTemplate", name)) {
                    faults.push(format!("Rollout: no AnalysisTemplate {template}"));
                }
                let mut services = BTreeSet::new();
                for key in ["activeService", "previewService", "stableService", "canaryService"] {
                    texts(&spec.strategy, key, &mut services);
                }
                for service in services.into_iter().filter(|name| !has("Service", name)) {
                    faults.push(format!("Rollout: no Service {service}"));
                }
                if spec.strategy.get("canary").is_some_and(|canary| canary["maxUnavailable"] != 0) {
                    faults.push("Rollout: takes pods away before new ones are ready".to_owned());
                }
            }
            Custom::Canary(canary) => {
                let spec = &canary.spec;
                if !deployment(&spec.target_ref.name)
                    || !has("HorizontalPodAutoscaler", &spec.autoscaler_ref.name)
                {
                    faults.push(format!("Canary: no Deployment {} with its HPA", spec.target_ref.name));
                }
                if has("Service", &spec.target_ref.name) {
                    faults
                        .push(format!("Canary: each apply takes the Service {} back", spec.target_ref.name));
                }
                let metrics = spec.analysis["metrics"].as_array().map(Vec::as_slice).unwrap_or_default();
                let names =
                    metrics.iter().map(|metric| metric["templateRef"]["name"].as_str().unwrap_or_default());
                for name in names.filter(|name| !has("MetricTemplate", name)) {
                    faults.push(format!("Canary: no MetricTemplate {name:?}"));
                }
                primary(rendered, &spec.target_ref.name, &mut faults);
            }
            Custom::AnalysisTemplate(template) => {
                for metric in &template.spec.metrics {
                    question(&metric.provider["prometheus"]["query"], "{{args.namespace}}", &mut faults);
                }
            }
            Custom::MetricTemplate(template) => {
                question(&Value::from(template.spec.query.as_str()), "{{ namespace }}", &mut faults)
            }
            _ => {}
        }
    }
    faults
}

/// A question is about one namespace and some of its pods only.
fn question(query: &Value, namespace: &str, faults: &mut Vec<String>) {
    let query = query.as_str().unwrap_or_default();
    let series = query.matches("{job=").count();
    if series == 0
        || query.matches(&format!("namespace=\"{namespace}\"")).count() != series
        || query.matches("pod=~").count() != series
    {
        faults.push(format!("a question about other pods than the new ones: {query}"));
    }
}

/// The labels of the pods that serve, when Flagger makes them from a workload: their name ends in `-primary`.
pub(super) fn primary_labels(rendered: &Rendered, workload: &Workload<'_>) -> Option<Labels> {
    by_flagger(rendered, workload.name).then(|| {
        let mut labels = workload.labels.clone();
        labels.insert("app.kubernetes.io/name".to_owned(), format!("{}-primary", workload.name));
        labels
    })
}

/// Policies, budgets and scrapes find the pods that serve.
fn primary(rendered: &Rendered, deployment: &str, faults: &mut Vec<String>) {
    let workload = rendered.workloads().find(|workload| workload.name == deployment);
    let Some(labels) = workload.and_then(|workload| primary_labels(rendered, &workload)) else { return };
    let policies = rendered.policies.iter().filter_map(|policy| policy.spec.as_ref());
    if !policies.filter_map(|spec| spec.pod_selector.as_ref()).any(|selector| selects(selector, &labels)) {
        faults.push(format!("{deployment}-primary: no NetworkPolicy isolates it"));
    }
    let budgets = rendered.budgets.iter().filter_map(|budget| budget.spec.as_ref()?.selector.as_ref());
    if budgets.filter(|selector| selects(selector, &labels)).count() != 1 {
        faults.push(format!("{deployment}-primary: its pods must be under one PodDisruptionBudget"));
    }
    for custom in &rendered.custom {
        if let Custom::PodMonitor(monitor) = custom
            && (!selects(&monitor.spec.selector, &labels)
                || labels.get(&monitor.spec.job_label).map(String::as_str) != Some(deployment))
        {
            faults.push(format!("{deployment}-primary: is not scraped as {deployment}"));
        }
    }
}
