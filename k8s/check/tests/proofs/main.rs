//! Each rule and each schema check is proved by a broken manifest that it catches, made from one that is
//! whole.

mod allowed;
mod broken;
mod reach;
mod table;

use std::{cell::RefCell, collections::BTreeMap};

use manifests::{
    Rendered,
    render::kustomize,
    rules::RULES,
    schema::{self, Crds},
};
use serde_json::{Value, json};

use allowed::ALLOWED;
use broken::{Break, Broken};
use reach::REACH;
use table::PODS;

#[test]
fn each_rule_catches_what_breaks_it() {
    let rendered = RefCell::new(BTreeMap::new());
    let mut failures = Vec::new();
    for (name, target, what, break_it) in PODS.iter().chain(REACH) {
        let rule =
            RULES.iter().find(|rule| rule.name == *name).unwrap_or_else(|| panic!("there is no rule {name}"));
        let whole: Vec<Value> =
            rendered.borrow_mut().entry(*target).or_insert_with(|| kustomize(target).unwrap()).clone();
        assert_eq!(
            rule.check(&Rendered::read(&whole).unwrap()),
            Vec::<String>::new(),
            "{name} in {target} as it is"
        );
        let mut broken = Broken(whole);
        break_it(&mut broken);
        if rule.check(&Rendered::read(&broken.0).unwrap()).is_empty() {
            failures.push(format!("{name} does not catch {what}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_pod_is_told_each_amount_that_it_lacks() {
    let (_, target, ..) = PODS[0];
    let rule = RULES.iter().find(|rule| rule.name == "resources").unwrap();
    let mut broken = Broken(kustomize(target).unwrap());
    for of in ["limits", "requests"] {
        broken.cut("Deployment", &format!("/spec/template/spec/containers/0/resources/{of}/memory"));
    }
    let faults = rule.check(&Rendered::read(&broken.0).unwrap()).join("\n");
    for fault in ["requests no memory", "has no limit of memory"] {
        assert!(faults.contains(fault), "{fault}: {faults}");
    }
}

#[test]
fn each_rule_lets_its_neighbours_pass() {
    for (name, target, what, change) in ALLOWED {
        let rule =
            RULES.iter().find(|rule| rule.name == *name).unwrap_or_else(|| panic!("there is no rule {name}"));
        let mut changed = Broken(kustomize(target).unwrap());
        change(&mut changed);
        let faults = rule.check(&Rendered::read(&changed.0).unwrap());
        assert_eq!(faults, Vec::<String>::new(), "{name} refuses {what}");
    }
}

#[test]
fn a_certificate_makes_a_secret_that_a_pod_may_mount() {
    let mut whole = Broken(kustomize("tests/aws").unwrap());
    whole.0.push(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "inner"},
        "spec": {"secretName": "inner-tls", "dnsNames": ["inner"], "privateKey": {},
            "issuerRef": {"kind": "ClusterIssuer", "name": "inner"}},
    }));
    let references = RULES.iter().find(|rule| rule.name == "references").unwrap();
    let of_ingress = references.check(&Rendered::read(&whole.0).unwrap());
    assert_eq!(of_ingress, ["Certificate: neither an Ingress nor a pod uses the Secret inner-tls"]);
    whole.pod("/volumes", json!([{"name": "tls", "secret": {"secretName": "inner-tls"}}]));
    whole.container("/volumeMounts", json!([{"name": "tls", "mountPath": "/etc/service/tls"}]));
    assert_eq!(references.check(&Rendered::read(&whole.0).unwrap()), Vec::<String>::new());
}

#[test]
fn every_rule_has_a_proof() {
    let unproved: Vec<_> = RULES
        .iter()
        .map(|rule| rule.name)
        .filter(|name| !PODS.iter().chain(REACH).any(|(proof, ..)| proof == name))
        .collect();
    assert!(unproved.is_empty(), "{unproved:?}");
}

#[test]
fn the_schemas_catch_what_breaks_them() {
    let breaks: &[(&str, Break)] = &[
        ("a misspelt field", |b| b.pod("/terminationGracePeriodsSeconds", json!(90))),
        ("a required field missing", |b| b.cut("Deployment", "/spec/selector")),
        ("a number as text", |b| b.set("Deployment", "/spec/minReadySeconds", json!("10"))),
        ("a word that there is not", |b| {
            b.set("PodDisruptionBudget", "/spec/unhealthyPodEvictionPolicy", json!("Always"))
        }),
        ("a word that there is not, in a list", |b| b.container("/imagePullPolicy", json!("Sometimes"))),
        ("a deprecated API", |b| b.object("PodDisruptionBudget")["apiVersion"] = json!("policy/v1beta1")),
        ("an API that is gone", |b| b.object("Ingress")["apiVersion"] = json!("extensions/v1beta1")),
        ("a misspelt field of a custom resource", |b| {
            b.set("ScaledObject", "/spec/minReplicasCount", json!(2))
        }),
        ("an old version of a custom resource", |b| {
            b.object("PodMonitor")["apiVersion"] = json!("monitoring.coreos.com/v1alpha1")
        }),
    ];
    let whole = kustomize("tests/keda").unwrap();
    assert!(whole.iter().all(|object| schema::faults(object).is_empty()));
    for (what, break_it) in breaks {
        let mut broken = Broken(whole.clone());
        break_it(&mut broken);
        assert!(broken.0.iter().any(|object| !schema::faults(object).is_empty()), "{what} is not caught");
    }
}

#[test]
fn the_schema_of_a_custom_resource_catches_what_breaks_it() {
    let dir = std::env::temp_dir().join(format!("manifests-crds-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let another = CRD.replace("ScaledObject", "ScaledJob").replace("served: true", "served: false");
    std::fs::write(dir.join("keda.sh.yaml"), format!("{another}---{CRD}")).unwrap();
    let crds = Crds::read(&dir).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let object = |version: &str, spec: Value| json!({"apiVersion": version, "kind": "ScaledObject", "metadata": {"name": "shop"}, "spec": spec});
    for whole in [
        json!({"maxReplicaCount": 3}),
        json!({"maxReplicaCount": 3, "labels": {"tier": "web"}}),
        json!({"maxReplicaCount": 3, "advanced": {"name": "shop", "behavior": {}}}),
    ] {
        assert_eq!(crds.faults(&object("keda.sh/v1", whole)), Vec::<String>::new());
    }
    for (what, broken) in [
        ("a misspelt field", object("keda.sh/v1", json!({"maxReplicaCount": 3, "maxReplicas": 3}))),
        ("a required field missing", object("keda.sh/v1", json!({}))),
        ("a number as text", object("keda.sh/v1", json!({"maxReplicaCount": "3"}))),
        (
            "a label that is a number",
            object("keda.sh/v1", json!({"maxReplicaCount": 3, "labels": {"tier": 3}})),
        ),
        ("a version that is not served", object("keda.sh/v1alpha1", json!({"maxReplicaCount": 3}))),
        ("a deprecated version", object("keda.sh/v1beta1", json!({"maxReplicaCount": 3}))),
        ("a group without a schema", object("keda.dev/v1", json!({"maxReplicaCount": 3}))),
    ] {
        assert!(!crds.faults(&broken).is_empty(), "{what} is not caught");
    }
}

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec:
  group: keda.sh
  names:
    kind: ScaledObject
  versions:
  - name: v1
    served: true
    schema: &schema
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [maxReplicaCount]
            properties:
              maxReplicaCount:
                description: 'At most so many pods.
 When it is unset: {100
 '
                type: integer
              labels: {type: object, additionalProperties: {type: string}}
              advanced:
                type: object
                x-kubernetes-preserve-unknown-fields: true
                properties:
                  name: {type: string}
  - name: v1beta1
    served: true
    deprecated: true
    schema: *schema
  - name: v1alpha1
    served: false
    schema: *schema
";
