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

/// An event of the watch on pods.
fn pod(event: &str, name: &str, terminating: bool) -> String {
    let deleted = if terminating { r#", "deletionTimestamp": "2030-01-01T00:00:00Z""# } else { "" };
    format!(
        r#"echo '{{"type": "{event}", "object": {{"metadata": {{"name": "{name}"{deleted}}},
           "status": {{"conditions": [{{"type": "Ready", "status": "True"}}]}}}}}}'"#
    )
}

/// A cluster with one pod, `old`: `watched` is what happens to it, `cases` is what kubectl is told to do.
/// Each call is noted in a file `calls`, and `until NAME` waits for a file that a case has touched.
struct Cluster(PathBuf);

impl Cluster {
    fn new(name: &str, watched: &[&str], cases: &str) -> Self {
        let there = pod("ADDED", "old", false);
        let watched = watched.join("\n");
        let script = format!(
            "cd \"$(dirname \"$0\")\" && echo \"$*\" >> calls
            until_there() {{ until [ -e \"$1\" ]; do sleep 0.05; done; }}
            case \"$*\" in
            *can-i*) echo yes;;
            {cases}
            *watch*) {there}
            {watched}
            exec sleep 60;;
            *logs*) exec sleep 60;;
            *get*deployment*) echo '{DEPLOYMENT}';;
            esac"
        );
        Self(kubectl(name, &script))
    }

    /// A run of one rollout with these arguments that loses nothing; what it printed, and its JSON.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> (String, serde_json::Value) {
        let service = Service::naive();
        let file = self.0.join("run.json");
        let short = [
            "--rollouts",
            "1",
            "--pause",
            "300ms",
            "--idle",
            "100ms-300ms",
            "--clients",
            "busy=4,idle=4,h2=1",
        ];
        let arguments = [&short[..], &["--json", file.to_str().unwrap()], arguments].concat();
        let run = cluster(&self.0, &service.url(), &arguments);
        assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
        (out(&run), json(&file))
    }

    /// The calls that these words are in, in order.
    fn calls(&self, words: &[&str]) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("calls")).unwrap();
        let calls = text.lines().filter(|call| words.iter().any(|word| call.contains(word)));
        calls.map(|call| call.strip_prefix("--namespace shop ").unwrap_or(call).to_string()).collect()
    }
}

#[test]
fn a_restart_waits_for_the_old_pod_and_reads_its_last_line() {
    let gone = [
        "until_there restarted",
        &pod("ADDED", "new", false),
        &pod("MODIFIED", "old", true),
        "touch draining; sleep 1",
        &pod("DELETED", "old", true),
    ];
    let log = r#"*logs*old*) until_there draining; echo 'no JSON'; echo '{"message":"responded"}'
        echo '{"message":"stopped","connections_while_draining":9,"last_connection_ms":350}';;"#;
    let cluster =
        Cluster::new("restart", &gone, &format!("*restart*) touch restarted;;\n*status*) ;;\n{log}"));
    let (table, report) = cluster.run(&[]);
    assert_eq!((&report["rollouts"], &report["all"]["lost"]), (&1.into(), &0.into()));
    let old = report["pods"].as_array().unwrap().iter().find(|pod| pod["name"] == "old").unwrap().clone();
    let between = |from: &str, to: &str| old[to].as_f64().unwrap() - old[from].as_f64().unwrap();
    assert!((0.349..0.351).contains(&between("terminating", "left_endpoints")), "{old:#}");
    assert!(between("terminating", "gone") > 0.8, "{old:#}");
    assert!(table.contains("endpoints  sent the last new connection 0."), "{table}");
}

#[test]
fn without_a_last_line_the_time_is_not_known() {
    let gone =
        ["until_there restarted", &pod("MODIFIED", "old", true), "sleep 0.3", &pod("DELETED", "old", true)];
    let no_log = "*logs*) echo 'Error from server (Forbidden)' >&2; exit 1;;";
    let cluster =
        Cluster::new("no-log", &gone, &format!("*restart*) touch restarted;;\n*status*) ;;\n{no_log}"));
    let (table, report) = cluster.run(&[]);
    assert!(table.contains("endpoints  not known: no pod's last log line"), "{table}");
    assert!(report["pods"][0]["left_endpoints"].is_null());
}

#[test]
fn an_eviction_is_asked_for_until_the_budget_allows_it() {
    let gone = [
        "until_there evicted",
        &pod("ADDED", "new", false),
        &pod("MODIFIED", "old", true),
        "sleep 0.3",
        &pod("DELETED", "old", true),
    ];
    let evict = r#"*create*--raw*pods/old/eviction*)
        if mkdir refused 2> /dev/null; then
          echo "Error from server (TooManyRequests): Cannot evict pod as it would violate the pod's disruption budget." >&2
          exit 1
        fi
        cat > body; touch evicted;;
      *status*) ;;"#;
    let cluster = Cluster::new("evict", &gone, evict);
    let (_, report) = cluster.run(&["--evict"]);
    assert_eq!(report["steps"], serde_json::json!(["evict each pod"]));
    assert_eq!(cluster.calls(&["eviction --filename"]).len(), 2);
    let body = json(&cluster.0.join("body"));
    assert_eq!(
        [&body["kind"], &body["metadata"]["name"], &body["metadata"]["namespace"]],
        ["Eviction", "old", "shop"]
    );
    assert_eq!(cluster.calls(&["can-i create"]), ["auth can-i create pods --subresource eviction"]);
}

#[test]
fn a_scale_goes_there_and_back() {
    let scaled = [
        "until_there up",
        &pod("ADDED", "new", false),
        "until_there down; sleep 3",
        &pod("MODIFIED", "new", true),
        "sleep 0.3",
        &pod("DELETED", "new", true),
    ];
    let cluster = Cluster::new(
        "scale",
        &scaled,
        "*--replicas=2*) touch up;;\n*--replicas=1*) touch down;;\n*status*) ;;",
    );
    let (_, report) = cluster.run(&["--scale", "1..2"]);
    assert_eq!(report["steps"], serde_json::json!(["scale to 2", "scale to 1"]));
    let status = "rollout status deployment/orders --timeout=600s";
    let calls = cluster.calls(&["--replicas", "status"]);
    let scale = |replicas| format!("scale deployment/orders --replicas={replicas}");
    assert_eq!(calls, [&scale(2), status, &scale(1), status]);
    assert!(!report["pods"][1]["gone"].is_null(), "it did not wait: {report:#}");
}

#[test]
fn a_rollback_undoes_the_restart() {
    let cluster = Cluster::new(
        "rollback",
        &[
            "until_there restarted",
            &pod("ADDED", "new", false),
            &pod("DELETED", "old", true),
            "until_there undone",
            &pod("ADDED", "newest", false),
            &pod("DELETED", "new", true),
        ],
        "*restart*) touch restarted; sleep 0.5;;\n*undo*) touch undone;;\n*status*) ;;",
    );
    let (_, report) = cluster.run(&["--rollback"]);
    assert_eq!(report["steps"], serde_json::json!(["restart", "roll back"]));
    let calls = cluster.calls(&["rollout restart", "rollout undo"]);
    assert_eq!(calls, ["rollout restart deployment/orders", "rollout undo deployment/orders"]);
}

#[test]
fn blue_green_and_canary_are_driven_by_their_scripts() {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s");
    let promote =
        "*get*service*selector*) echo stable;;\n*get*replicas*) echo 1;;\n*get*httproutes*) echo rule;;
        *scale*|*status*|*patch*) ;;";
    for (name, command, changed) in [
        ("promote", &[&format!("{scripts}/promote.sh"), "production"][..], r#""track": "green""#),
        ("canary", &[&format!("{scripts}/canary.sh"), "production", "30"][..], r#"/weight", "value": 30"#),
    ] {
        let cluster = Cluster::new(name, &[], promote);
        let labels = ["--selector", "app=orders", "--"];
        let (_, report) = cluster.run(&[&labels[..], command].concat());
        assert_eq!(report["steps"][0], command.join(" "));
        assert!(cluster.calls(&["patch"]).iter().any(|call| call.contains(changed)), "{changed}");
        assert!(cluster.calls(&["--watch"])[0].contains("--selector app=orders"));
        assert!(cluster.calls(&["rollout restart"]).is_empty());
    }
}
