//! Names: labels, references, accounts, namespaces, and what must not stand in a ConfigMap.

use std::collections::BTreeSet;

use crate::{Rendered, custom::Custom};

/// The labels that every object carries.
const EVERY: &[&str] = &["app.kubernetes.io/name"];
/// Those that workloads carry besides, on themselves and on their pods.
const WORKLOAD: &[&str] = &[
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
];

/// The recommended labels; and what belongs to a second track carries its label, by which it is removed again.
pub(super) fn labels(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for (kind, metadata) in &rendered.every {
        let labels = metadata.labels.clone().unwrap_or_default();
        for key in EVERY.iter().filter(|key| !labels.contains_key(**key)) {
            faults.push(format!("{kind} {:?}: no label {key}", metadata.name));
        }
    }
    for workload in rendered.workloads() {
        let own = workload.deployment.metadata.labels.clone().unwrap_or_default();
        for key in WORKLOAD {
            if !own.contains_key(*key) || !workload.labels.contains_key(*key) {
                faults.push(format!("{}: no label {key}, on itself or on its pods", workload.name));
            }
        }
        let track = workload.label("track");
        for (kind, metadata) in rendered.every.iter().filter(|_| track != "stable") {
            let named = metadata.name.as_deref().is_some_and(|name| name.starts_with(workload.name));
            if named
                && metadata.labels.as_ref().and_then(|labels| labels.get("track")).is_none_or(|t| t != track)
            {
                faults.push(format!("{kind} {:?}: no label track={track}", metadata.name));
            }
        }
    }
    faults
}

/// What is named exists, or is made by an object that is here, or may be absent.
pub(super) fn references(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let mut secrets = BTreeSet::new();
    let mut certificates = BTreeSet::new();
    for custom in &rendered.custom {
        match custom {
            Custom::ExternalSecret(secret) => secrets.insert(secret.spec.target.name.as_str()),
            Custom::SealedSecret(secret) => secrets.insert(secret.spec.template.metadata.name.as_str()),
            Custom::Certificate(certificate) => certificates.insert(certificate.spec.secret_name.as_str()),
            _ => false,
        };
    }
    let made: BTreeSet<&str> = secrets.union(&certificates).copied().collect();
    let mut used = BTreeSet::new();
    let names = |kind: &str| -> BTreeSet<&str> {
        rendered.every.iter().filter(|(k, _)| k == kind).filter_map(|(_, m)| m.name.as_deref()).collect()
    };
    for workload in rendered.workloads() {
        let mut asked = BTreeSet::new();
        for from in workload.container.env_from.iter().flatten() {
            if let Some(map) = &from.config_map_ref
                && rendered.config_map(&map.name).is_none()
            {
                faults.push(format!("{}: no ConfigMap {}", workload.name, map.name));
            }
            if let Some(secret) = &from.secret_ref {
                asked.insert(secret.name.as_str());
                if secret.optional != Some(true) && !made.contains(secret.name.as_str()) {
                    faults.push(format!(
                        "{}: nothing makes the Secret {}, and it may not be absent",
                        workload.name, secret.name
                    ));
                }
            }
        }
        let mounted: BTreeSet<_> =
            workload.container.volume_mounts.iter().flatten().map(|mount| mount.name.as_str()).collect();
        let volumes: BTreeSet<_> =
            workload.pod.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
        for name in mounted.symmetric_difference(&volumes) {
            faults.push(format!("{}: volume {name} is not both declared and mounted", workload.name));
        }
        for secret in workload.pod.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref()) {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            asked.insert(name);
            if secret.optional != Some(true) && !made.contains(name) {
                faults.push(format!(
                    "{}: nothing makes the Secret {name}, and it may not be absent",
                    workload.name
                ));
            }
        }
        for secret in secrets.difference(&asked) {
            faults.push(format!("{}: does not read the Secret {secret} that is made", workload.name));
        }
        used.extend(asked);
        for variable in
            workload.container.env.iter().flatten().filter(|variable| variable.name.ends_with("_FILE"))
        {
            let value = variable.value.as_deref().unwrap_or_default();
            if !workload
                .container
                .volume_mounts
                .iter()
                .flatten()
                .any(|mount| value.starts_with(&mount.mount_path))
            {
                faults.push(format!("{}: nothing is mounted at {value}", workload.name));
            }
        }
    }
    let tls = rendered
        .ingresses
        .iter()
        .flat_map(|ingress| ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten()));
    used.extend(tls.filter_map(|tls| tls.secret_name.as_deref()));
    if !rendered.ingresses.is_empty() {
        for certificate in certificates.difference(&used) {
            faults.push(format!("Certificate: neither an Ingress nor a pod uses the Secret {certificate}"));
        }
    }
    let issuers = names("Issuer");
    let repositories = names("GitRepository");
    for custom in &rendered.custom {
        match custom {
            Custom::Certificate(certificate)
                if certificate.spec.issuer_ref.kind == "Issuer"
                    && !issuers.contains(certificate.spec.issuer_ref.name.as_str()) =>
            {
                faults.push(format!("Certificate: no Issuer {}", certificate.spec.issuer_ref.name));
            }
            Custom::FluxKustomization(flux) => {
                if !repositories.contains(flux.spec.source_ref.name.as_str()) {
                    faults.push(format!("Kustomization: no GitRepository {}", flux.spec.source_ref.name));
                }
                faults.extend(no_overlay(&flux.spec.path));
            }
            Custom::Application(application) => faults.extend(no_overlay(&application.spec.source.path)),
            _ => {}
        }
    }
    faults
}

fn no_overlay(path: &str) -> Option<String> {
    let overlay = path
        .trim_start_matches("./")
        .strip_prefix("k8s/")
        .map(|inner| crate::render::root().join(inner).join("kustomization.yaml"));
    (!overlay.is_some_and(|file| file.exists())).then(|| format!("no kustomization at {path}"))
}

/// An account of its own that exists, and no token, neither by the account nor by the pod.
pub(super) fn no_token(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for workload in rendered.workloads() {
        let name = workload.pod.service_account_name.as_deref().unwrap_or("default");
        match rendered.accounts.iter().find(|account| account.metadata.name.as_deref() == Some(name)) {
            None => faults.push(format!("{}: no ServiceAccount {name}", workload.name)),
            Some(account) if account.automount_service_account_token != Some(false) => {
                faults.push(format!("ServiceAccount {name}: hands out a token"))
            }
            Some(_) => {}
        }
        if workload.pod.automount_service_account_token != Some(false) {
            faults.push(format!("{}: mounts a token", workload.name));
        }
    }
    faults
}

/// Nothing in a ConfigMap, and no value in the environment, whose name says that it is secret.
pub(super) fn no_secret_in_config(rendered: &Rendered) -> Vec<String> {
    let secret = |name: &str| {
        let name = name.to_uppercase();
        !name.ends_with("_FILE")
            && ["TOKEN", "SECRET", "PASSWORD", "PRIVATE", "CREDENTIAL"].iter().any(|word| name.contains(word))
    };
    let mut faults = Vec::new();
    for map in &rendered.config_maps {
        for (key, _) in map.data.iter().flatten().filter(|(key, _)| secret(key)) {
            faults.push(format!("ConfigMap {:?}: {key} belongs in a Secret", map.metadata.name));
        }
    }
    for workload in rendered.workloads() {
        for variable in
            workload.container.env.iter().flatten().filter(|v| v.value.is_some() && secret(&v.name))
        {
            faults.push(format!("{}: {} belongs in a Secret", workload.name, variable.name));
        }
    }
    faults
}

/// Everything in one namespace, which is not `default`, and is called `…-local` if it is a developer's own and only then;
/// where the namespace itself is here, it enforces `restricted`.
pub(super) fn namespace(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for (kind, metadata) in rendered.every.iter().filter(|(kind, _)| kind != "Namespace") {
        match metadata.namespace.as_deref() {
            None | Some("default") => {
                faults.push(format!("{kind} {:?}: in no namespace of its own", metadata.name))
            }
            Some(name) => {
                used.insert(name);
            }
        }
    }
    if used.len() > 1 {
        faults.push(format!("several namespaces: {used:?}"));
    }
    let local = rendered.workloads().any(|workload| workload.local());
    for name in used.iter().filter(|name| name.ends_with("-local") != local) {
        faults.push(format!(
            "namespace {name}: what is local has one that ends in -local, and nothing else has"
        ));
    }
    for namespace in &rendered.namespaces {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        if !used.contains(name) {
            faults.push(format!("Namespace {name}: nothing is in it"));
        }
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        if labels.get("pod-security.kubernetes.io/enforce").map(String::as_str) != Some("restricted") {
            faults.push(format!("Namespace {name}: does not enforce restricted pod security"));
        }
    }
    faults
}

/// A Job may do what its Role says and no more: no wildcard, no Secret, and what it changes is named.
pub(super) fn least_rights(rendered: &Rendered) -> Vec<String> {
    let mut faults = Vec::new();
    for rule in rendered.roles.iter().flat_map(|role| role.rules.iter().flatten()) {
        let resources: Vec<_> = rule.resources.iter().flatten().map(String::as_str).collect();
        let mut words = resources.iter().copied().chain(rule.verbs.iter().map(String::as_str));
        if words.any(|word| ["*", "secrets", "deletecollection", "escalate", "bind"].contains(&word)) {
            faults.push(format!("Role: {:?} of {resources:?} is too much", rule.verbs));
        }
        let changes = rule.verbs.iter().any(|verb| ["update", "patch", "delete"].contains(&verb.as_str()));
        if changes && rule.resource_names.as_ref().is_none_or(Vec::is_empty) {
            faults.push(format!("Role: may change every one of {resources:?}"));
        }
    }
    for pod in rendered.jobs.iter().filter_map(|job| job.spec.as_ref()?.template.spec.as_ref()) {
        let account = pod.service_account_name.as_deref().unwrap_or("default");
        let bound = rendered.bindings.iter().any(|binding| {
            binding.subjects.iter().flatten().any(|subject| subject.name == account)
                && rendered
                    .roles
                    .iter()
                    .any(|role| role.metadata.name.as_ref() == Some(&binding.role_ref.name))
        });
        if !bound {
            faults.push(format!("ServiceAccount {account}: has no Role"));
        }
    }
    faults
}
