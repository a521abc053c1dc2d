//! What each rule has to catch.

use serde_json::json;

use crate::broken::Break;

const PRODUCTION: &str = "overlays/production";

/// The rule, the target, what is broken in it, and how.
pub(crate) const PROOFS: &[(&str, &str, &str, Break)] = &[
    ("restricted", PRODUCTION, "privilege escalation", |b| {
        b.container("/securityContext/allowPrivilegeEscalation", json!(true))
    }),
    ("restricted", PRODUCTION, "a capability kept", |b| {
        b.container("/securityContext/capabilities/drop", json!(["NET_RAW"]))
    }),
    ("restricted", PRODUCTION, "root allowed", |b| b.pod("/securityContext/runAsNonRoot", json!(false))),
    ("restricted", PRODUCTION, "no seccomp profile", |b| {
        b.cut("Deployment", "/spec/template/spec/securityContext/seccompProfile")
    }),
    ("restricted", PRODUCTION, "the node's network", |b| b.pod("/hostNetwork", json!(true))),
    ("restricted", PRODUCTION, "a directory of the node", |b| {
        b.pod("/volumes", json!([{"name": "logs", "hostPath": {"path": "/var/log"}}]));
    }),
    ("uid-above-10000", PRODUCTION, "a uid of the node", |b| {
        b.pod("/securityContext/runAsUser", json!(1000))
    }),
    ("uid-above-10000", PRODUCTION, "no gid", |b| {
        b.cut("Deployment", "/spec/template/spec/securityContext/runAsGroup")
    }),
    ("read-only-root", PRODUCTION, "a root that can be written", |b| {
        b.container("/securityContext/readOnlyRootFilesystem", json!(false))
    }),
    ("resources", PRODUCTION, "no memory limit", |b| {
        b.cut("Deployment", "/spec/template/spec/containers/0/resources/limits/memory")
    }),
    ("resources", PRODUCTION, "no request of ephemeral storage", |b| {
        b.cut("Deployment", "/spec/template/spec/containers/0/resources/requests/ephemeral-storage");
    }),
    ("resources", PRODUCTION, "a limit below its request", |b| {
        b.container("/resources/limits/memory", json!("64Mi"))
    }),
    ("resources", PRODUCTION, "a CPU limit", |b| b.container("/resources/limits/cpu", json!("1"))),
    ("fixed-image", PRODUCTION, "latest", |b| {
        b.container("/image", json!("registry.example.com/shop:latest"))
    }),
    ("fixed-image", PRODUCTION, "no tag, and a port that looks like one", |b| {
        b.container("/image", json!("localhost:5000/shop"))
    }),
    ("probes", PRODUCTION, "no liveness probe", |b| {
        b.cut("Deployment", "/spec/template/spec/containers/0/livenessProbe")
    }),
    ("probes", PRODUCTION, "readiness that asks for liveness", |b| {
        b.container("/readinessProbe/httpGet/path", json!("/livez"))
    }),
    ("probes", PRODUCTION, "a probe of the service's port", |b| {
        b.container("/livenessProbe/httpGet/port", json!("http"))
    }),
    ("probes", PRODUCTION, "a port that is not declared", |b| {
        b.cut("Deployment", "/spec/template/spec/containers/0/ports/1")
    }),
    ("hooks", PRODUCTION, "a preStop that needs a shell", |b| {
        b.container("/lifecycle", json!({"preStop": {"exec": {"command": ["sh", "-c", "sleep 10"]}}}));
    }),
    ("hooks", PRODUCTION, "a command that the image does not have", |b| {
        b.container("/command", json!(["/bin/sh"]))
    }),
    ("no-service-links", PRODUCTION, "links by default", |b| {
        b.cut("Deployment", "/spec/template/spec/enableServiceLinks")
    }),
    ("environment", PRODUCTION, "a variable set twice", |b| b.env("APP_LOG", "debug")),
    ("environment", PRODUCTION, "no drain delay", |b| {
        b.cut("Deployment", "/spec/template/spec/containers/0/env/1")
    }),
    ("environment", PRODUCTION, "the pod's name as a fixed value", |b| b.env("APP_POD_NAME", "pod")),
    ("spread", PRODUCTION, "no spread over zones", |b| {
        b.cut("Deployment", "/spec/template/spec/topologySpreadConstraints/0")
    }),
    ("spread", PRODUCTION, "old revisions counted", |b| {
        b.cut("Deployment", "/spec/template/spec/topologySpreadConstraints/1/matchLabelKeys");
    }),
    ("tracks-alike", "tests/canary", "one track without its file of secrets", |b| {
        b.cut("Deployment/canary", "/spec/template/spec/volumes");
    }),
    ("grace-covers-drain", PRODUCTION, "Kubernetes' own 30 s", |b| {
        b.cut("Deployment", "/spec/template/spec/terminationGracePeriodSeconds")
    }),
    ("grace-covers-drain", PRODUCTION, "a sum without a margin", |b| {
        b.pod("/terminationGracePeriodSeconds", json!(108));
        b.env("APP_TERMINATION_GRACE_PERIOD", "108s");
    }),
    ("grace-covers-drain", PRODUCTION, "a preStop that eats the margin", |b| {
        b.container("/lifecycle", json!({"preStop": {"sleep": {"seconds": 10}}}));
    }),
    ("grace-covers-drain", PRODUCTION, "two grace periods", |b| b.env("APP_TERMINATION_GRACE_PERIOD", "90s")),
    ("delay-covers-lag", PRODUCTION, "a delay shorter than kube-proxy's lag", |b| {
        b.env("APP_DRAIN_DELAY", "3s")
    }),
    ("delay-covers-lag", PRODUCTION, "a slow readiness probe", |b| {
        b.container("/readinessProbe/periodSeconds", json!(10))
    }),
    ("delay-covers-lag", "tests/aws", "a delay shorter than an ALB's lag", |b| {
        b.env("APP_DRAIN_DELAY", "20s")
    }),
    ("delay-covers-lag", "tests/aws", "an ALB that probes slowly", |b| {
        b.set(
            "Ingress",
            "/metadata/annotations/alb.ingress.kubernetes.io~1healthcheck-interval-seconds",
            json!("30"),
        );
    }),
    ("delay-covers-lag", "tests/aws", "an ALB that lets go late", |b| {
        b.cut("Ingress", "/metadata/annotations/alb.ingress.kubernetes.io~1target-group-attributes");
    }),
    ("timeout-covers-keep-alive", PRODUCTION, "a drain shorter than Traefik's keep-alive", |b| {
        b.env("APP_DRAIN_TIMEOUT", "65s")
    }),
    ("timeout-covers-keep-alive", "tests/aws", "idle connections closed before the ALB does", |b| {
        b.env("APP_IDLE_TIMEOUT", "60s")
    }),
    ("timeout-covers-keep-alive", PRODUCTION, "a request longer than the drain", |b| {
        b.set("ConfigMap", "/data/APP_REQUEST_TIMEOUT", json!("2m"));
    }),
    ("one-owner-of-replicas", PRODUCTION, "replicas beside the HPA", |b| {
        b.set("Deployment", "/spec/replicas", json!(3))
    }),
    ("one-owner-of-replicas", PRODUCTION, "neither", |b| b.drop("HorizontalPodAutoscaler")),
    ("autoscaler", PRODUCTION, "a target that does not exist", |b| {
        b.set("HorizontalPodAutoscaler", "/spec/scaleTargetRef/name", json!("landing"));
    }),
    ("autoscaler", PRODUCTION, "one pod", |b| {
        b.set("HorizontalPodAutoscaler", "/spec/minReplicas", json!(1))
    }),
    ("autoscaler", PRODUCTION, "bounds the wrong way round", |b| {
        b.set("HorizontalPodAutoscaler", "/spec/maxReplicas", json!(2))
    }),
    ("autoscaler", PRODUCTION, "no word on memory", |b| b.cut("HorizontalPodAutoscaler", "/spec/metrics/1")),
    ("autoscaler", PRODUCTION, "no behaviour on the way down", |b| {
        b.cut("HorizontalPodAutoscaler", "/spec/behavior/scaleDown")
    }),
    ("autoscaler", "tests/keda", "KEDA's target misspelt", |b| {
        b.set("ScaledObject", "/spec/scaleTargetRef/name", json!("landing"))
    }),
    ("autoscaler", "tests/keda", "KEDA counting another namespace's requests", |b| {
        b.set("ScaledObject", "/metadata/namespace", json!("another"));
    }),
    ("autoscaler", "tests/keda", "a VPA that acts", |b| {
        b.set("VerticalPodAutoscaler", "/spec/updatePolicy/updateMode", json!("Auto"))
    }),
    ("disruption-budget", PRODUCTION, "none", |b| b.drop("PodDisruptionBudget")),
    ("disruption-budget", PRODUCTION, "a budget that blocks every drain", |b| {
        b.set("PodDisruptionBudget", "/spec/maxUnavailable", json!(0))
    }),
    ("disruption-budget", PRODUCTION, "as many pods wanted as the HPA may leave", |b| {
        b.cut("PodDisruptionBudget", "/spec/maxUnavailable");
        b.set("PodDisruptionBudget", "/spec/minAvailable", json!(3));
    }),
    ("disruption-budget", PRODUCTION, "unready pods that block a drain", |b| {
        b.cut("PodDisruptionBudget", "/spec/unhealthyPodEvictionPolicy")
    }),
    ("disruption-budget", PRODUCTION, "a budget for other pods", |b| {
        b.set("PodDisruptionBudget", "/spec/selector/matchLabels", json!({"app": "landing"}));
    }),
    ("rollout-proceeds", PRODUCTION, "no surge", |b| {
        b.set("Deployment", "/spec/strategy/rollingUpdate/maxSurge", json!(0))
    }),
    ("rollout-proceeds", PRODUCTION, "pods taken away first", |b| {
        b.set("Deployment", "/spec/strategy/rollingUpdate/maxUnavailable", json!(1))
    }),
    ("rollout-proceeds", PRODUCTION, "everything stopped first", |b| {
        b.set("Deployment", "/spec/strategy", json!({"type": "Recreate"}))
    }),
    ("rollout-proceeds", PRODUCTION, "a deadline shorter than the start", |b| {
        b.set("Deployment", "/spec/progressDeadlineSeconds", json!(60))
    }),
    ("rollout-proceeds", PRODUCTION, "pods that count at once", |b| {
        b.cut("Deployment", "/spec/minReadySeconds")
    }),
    ("quota-has-room", "tests/canary", "room for the pods but not for those that drain", |b| {
        b.set("ResourceQuota", "/spec/hard/pods", json!("16"));
    }),
    ("quota-has-room", "tests/canary", "too little memory", |b| {
        b.set("ResourceQuota", "/spec/hard/limits.memory", json!("4Gi"))
    }),
    ("quota-has-room", "tests/canary", "a quota of what the pods do not state", |b| {
        b.set("ResourceQuota", "/spec/hard/limits.cpu", json!("10"));
    }),
    ("quota-has-room", "tests/canary", "a limit that the LimitRange refuses", |b| {
        b.set("LimitRange", "/spec/limits/0/max/memory", json!("128Mi"))
    }),
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
    ("routes", "tests/canary-istio", "a track without its Service", |b| b.drop("Service/canary")),
    ("public-host", PRODUCTION, "no ingress class", |b| b.cut("Ingress", "/spec/ingressClassName")),
    ("public-host", PRODUCTION, "every host", |b| b.cut("Ingress", "/spec/rules/0/host")),
    ("public-host", PRODUCTION, "a certificate for another host", |b| {
        b.set("Ingress", "/spec/tls/0/hosts", json!(["example.org"]))
    }),
    ("network-policy", PRODUCTION, "none", |b| b.drop("NetworkPolicy")),
    ("network-policy", PRODUCTION, "callers shut out", |b| b.cut("NetworkPolicy", "/spec/ingress/0")),
    ("network-policy", PRODUCTION, "monitoring shut out", |b| b.cut("NetworkPolicy", "/spec/ingress/1")),
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
    ("references", PRODUCTION, "a ConfigMap that does not exist", |b| b.drop("ConfigMap")),
    ("references", PRODUCTION, "a Secret that must exist and is not made", |b| {
        b.cut("Deployment", "/spec/template/spec/containers/0/envFrom/1/secretRef/optional")
    }),
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
    ("no-token", PRODUCTION, "an account that does not exist", |b| b.drop("ServiceAccount")),
    ("no-secret-in-config", PRODUCTION, "a token in the ConfigMap", |b| {
        b.set("ConfigMap", "/data/APP_API_TOKEN", json!("x"))
    }),
    ("no-secret-in-config", PRODUCTION, "a token in the environment", |b| b.env("APP_API_TOKEN", "x")),
    ("namespace", PRODUCTION, "the default namespace", |b| {
        b.set("Service", "/metadata/namespace", json!("default"))
    }),
    ("namespace", PRODUCTION, "a namespace that lets everything in", |b| {
        b.set("Namespace", "/metadata/labels/pod-security.kubernetes.io~1enforce", json!("baseline"));
    }),
];
