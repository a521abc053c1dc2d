//! What rules let pass although it is near to what they catch.

use serde_json::json;

use crate::{broken::Break, reach::requires, table::PRODUCTION};

/// The rule, the target, what is changed in it, and how.
pub(crate) const ALLOWED: &[(&str, &str, &str, Break)] = &[
    ("grace-covers-drain", PRODUCTION, "a grace period with the margin and nothing more", |b| {
        b.pod("/terminationGracePeriodSeconds", json!(113));
        b.env("APP_TERMINATION_GRACE_PERIOD", "113s");
    }),
    ("timeout-covers-keep-alive", PRODUCTION, "a request as long as the drain", |b| {
        b.set("ConfigMap", "/data/APP_REQUEST_TIMEOUT", json!("95s"));
    }),
    ("resources", PRODUCTION, "a limit as large as its request", |b| {
        b.container("/resources/limits/memory", json!("128Mi"))
    }),
    ("restricted", PRODUCTION, "the one capability that restricted allows", |b| {
        b.container("/securityContext/capabilities/add", json!(["NET_BIND_SERVICE"]))
    }),
    ("disruption-budget", PRODUCTION, "one pod fewer wanted than the HPA leaves", |b| {
        b.cut("PodDisruptionBudget", "/spec/maxUnavailable");
        b.set("PodDisruptionBudget", "/spec/minAvailable", json!(2));
    }),
    ("rollout-proceeds", PRODUCTION, "a second of being ready", |b| {
        b.set("Deployment", "/spec/minReadySeconds", json!(1))
    }),
    ("quota-has-room", "tests/canary", "room for every pod and no more", |b| {
        b.set("ResourceQuota", "/spec/hard/pods", json!("28"));
    }),
    ("quota-has-room", "tests/canary", "a quota of what is no pod", |b| {
        b.set("ResourceQuota", "/spec/hard/services", json!("4"));
    }),
    ("architecture", PRODUCTION, "nodes chosen by affinity", |b| {
        b.cut("Deployment", "/spec/template/spec/nodeSelector");
        b.pod("/affinity", requires("kubernetes.io/arch"));
    }),
    ("service-names-track", "tests/canary", "a canary whose pods are its share, behind a route", |b| {
        b.0.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "shop"},
            "spec": {"parentRefs": [], "hostnames": [], "rules": [
                {"matches": [], "backendRefs": [{"name": "shop", "port": 80}]},
            ]},
        }));
    }),
    ("service-names-track", "tests/canary", "a canary whose pods are its share, in a mesh", |b| {
        b.0.push(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "shop"},
            "spec": {"hosts": [], "http": [{"timeout": "0s", "route": [
                {"destination": {"host": "shop", "port": {"number": 80}}, "weight": 100},
            ]}]},
        }));
    }),
];
