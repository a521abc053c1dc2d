//! `make e2e` with stand-ins for kubectl, docker, cargo and `rollout`: what is run where, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::scratch;

const RENDERED: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: shop\nspec:\n  image: shop:local\n---\n\
                        kind: HorizontalPodAutoscaler\nmetadata:\n  name: shop\n";

/// Its exit code and the runs of `rollout`, each of which ends as `ends` says for its URL.
fn e2e(name: &str, ends: &str, variables: &[(&str, &str)]) -> (Option<i32>, Vec<String>) {
    let checkout = scratch(name);
    for part in ["bin", "rollout", "target/release", "k8s/overlays/local"] {
        fs::create_dir_all(checkout.join(part)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e.sh");
    fs::copy(script, checkout.join("rollout/e2e.sh")).unwrap();
    fs::write(checkout.join("k8s/overlays/local/kustomization.yaml"), "namespace: shop-local\n").unwrap();
    let cases = format!(
        "case \"$*\" in *kustomize*local) printf '{RENDERED}';; *current-context) echo kind-here;; \
         'get namespace'*) exit 1;; esac"
    );
    common::script(&checkout.join("bin/kubectl"), &cases);
    for program in ["docker", "kind", "cargo"] {
        common::script(&checkout.join("bin").join(program), "");
    }
    let runs = format!("echo \"$*\" >> runs\ncase \"$*\" in {ends} esac");
    common::script(&checkout.join("target/release/rollout"), &runs);
    let path = format!("{}:/usr/bin:/bin", checkout.join("bin").display());
    let mut command = Command::new("sh");
    command.arg(checkout.join("rollout/e2e.sh")).env("PATH", path).stdout(std::process::Stdio::null());
    for variable in ["URL", "INGRESS", "ROLLOUT_ARGS", "INGRESS_ARGS", "OVERLAY", "LOAD", "KEEP", "DOCKER"] {
        command.env_remove(variable);
    }
    let code = command.env("URL", "http://node").envs(variables.iter().copied()).status().unwrap().code();
    let runs = fs::read_to_string(checkout.join("runs")).unwrap_or_default();
    fs::remove_dir_all(checkout).unwrap();
    (code, runs.lines().map(str::to_string).collect())
}

#[test]
fn without_an_ingress_it_is_one_run() {
    let (code, runs) = e2e("e2e-one", "", &[("ROLLOUT_ARGS", "--chart a.svg")]);
    assert_eq!(code, Some(0));
    let run = "cluster --namespace shop-local --deployment shop --rollouts 3 --url http://node --chart a.svg";
    assert_eq!(runs, [run]);
}

#[test]
fn the_clients_come_through_the_ingress_too() {
    let both =
        [("INGRESS", "https://proxy"), ("ROLLOUT_ARGS", "--chart a.svg"), ("INGRESS_ARGS", "--chart b.svg")];
    let (code, runs) = e2e("e2e-two", "", &both);
    assert_eq!(code, Some(0));
    assert_eq!(runs.len(), 2);
    assert!(runs[0].ends_with("--url http://node --chart a.svg"), "{}", runs[0]);
    assert!(runs[1].ends_with("--url https://proxy --insecure --chart b.svg"), "{}", runs[1]);
}

#[test]
fn what_either_loses_is_a_failure() {
    let through = [("INGRESS", "https://proxy")];
    for (name, ends) in [("e2e-lost", "*node*) exit 1;;"), ("e2e-lost-behind", "*proxy*) exit 1;;")] {
        let (code, runs) = e2e(name, ends, &through);
        assert_eq!((code, runs.len()), (Some(1), 2), "{ends}");
    }
}
