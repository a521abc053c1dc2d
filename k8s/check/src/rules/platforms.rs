//! What one platform refuses, or needs besides: GKE, a Gateway.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicySpec};

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
    }
    faults
}
