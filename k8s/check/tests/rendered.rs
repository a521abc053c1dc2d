//! Everything that is meant to be applied renders, fits its schemas, and breaks no rule.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
};

use manifests::{
    Rendered,
    render::{kustomize, targets},
    rules::RULES,
    schema::{self, Crds},
};

/// What stays undone without schemas; the fields that the crate's own types know are checked all the same,
/// below.
const NO_SCHEMAS: &str = "\n\
    NOTE: CRD_SCHEMAS is not set, so custom resources are checked only structurally: kind, version, and the fields that\n\
    NOTE: manifests::custom knows. Set it to a directory of CustomResourceDefinitions to check every field.";

/// Kinds whose schemas are in no release that one could copy: the first check has to do for them.
const UNPUBLISHED: &[&str] =
    &["HealthCheckPolicy", "GCPBackendPolicy", "AuthorizationPolicy", "MetricTemplate"];

#[test]
fn every_target_fits_the_schemas_of_its_kinds() {
    let mut faults = Vec::new();
    for target in targets() {
        let objects = kustomize(&target).unwrap();
        assert!(!objects.is_empty(), "{target} renders nothing");
        let found = objects.iter().flat_map(schema::faults);
        faults.extend(found.map(|fault| format!("{target}: {fault}")));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_custom_resource_fits_its_schema() {
    let Some(dir) = env::var_os("CRD_SCHEMAS").map(PathBuf::from) else {
        // Past the test runner, which keeps what a passing test prints to itself.
        let _ = writeln!(io::stderr(), "{NO_SCHEMAS}");
        return;
    };
    let crds = Crds::read(&dir).unwrap();
    let (mut faults, mut checked) = (Vec::new(), 0);
    for target in targets() {
        for object in kustomize(&target).unwrap() {
            if schema::is_custom(&object) && !UNPUBLISHED.iter().any(|kind| object["kind"] == **kind) {
                checked += 1;
                let found = crds.faults(&object).into_iter();
                faults.extend(found.map(|fault| format!("{target}: {fault}")));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(checked > 0, "no custom resource was found");
}

#[test]
fn every_target_keeps_every_rule() {
    let mut faults = Vec::new();
    assert!(targets().iter().any(|target| target == "overlays/production"), "{:?}", targets());
    for target in targets() {
        let rendered = Rendered::read(&kustomize(&target).unwrap()).unwrap();
        if !target.starts_with("gitops/") && target != "rollout-test" {
            assert!(rendered.workloads().count() > 0, "{target} has no Deployment");
        }
        for rule in RULES.iter().filter(|rule| rule.in_base || target != "base") {
            let found = rule.check(&rendered).into_iter();
            faults.extend(found.map(|fault| format!("{target}: {}: {fault}", rule.name)));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_an_overlay_generates_is_for_both_tracks_and_what_it_patches_is_for_one() {
    let rendered = Rendered::read(&kustomize("tests/blue-green").unwrap()).unwrap();
    let of = |track: &str| {
        let workload = rendered.workloads().find(|workload| workload.label("track") == track).unwrap();
        let all = rendered.environment(&workload);
        [all["APP_ACCESS_LOG"].clone(), all["APP_LOG"].clone()]
    };
    assert_eq!(of("stable"), ["all", "info"]);
    assert_eq!(of("green"), ["all", "debug"]);
}

#[test]
fn what_stands_in_front_is_told_by_its_class_or_its_kind_of_route() {
    for (target, fronts) in [
        ("overlays/production", &["traefik"][..]),
        ("tests/gateway-api", &["gateway-api"]),
        ("tests/gke", &["gateway-api", "gke"]),
        ("tests/canary-istio", &["istio"]),
    ] {
        let rendered = Rendered::read(&kustomize(target).unwrap()).unwrap();
        assert_eq!(rendered.fronts().into_iter().collect::<Vec<_>>(), fronts, "{target}");
    }
}
