//! The custom resources in use, as far as the rules read them: a field that is not here is refused.
//!
//! This is the check that needs no schema; with the CRDs at hand [`crate::schema::Crds`] checks every field.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

/// One object of a custom resource.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object<S> {
    /// The group and the version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Name, namespace and labels.
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: S,
}

/// A custom resource whose kind this project uses.
#[derive(Debug)]
#[allow(missing_docs)] // Each is named as its kind.
pub enum Custom {
    PodMonitor(Object<PodMonitor>),
    PrometheusRule(Object<PrometheusRule>),
    HttpRoute(Object<HttpRoute>),
    Certificate(Object<Certificate>),
    Issuer(Object<Issuer>),
    ExternalSecret(Object<ExternalSecret>),
    SealedSecret(Object<SealedSecret>),
    ScaledObject(Object<ScaledObject>),
    VerticalPodAutoscaler(Object<VerticalPodAutoscaler>),
    DestinationRule(Object<DestinationRule>),
    VirtualService(Object<VirtualService>),
    Application(Object<Application>),
    GitRepository(Object<GitRepository>),
    FluxKustomization(Object<FluxKustomization>),
    HealthCheckPolicy(Object<HealthCheckPolicy>),
    GcpBackendPolicy(Object<GcpBackendPolicy>),
    AuthorizationPolicy(Object<AuthorizationPolicy>),
    Rollout(Object<Rollout>),
    AnalysisTemplate(Object<AnalysisTemplate>),
    Canary(Object<Canary>),
    MetricTemplate(Object<MetricTemplate>),
}

impl Custom {
    /// Reads an object; the error names the field, or the kind when it is none of those above.
    pub fn read(value: &Value) -> Result<Self, String> {
        let text = |key| value.get(key).and_then(Value::as_str).unwrap_or_default();
        macro_rules! read {
            ($variant:ident) => {
                serde_json::from_value(value.clone()).map(Custom::$variant).map_err(|e| e.to_string())
            };
        }
        match (text("apiVersion"), text("kind")) {
            ("monitoring.coreos.com/v1", "PodMonitor") => read!(PodMonitor),
            ("monitoring.coreos.com/v1", "PrometheusRule") => read!(PrometheusRule),
            ("gateway.networking.k8s.io/v1", "HTTPRoute") => read!(HttpRoute),
            ("cert-manager.io/v1", "Certificate") => read!(Certificate),
            ("cert-manager.io/v1", "Issuer") => read!(Issuer),
            ("external-secrets.io/v1", "ExternalSecret") => read!(ExternalSecret),
            ("bitnami.com/v1alpha1", "SealedSecret") => read!(SealedSecret),
            ("keda.sh/v1alpha1", "ScaledObject") => read!(ScaledObject),
            ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler") => read!(VerticalPodAutoscaler),
            ("networking.istio.io/v1", "DestinationRule") => read!(DestinationRule),
            ("networking.istio.io/v1", "VirtualService") => read!(VirtualService),
            ("argoproj.io/v1alpha1", "Application") => read!(Application),
            ("source.toolkit.fluxcd.io/v1", "GitRepository") => read!(GitRepository),
            ("kustomize.toolkit.fluxcd.io/v1", "Kustomization") => read!(FluxKustomization),
            ("networking.gke.io/v1", "HealthCheckPolicy") => read!(HealthCheckPolicy),
            ("networking.gke.io/v1", "GCPBackendPolicy") => read!(GcpBackendPolicy),
            ("security.istio.io/v1", "AuthorizationPolicy") => read!(AuthorizationPolicy),
            ("argoproj.io/v1alpha1", "Rollout") => read!(Rollout),
            ("argoproj.io/v1alpha1", "AnalysisTemplate") => read!(AnalysisTemplate),
            ("flagger.app/v1beta1", "Canary") => read!(Canary),
            ("flagger.app/v1beta1", "MetricTemplate") => read!(MetricTemplate),
            (version, kind) => Err(format!("{version} {kind}: a deprecated or unknown API")),
        }
    }
}

macro_rules! specs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[allow(missing_docs)] // The fields are documented where the resource is.
        pub struct $name { $($(#[$attr])* pub $field: $type),* }
    )*};
}

specs! {
    /// Which pods Prometheus scrapes, and where.
    PodMonitor {
        job_label: String,
        pod_target_labels: Vec<String>,
        selector: LabelSelector,
        pod_metrics_endpoints: Vec<Endpoint>,
    }
    /// One port to scrape.
    Endpoint { port: String, path: String, interval: String, scrape_timeout: String }
    /// Recording rules and alerts.
    PrometheusRule { groups: Vec<Group> }
    /// Rules that are evaluated together.
    Group { name: String, rules: Vec<PromRule> }
    /// A recording rule or an alert.
    PromRule {
        record: Option<String>,
        alert: Option<String>,
        expr: String,
        r#for: Option<String>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    /// Requests of a host, and the Services that answer them.
    HttpRoute { parent_refs: Vec<ParentRef>, hostnames: Vec<String>, rules: Vec<HttpRule> }
    /// The Gateway that a route hangs on.
    ParentRef { name: String, namespace: String, section_name: Option<String> }
    /// Requests of one kind.
    HttpRule { matches: Vec<Value>, timeouts: Option<Timeouts>, backend_refs: Vec<BackendRef> }
    /// How long a request may take.
    Timeouts { request: String, backend_request: Option<String> }
    /// A Service, and its share of the requests.
    BackendRef { name: String, port: i32, weight: Option<i32> }
    /// A certificate, and the Secret it is kept in.
    Certificate { secret_name: String, dns_names: Vec<String>, issuer_ref: IssuerRef, private_key: Value }
    /// Who signs.
    IssuerRef { kind: String, name: String }
    /// A certificate authority.
    Issuer { acme: Value }
    /// A Secret that is read from a store.
    ExternalSecret {
        refresh_interval: String,
        secret_store_ref: Value,
        target: SecretTarget,
        data: Vec<SecretData>,
    }
    /// The Secret that is made.
    SecretTarget { name: String, creation_policy: String }
    /// One key of it.
    SecretData { secret_key: String, remote_ref: Value }
    /// A Secret that only the cluster can read.
    SealedSecret { encrypted_data: BTreeMap<String, String>, template: SecretTemplate }
    /// The Secret that is made.
    SecretTemplate { metadata: SecretName }
    /// Its name.
    SecretName { name: String, labels: BTreeMap<String, String> }
    /// What KEDA scales, and by what.
    ScaledObject {
        scale_target_ref: ScaleTarget,
        min_replica_count: i32,
        max_replica_count: i32,
        triggers: Vec<Trigger>,
        advanced: Value,
    }
    /// A Deployment.
    ScaleTarget { name: String }
    /// One measure.
    Trigger { r#type: String, metric_type: Option<String>, metadata: BTreeMap<String, String> }
    /// Recommended requests.
    VerticalPodAutoscaler { target_ref: TargetRef, update_policy: UpdatePolicy, resource_policy: Value }
    /// A Deployment.
    TargetRef { api_version: String, kind: String, name: String }
    /// Whether a recommendation is carried out.
    UpdatePolicy { update_mode: String }
    /// How the mesh's clients treat a host.
    DestinationRule { host: String, traffic_policy: TrafficPolicy }
    /// Their connections.
    TrafficPolicy { connection_pool: ConnectionPool }
    /// Their connections.
    ConnectionPool { http: HttpPool }
    /// How long an idle one is kept.
    HttpPool { idle_timeout: String }
    /// Requests of a host, and the Services that answer them.
    VirtualService {
        hosts: Vec<String>,
        #[serde(default)]
        gateways: Vec<String>,
        http: Vec<IstioRoute>,
    }
    /// Requests of one kind.
    IstioRoute { route: Vec<IstioDestination>, timeout: String }
    /// A Service, and its share of the requests.
    IstioDestination { destination: IstioHost, weight: i32 }
    /// A Service.
    IstioHost { host: String, port: IstioPort }
    /// A port of it.
    IstioPort { number: i32 }
    /// What Argo CD applies.
    Application { project: String, source: AppSource, destination: Value, sync_policy: Value }
    /// Where it is kept.
    AppSource {
        #[serde(rename = "repoURL")]
        repo_url: String,
        target_revision: String,
        path: String,
    }
    /// Where Flux reads.
    GitRepository { url: String, r#ref: Value, interval: String }
    /// What Flux applies.
    FluxKustomization {
        source_ref: SourceRef,
        path: String,
        interval: String,
        retry_interval: String,
        timeout: String,
        prune: bool,
        wait: bool,
        #[serde(default)]
        suspend: bool,
    }
    /// A GitRepository.
    SourceRef { kind: String, name: String }
    /// How Google's load balancer asks whether a pod is healthy.
    HealthCheckPolicy { default: HealthCheck, target_ref: PolicyTarget }
    /// How often, and what.
    HealthCheck {
        check_interval_sec: u64,
        timeout_sec: u64,
        healthy_threshold: u64,
        unhealthy_threshold: u64,
        config: HealthCheckConfig,
    }
    /// By which protocol.
    HealthCheckConfig { r#type: String, http_health_check: HttpHealthCheck }
    /// The port of the Service, and the path.
    HttpHealthCheck { port_specification: String, request_path: String }
    /// How Google's load balancer treats requests to a Service.
    GcpBackendPolicy { default: Value, target_ref: PolicyTarget }
    /// Who may not call, or may, within the mesh.
    AuthorizationPolicy { selector: LabelSelector, action: String, rules: Value }
    /// How Argo Rollouts brings in the pods of a Deployment.
    Rollout {
        workload_ref: WorkloadRef,
        min_ready_seconds: i32,
        progress_deadline_seconds: i32,
        progress_deadline_abort: bool,
        strategy: Value,
    }
    /// The Deployment, and when it loses its own pods.
    WorkloadRef { api_version: String, kind: String, name: String, scale_down: String }
    /// What Argo Rollouts asks of Prometheus.
    AnalysisTemplate { args: Value, metrics: Vec<Metric> }
    /// One question, and which answers are good.
    Metric {
        name: String,
        initial_delay: String,
        interval: String,
        count: u32,
        failure_limit: u32,
        success_condition: String,
        failure_condition: String,
        provider: Value,
    }
    /// How Flagger brings in the pods of a Deployment.
    Canary {
        provider: String,
        target_ref: TargetRef,
        autoscaler_ref: TargetRef,
        progress_deadline_seconds: i32,
        service: Value,
        analysis: Value,
    }
    /// What Flagger asks of Prometheus.
    MetricTemplate { provider: Value, query: String }
    /// A Service.
    PolicyTarget { group: String, kind: String, name: String }
}
