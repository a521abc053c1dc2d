//! The command line of the real binary: what it prints, and its exit codes.

use std::process::{Command, Output};

use crate::support::process::testbed;

fn run(arguments: &[&str], vars: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(arguments)
        .envs(vars.iter().copied())
        .output()
        .expect("the binary was built with this test")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("it prints text")
}

#[test]
fn config_prints_a_table_with_values_and_their_sources() {
    let output = run(&["config"], &[("APP_DRAIN_DELAY", "9s"), ("APP_API_TOKEN", "hunter2")]);
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    let row =
        |name: &str| table.lines().find(|line| line.starts_with(name)).expect("a row for each variable");
    assert!(row("APP_DRAIN_DELAY ").contains(" 9s ") && row("APP_DRAIN_DELAY ").contains(" env "));
    assert!(row("APP_PORT ").contains(" 8080 ") && row("APP_PORT ").contains(" default "));
    assert!(row("APP_API_TOKEN ").contains(" [redacted] "));
    assert!(!table.contains("hunter2"));
}

#[test]
fn config_prints_json() {
    let output = run(&["config", "--json"], &[("APP_API_TOKEN", "hunter2")]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let token = rows.iter().find(|row| row["name"] == "APP_API_TOKEN").expect("a row for each variable");
    assert_eq!((&token["value"], &token["secret"]), (&"[redacted]".into(), &true.into()));
    assert_eq!((&token["source"], &rows[0]["source"]), (&"env".into(), &"default".into()));
    assert!(!text(&output.stdout).contains("hunter2"));
}

#[test]
fn config_prints_the_table_of_a_page() {
    let output = run(&["config", "--markdown"], &[]);
    let table = text(&output.stdout);
    assert!(table.starts_with("| variable | default | meaning |\n| --- | --- | --- |\n| `APP_"), "{table}");
    assert!(table.contains("\n| `APP_API_TOKEN` |"), "{table}");
}

#[test]
fn config_check_says_only_what_is_wrong() {
    let good = run(&["config", "--check"], &[]);
    assert_eq!((good.status.code(), text(&good.stdout), text(&good.stderr)), (Some(0), "", ""));
    let bad = run(&["config", "--check"], &[("APP_PORT", "eighty"), ("APP_PROT", "80")]);
    assert_eq!(bad.status.code(), Some(78));
    assert_eq!(
        text(&bad.stderr),
        "APP_PORT: expected a port, 0 to 65535; found \"eighty\"\n\
         APP_PROT: expected no such variable; did you mean APP_PORT?\n"
    );
}

#[test]
fn bad_configuration_stops_the_start_with_a_line_for_each_fault() {
    let output =
        run(&[], &[("APP_PORT", "eighty"), ("APP_API_TOKEN_FILE", "/nowhere"), ("APP_TOKEN", "hunter2")]);
    assert_eq!(output.status.code(), Some(78));
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let variables: Vec<_> =
        lines.iter().map(|line| line["variable"].as_str().expect("each names one")).collect();
    assert_eq!(variables, ["APP_API_TOKEN_FILE", "APP_PORT", "APP_TOKEN"]);
    assert!(lines.iter().all(|line| line["level"] == "ERROR" && line["expected"].is_string()));
    assert!(!text(&output.stdout).contains("hunter2"));
}

#[test]
fn healthcheck_is_0_when_ready_and_1_when_not() {
    let process = testbed().start();
    let admin = process.address_of_admin();
    let ask = |port: &str| {
        let vars = [("APP_HOST", "127.0.0.1"), ("APP_ADMIN_PORT", port)];
        run(&["healthcheck"], &vars)
    };
    let port = admin.port().to_string();
    assert_eq!(ask(&port).status.code(), Some(0));
    process.drain();
    let draining = ask(&port);
    assert_eq!(draining.status.code(), Some(1));
    assert!(text(&draining.stderr).contains("[-]lifecycle failed: draining"), "{draining:?}");
    process.close();
    process.exit();
    let gone = ask(&port);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("nothing answers at 127.0.0.1"), "{gone:?}");
}

#[test]
fn version_names_the_service_and_its_revision() {
    let output = run(&["--version"], &[]);
    assert_eq!(text(&output.stdout), format!("testbed {} (unknown)\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let process = testbed().start();
    let port = process.address_of_service().port().to_string();
    let output = run(&[], &[("APP_HOST", "127.0.0.1"), ("APP_PORT", &port), ("APP_ADMIN_PORT", "0")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains(&format!("APP_PORT: can't listen on 127.0.0.1:{port}")),
        "{output:?}"
    );
}

#[test]
fn a_secret_is_in_no_log_also_when_a_handler_panics() {
    let process = testbed().set("APP_API_TOKEN", "hunter2").set("APP_LOG", "trace").start();
    assert_eq!(process.connect().get("/panic").status, 500);
    process.drain();
    process.close();
    let log = process.exit().log;
    assert!(log.iter().any(|line| line["message"] == "panicked"));
    assert!(log.iter().all(|line| !line.to_string().contains("hunter2")));
}
