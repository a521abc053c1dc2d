//! What Argo CD and Flux may not take away, nor take for a difference.

use std::collections::BTreeSet;

use crate::{Rendered, custom::Custom};

/// Flux leaves every ConfigMap that pods read: in a rollout that is stuck, old pods still need theirs.
pub(super) fn config(rendered: &Rendered) -> Vec<String> {
    let containers = rendered.workloads().map(|workload| workload.container);
    let sources = containers.flat_map(|container| container.env_from.iter().flatten());
    let read: BTreeSet<&str> =
        sources.filter_map(|from| Some(from.config_map_ref.as_ref()?.name.as_str())).collect();
    let pruned = |name: &&str| {
        let metadata = rendered.config_map(name).map(|map| &map.metadata);
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        annotations
            .and_then(|all| all.get("kustomize.toolkit.fluxcd.io/prune"))
            .is_none_or(|v| v != "Disabled")
    };
    read.into_iter()
        .filter(pruned)
        .map(|name| format!("ConfigMap {name}: Flux removes it while pods read it"))
        .collect()
}

/// Argo CD asks the API server what an apply would change: what the server fills in is no difference then.
pub(super) fn server_side_diff(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for custom in &rendered.custom {
        if let Custom::Application(application) = custom {
            let annotations = application.metadata.annotations.as_ref();
            let options = annotations.and_then(|all| all.get("argocd.argoproj.io/compare-options"));
            if options.is_none_or(|options| !options.contains("ServerSideDiff=true")) {
                faults.push(format!("Application {:?}: stays OutOfSync", application.metadata.name));
            }
        }
    }
    faults
}
