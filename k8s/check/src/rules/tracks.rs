//! Two tracks side by side: what each has of its own, and who sends to which.

use std::collections::BTreeMap;

use crate::{Rendered, custom::Custom, rendered::service_selects};

/// Each track reads ConfigMaps of its own: a changed value rolls the pods of one.
pub(super) fn config(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let mut readers = BTreeMap::new();
    for workload in rendered.workloads() {
        for map in
            workload.container.env_from.iter().flatten().filter_map(|from| from.config_map_ref.as_ref())
        {
            if let Some(other) = readers.insert(map.name.as_str(), workload.name) {
                faults.push(format!("{other} and {}: both read the ConfigMap {}", workload.name, map.name));
            }
        }
    }
    faults
}

/// The kinds of the routes that share requests out by weight.
fn weighing(rendered: &Rendered) -> Vec<&'static str> {
    let of = |custom: &Custom| match custom {
        Custom::HttpRoute(route) => {
            route.spec.rules.iter().any(|rule| rule.backend_refs.len() > 1).then_some("HTTPRoute")
        }
        Custom::VirtualService(route) => {
            route.spec.http.iter().any(|http| http.route.len() > 1).then_some("VirtualService")
        }
        _ => None,
    };
    rendered.custom.iter().filter_map(of).collect()
}

/// Every Service names the one track whose pods it has, so that a track which joins gets no requests before it should;
/// a canary without weights shares the Service, as its pods are its share.
pub(super) fn services(rendered: &Rendered) -> Vec<String> {
    let canary = rendered.workloads().any(|workload| workload.label("track") == "canary");
    if canary && weighing(rendered).is_empty() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for service in &rendered.services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        if selector.is_none_or(|selector| !selector.contains_key("track")) {
            let behind: Vec<_> = rendered
                .workloads()
                .filter(|workload| service_selects(service, &workload.labels))
                .map(|workload| workload.name)
                .collect();
            faults.push(format!("Service {name}: names no track, and has the pods of {behind:?}"));
        }
    }
    faults
}

/// Where a route weighs the tracks, every request from outside is weighed.
pub(super) fn weights(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for custom in &rendered.custom {
        match custom {
            Custom::HttpRoute(route)
                if route.spec.rules.iter().any(|rule| rule.backend_refs.len() > 1)
                    && route.spec.rules.iter().any(|rule| rule.backend_refs.len() < 2) =>
            {
                faults.push("HTTPRoute: weighs the requests of some rules and not of all".to_owned());
            }
            Custom::VirtualService(route) if route.spec.gateways.iter().all(|gateway| gateway == "mesh") => {
                faults.push("VirtualService: no gateway, so nothing from outside is weighed".to_owned());
            }
            _ => {}
        }
    }
    if let (Some(kind), false) = (weighing(rendered).first(), rendered.ingresses.is_empty()) {
        faults.push(format!("an Ingress beside a {kind}: what it brings in is not weighed"));
    }
    faults
}
