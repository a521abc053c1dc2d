//! Each object against the schema of its kind: unknown fields, missing fields and unknown words are refused.

use std::{fs, io, path::Path};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::Job,
        core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Service, ServiceAccount},
        networking::v1::{Ingress, IngressClass, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use serde_json::{Value, json};

use crate::custom::Custom;

/// Reads an object as a kind of Kubernetes itself; `None` when it is of another group.
fn built_in(object: &Value) -> Option<Vec<String>> {
    let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
    Some(match (text("apiVersion"), text("kind")) {
        ("apps/v1", "Deployment") => typed::<Deployment>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => typed::<HorizontalPodAutoscaler>(object),
        ("batch/v1", "Job") => typed::<Job>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => typed::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => typed::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => typed::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => typed::<RoleBinding>(object),
        ("networking.k8s.io/v1", "Ingress") => typed::<Ingress>(object),
        ("networking.k8s.io/v1", "IngressClass") => typed::<IngressClass>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => typed::<NetworkPolicy>(object),
        ("policy/v1", "PodDisruptionBudget") => typed::<PodDisruptionBudget>(object),
        ("v1", "ConfigMap") => typed::<ConfigMap>(object),
        ("v1", "LimitRange") => typed::<LimitRange>(object),
        ("v1", "Namespace") => typed::<Namespace>(object),
        ("v1", "ResourceQuota") => typed::<ResourceQuota>(object),
        ("v1", "Service") => typed::<Service>(object),
        ("v1", "ServiceAccount") => typed::<ServiceAccount>(object),
        _ => return None,
    })
}

/// Whether an object is a custom resource, or of an API that Kubernetes no longer has.
pub fn is_custom(object: &Value) -> bool {
    built_in(object).is_none()
}

/// What is wrong with one object; empty when nothing is.
pub fn faults(object: &Value) -> Vec<String> {
    let faults = built_in(object).unwrap_or_else(|| Custom::read(object).err().into_iter().collect());
    let kind = object["kind"].as_str().unwrap_or("without a kind");
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name");
    faults.into_iter().map(|fault| format!("{kind} {name}: {fault}")).collect()
}

/// Reads an object as its type and writes it again: what is lost was unknown, what is new was required.
fn typed<T: DeserializeOwned + Serialize>(object: &Value) -> Vec<String> {
    let again = match serde_json::from_value::<T>(object.clone()).map(|typed| serde_json::to_value(&typed)) {
        Ok(Ok(again)) => again,
        Ok(Err(e)) | Err(e) => return vec![e.to_string()],
    };
    let mut faults = Vec::new();
    compare(object, &again, "", &mut faults);
    words(object, "", &mut faults);
    faults
}

fn compare(given: &Value, again: &Value, at: &str, faults: &mut Vec<String>) {
    match (given, again) {
        (Value::Object(given), Value::Object(again)) => {
            for (key, value) in given {
                match again.get(key) {
                    Some(other) => compare(value, other, &format!("{at}/{key}"), faults),
                    None => faults.push(format!("{at}/{key}: no such field")),
                }
            }
            for key in again.keys().filter(|key| !given.contains_key(*key)) {
                faults.push(format!("{at}/{key}: required and missing"));
            }
        }
        (Value::Array(given), Value::Array(again)) if given.len() == again.len() => {
            for (i, (value, other)) in given.iter().zip(again).enumerate() {
                compare(value, other, &format!("{at}/{i}"), faults);
            }
        }
        _ if given == again => {}
        _ => faults.push(format!("{at}: {given} is read as {again}")),
    }
}

/// The fields that take one word of a few, which the types leave open; from the API reference of Kubernetes
/// 1.36.
const WORDS: &[(&str, &[&str])] = &[
    ("/spec/strategy/type", &["RollingUpdate", "Recreate"]),
    ("/spec/type", &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
    ("policyTypes/0", &["Ingress", "Egress"]),
    ("policyTypes/1", &["Ingress", "Egress"]),
    ("imagePullPolicy", &["Always", "IfNotPresent", "Never"]),
    ("protocol", &["TCP", "UDP", "SCTP"]),
    ("pathType", &["Exact", "Prefix", "ImplementationSpecific"]),
    ("unhealthyPodEvictionPolicy", &["IfHealthyBudget", "AlwaysAllow"]),
    ("whenUnsatisfiable", &["DoNotSchedule", "ScheduleAnyway"]),
    ("nodeTaintsPolicy", &["Honor", "Ignore"]),
    ("nodeAffinityPolicy", &["Honor", "Ignore"]),
    ("seccompProfile/type", &["RuntimeDefault", "Localhost", "Unconfined"]),
    ("selectPolicy", &["Max", "Min", "Disabled"]),
    ("target/type", &["Utilization", "Value", "AverageValue"]),
    ("restartPolicy", &["Always", "OnFailure", "Never"]),
    ("dnsPolicy", &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]),
];

fn words(value: &Value, at: &str, faults: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                words(value, &format!("{at}/{key}"), faults);
            }
        }
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                words(value, &format!("{at}/{i}"), faults);
            }
        }
        Value::String(word) => {
            for (_, known) in WORDS.iter().filter(|(end, _)| at.ends_with(end)) {
                if !known.contains(&word.as_str()) {
                    faults.push(format!("{at}: {word} is none of {known:?}"));
                }
            }
        }
        _ => {}
    }
}

/// The schemas of custom resources, from a directory of CustomResourceDefinitions.
#[derive(Debug)]
pub struct Crds(Vec<String>);

impl Crds {
    /// Reads every `.yaml` file of a directory; none is parsed before it is asked for.
    pub fn read(dir: &Path) -> Result<Self, String> {
        let failed = |e: io::Error| format!("{}: {e}", dir.display());
        let mut texts = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|ext| ext == "yaml") {
                texts.push(without_descriptions(&fs::read_to_string(&path).map_err(failed)?));
            }
        }
        Ok(Self(texts))
    }

    fn find(&self, group: &str, kind: &str) -> Result<Value, String> {
        for text in self.0.iter().filter(|text| text.contains(&format!("kind: {kind}\n"))) {
            for crd in crate::render::parse(text)? {
                if crd["spec"]["group"] == group && crd["spec"]["names"]["kind"] == kind {
                    return Ok(crd);
                }
            }
        }
        Err("no schema for it".to_owned())
    }

    /// What is wrong with an object of a custom resource; also when its version is deprecated, or its kind
    /// has no schema here.
    pub fn faults(&self, object: &Value) -> Vec<String> {
        let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = text("kind");
        let (group, version) = text("apiVersion").split_once('/').unwrap_or_default();
        let crd = match self.find(group, kind) {
            Ok(crd) => crd,
            Err(e) => return vec![format!("{group} {kind}: {e}")],
        };
        let versions = crd["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(found) = versions.iter().find(|v| v["name"] == version && v["served"] == true) else {
            return vec![format!("{group}/{version} {kind}: not served")];
        };
        if found["deprecated"] == true {
            return vec![format!("{group}/{version} {kind}: deprecated")];
        }
        let mut schema = found["schema"]["openAPIV3Schema"].clone();
        close(&mut schema);
        for (key, open) in
            [("apiVersion", json!({})), ("kind", json!({})), ("metadata", json!({"type": "object"}))]
        {
            schema["properties"][key] = open;
        }
        match jsonschema::validator_for(&schema) {
            Ok(validator) => {
                validator.iter_errors(object).map(|e| format!("{kind} {}: {e}", e.instance_path())).collect()
            }
            Err(e) => vec![format!("{kind}: its schema cannot be read: {e}")],
        }
    }
}

/// Descriptions of several lines, of which some releases have one that is no YAML in the strict sense.
fn without_descriptions(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        let begins = line.trim_start().strip_prefix("description: '");
        let part_of_it = inside || begins.is_some();
        inside = part_of_it && !(begins.unwrap_or(line).ends_with('\''));
        !part_of_it
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// Refuses fields that a schema does not list, where it lists any and does not say that others may follow.
fn close(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    let open = map.contains_key("additionalProperties")
        || map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if map.contains_key("properties") && !open {
        map.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(close);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            close(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(given: Value, again: Value) -> Vec<String> {
        let mut faults = Vec::new();
        compare(&given, &again, "", &mut faults);
        faults
    }

    #[test]
    fn what_reading_changes_is_named_where_it_stands() {
        let containers = |container: Value| json!({"spec": {"containers": [container]}});
        assert_eq!(
            compared(containers(json!({"image": "a", "images": "b"})), containers(json!({"image": "a"}))),
            ["/spec/containers/0/images: no such field"]
        );
        assert_eq!(
            compared(containers(json!({})), containers(json!({"name": ""}))),
            ["/spec/containers/0/name: required and missing"]
        );
        assert_eq!(
            compared(containers(json!({"port": 80})), containers(json!({"port": 8080}))),
            ["/spec/containers/0/port: 80 is read as 8080"]
        );
        assert_eq!(compared(json!(["a", null]), json!(["a"])), [r#": ["a",null] is read as ["a"]"#]);
    }

    #[test]
    fn a_custom_resource_is_told_from_a_kind_of_kubernetes() {
        assert!(!is_custom(&json!({"apiVersion": "v1", "kind": "ConfigMap"})));
        assert!(is_custom(&json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"})));
    }
}
