//! A pod by itself: security, resources, image, probes, environment.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::PodSpec,
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::progressive::rollout_of;
use crate::{Rendered, rendered::Workload, units::quantity};

fn each(rendered: &Rendered, check: impl Fn(&Workload<'_>, &mut Vec<String>)) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads() {
        let mut own = Vec::new();
        check(&workload, &mut own);
        faults.extend(own.into_iter().map(|fault| format!("{}: {fault}", workload.name)));
    }
    faults
}

/// Pod Security `restricted`, in full, also of a Job's pods.
pub(super) fn restricted(rendered: &Rendered) -> Vec<String> {
    let mut faults = each(rendered, |workload, faults| {
        restricted_pod(workload.pod, faults);
        for (name, probe) in workload.probes() {
            let host = probe
                .http_get
                .as_ref()
                .and_then(|get| get.host.as_ref())
                .or(probe.tcp_socket.as_ref().and_then(|tcp| tcp.host.as_ref()));
            if host.is_some() {
                faults.push(format!("{name} probe names a host"));
            }
        }
    });
    for pod in rendered.jobs.iter().filter_map(|job| job.spec.as_ref()?.template.spec.as_ref()) {
        restricted_pod(pod, &mut faults);
    }
    faults
}

fn restricted_pod(pod: &PodSpec, faults: &mut Vec<String>) {
    let mut refuse = |broken: bool, what: &str| {
        if broken {
            faults.push(what.to_owned());
        }
    };
    refuse(
        pod.host_network == Some(true) || pod.host_pid == Some(true) || pod.host_ipc == Some(true),
        "shares a namespace of the node",
    );
    for volume in pod.volumes.iter().flatten() {
        let allowed = volume.config_map.is_some()
            || volume.csi.is_some()
            || volume.downward_api.is_some()
            || volume.empty_dir.is_some()
            || volume.ephemeral.is_some()
            || volume.persistent_volume_claim.is_some()
            || volume.projected.is_some()
            || volume.secret.is_some();
        refuse(!allowed, &format!("volume {} is of a kind that restricted refuses", volume.name));
    }
    let of_pod = pod.security_context.clone().unwrap_or_default();
    refuse(of_pod.sysctls.is_some(), "sets sysctls");
    refuse(
        of_pod.se_linux_options.is_some() || of_pod.windows_options.is_some(),
        "sets SELinux or Windows options",
    );
    refuse(of_pod.app_armor_profile.is_some_and(|p| p.type_ == "Unconfined"), "is not confined by AppArmor");
    let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    for container in containers {
        let own = container.security_context.clone().unwrap_or_default();
        let capabilities = own.capabilities.clone().unwrap_or_default();
        refuse(own.privileged == Some(true), "is privileged");
        refuse(own.allow_privilege_escalation != Some(false), "allows privilege escalation");
        refuse(capabilities.drop != Some(vec!["ALL".to_owned()]), "does not drop ALL capabilities");
        refuse(
            capabilities.add.is_some_and(|add| add.iter().any(|c| c != "NET_BIND_SERVICE")),
            "adds capabilities",
        );
        refuse(own.proc_mount.is_some_and(|mount| mount != "Default"), "mounts an unmasked /proc");
        refuse(own.run_as_non_root.or(of_pod.run_as_non_root) != Some(true), "may run as root");
        refuse(own.run_as_user.or(of_pod.run_as_user) == Some(0), "runs as root");
        let seccomp = own.seccomp_profile.or(of_pod.seccomp_profile.clone()).map(|profile| profile.type_);
        refuse(!matches!(seccomp.as_deref(), Some("RuntimeDefault" | "Localhost")), "has no seccomp profile");
        refuse(
            container.ports.iter().flatten().any(|port| port.host_port.is_some_and(|p| p != 0)),
            "takes a port of the node",
        );
    }
}

/// uid and gid above 10000, so that they are nobody's on the node; none on OpenShift, which gives its own.
pub(super) fn ids(rendered: &Rendered) -> Vec<String> {
    each(rendered, |workload, faults| {
        let of_pod = workload.pod.security_context.clone().unwrap_or_default();
        let own = workload.container.security_context.clone().unwrap_or_default();
        for (what, id) in [
            ("uid", own.run_as_user.or(of_pod.run_as_user)),
            ("gid", own.run_as_group.or(of_pod.run_as_group)),
            ("group of volumes", of_pod.fs_group),
        ] {
            match id {
                Some(id) if workload.on_openshift() => {
                    faults.push(format!("{what} {id} is not the namespace's"))
                }
                None if workload.on_openshift() => {}
                Some(id) if id > 10_000 => {}
                _ => faults.push(format!("{what} {id:?} is not above 10000")),
            }
        }
    })
}

/// The root filesystem is read-only.
pub(super) fn read_only(rendered: &Rendered) -> Vec<String> {
    each(rendered, |workload, faults| {
        let own = workload.container.security_context.clone().unwrap_or_default();
        if own.read_only_root_filesystem != Some(true) {
            faults.push("the root filesystem can be written".to_owned());
        }
    })
}

/// Requests of CPU, memory and ephemeral storage; limits of the last two, no lower; no CPU limit
/// (docs/decisions.md).
pub(super) fn resources(rendered: &Rendered) -> Vec<String> {
    each(rendered, |workload, faults| {
        let resources = workload.container.resources.clone().unwrap_or_default();
        let requests = resources.requests.unwrap_or_default();
        let limits = resources.limits.unwrap_or_default();
        let amount = |of: Option<&Quantity>| of.and_then(|q| quantity(&q.0)).filter(|amount| *amount > 0);
        for name in ["cpu", "memory", "ephemeral-storage"] {
            let request = amount(requests.get(name));
            let limit = amount(limits.get(name));
            if request.is_none() {
                faults.push(format!("requests no {name}"));
            }
            match name {
                "cpu" if limits.contains_key(name) => faults.push("has a CPU limit".to_owned()),
                "cpu" => {}
                _ if limit.is_none() => faults.push(format!("has no limit of {name}")),
                _ if limit < request => faults.push(format!("its limit of {name} is below its request")),
                _ => {}
            }
        }
    })
}

/// A tag that is not `latest`, or a digest, of a name that has a port nowhere but in its registry.
pub(super) fn fixed_image(rendered: &Rendered) -> Vec<String> {
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    each(rendered, |workload, faults| {
        let image = workload.container.image.as_deref().unwrap_or_default();
        let (name, tag, digest) = image_parts(image);
        if tag == Some("latest") || (tag.is_none_or(str::is_empty) && digest.is_none()) {
            faults.push(format!("image {image} is not fixed to a tag"));
        }
        if tag.is_some_and(hex) || !digest.is_none_or(|d| d.strip_prefix("sha256:").is_some_and(hex)) {
            faults.push(format!("image {image}: its digest is not one"));
        }
        if name.split('/').skip(1).any(|part| part.contains(':')) {
            faults.push(format!("image {image}: a port in the middle of its name"));
        }
        if workload.container.image_pull_policy.is_none() {
            faults.push("says nothing about pulling its image".to_owned());
        }
    })
}

/// An image's name with its registry, its tag, its digest.
fn image_parts(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before the last slash belongs to the registry's port.
    let last = name.rfind('/').unwrap_or(0);
    match name[last..].split_once(':') {
        Some((own, tag)) => (&name[..last + own.len()], Some(tag), digest),
        None => (name, None, digest),
    }
}

/// Startup, readiness and liveness, each at its own path of a declared port, the admin port.
pub(super) fn probes(rendered: &Rendered) -> Vec<String> {
    each(rendered, |workload, faults| {
        let expected = [("startup", "/startupz"), ("readiness", "/readyz"), ("liveness", "/livez")];
        let probes = workload.probes();
        for (name, path) in expected {
            let Some((_, probe)) = probes.iter().find(|(found, _)| *found == name) else {
                faults.push(format!("has no {name} probe"));
                continue;
            };
            let Some(get) = &probe.http_get else {
                faults.push(format!("{name} probe is no HTTP GET"));
                continue;
            };
            if get.path.as_deref() != Some(path) {
                faults.push(format!("{name} probe asks {:?} and not {path}", get.path));
            }
            if get.port != IntOrString::String("admin".to_owned()) || workload.port(&get.port).is_none() {
                faults.push(format!("{name} probe asks port {:?}, not the declared port admin", get.port));
            }
            if probe.timeout_seconds.unwrap_or(1) > probe.period_seconds.unwrap_or(10).max(2) {
                faults.push(format!("{name} probe may take longer than its period"));
            }
        }
    })
}

/// Hooks that the image can run: it has no shell, and a preStop would hold back the SIGTERM that starts the
/// drain.
pub(super) fn hooks(rendered: &Rendered) -> Vec<String> {
    each(rendered, |workload, faults| {
        let lifecycle = workload.container.lifecycle.clone().unwrap_or_default();
        if lifecycle.pre_stop.is_some() {
            faults.push("has a preStop hook".to_owned());
        }
        for command in [
            lifecycle.post_start.and_then(|hook| hook.exec).and_then(|exec| exec.command),
            workload.container.command.clone(),
        ]
        .into_iter()
        .flatten()
        {
            if command.first().is_none_or(|program| program != "/service") {
                faults.push(format!("runs {command:?}, which the image does not have"));
            }
        }
    })
}

/// Kubernetes injects no variables named after Services.
pub(super) fn no_service_links(rendered: &Rendered) -> Vec<String> {
    each(rendered, |workload, faults| {
        if workload.pod.enable_service_links != Some(false) {
            faults.push("enableServiceLinks is not false".to_owned());
        }
    })
}

/// The variables that must be set, and from which field of the pod or of its container when they are its own.
const REQUIRED: &[(&str, Option<&str>)] = &[
    ("APP_TERMINATION_GRACE_PERIOD", None),
    ("APP_DRAIN_DELAY", None),
    ("APP_DRAIN_TIMEOUT", None),
    ("APP_FLUSH_TIMEOUT", None),
    ("APP_IDLE_TIMEOUT", None),
    ("APP_CPU_REQUEST", Some("requests.cpu")),
    ("APP_POD_NAME", Some("metadata.name")),
    ("APP_POD_NAMESPACE", Some("metadata.namespace")),
    ("APP_NODE_NAME", Some("spec.nodeName")),
];

/// Each variable set once, the required ones present, the pod's own from the right field.
pub(super) fn environment(rendered: &Rendered) -> Vec<String> {
    each(rendered, |workload, faults| {
        let mut seen = BTreeSet::new();
        let of_maps = workload
            .container
            .env_from
            .iter()
            .flatten()
            .filter_map(|from| rendered.config_map(&from.config_map_ref.as_ref()?.name));
        let keys = of_maps.flat_map(|map| map.data.iter().flatten().map(|(key, _)| key.as_str()));
        let names = workload.container.env.iter().flatten().map(|variable| variable.name.as_str());
        for name in keys.chain(names) {
            if !seen.insert(name) {
                faults.push(format!("{name} is set twice"));
            }
        }
        for (name, field) in REQUIRED {
            if !seen.contains(name) {
                faults.push(format!("{name} is not set"));
            }
            let source = workload
                .container
                .env
                .iter()
                .flatten()
                .find(|variable| variable.name == *name)
                .and_then(|variable| variable.value_from.as_ref());
            let found = source.and_then(|from| match &from.resource_field_ref {
                Some(field) => Some(field.resource.as_str()),
                None => from.field_ref.as_ref().map(|field| field.field_path.as_str()),
            });
            if found != *field {
                faults.push(format!("{name} comes from {found:?} and not from {field:?}"));
            }
        }
    })
}

/// Spread over zones and over nodes, each revision by itself.
pub(super) fn spread(rendered: &Rendered) -> Vec<String> {
    each(rendered, |workload, faults| {
        for key in ["topology.kubernetes.io/zone", "kubernetes.io/hostname"] {
            let Some(constraint) =
                workload.pod.topology_spread_constraints.iter().flatten().find(|c| c.topology_key == key)
            else {
                faults.push(format!("is not spread by {key}"));
                continue;
            };
            // Argo Rollouts has a label of its own for its revisions.
            let revision = match rollout_of(rendered, workload.name) {
                Some(_) => "rollouts-pod-template-hash",
                None => "pod-template-hash",
            };
            if constraint.match_label_keys != Some(vec![revision.to_owned()]) {
                faults.push(format!("spread by {key} counts the pods of an old revision"));
            }
            if constraint
                .label_selector
                .as_ref()
                .is_none_or(|selector| !crate::rendered::selects(selector, &workload.labels))
            {
                faults.push(format!("spread by {key} does not count its own pods"));
            }
        }
    })
}

/// Two tracks differ in their names, in the tag of their image and in their ConfigMap: a component that one of them missed
/// is a difference.
pub(super) fn alike(rendered: &Rendered) -> Vec<String> {
    let bare = |workload: &Workload<'_>| {
        let mut template = workload.deployment.spec.clone().unwrap_or_default().template;
        if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
            labels.retain(|key, _| key != "track" && key != "app.kubernetes.io/instance");
        }
        // Each reads a ConfigMap of its own.
        let containers = template.spec.iter_mut().flat_map(|pod| &mut pod.containers);
        for from in containers.flat_map(|container| container.env_from.iter_mut().flatten()) {
            from.config_map_ref.iter_mut().for_each(|map| map.name.clear());
        }
        if let Some(container) = template.spec.as_mut().and_then(|pod| pod.containers.first_mut()) {
            container.image = container.image.take().map(|image| image_parts(&image).0.to_owned());
        }
        template
    };
    let all: Vec<_> = rendered.workloads().collect();
    all.windows(2)
        .filter(|pair| bare(&pair[0]) != bare(&pair[1]))
        .map(|pair| format!("{} and {} differ in more than their tag", pair[0].name, pair[1].name))
        .collect()
}
