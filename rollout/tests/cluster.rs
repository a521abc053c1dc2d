//! `rollout cluster` with a kubectl that plays a cluster: each refusal, and a whole run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{ROLLOUT, Service, code, err, json, out, scratch};

/// Puts a kubectl that runs this script into a directory of its own.
fn kubectl(name: &str, script: &str) -> PathBuf {
    let directory = scratch(name);
    std::fs::create_dir_all(&directory).unwrap();
    common::script(&directory.join("kubectl"), script);
    directory
}

fn cluster(tools: &Path, url: &str, arguments: &[&str]) -> Output {
    Command::new(ROLLOUT)
        .args(["cluster", "--namespace", "shop", "--deployment", "orders", "--url", url])
        .args(arguments)
        .env("PATH", format!("{}:/usr/bin:/bin", tools.display()))
        .output()
        .unwrap()
}

#[track_caller]
fn refused(name: &str, script: &str, because: &str) {
    let run = cluster(&kubectl(name, script), "http://127.0.0.1:1", &[]);
    assert_eq!(code(&run), 2, "{}", err(&run));
    assert!(err(&run).contains(because), "{}", err(&run));
}

const DEPLOYMENT: &str =
    r#"{"spec": {"selector": {"matchLabels": {"app": "orders"}}}, "status": {"readyReplicas": 1}}"#;

#[test]
fn no_kubectl() {
    let empty = scratch("no-kubectl");
    std::fs::create_dir_all(&empty).unwrap();
    let run = Command::new(ROLLOUT)
        .args(["cluster", "--deployment", "orders", "--url", "http://127.0.0.1:1"])
        .env("PATH", empty)
        .output()
        .unwrap();
    assert_eq!(code(&run), 2);
    assert!(err(&run).contains("kubectl is not on the PATH"), "{}", err(&run));
}

#[test]
fn no_cluster() {
    let said =
        "The connection to the server localhost:8080 was refused - did you specify the right host or port?";
    refused("no-cluster", &format!("echo '{said}' >&2; exit 1"), "no cluster responds");
}

#[test]
fn no_such_deployment() {
    let said = r#"Error from server (NotFound): deployments.apps "orders" not found"#;
    refused("no-deployment", &format!("echo '{said}' >&2; exit 1"), "no such thing in namespace shop");
}

#[test]
fn no_rights() {
    let said = r#"Error from server (Forbidden): deployments.apps "orders" is forbidden"#;
    refused("forbidden", &format!("echo '{said}' >&2; exit 1"), "rights missing");
    let script = format!("case \"$*\" in *can-i*patch*) echo no; exit 1;; *get*) echo '{DEPLOYMENT}';; esac");
    refused("no-patch", &script, "may not patch deployments.apps/orders in namespace shop");
}

#[test]
fn no_ready_pod() {
    let none = DEPLOYMENT.replace("\"readyReplicas\": 1", "");
    let script = format!("case \"$*\" in *can-i*) echo yes;; *get*) echo '{none}';; esac");
    refused("no-pod", &script, "no ready pod");
}

#[test]
fn no_route() {
    let script = format!("case \"$*\" in *can-i*) echo yes;; *get*) echo '{DEPLOYMENT}';; esac");
    refused("no-route", &script, "no route to http://127.0.0.1:1");
}

#[test]
fn no_scheme_of_http() {
    let tools = kubectl(
        "no-scheme",
        &format!("case \"$*\" in *can-i*) echo yes;; *get*) echo '{DEPLOYMENT}';; esac"),
    );
    let run = cluster(&tools, "ftp://127.0.0.1:1", &[]);
    assert_eq!(code(&run), 2);
    assert!(err(&run).contains("begins with neither http:// nor https://"), "{}", err(&run));
}

#[test]
fn a_whole_run_waits_for_the_old_pod_and_reports_its_history() {
    let service = Service::naive();
    let pod = |event: &str, name: &str, deleted: &str| {
        format!(
            r#"{{"type": "{event}", "object": {{"metadata": {{"name": "{name}"{deleted}}},
               "status": {{"conditions": [{{"type": "Ready", "status": "True"}}]}}}}}}"#
        )
    };
    let slice = |ready: &str| {
        format!(
            r#"{{"type": "MODIFIED", "object": {{"endpoints": [
               {{"targetRef": {{"name": "old"}}, "conditions": {{"ready": {ready}}}}}]}}}}"#
        )
    };
    let deleted = r#", "deletionTimestamp": "2030-01-01T00:00:00Z""#;
    let restarted = scratch("restarted");
    let script = format!(
        "wait_for_restart() {{ until [ -e '{restarted}' ]; do sleep 0.05; done; }}
        case \"$*\" in
        *can-i*) echo yes;;
        *restart*) touch '{restarted}';;
        *status*) ;;
        *slices*watch*) echo '{in_it}'; wait_for_restart; sleep 0.3; echo '{out_of_it}'; exec sleep 60;;
        *watch*) echo '{old}'; wait_for_restart; echo '{new}'; echo '{draining}'; sleep 1; echo '{gone}'; exec sleep 60;;
        *get*deployment*) echo '{DEPLOYMENT}';;
        esac",
        restarted = restarted.display(),
        in_it = slice("true"),
        out_of_it = slice("false"),
        old = pod("ADDED", "old", ""),
        new = pod("ADDED", "new", ""),
        draining = pod("MODIFIED", "old", deleted),
        gone = pod("DELETED", "old", deleted),
    );
    let file = scratch("cluster.json");
    let tools = kubectl("whole-run", &script);
    let run = cluster(
        &tools,
        &service.url(),
        &["--rollouts", "1", "--pause", "500ms", "--idle", "100ms-300ms", "--clients", "busy=4,idle=4,h2=1"]
            .into_iter()
            .chain(["--json", file.to_str().unwrap()])
            .collect::<Vec<_>>(),
    );
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let report = json(&file);
    assert_eq!(report["rollouts"], 1);
    assert_eq!(report["all"]["lost"], 0);
    let old = report["pods"].as_array().unwrap().iter().find(|pod| pod["name"] == "old").unwrap().clone();
    let between = |from: &str, to: &str| old[to].as_f64().unwrap() - old[from].as_f64().unwrap();
    assert!(between("terminating", "left_endpoints") > 0.1, "{old:#}");
    assert!(between("terminating", "gone") > 0.8, "{old:#}");
}
