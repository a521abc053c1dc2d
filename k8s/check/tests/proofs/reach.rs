//! What each rule on who reaches whom, on tracks and on names has to catch.

use serde_json::{Value, json};

use crate::{broken::Break, table::PRODUCTION};

/// Nodes that must have a label of this name.
pub(crate) fn requires(label: &str) -> Value {
    let term = json!({"matchExpressions": [{"key": label, "operator": "In", "values": ["amd64"]}]});
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}})
}

/// As [`crate::table::PODS`].
pub(crate) const REACH: &[(&str, &str, &str, Break)] = &[
    ("service-selects", PRODUCTION, "a selector for nobody", |b| {
        b.set("Service", "/spec/selector", json!({"app": "shop"}))
    }),
    ("service-selects", PRODUCTION, "a port that the pods do not have", |b| {
        b.set("Service", "/spec/ports/0/targetPort", json!("web"))
    }),
    ("service-selects", PRODUCTION, "the admin port for everyone", |b| {
        b.set("Service", "/spec/ports/0/targetPort", json!("admin"))
    }),
    ("service-selects", PRODUCTION, "a node's port in production", |b| {
        b.set("Service", "/spec/type", json!("NodePort"))
    }),
    ("service-selects", PRODUCTION, "pods without a Service", |b| b.drop("Service")),
    ("selectors-disjoint", "tests/canary", "a Deployment that takes the canary's pods", |b| {
        b.cut("Deployment", "/spec/selector/matchLabels/track");
    }),
    ("routes", PRODUCTION, "a Service that does not exist", |b| {
        b.set("Ingress", "/spec/rules/0/http/paths/0/backend/service/name", json!("landing"));
    }),
    ("routes", PRODUCTION, "a port that the Service does not have", |b| {
        b.set("Ingress", "/spec/rules/0/http/paths/0/backend/service/port/name", json!("web"));
    }),
    ("routes", "tests/gateway-api", "a port that the Service does not have", |b| {
        b.set("HTTPRoute", "/spec/rules/1/backendRefs/0/port", json!(8080));
    }),
    ("routes", "tests/canary-gateway-api", "weights that make 110", |b| {
        b.set("HTTPRoute", "/spec/rules/0/backendRefs/1/weight", json!(10));
    }),
    ("routes", "tests/canary-istio", "a port that the Service does not have", |b| {
        b.set("VirtualService", "/spec/http/0/route/1/destination/port/number", json!(8080));
    }),
    ("routes", "tests/canary-istio", "weights that make 110", |b| {
        b.set("VirtualService", "/spec/http/0/route/1/weight", json!(10));
    }),
    ("routes", "tests/canary-istio", "a track without its Service", |b| b.drop("Service/canary")),
    ("alb", "tests/aws", "a namespace that came after the component", |b| {
        b.cut("Namespace", "/metadata/labels/elbv2.k8s.aws~1pod-readiness-gate-inject")
    }),
    ("alb", "tests/blue-green", "two colours", |b| {
        b.set("Ingress", "/spec/ingressClassName", json!("alb"));
        b.set("Namespace", "/metadata/labels/elbv2.k8s.aws~1pod-readiness-gate-inject", json!("enabled"));
    }),
    ("alb", "tests/traefik-tls", "a certificate in a Secret", |b| {
        b.set("Ingress", "/spec/ingressClassName", json!("alb"));
        b.set("Namespace", "/metadata/labels/elbv2.k8s.aws~1pod-readiness-gate-inject", json!("enabled"));
    }),
    ("config-per-track", "tests/blue-green", "a ConfigMap for both colours", |b| {
        let shared = b.object("Deployment").pointer("/spec/template/spec/containers/0/envFrom").cloned();
        b.set("Deployment/green", "/spec/template/spec/containers/0/envFrom", json!(shared));
    }),
    ("service-names-track", PRODUCTION, "a colour that joins is live at once", |b| {
        b.cut("Service", "/spec/selector/track")
    }),
    ("service-names-track", "tests/blue-green", "both colours live", |b| {
        b.cut("Service", "/spec/selector/track")
    }),
    ("service-names-track", "tests/canary-istio", "a canary beside its weight", |b| {
        b.cut("Service", "/spec/selector/track")
    }),
    ("service-names-track", "tests/canary-gateway-api", "a canary beside its weight", |b| {
        b.cut("Service", "/spec/selector/track")
    }),
    ("weights-decide", "tests/canary-istio", "weights for callers inside the mesh alone", |b| {
        b.cut("VirtualService", "/spec/gateways/1")
    }),
    ("weights-decide", "tests/canary-istio", "an Ingress past the weights", |b| {
        b.0.push(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop"}}),
        )
    }),
    ("weights-decide", "tests/canary-gateway-api", "a route that is not weighed", |b| {
        b.cut("HTTPRoute", "/spec/rules/0/backendRefs/1")
    }),
    ("public-host", PRODUCTION, "no ingress class", |b| b.cut("Ingress", "/spec/ingressClassName")),
    ("public-host", PRODUCTION, "every host", |b| b.cut("Ingress", "/spec/rules/0/host")),
    ("public-host", PRODUCTION, "a certificate for another host", |b| {
        b.set("Ingress", "/spec/tls/0/hosts", json!(["example.org"]))
    }),
    ("public-host", PRODUCTION, "a route beside the Ingress", |b| {
        b.0.push(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "shop"},
            "spec": {"parentRefs": [], "hostnames": [], "rules": []},
        }))
    }),
    ("network-policy", PRODUCTION, "none", |b| b.drop("NetworkPolicy")),
    ("network-policy", PRODUCTION, "callers shut out", |b| b.cut("NetworkPolicy", "/spec/ingress/0")),
    ("network-policy", PRODUCTION, "monitoring shut out", |b| b.cut("NetworkPolicy", "/spec/ingress/1")),
    ("network-policy", PRODUCTION, "the admin port for pods beside it and not for monitoring", |b| {
        b.set("NetworkPolicy", "/spec/ingress/1/from/0", json!({"podSelector": {}}))
    }),
    ("network-policy", PRODUCTION, "the admin port for everyone", |b| {
        b.set(
            "NetworkPolicy",
            "/spec/ingress/-",
            json!({"from": [{"namespaceSelector": {}}], "ports": [{"port": 9090}]}),
        );
    }),
    ("network-policy", PRODUCTION, "no DNS over TCP", |b| b.cut("NetworkPolicy", "/spec/egress/0/ports/1")),
    ("network-policy", PRODUCTION, "calls to anyone", |b| {
        b.set("NetworkPolicy", "/spec/egress/-", json!({}))
    }),
    ("network-policy", PRODUCTION, "calls to anyone, on one port", |b| {
        b.set("NetworkPolicy", "/spec/egress/-", json!({"ports": [{"port": 443}]}))
    }),
    ("network-policy", PRODUCTION, "calls to a namespace, on every port", |b| {
        b.set("NetworkPolicy", "/spec/egress/-", json!({"to": [{"namespaceSelector": {}}]}))
    }),
    ("network-policy", PRODUCTION, "egress not isolated", |b| b.cut("NetworkPolicy", "/spec/policyTypes/1")),
    ("network-policy", "tests/aws", "the load balancer shut out", |b| {
        b.cut("NetworkPolicy", "/spec/ingress/2")
    }),
    ("network-policy", "overlays/local", "the node port shut out", |b| {
        b.cut("NetworkPolicy", "/spec/ingress/2")
    }),
    ("scrape", "tests/aws", "a port that the pods do not have", |b| {
        b.set("PodMonitor", "/spec/podMetricsEndpoints/0/port", json!("metrics"))
    }),
    ("scrape", "tests/keda", "scrapes that miss a drain", |b| {
        b.set("PodMonitor", "/spec/podMetricsEndpoints/0/interval", json!("15s"))
    }),
    ("scrape", "tests/aws", "other pods", |b| {
        b.set("PodMonitor", "/spec/selector/matchLabels", json!({"app": "landing"}))
    }),
    ("labels", PRODUCTION, "a Service without its name", |b| {
        b.cut("Service", "/metadata/labels/app.kubernetes.io~1name")
    }),
    ("labels", PRODUCTION, "pods without their part", |b| {
        b.cut("Deployment", "/spec/template/metadata/labels/app.kubernetes.io~1part-of");
    }),
    ("labels", "tests/canary-istio", "a canary's object that would be left behind", |b| {
        b.cut("VirtualService", "/metadata/labels/track")
    }),
    ("references", PRODUCTION, "a ConfigMap that does not exist", |b| b.drop("ConfigMap")),
    ("references", PRODUCTION, "a Secret that must exist and is not made", |b| {
        b.cut("Deployment", "/spec/template/spec/containers/0/envFrom/1/secretRef/optional")
    }),
    ("references", PRODUCTION, "a mounted Secret that must exist and is not made", |b| {
        b.pod("/volumes", json!([{"name": "tls", "secret": {"secretName": "tls"}}]));
        b.container("/volumeMounts", json!([{"name": "tls", "mountPath": "/etc/service/tls"}]));
    }),
    ("references", "tests/traefik-tls", "an issuer that does not exist", |b| b.drop("Issuer")),
    ("references", "tests/traefik-tls", "a sealed Secret of another name", |b| {
        b.set("SealedSecret", "/spec/template/metadata/name", json!("landing"));
    }),
    ("references", "tests/traefik-tls", "a certificate that the Ingress does not use", |b| {
        b.set("Certificate", "/spec/secretName", json!("other"))
    }),
    ("references", "tests/traefik-tls", "a file where nothing is mounted", |b| {
        b.env("APP_API_TOKEN_FILE", "/run/secrets/token")
    }),
    ("references", "gitops/flux", "an overlay that does not exist", |b| {
        b.set("Kustomization/dev", "/spec/path", json!("./k8s/overlays/test"))
    }),
    ("references", "gitops/argo-cd", "an overlay that does not exist", |b| {
        b.set("Application/dev", "/spec/source/path", json!("k8s/overlays/test"));
    }),
    ("no-token", PRODUCTION, "a token in the pod", |b| {
        b.cut("Deployment", "/spec/template/spec/automountServiceAccountToken")
    }),
    ("no-token", PRODUCTION, "a token of the account", |b| {
        b.cut("ServiceAccount", "/automountServiceAccountToken")
    }),
    ("no-token", PRODUCTION, "an account that does not exist", |b| b.drop("ServiceAccount")),
    ("no-secret-in-config", PRODUCTION, "a token in the ConfigMap", |b| {
        b.set("ConfigMap", "/data/APP_API_TOKEN", json!("x"))
    }),
    ("no-secret-in-config", PRODUCTION, "a token in the environment", |b| b.env("APP_API_TOKEN", "x")),
    ("namespace", "overlays/local", "a developer's pods in production's namespace", |b| {
        for object in &mut b.0 {
            object["metadata"]["namespace"] = json!("shop");
        }
        b.set("Namespace", "/metadata/name", json!("shop"));
    }),
    ("namespace", PRODUCTION, "the default namespace", |b| {
        b.set("Service", "/metadata/namespace", json!("default"))
    }),
    ("namespace", PRODUCTION, "two namespaces", |b| b.set("Service", "/metadata/namespace", json!("other"))),
    ("namespace", PRODUCTION, "a namespace that lets everything in", |b| {
        b.set("Namespace", "/metadata/labels/pod-security.kubernetes.io~1enforce", json!("baseline"));
    }),
    ("gateway", "tests/gateway-api", "every listener", |b| {
        b.cut("HTTPRoute", "/spec/parentRefs/0/sectionName")
    }),
    ("gateway", "tests/gke", "timeouts, which GKE refuses", |b| {
        b.set("HTTPRoute", "/spec/rules/1/timeouts", json!({"request": "15s"}))
    }),
    ("gateway", "tests/gke", "a Service without a health check", |b| b.drop("HealthCheckPolicy")),
    ("platform-network", "tests/gke", "no DNS of the metadata server", |b| {
        b.cut("NetworkPolicy", "/spec/egress/1/ports/0")
    }),
    ("network-policy", "tests/gke", "the load balancer shut out", |b| {
        b.cut("NetworkPolicy", "/spec/ingress/2")
    }),
    ("delay-covers-lag", "tests/gke", "a health check that fails late", |b| {
        b.set("HealthCheckPolicy", "/spec/default/unhealthyThreshold", json!(10))
    }),
    ("timeout-covers-keep-alive", "tests/gke", "idle connections closed before Google does", |b| {
        b.env("APP_IDLE_TIMEOUT", "105s")
    }),
    ("config-outlives-rollout", PRODUCTION, "a ConfigMap that Flux prunes", |b| {
        b.cut("ConfigMap", "/metadata/annotations/kustomize.toolkit.fluxcd.io~1prune")
    }),
    ("server-side-diff", "gitops/argo-cd", "a difference that is none", |b| {
        b.cut("Application/staging", "/metadata/annotations/argocd.argoproj.io~1compare-options")
    }),
    ("quota-has-room", "tests/canary-istio", "sidecars forgotten", |b| {
        b.set("ResourceQuota", "/spec/hard/limits.memory", json!("8Gi"))
    }),
    ("quota-has-room", "tests/canary", "a second container forgotten", |b| {
        b.pod(
            "/initContainers",
            json!([{"name": "proxy", "restartPolicy": "Always", "image": "proxy:1", "resources": {
                "requests": {"cpu": "1", "memory": "64Mi", "ephemeral-storage": "1Mi"},
                "limits": {"memory": "64Mi", "ephemeral-storage": "1Mi"},
            }}]),
        );
    }),
    ("quota-has-room", "tests/canary-istio", "sidecars that state nothing", |b| {
        b.set("ResourceQuota", "/spec/hard/limits.memory", json!("34Gi"))
    }),
    ("autoscaler", "tests/keda", "KEDA shut out by the HPA that is there", |b| {
        b.cut("ScaledObject", "/metadata/annotations/scaledobject.keda.sh~1transfer-hpa-ownership")
    }),
    ("autoscaler", "tests/keda", "KEDA's own HPA beside the one that is there", |b| {
        b.set("ScaledObject", "/spec/advanced/horizontalPodAutoscalerConfig/name", json!("keda-hpa"))
    }),
    ("uid-above-10000", "tests/openshift", "a uid that OpenShift refuses", |b| {
        b.pod("/securityContext/runAsUser", json!(10001))
    }),
    ("uid-above-10000", "tests/openshift", "a group of volumes that OpenShift refuses", |b| {
        b.pod("/securityContext/fsGroup", json!(10001))
    }),
    ("platform-network", "tests/openshift", "DNS that has another port", |b| {
        b.set("NetworkPolicy", "/spec/egress/1/ports/0/port", json!(53));
    }),
    ("platform-network", "tests/openshift", "DNS in another namespace", |b| {
        b.set(
            "NetworkPolicy",
            "/spec/egress/1/to/0/namespaceSelector/matchLabels",
            json!({"kubernetes.io/metadata.name": "dns"}),
        );
    }),
    ("platform-network", "tests/ambient", "the mesh shut out", |b| b.cut("NetworkPolicy", "/spec/ingress/2")),
    ("platform-network", "tests/ambient", "probes shut out", |b| b.cut("NetworkPolicy", "/spec/ingress/3")),
    ("platform-network", "tests/ambient", "calls into the mesh shut off", |b| {
        b.cut("NetworkPolicy", "/spec/egress/1")
    }),
    ("platform-network", "tests/ambient", "the admin port for the whole mesh", |b| {
        b.drop("AuthorizationPolicy")
    }),
    ("platform-network", "tests/ambient", "the admin port open to some of the mesh", |b| {
        b.set("AuthorizationPolicy", "/spec/action", json!("ALLOW"))
    }),
    ("platform-network", "tests/ambient", "the admin port of other pods shut", |b| {
        b.set("AuthorizationPolicy", "/spec/selector/matchLabels", json!({"app": "landing"}))
    }),
    ("platform-network", "tests/ambient", "another port shut", |b| {
        b.set("AuthorizationPolicy", "/spec/rules/0/to/0/operation/ports/0", json!("8080"))
    }),
    ("architecture", PRODUCTION, "nodes of every kind", |b| {
        b.cut("Deployment", "/spec/template/spec/nodeSelector")
    }),
    ("architecture", PRODUCTION, "nodes chosen by something else", |b| {
        b.cut("Deployment", "/spec/template/spec/nodeSelector");
        b.pod("/affinity", requires("kubernetes.io/os"));
    }),
    ("progressive-delivery", "tests/argo-rollouts", "a Deployment that does not exist", |b| {
        b.set("Rollout", "/spec/workloadRef/name", json!("landing"))
    }),
    ("progressive-delivery", "tests/argo-rollouts", "an analysis that does not exist", |b| {
        b.drop("AnalysisTemplate")
    }),
    ("progressive-delivery", "tests/argo-rollouts", "no look at the metrics", |b| {
        b.set("Rollout", "/spec/strategy/canary/steps", json!([{"setWeight": 50}]))
    }),
    ("progressive-delivery", "tests/argo-rollouts", "pods taken away first", |b| {
        b.cut("Rollout", "/spec/strategy/canary/maxUnavailable")
    }),
    ("progressive-delivery", "tests/argo-rollouts", "the requests of every namespace", |b| {
        b.set(
            "AnalysisTemplate",
            "/spec/metrics/0/provider/prometheus/query",
            json!("sum(rate(http_server_request_duration_seconds_count{job=\"shop\", pod=~\"x\"}[2m]))"),
        );
    }),
    ("progressive-delivery", "tests/argo-rollouts-blue-green", "no Service to look through", |b| {
        b.drop("Service/preview")
    }),
    ("autoscaler", "tests/argo-rollouts", "an HPA of the Deployment that Argo empties", |b| {
        b.set("HorizontalPodAutoscaler", "/spec/scaleTargetRef/kind", json!("Deployment"));
        b.set("HorizontalPodAutoscaler", "/spec/scaleTargetRef/apiVersion", json!("apps/v1"));
    }),
    ("autoscaler", "tests/argo-rollouts", "a Rollout of other pods", |b| {
        b.set("Rollout", "/spec/workloadRef/name", json!("landing"))
    }),
    ("spread", "tests/argo-rollouts", "old revisions counted", |b| {
        b.pod("/topologySpreadConstraints/0/matchLabelKeys/0", json!("pod-template-hash"))
    }),
    ("progressive-delivery", "tests/flagger", "metrics of nothing", |b| b.drop("MetricTemplate/latency")),
    ("progressive-delivery", "tests/flagger", "the requests of every namespace", |b| {
        b.set("MetricTemplate", "/spec/query", json!("sum(rate(x{job=\"shop\", pod=~\"x\"}[2m]))"))
    }),
    ("progressive-delivery", "tests/flagger", "an HPA that does not exist", |b| {
        b.set("Canary", "/spec/autoscalerRef/name", json!("landing"))
    }),
    ("progressive-delivery", "tests/flagger", "the pods that serve, open to all", |b| {
        b.set("NetworkPolicy", "/spec/podSelector/matchLabels", json!({"app.kubernetes.io/name": "landing"}));
    }),
    ("progressive-delivery", "tests/flagger", "the pods that serve without a budget", |b| {
        b.drop("PodDisruptionBudget/primary")
    }),
    ("progressive-delivery", "tests/flagger", "the pods that serve under another job", |b| {
        b.set("PodMonitor", "/spec/jobLabel", json!("app.kubernetes.io/name"))
    }),
    ("least-rights", "rollout-test", "every Deployment", |b| b.cut("Role", "/rules/0/resourceNames")),
    ("least-rights", "rollout-test", "whatever there is", |b| b.set("Role", "/rules/1/verbs", json!(["*"]))),
    ("least-rights", "rollout-test", "a Role for another account", |b| {
        b.set("RoleBinding", "/subjects/0/name", json!("other"))
    }),
    ("least-rights", "rollout-test", "an account without its Role", |b| b.drop("RoleBinding")),
    ("restricted", "rollout-test", "a Job as root", |b| {
        b.set("Job", "/spec/template/spec/securityContext/runAsNonRoot", json!(false))
    }),
];
