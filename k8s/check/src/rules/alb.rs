//! What an AWS Application Load Balancer needs besides its Ingress.

use crate::{Rendered, custom::Custom};

/// The label of a namespace whose new pods are ready only when their target is healthy.
const INJECT: &str = "elbv2.k8s.aws/pod-readiness-gate-inject";

/// The namespace asks for readiness gates; there is no second colour, whose pods would get none and would be registered
/// only after the live ones are gone; and no certificate in a Secret, which the load balancer does not read.
pub(super) fn alb(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    if !rendered.fronts().contains("alb") {
        return faults;
    }
    for namespace in &rendered.namespaces {
        let label = namespace.metadata.labels.as_ref().and_then(|labels| labels.get(INJECT));
        if label.map(String::as_str) != Some("enabled") {
            faults.push(format!("Namespace {:?}: no label {INJECT}", namespace.metadata.name));
        }
    }
    if rendered.workloads().any(|workload| workload.label("track") == "green") {
        faults.push("two colours behind a load balancer that registers targets after the switch".to_owned());
    }
    if rendered.custom.iter().any(|custom| matches!(custom, Custom::Certificate(_))) {
        faults.push("a Certificate, which the load balancer does not read".to_owned());
    }
    faults
}
