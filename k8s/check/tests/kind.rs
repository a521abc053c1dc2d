//! What `make kind` does to a machine, with stand-ins for kind, kubectl, docker and `rollout/e2e.sh` that only note it.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use manifests::{
    render::{kustomize, parse, root},
    schema,
};
use serde_json::{Value, json};

/// A checkout with the script alone, and programs that note how they are called.
struct Machine(PathBuf);

impl Machine {
    /// `clusters` is what `kind get clusters` prints.
    fn new(name: &str, clusters: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        for part in ["bin", "k8s", "rollout"] {
            fs::create_dir_all(dir.join(part)).expect("cargo made the directory above");
        }
        fs::copy(root().join("kind.sh"), dir.join("k8s/kind.sh")).expect("it is part of every checkout");
        let machine = Self(dir);
        let log = machine.0.join("log");
        let note = format!("echo \"$(basename \"$0\") $*\" >> '{}'", log.display());
        machine.program(
            "bin/kind",
            &format!(
                "[ \"$*\" != 'get clusters' ] || {{ echo '{clusters}'; exit; }}\n{note}
                [ \"$1\" != create ] || cat > '{}'",
                machine.0.join("cluster.yaml").display()
            ),
        );
        for program in ["bin/kubectl", "bin/docker", "bin/cargo"] {
            machine.program(program, &note);
        }
        machine.program(
            "rollout/e2e.sh",
            &format!("{note}\necho \"$OVERLAY $LOAD $URL,$INGRESS\" >> '{}'", log.display()),
        );
        machine
    }

    fn program(&self, path: &str, body: &str) {
        let path = self.0.join(path);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("the directory was just made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it was just made");
    }

    /// Its exit code, and the first three words of each call in order.
    fn run(&self, variables: &[(&str, &str)]) -> (Option<i32>, Vec<String>) {
        let path = format!("{}:{}", self.0.join("bin").display(), env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.arg(self.0.join("k8s/kind.sh")).env("PATH", path).env("KUBECONFIG", "/the/users/own");
        for variable in ["DOCKER", "CLUSTER", "KEEP"] {
            command.env_remove(variable);
        }
        let code = command.envs(variables.iter().copied()).status().expect("there is a shell").code();
        let log = fs::read_to_string(self.0.join("log")).unwrap_or_default();
        let words = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        (code, log.lines().map(words).collect())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.0.join("log")).expect("something was called")
    }
}

const STEPS: [&str; 7] = [
    "kubectl apply --filename",
    "kubectl --namespace kube-system",
    "kubectl --namespace kube-system",
    "kubectl apply --filename",
    "kubectl --namespace traefik",
    "e2e.sh",
    "local kind http://127.0.0.1:30080,https://127.0.0.1:30443",
];

fn steps(first: &[&str], last: &[&str]) -> Vec<String> {
    [first, &STEPS, last].concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_cluster_is_made_and_deleted_also_when_a_request_was_lost() {
    let machine = Machine::new("kind-made", "other");
    let (code, calls) = machine.run(&[]);
    assert_eq!(code, Some(0));
    assert_eq!(calls, steps(&["kind create cluster"], &["kind delete cluster"]));
    let log = machine.log();
    assert!(
        log.contains("metrics-server/releases/download/v") && log.contains("--kubelet-insecure-tls"),
        "{log}"
    );
    assert!(log.contains("kubectl apply --filename k8s/kind/traefik.yaml"), "{log}");

    let machine = Machine::new("kind-lost", "");
    machine.program("rollout/e2e.sh", "exit 1");
    let (code, calls) = machine.run(&[]);
    assert_eq!(code, Some(1));
    assert_eq!(calls.last().map(String::as_str), Some("kind delete cluster"));
}

#[test]
fn a_cluster_that_is_there_is_used_and_left() {
    let machine = Machine::new("kind-there", "landfall");
    assert_eq!(machine.run(&[]), (Some(0), steps(&["kind export kubeconfig"], &[])));
    let machine = Machine::new("kind-kept", "landfall");
    assert_eq!(
        machine.run(&[("CLUSTER", "mine"), ("KEEP", "1")]),
        (Some(0), steps(&["kind create cluster"], &[]))
    );
    assert!(machine.log().contains("--name mine"));
}

#[test]
fn a_program_that_is_missing_is_named_and_nothing_is_done() {
    let machine = Machine::new("kind-missing", "");
    let output = Command::new("sh")
        .arg(machine.0.join("k8s/kind.sh"))
        .env("DOCKER", "no-such-engine")
        .env("PATH", format!("{}:{}", machine.0.join("bin").display(), env::var("PATH").unwrap_or_default()))
        .output()
        .expect("there is a shell");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-engine is not on the PATH"));
    assert!(!Path::exists(&machine.0.join("log")));
}

#[test]
fn the_ports_of_the_nodes_are_those_of_the_services_and_the_ingress_is_that_of_the_overlay() {
    let machine = Machine::new("kind-ports", "");
    machine.run(&[]);
    let cluster = fs::read_to_string(machine.0.join("cluster.yaml")).expect("kind was given one");
    let mapped = |port: &Value| {
        let both = format!("{{containerPort: {port}, hostPort: {port}, listenAddress: 127.0.0.1}}");
        assert!(cluster.contains(&both), "{cluster}");
    };
    let ingress = fs::read_to_string(root().join("kind/traefik.yaml")).expect("it is part of every checkout");
    let ingress = parse(&ingress).expect("it is YAML");
    let local = kustomize("overlays/local").expect("it renders");
    let of = |objects: &[Value], kind: &str| {
        let found = objects.iter().find(|object| object["kind"] == kind).cloned();
        found.unwrap_or_else(|| panic!("there is no {kind}"))
    };
    for objects in [&ingress, &local] {
        mapped(&of(objects, "Service")["spec"]["ports"][0]["nodePort"]);
    }
    let class = of(&local, "Ingress")["spec"]["ingressClassName"].clone();
    assert_eq!(class, of(&ingress, "IngressClass")["metadata"]["name"]);
    // Any host: it is asked by an address.
    assert_eq!(of(&local, "Ingress")["spec"]["rules"][0]["host"], json!(null));
    assert_eq!(ingress.iter().flat_map(schema::faults).collect::<Vec<_>>(), [""; 0]);
}
