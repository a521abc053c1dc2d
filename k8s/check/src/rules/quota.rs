//! Whether a namespace's quota has room for a rollout, sidecars and all.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{Rendered, rendered::Workload, units::quantity};

/// Requests and limits of one container, by resource, in thousandths.
#[derive(Default)]
struct Resources {
    requests: BTreeMap<String, u128>,
    limits: BTreeMap<String, u128>,
}

fn amounts(of: Option<&BTreeMap<String, Quantity>>) -> BTreeMap<String, u128> {
    of.into_iter().flatten().filter_map(|(name, q)| Some((name.clone(), quantity(&q.0)?))).collect()
}

/// What Istio's sidecar asks for: what the annotations say or, when they say nothing, its installation's defaults.
fn istio(workload: &Workload<'_>) -> Option<Resources> {
    if workload.label("sidecar.istio.io/inject") != "true" {
        return None;
    }
    let metadata = workload.deployment.spec.as_ref()?.template.metadata.as_ref()?;
    let annotations = metadata.annotations.clone().unwrap_or_default();
    let says = |name: &str| annotations.get(&format!("sidecar.istio.io/{name}")).map(String::as_str);
    let any = ["proxyCPU", "proxyMemory", "proxyCPULimit", "proxyMemoryLimit"]
        .iter()
        .any(|name| says(name).is_some());
    let amount = |name: &str, default: &'static str| quantity(says(name).or((!any).then_some(default))?);
    let pair = |cpu, memory| {
        let both = [("cpu".to_owned(), cpu), ("memory".to_owned(), memory)];
        both.into_iter().filter_map(|(name, amount)| Some((name, amount?))).collect()
    };
    Some(Resources {
        requests: pair(amount("proxyCPU", "100m"), amount("proxyMemory", "128Mi")),
        limits: pair(amount("proxyCPULimit", "2"), amount("proxyMemoryLimit", "1Gi")),
    })
}

/// Every container that runs beside the others, with what the LimitRange fills in where it states nothing.
fn containers(rendered: &Rendered, workload: &Workload<'_>) -> Vec<Resources> {
    let sidecars = workload.pod.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let stated = workload.pod.containers.iter().chain(sidecars).map(|container| {
        let own = container.resources.as_ref();
        Resources {
            requests: amounts(own.and_then(|own| own.requests.as_ref())),
            limits: amounts(own.and_then(|own| own.limits.as_ref())),
        }
    });
    let mut all: Vec<_> = stated.chain(istio(workload)).collect();
    for limit in rendered.limits.iter().flat_map(|limits| limits.spec.iter().flat_map(|spec| &spec.limits)) {
        for container in &mut all {
            for (name, amount) in amounts(limit.default.as_ref()) {
                container.limits.entry(name).or_insert(amount);
            }
            for (name, amount) in amounts(limit.default_request.as_ref()) {
                container.requests.entry(name).or_insert(amount);
            }
        }
    }
    all
}

/// A quota has room for every track at its maximum in the middle of an update: the pods, those that the
/// update adds, and as many old ones that are still draining, which count until they are gone.
pub(super) fn quota(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let pods: Vec<_> = rendered
        .workloads()
        .map(|workload| {
            let (_, max) = rendered.scale(&workload).unwrap_or((1, 1));
            let count = 2 * max + Rendered::surge(&workload, max);
            (u128::from(count.unsigned_abs()), containers(rendered, &workload), workload)
        })
        .collect();
    for quota in &rendered.quotas {
        for (name, hard) in quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten()) {
            let Some(hard) = quantity(&hard.0) else {
                faults.push(format!("quota of {name}: {} cannot be read", hard.0));
                continue;
            };
            let mut needed = 0;
            for (count, containers, workload) in &pods {
                let sum = |of: fn(&Resources) -> &BTreeMap<String, u128>, resource: &str| {
                    containers
                        .iter()
                        .map(|container| of(container).get(resource).copied())
                        .sum::<Option<u128>>()
                };
                let each = match name.split_once('.') {
                    None if name == "pods" => Some(1_000),
                    Some(("requests", resource)) => sum(|all| &all.requests, resource),
                    Some(("limits", resource)) => sum(|all| &all.limits, resource),
                    _ => Some(0),
                };
                match each {
                    Some(each) => needed += count * each,
                    None => faults.push(format!(
                        "{}: the quota of {name} refuses a pod that does not state it",
                        workload.name
                    )),
                }
            }
            if needed > hard {
                faults.push(format!(
                    "quota of {name}: {} needed in an update, {} there",
                    needed / 1_000,
                    hard / 1_000
                ));
            }
        }
    }
    for limit in rendered.limits.iter().flat_map(|limits| limits.spec.iter().flat_map(|spec| &spec.limits)) {
        for (name, max) in amounts(limit.max.as_ref()) {
            for (_, containers, workload) in &pods {
                if containers
                    .iter()
                    .any(|container| container.limits.get(&name).is_some_and(|own| *own > max))
                {
                    faults.push(format!("{}: the LimitRange allows less {name}", workload.name));
                }
            }
        }
        if limit.default.iter().flatten().any(|(name, _)| name == "cpu") {
            faults.push("the LimitRange gives every pod a CPU limit".to_owned());
        }
    }
    faults
}
