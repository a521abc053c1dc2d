//! Who reaches whom: Services, routes, network policies, scrapes.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::progressive::by_flagger;
use crate::{
    Rendered,
    custom::Custom,
    rendered::{Labels, Workload, selects, service_selects},
    units::millis,
};

/// Every Service selects pods that declare the port it sends to, and no Service reaches the admin port.
pub(super) fn services(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for service in &rendered.services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let behind: Vec<_> = rendered.workloads().filter(|w| service_selects(service, &w.labels)).collect();
        if behind.is_empty() {
            faults.push(format!("Service {name}: selects no pod"));
        }
        let Some(spec) = &service.spec else { continue };
        for port in spec.ports.iter().flatten() {
            let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
            if port.name.is_none() {
                faults.push(format!("Service {name}: port {} has no name", port.port));
            }
            for workload in &behind {
                match workload.port(&target) {
                    None => faults.push(format!("Service {name}: {} has no port {target:?}", workload.name)),
                    found if found == workload.port(&IntOrString::String("admin".to_owned())) => {
                        faults.push(format!("Service {name}: opens the admin port to callers"))
                    }
                    Some(_) => {}
                }
            }
        }
        let open = spec.type_.as_deref().is_some_and(|kind| kind != "ClusterIP");
        if open && !behind.iter().all(Workload::local) {
            faults.push(format!("Service {name}: is opened past the ingress, as {:?}", spec.type_));
        }
    }
    // The colour that is not live has none.
    let colours = rendered.workloads().any(|workload| workload.label("track") == "green");
    for workload in rendered.workloads() {
        if !rendered.services.iter().any(|service| service_selects(service, &workload.labels))
            && !colours
            && !by_flagger(rendered, workload.name)
        {
            faults.push(format!("{}: no Service selects its pods", workload.name));
        }
    }
    faults
}

/// No Deployment selects the pods of another, and each selects its own.
pub(super) fn disjoint(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for one in rendered.workloads() {
        for other in rendered.workloads() {
            let taken =
                one.deployment.spec.as_ref().is_some_and(|spec| selects(&spec.selector, &other.labels));
            if taken != (one.name == other.name) {
                faults.push(format!(
                    "{} {} the pods of {}",
                    one.name,
                    if taken { "selects" } else { "does not select" },
                    other.name
                ));
            }
        }
    }
    faults
}

/// Every route leads to a Service and a port that exist, and weights make 100.
pub(super) fn routes(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let mut leads = |from: &str, name: &str, number: Option<i32>, port: Option<&str>| {
        let found = rendered.service(name).and_then(|service| service.spec.as_ref()).is_some_and(|spec| {
            spec.ports.iter().flatten().any(|p| {
                number.is_none_or(|n| n == p.port) && port.is_none_or(|n| p.name.as_deref() == Some(n))
            })
        });
        if (!found && !by_flagger(rendered, name)) || (number.is_none() && port.is_none()) {
            faults.push(format!("{from}: no Service {name} with port {number:?} {port:?}"));
        }
    };
    let mut weights: Vec<(&str, i32)> = Vec::new();
    for ingress in &rendered.ingresses {
        let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
        for path in rules.flat_map(|rule| rule.http.iter().flat_map(|http| &http.paths)) {
            if let Some(service) = &path.backend.service {
                let port = service.port.as_ref();
                leads(
                    "Ingress",
                    &service.name,
                    port.and_then(|p| p.number),
                    port.and_then(|p| p.name.as_deref()),
                );
            }
        }
    }
    for custom in &rendered.custom {
        match custom {
            Custom::HttpRoute(route) => {
                for rule in &route.spec.rules {
                    rule.backend_refs.iter().for_each(|to| leads("HTTPRoute", &to.name, Some(to.port), None));
                    if rule.backend_refs.len() > 1 {
                        weights.push((
                            "HTTPRoute",
                            rule.backend_refs.iter().map(|to| to.weight.unwrap_or(1)).sum(),
                        ));
                    }
                }
            }
            Custom::VirtualService(route) => {
                for http in &route.spec.http {
                    http.route.iter().for_each(|to| {
                        leads("VirtualService", &to.destination.host, Some(to.destination.port.number), None)
                    });
                    weights.push(("VirtualService", http.route.iter().map(|to| to.weight).sum()));
                }
            }
            _ => {}
        }
    }
    for custom in &rendered.custom {
        if let Custom::DestinationRule(rule) = custom
            && rendered.service(&rule.spec.host).is_none()
        {
            faults.push(format!("DestinationRule: no Service {}", rule.spec.host));
        }
    }
    faults.extend(
        weights
            .into_iter()
            .filter(|(_, sum)| *sum != 100)
            .map(|(from, sum)| format!("{from}: weights make {sum}")),
    );
    faults
}

/// Every Ingress names its class, its host and a certificate for that host; there is one way in, not two. On one's own machine
/// it is asked by an address, and needs no host.
pub(super) fn public_host(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let local = rendered.workloads().all(|workload| workload.local());
    for spec in rendered.ingresses.iter().filter_map(|ingress| ingress.spec.as_ref()) {
        if spec.ingress_class_name.is_none() {
            faults.push("Ingress: no class".to_owned());
        }
        for rule in spec.rules.iter().flatten() {
            let Some(host) = &rule.host else {
                if !local {
                    faults.push("Ingress: answers for every host".to_owned());
                }
                continue;
            };
            if !spec.tls.iter().flatten().any(|tls| tls.hosts.iter().flatten().any(|h| h == host)) {
                faults.push(format!("Ingress: no certificate for {host}"));
            }
        }
    }
    let routes = rendered.custom.iter().filter(|custom| matches!(custom, Custom::HttpRoute(_))).count();
    if routes > 0 && !rendered.ingresses.is_empty() {
        faults.push("an HTTPRoute and an Ingress: two ways in".to_owned());
    }
    faults
}

pub(super) fn admits(
    ports: &Option<Vec<NetworkPolicyPort>>,
    workload: Option<&Workload<'_>>,
    number: i32,
    protocol: &str,
) -> bool {
    ports.as_ref().is_none_or(|ports| {
        ports.iter().any(|port| {
            let own = match (&port.port, workload) {
                (None, _) => Some(number),
                (Some(port), Some(workload)) => workload.port(port),
                (Some(IntOrString::Int(n)), None) => Some(*n),
                (Some(IntOrString::String(_)), None) => None,
            };
            own == Some(number) && port.protocol.as_deref().unwrap_or("TCP") == protocol
        })
    })
}

/// Whether a list of peers takes in a pod of a namespace with these labels; no list takes in everyone.
fn peers_take(peers: &Option<Vec<NetworkPolicyPeer>>, namespace: &Labels) -> bool {
    peers.as_ref().is_none_or(|peers| {
        peers
            .iter()
            .any(|peer| peer.namespace_selector.as_ref().is_some_and(|selector| selects(selector, namespace)))
    })
}

/// Whether a peer is the pods of one namespace, by its name.
fn names_a_namespace(peer: &NetworkPolicyPeer) -> bool {
    let labels = peer.namespace_selector.as_ref().and_then(|selector| selector.match_labels.as_ref());
    labels.is_some_and(|labels| labels.contains_key("kubernetes.io/metadata.name"))
}

fn namespace(name: &str) -> Labels {
    Labels::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())])
}

/// Each pod is isolated in both directions; the service's port is open to the cluster, and to the outside
/// where something outside sends to pods; the admin port only to monitoring; DNS works, and the rest of the
/// world is out of reach.
///
/// The kubelet's probes need no rule: a NetworkPolicy cannot shut out the pod's own node.
pub(super) fn policy(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads() {
        let over: Vec<&NetworkPolicySpec> = rendered
            .policies
            .iter()
            .filter_map(|policy| policy.spec.as_ref())
            .filter(|spec| {
                selects(spec.pod_selector.as_ref().unwrap_or(&LabelSelector::default()), &workload.labels)
            })
            .collect();
        let mut must = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{}: {what}", workload.name));
            }
        };
        for direction in ["Ingress", "Egress"] {
            must(
                over.iter().any(|spec| spec.policy_types.iter().flatten().any(|t| t == direction)),
                &format!("no NetworkPolicy isolates it: {direction}"),
            );
        }
        let port = |name: &str| workload.port(&IntOrString::String(name.to_owned())).unwrap_or(0);
        let ingress: Vec<_> = over.iter().flat_map(|spec| spec.ingress.iter().flatten()).collect();
        let (this, ingress) = (&workload, &ingress);
        let to =
            |number: i32| ingress.iter().filter(move |rule| admits(&rule.ports, Some(this), number, "TCP"));
        let anyone = namespace("anyone");
        must(
            to(port("http")).any(|rule| peers_take(&rule.from, &anyone)),
            "no pod of the cluster reaches its port http",
        );
        must(
            to(port("admin")).any(|rule| rule.from.iter().flatten().any(names_a_namespace)),
            "no namespace of monitoring reaches its port admin",
        );
        must(!to(port("admin")).any(|rule| peers_take(&rule.from, &anyone)), "anyone reaches its port admin");
        let from_outside = ["alb", "gke"].iter().any(|front| rendered.fronts().contains(front))
            || rendered.services.iter().any(|s| {
                service_selects(s, &workload.labels)
                    && s.spec
                        .as_ref()
                        .is_some_and(|s| s.type_.as_deref() != Some("ClusterIP") && s.type_.is_some())
            });
        let open = to(port("http")).any(|rule| {
            rule.from.as_ref().is_none_or(|peers| peers.iter().any(|peer| peer.ip_block.is_some()))
        });
        must(!from_outside || open, "what sends from outside the cluster does not reach its port http");
        let egress: Vec<_> = over.iter().flat_map(|spec| spec.egress.iter().flatten()).collect();
        for protocol in ["UDP", "TCP"] {
            must(
                egress.iter().any(|rule| {
                    admits(&rule.ports, None, 53, protocol) && peers_take(&rule.to, &namespace("kube-system"))
                }),
                &format!("cannot ask DNS over {protocol}"),
            );
        }
        must(!egress.iter().any(|rule| rule.to.is_none() || rule.ports.is_none()), "may call anyone");
    }
    faults
}

/// What is to be scraped exists, at a port that is declared, is not scraped through a Service that drops
/// draining pods, and often enough to see each drain twice.
pub(super) fn scrape(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for custom in &rendered.custom {
        let Custom::PodMonitor(monitor) = custom else {
            continue;
        };
        let scraped: Vec<_> =
            rendered.workloads().filter(|w| selects(&monitor.spec.selector, &w.labels)).collect();
        for workload in rendered.workloads() {
            if !scraped.iter().any(|w| w.name == workload.name) {
                faults.push(format!("{}: is not scraped", workload.name));
            }
        }
        for endpoint in &monitor.spec.pod_metrics_endpoints {
            if endpoint.path != "/metrics" {
                faults.push(format!("PodMonitor: asks {}", endpoint.path));
            }
            let port = IntOrString::String(endpoint.port.clone());
            let interval = millis(&endpoint.interval);
            for workload in &scraped {
                let delay =
                    rendered.environment(workload).get("APP_DRAIN_DELAY").and_then(|text| millis(text));
                if interval.zip(delay).is_none_or(|(interval, delay)| interval > delay / 2) {
                    faults.push(format!(
                        "PodMonitor: {} may drain between two scrapes, every {}",
                        workload.name, endpoint.interval
                    ));
                }
            }
            for workload in scraped.iter().filter(|workload| workload.port(&port).is_none()) {
                faults.push(format!("PodMonitor: {} has no port {}", workload.name, endpoint.port));
            }
        }
    }
    faults
}
