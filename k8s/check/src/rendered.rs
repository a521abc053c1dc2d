//! The objects of one kustomization, typed, and the questions that the rules ask of them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::Job,
        core::v1::{
            ConfigMap, Container, LimitRange, Namespace, PodSpec, Probe, ResourceQuota, Service,
            ServiceAccount,
        },
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::Value;

use crate::custom::Custom;

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The objects of one kustomization.
#[derive(Debug, Default)]
#[allow(missing_docs)] // Each list is named as its kind.
pub struct Rendered {
    pub deployments: Vec<Deployment>,
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    pub budgets: Vec<PodDisruptionBudget>,
    pub services: Vec<Service>,
    pub ingresses: Vec<Ingress>,
    pub policies: Vec<NetworkPolicy>,
    pub config_maps: Vec<ConfigMap>,
    pub accounts: Vec<ServiceAccount>,
    pub namespaces: Vec<Namespace>,
    pub quotas: Vec<ResourceQuota>,
    pub limits: Vec<LimitRange>,
    pub jobs: Vec<Job>,
    pub roles: Vec<Role>,
    pub bindings: Vec<RoleBinding>,
    pub custom: Vec<Custom>,
    /// Kind, metadata and nothing else, of every object.
    pub every: Vec<(String, ObjectMeta)>,
}

impl Rendered {
    /// Sorts objects by kind; the error is the first object that is not what its kind says.
    pub fn read(objects: &[Value]) -> Result<Self, String> {
        let mut all = Self::default();
        for object in objects {
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            macro_rules! read {
                () => {
                    serde_json::from_value(object.clone()).map_err(|e| format!("{kind}: {e}"))?
                };
            }
            let metadata =
                serde_json::from_value(object["metadata"].clone()).map_err(|e| format!("{kind}: {e}"))?;
            all.every.push((kind.clone(), metadata));
            match kind.as_str() {
                "Deployment" => all.deployments.push(read!()),
                "HorizontalPodAutoscaler" => all.autoscalers.push(read!()),
                "PodDisruptionBudget" => all.budgets.push(read!()),
                "Service" => all.services.push(read!()),
                "Ingress" => all.ingresses.push(read!()),
                "NetworkPolicy" => all.policies.push(read!()),
                "ConfigMap" => all.config_maps.push(read!()),
                "ServiceAccount" => all.accounts.push(read!()),
                "Namespace" => all.namespaces.push(read!()),
                "ResourceQuota" => all.quotas.push(read!()),
                "LimitRange" => all.limits.push(read!()),
                "Job" => all.jobs.push(read!()),
                "Role" => all.roles.push(read!()),
                "RoleBinding" => all.bindings.push(read!()),
                _ => all.custom.push(Custom::read(object)?),
            }
        }
        Ok(all)
    }

    /// Each Deployment with its pods, and the container that is the service.
    pub fn workloads(&self) -> impl Iterator<Item = Workload<'_>> {
        self.deployments.iter().filter_map(Workload::of)
    }

    /// The ConfigMap of a name.
    pub fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.iter().find(|map| map.metadata.name.as_deref() == Some(name))
    }

    /// The Service of a name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.metadata.name.as_deref() == Some(name))
    }

    /// The variables that a workload's container gets from ConfigMaps and from values, the later over the
    /// earlier.
    pub fn environment(&self, workload: &Workload<'_>) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for source in workload.container.env_from.iter().flatten() {
            let map = source.config_map_ref.as_ref().and_then(|from| self.config_map(&from.name));
            all.extend(map.and_then(|map| map.data.clone()).unwrap_or_default());
        }
        for variable in workload.container.env.iter().flatten() {
            if let Some(value) = &variable.value {
                all.insert(variable.name.clone(), value.clone());
            }
        }
        all
    }

    /// The fewest and the most pods that a workload is scaled to; `None` when nothing scales it.
    pub fn scale(&self, workload: &Workload<'_>) -> Option<(i32, i32)> {
        let by_hpa = self.autoscalers.iter().find(|hpa| hpa.spec.scale_target_ref.name == workload.name);
        if let Some(spec) = by_hpa.map(|hpa| &hpa.spec) {
            return Some((spec.min_replicas.unwrap_or(1), spec.max_replicas));
        }
        self.custom.iter().find_map(|custom| match custom {
            Custom::ScaledObject(keda) if keda.spec.scale_target_ref.name == workload.name => {
                Some((keda.spec.min_replica_count, keda.spec.max_replica_count))
            }
            _ => None,
        })
    }

    /// Pods that a rolling update adds to `max` pods.
    pub fn surge(workload: &Workload<'_>, max: i32) -> i32 {
        let rolling = workload
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.strategy.as_ref())
            .and_then(|s| s.rolling_update.as_ref());
        match rolling.and_then(|rolling| rolling.max_surge.as_ref()) {
            Some(IntOrString::Int(pods)) => *pods,
            Some(IntOrString::String(share)) => percent_up(share, max),
            None => percent_up("25%", max),
        }
    }

    /// The class of each Ingress; where there is none, the kind of route that stands in its place.
    pub fn fronts(&self) -> BTreeSet<&str> {
        let mut fronts: BTreeSet<&str> =
            self.ingresses.iter().filter_map(|i| i.spec.as_ref()?.ingress_class_name.as_deref()).collect();
        for custom in &self.custom {
            match custom {
                Custom::HttpRoute(_) => fronts.insert("gateway-api"),
                Custom::VirtualService(_) => fronts.insert("istio"),
                Custom::GcpBackendPolicy(_) => fronts.insert("gke"),
                _ => false,
            };
        }
        fronts
    }
}

fn percent_up(share: &str, of: i32) -> i32 {
    let percent: i32 = share.trim_end_matches('%').parse().unwrap_or(0);
    (of * percent + 99) / 100
}

/// A Deployment with its pods, and the container that is the service: the first.
#[derive(Debug)]
#[allow(missing_docs)] // Named as in the Deployment.
pub struct Workload<'a> {
    pub name: &'a str,
    pub deployment: &'a Deployment,
    pub labels: Labels,
    pub pod: &'a PodSpec,
    pub container: &'a Container,
}

impl<'a> Workload<'a> {
    fn of(deployment: &'a Deployment) -> Option<Self> {
        let template = &deployment.spec.as_ref()?.template;
        let pod = template.spec.as_ref()?;
        Some(Self {
            name: deployment.metadata.name.as_deref()?,
            deployment,
            labels: template.metadata.as_ref()?.labels.clone().unwrap_or_default(),
            pod,
            container: pod.containers.first()?,
        })
    }

    /// The number of a container port, by its name or its number; `None` when the container does not declare
    /// it.
    pub fn port(&self, port: &IntOrString) -> Option<i32> {
        let ports = self.container.ports.iter().flatten();
        match port {
            IntOrString::Int(number) => ports.map(|p| p.container_port).find(|p| p == number),
            IntOrString::String(name) => {
                ports.filter(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port).next()
            }
        }
    }

    /// The three probes, by name; those that are not declared are left out.
    pub fn probes(&self) -> Vec<(&'static str, &'a Probe)> {
        [
            ("startup", &self.container.startup_probe),
            ("readiness", &self.container.readiness_probe),
            ("liveness", &self.container.liveness_probe),
        ]
        .into_iter()
        .filter_map(|(name, probe)| probe.as_ref().map(|probe| (name, probe)))
        .collect()
    }

    /// Whether the image is one that was loaded into a developer's own cluster: it is never pulled.
    pub fn local(&self) -> bool {
        self.container.image_pull_policy.as_deref() == Some("Never")
    }

    /// Whether OpenShift is to give the pods their uid.
    pub fn on_openshift(&self) -> bool {
        let spec = self.deployment.spec.as_ref();
        let metadata = spec.and_then(|spec| spec.template.metadata.as_ref());
        let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
        annotations.is_some_and(|all| all.contains_key("openshift.io/required-scc"))
    }

    /// The value of a pod label.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map(String::as_str).unwrap_or_default()
    }
}

/// Whether a selector of labels takes an object with these.
pub fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let by_labels = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let by_expressions = selector.match_expressions.iter().flatten().all(|expression| {
        let value = labels.get(&expression.key);
        let listed = value.is_some_and(|value| expression.values.iter().flatten().any(|v| v == value));
        match expression.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    by_labels && by_expressions
}

/// Whether a Service takes a pod with these labels; one without a selector takes none.
pub fn service_selects(service: &Service, labels: &Labels) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_by_expressions_takes_what_it_says() {
        let labels = Labels::from([("track".to_owned(), "stable".to_owned())]);
        for (expression, takes) in [
            (json!({"key": "track", "operator": "In", "values": ["canary", "stable"]}), true),
            (json!({"key": "track", "operator": "In", "values": ["canary"]}), false),
            (json!({"key": "tier", "operator": "In", "values": ["stable"]}), false),
            (json!({"key": "track", "operator": "NotIn", "values": ["canary"]}), true),
            (json!({"key": "track", "operator": "NotIn", "values": ["canary", "stable"]}), false),
            (json!({"key": "track", "operator": "Exists"}), true),
            (json!({"key": "tier", "operator": "Exists"}), false),
            (json!({"key": "tier", "operator": "DoesNotExist"}), true),
            (json!({"key": "track", "operator": "DoesNotExist"}), false),
        ] {
            let selector: LabelSelector =
                serde_json::from_value(json!({"matchExpressions": [expression]})).unwrap();
            assert_eq!(selects(&selector, &labels), takes, "{expression}");
        }
    }

    #[test]
    fn a_share_of_pods_is_rounded_up() {
        assert_eq!(percent_up("25%", 12), 3);
        assert_eq!(percent_up("25%", 13), 4);
        assert_eq!(percent_up("0%", 12), 0);
    }
}
