//! What one platform refuses, or needs besides: GKE, OpenShift, Istio without sidecars, nodes of several kinds.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicySpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    Rendered,
    custom::Custom,
    rendered::{Workload, selects},
};

use super::traffic::admits;

/// A route hangs on one listener of its Gateway; on GKE it has no timeouts, and every Service that it leads to has a
/// health check of ours.
pub(super) fn gateway(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let gke = rendered.fronts().contains("gke");
    let checked: Vec<&str> = rendered
        .custom
        .iter()
        .filter_map(|custom| match custom {
            Custom::HealthCheckPolicy(policy) => Some(policy.spec.target_ref.name.as_str()),
            _ => None,
        })
        .collect();
    for custom in &rendered.custom {
        let Custom::HttpRoute(route) = custom else { continue };
        if route.spec.parent_refs.iter().any(|parent| parent.section_name.is_none()) {
            faults.push("HTTPRoute: hangs on every listener, also on the one without TLS".to_owned());
        }
        for rule in &route.spec.rules {
            if gke && rule.timeouts.is_some() {
                faults.push("HTTPRoute: GKE refuses a route with timeouts".to_owned());
            }
            for to in rule.backend_refs.iter().filter(|to| gke && !checked.contains(&to.name.as_str())) {
                faults.push(format!("HTTPRoute: no HealthCheckPolicy for the Service {}", to.name));
            }
        }
    }
    faults
}

/// The network policies over a workload.
fn over<'a>(rendered: &'a Rendered, workload: &Workload<'_>) -> Vec<&'a NetworkPolicySpec> {
    let specs = rendered.policies.iter().filter_map(|policy| policy.spec.as_ref());
    specs.filter(|spec| selects(&spec.pod_selector.clone().unwrap_or_default(), &workload.labels)).collect()
}

fn to_address(rule: &NetworkPolicyEgressRule, cidr: &str) -> bool {
    rule.to.iter().flatten().any(|peer| peer.ip_block.as_ref().is_some_and(|block| block.cidr == cidr))
}

fn to_namespace(rule: &NetworkPolicyEgressRule, name: &str) -> bool {
    let selectors = rule.to.iter().flatten().filter_map(|peer| peer.namespace_selector.as_ref());
    let labels = selectors.flat_map(|selector| selector.match_labels.iter().flatten());
    labels.into_iter().any(|(key, value)| key == "kubernetes.io/metadata.name" && value == name)
}

/// The pods stay on nodes whose architecture the image is built for, save in a developer's own cluster.
pub(super) fn architecture(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads().filter(|workload| !workload.local()) {
        let selector = workload.pod.node_selector.as_ref();
        let by_selector = selector.is_some_and(|labels| labels.contains_key("kubernetes.io/arch"));
        let affinity = workload.pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required =
            affinity.and_then(|nodes| nodes.required_during_scheduling_ignored_during_execution.as_ref());
        let by_affinity = required.is_some_and(|required| {
            required.node_selector_terms.iter().all(|term| {
                term.match_expressions
                    .iter()
                    .flatten()
                    .any(|expression| expression.key == "kubernetes.io/arch")
            })
        });
        if !by_selector && !by_affinity {
            faults.push(format!("{}: may start on a node of another architecture", workload.name));
        }
    }
    faults
}

/// The network policies let through what the platform itself sends and is asked.
pub(super) fn network(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads() {
        let over = over(rendered, &workload);
        let egress: Vec<_> = over.iter().flat_map(|spec| spec.egress.iter().flatten()).collect();
        let dns = |protocol| {
            egress
                .iter()
                .any(|rule| to_address(rule, "169.254.169.254/32") && admits(&rule.ports, None, 53, protocol))
        };
        if rendered.fronts().contains("gke") && !(dns("UDP") && dns("TCP")) {
            faults.push(format!("{}: cannot ask Cloud DNS, which is GKE's metadata server", workload.name));
        }
        let openshift = |protocol| {
            let dns = "openshift-dns";
            egress.iter().any(|rule| to_namespace(rule, dns) && admits(&rule.ports, None, 5353, protocol))
        };
        if workload.on_openshift() && !(openshift("UDP") && openshift("TCP")) {
            faults.push(format!("{}: cannot ask OpenShift's DNS", workload.name));
        }
        if workload.label("istio.io/dataplane-mode") == "ambient" {
            let ingress: Vec<_> = over.iter().flat_map(|spec| spec.ingress.iter().flatten()).collect();
            if !ingress.iter().any(|rule| admits(&rule.ports, None, 15008, "TCP"))
                || !egress.iter().any(|rule| admits(&rule.ports, None, 15008, "TCP"))
            {
                faults.push(format!("{}: port 15008 is shut to the mesh, in or out", workload.name));
            }
            let kubelet = |rule: &NetworkPolicyIngressRule| {
                let blocks = rule.from.iter().flatten().filter_map(|peer| peer.ip_block.as_ref());
                blocks.into_iter().any(|block| block.cidr == "169.254.7.127/32")
            };
            let admin = workload.port(&IntOrString::String("admin".to_owned())).unwrap_or(0);
            if !ingress.iter().any(|rule| kubelet(rule) && admits(&rule.ports, Some(&workload), admin, "TCP"))
            {
                faults.push(format!("{}: the kubelet's probes are shut out", workload.name));
            }
            let guarded = rendered.custom.iter().any(|custom| match custom {
                Custom::AuthorizationPolicy(policy) => {
                    policy.spec.action == "DENY"
                        && selects(&policy.spec.selector, &workload.labels)
                        && policy.spec.rules[0]["to"][0]["operation"]["ports"]
                            == serde_json::json!([admin.to_string()])
                }
                _ => false,
            });
            if !guarded {
                faults.push(format!("{}: port 15008 opens the admin port to the mesh", workload.name));
            }
        }
    }
    faults
}
