//! `make status`, with a kubectl that answers as a cluster would in the middle of a rollout.

use std::{env, fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use manifests::render::{root, service};

const STOPPED: &str = r#"{"level":"INFO","message":"stopped","clean":true,"signal":"SIGTERM","delay_ms":10001,"closing_ms":210,"flush_ms":0,"connections_while_closing":0,"last_connection_ms":1200,"connections_aborted":0,"tasks_aborted":0,"workers_aborted":0,"cleaned_up":true}"#;

/// Runs the script against these answers, the body of a shell `case` over the arguments after the namespace.
fn status(name: &str, answers: &str) -> (bool, String) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).expect("cargo made the directory above");
    let kubectl = directory.join("kubectl");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = config ]; then echo kind-here; exit; fi\nshift 4\ncase \"$*\" in\n{answers}\n*) echo \"not expected: $*\" >&2; exit 1 ;;\nesac\n"
    );
    fs::write(&kubectl, script).expect("the directory was just made");
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).expect("the file was just written");
    let path = format!("{}:{}", directory.display(), env::var("PATH").unwrap_or_default());
    let output = Command::new(root().join("status.sh"))
        .arg("local")
        .env_remove("CONTEXT")
        .env("PATH", path)
        .output()
        .expect("the script is there");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn one_screen_has_pods_by_phase_drain_reports_hpa_budget_and_events() {
    let name = service();
    let none = "<none> <none>";
    let answers = format!(
        "get\\ deployments*) echo THE-TABLES ;;\n\
         get\\ pods*) cat <<END\n\
         shop-a <none> Running True true 0 {none} node-1\n\
         shop-b <none> Running True true 1 OOMKilled 137 node-2\n\
         shop-c <none> Running False false 0 {none} node-1\n\
         shop-d <none> Running False true 0 {none} node-1\n\
         shop-e <none> Pending <none> <none> <none> {none} <none>\n\
         shop-f 2026-11-21T12:00:00Z Running False true 0 {none} node-1\n\
         shop-g 2026-11-21T12:00:00Z Running False true 0 {none} node-1\n\
         shop-h <none> Failed False <none> 0 {none} node-3\n\
         END\n;;\n\
         logs\\ shop-b\\ -c\\ {name}\\ --previous*) echo '{{\"message\":\"serving\"}}' ;;\n\
         logs\\ shop-f\\ *) echo '{{\"message\":\"serving\"}}'; echo '{{\"message\":\"draining: unready, still accepting\"}}'; echo '{{\"message\":\"responded\"}}' ;;\n\
         logs\\ shop-g\\ *) echo '{STOPPED}' ;;\n\
         logs\\ shop-h\\ *) echo 'Error from server (NotFound): the node is gone' >&2; exit 1 ;;\n\
         events) echo 'LAST SEEN   REASON'; for n in $(seq 1 30); do echo \"$n-s-ago   Killing\"; done ;;\n"
    );
    let (ok, said) = status("status", &answers);
    assert!(ok, "{said}");
    let line = |pod: &str, ended: bool| {
        said.lines()
            .find(|line| {
                line.trim_start().starts_with(&format!("pod/{pod}")) && line.starts_with("  ") == ended
            })
            .unwrap_or_default()
            .to_owned()
    };
    for (pod, phase) in [
        ("shop-a", "serving"),
        ("shop-b", "serving"),
        ("shop-c", "starting"),
        ("shop-d", "unready"),
        ("shop-e", "pending"),
        ("shop-f", "draining"),
        ("shop-g", "stopped"),
        ("shop-h", "unknown"),
    ] {
        assert!(line(pod, false).contains(phase), "{pod} {phase}: {said}");
    }
    assert!(
        said.contains("1 draining, 1 pending, 2 serving, 1 starting, 1 stopped, 1 unknown, 1 unready"),
        "{said}"
    );
    let report =
        "clean: delay 10001 ms, closing 210 ms; last new connection (ms): 1200; while closing: 0; aborted: 0";
    assert!(line("shop-g", true).ends_with(report), "{said}");
    assert!(line("shop-b, before", true).ends_with("no report: OOMKilled, exit code 137"), "{said}");
    assert!(line("shop-h", true).ends_with("no report: pod Failed"), "{said}");
    assert!(line("shop-f", true).is_empty(), "it has not ended: {said}");
    assert!(said.contains("THE-TABLES"), "{said}");
    assert!(
        said.contains("\nLAST SEEN   REASON\n21-s-ago") && said.contains("30-s-ago"),
        "the last ten: {said}"
    );
    assert!(said.lines().count() < 40, "one screen: {said}");
}

#[test]
fn a_report_that_is_not_clean_says_what_was_aborted() {
    let stopped = STOPPED
        .replace("\"clean\":true", "\"clean\":false")
        .replace("\"connections_aborted\":0", "\"connections_aborted\":3")
        .replace("\"last_connection_ms\":1200,", "");
    let answers = format!(
        "get\\ deployments*) ;;\nget\\ pods*) echo 'shop-a <none> Succeeded False false 0 <none> <none> node-1' ;;\n\
         logs*) echo '{stopped}' ;;\nevents) ;;\n"
    );
    let (ok, said) = status("status-not-clean", &answers);
    assert!(
        ok && said.contains("NOT CLEAN: delay 10001 ms, closing 210 ms; last new connection (ms): none;"),
        "{said}"
    );
    assert!(said.contains("aborted: 3"), "{said}");
}

#[test]
fn a_missing_right_fails() {
    let (ok, said) =
        status("status-forbidden", "get\\ deployments*) ;;\nget\\ pods*) echo forbidden >&2; exit 1 ;;");
    assert!(!ok && said.contains("forbidden"), "{said}");
}
