//! What each rule on pods, durations and their number has to catch.

use serde_json::json;

use crate::broken::Break;

pub(crate) const PRODUCTION: &str = "overlays/production";

/// The rule, the target, what is broken in it, and how.
pub(crate) const PODS: &[(&str, &str, &str, Break)] = &[
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
    ("restricted", PRODUCTION, "SELinux options", |b| b.pod("/securityContext/seLinuxOptions", json!({}))),
    ("restricted", PRODUCTION, "Windows options", |b| b.pod("/securityContext/windowsOptions", json!({}))),
    ("restricted", PRODUCTION, "no AppArmor", |b| {
        b.pod("/securityContext/appArmorProfile", json!({"type": "Unconfined"}))
    }),
    ("restricted", PRODUCTION, "a capability added", |b| {
        b.container("/securityContext/capabilities/add", json!(["SYS_ADMIN"]))
    }),
    ("restricted", PRODUCTION, "an unmasked /proc", |b| {
        b.container("/securityContext/procMount", json!("Unmasked"))
    }),
    ("restricted", PRODUCTION, "a port of the node", |b| b.container("/ports/0/hostPort", json!(8080))),
    ("uid-above-10000", PRODUCTION, "a uid of the node", |b| {
        b.pod("/securityContext/runAsUser", json!(1000))
    }),
    ("uid-above-10000", PRODUCTION, "10000 itself", |b| b.pod("/securityContext/runAsUser", json!(10_000))),
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
    ("resources", PRODUCTION, "a request of nothing", |b| b.container("/resources/requests/cpu", json!("0"))),
    ("resources", PRODUCTION, "a CPU limit", |b| b.container("/resources/limits/cpu", json!("1"))),
    ("fixed-image", PRODUCTION, "latest", |b| {
        b.container("/image", json!("registry.example.com/shop:latest"))
    }),
    ("fixed-image", PRODUCTION, "no tag, and a port that looks like one", |b| {
        b.container("/image", json!("localhost:5000/shop"))
    }),
    ("fixed-image", PRODUCTION, "a digest that became a tag", |b| {
        b.container("/image", json!(format!("registry.example.com/shop:{}", "9f86d081".repeat(8))))
    }),
    ("fixed-image", PRODUCTION, "a digest cut short", |b| {
        b.container("/image", json!("registry.example.com/shop@sha256:9f86d081"))
    }),
    ("fixed-image", PRODUCTION, "a registry with a port, written over", |b| {
        b.container("/image", json!("registry.example.com/shop:5000/shop:0.1.0"))
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
    ("environment", PRODUCTION, "a CPU request as a fixed value", |b| b.env("APP_CPU_REQUEST", "1")),
    ("environment", PRODUCTION, "the pod's name as a fixed value", |b| b.env("APP_POD_NAME", "pod")),
    ("spread", PRODUCTION, "no spread over zones", |b| {
        b.cut("Deployment", "/spec/template/spec/topologySpreadConstraints/0")
    }),
    ("spread", PRODUCTION, "a spread over racks in place of zones", |b| {
        b.pod("/topologySpreadConstraints/0/topologyKey", json!("example.com/rack"))
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
    ("delay-covers-lag", PRODUCTION, "a readiness probe that forgives much", |b| {
        b.container("/readinessProbe/failureThreshold", json!(3))
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
    ("delay-covers-lag", "tests/aws", "an ALB that forgives much", |b| {
        b.set(
            "Ingress",
            "/metadata/annotations/alb.ingress.kubernetes.io~1unhealthy-threshold-count",
            json!("9"),
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
    ("one-owner-of-replicas", PRODUCTION, "two HPAs", |b| {
        let again = b.object("HorizontalPodAutoscaler").clone();
        b.0.push(again);
    }),
    ("one-owner-of-replicas", "tests/keda", "an HPA beside KEDA", |b| {
        let target = b.object("Deployment")["metadata"]["name"].clone();
        b.0.push(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "shop"},
            "spec": {"maxReplicas": 6, "scaleTargetRef": {"kind": "Deployment", "name": target}},
        }));
    }),
    ("one-owner-of-replicas", "tests/keda", "KEDA that scales another", |b| {
        b.set("ScaledObject", "/spec/scaleTargetRef/name", json!("landing"))
    }),
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
    ("autoscaler", PRODUCTION, "another resource in the place of memory", |b| {
        b.set("HorizontalPodAutoscaler", "/spec/metrics/1/resource/name", json!("storage"))
    }),
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
    ("disruption-budget", "tests/canary", "one budget over both tracks", |b| {
        b.cut("PodDisruptionBudget", "/spec/selector/matchLabels/track");
        b.drop("PodDisruptionBudget/canary");
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
    ("rollout-proceeds", PRODUCTION, "a start that may take longer than the deadline", |b| {
        b.container("/startupProbe/periodSeconds", json!(10))
    }),
    ("rollout-proceeds", PRODUCTION, "pods that count at once", |b| {
        b.cut("Deployment", "/spec/minReadySeconds")
    }),
    ("quota-has-room", "tests/canary", "room for the pods but not for those that drain", |b| {
        b.set("ResourceQuota", "/spec/hard/pods", json!("16"));
    }),
    ("quota-has-room", "tests/canary", "room for all pods but one", |b| {
        b.set("ResourceQuota", "/spec/hard/pods", json!("27"));
    }),
    ("quota-has-room", "tests/canary", "too little memory", |b| {
        b.set("ResourceQuota", "/spec/hard/limits.memory", json!("6Gi"))
    }),
    ("quota-has-room", "tests/canary", "a quota of what the pods do not state", |b| {
        b.set("ResourceQuota", "/spec/hard/limits.cpu", json!("10"));
    }),
    ("quota-has-room", "tests/canary", "a limit that the LimitRange refuses", |b| {
        b.set("LimitRange", "/spec/limits/0/max/memory", json!("128Mi"))
    }),
];
