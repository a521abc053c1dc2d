//! `/metrics` of the real process, judged by Prometheus' own tool.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    num::NonZeroUsize,
    process::{Command, Stdio},
    thread::available_parallelism,
    time::Instant,
};

use crate::support::process::{metric, testbed};

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let process = testbed().start();
    for path in ["/", "/nothing"] {
        process.connect().get(path);
    }
    let metrics = process.connect_to_admin().get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("promtool is on the PATH: `make test` puts it there");
    let mut input = promtool.stdin.take().expect("it is piped");
    input.write_all(metrics.body.as_bytes()).expect("promtool reads it all");
    drop(input);
    let said = promtool.wait_with_output().expect("it ends");
    let said_text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && said_text.is_empty(), "{said_text}\n{}", metrics.body);
}

#[test]
fn what_the_cluster_and_its_operators_ask_for_is_there() {
    let process = testbed().start();
    process.connect().get("/");
    let metrics = process.connect_to_admin().get("/metrics").body;
    for name in [
        "build_info{",
        "health_check_up{",
        "http_server_active_requests{",
        "http_server_panics_total ",
        "http_server_request_duration_seconds_bucket{",
        "http_server_request_wait_seconds_count ",
        "http_server_requests_shed_total{reason=\"wait\"} ",
        "http_server_requests_timed_out_total ",
        "lifecycle_connections_total{phase=\"serving\"} 1",
        "lifecycle_phase{phase=\"serving\"} 1",
        "lifecycle_requests_total{phase=\"serving\"} 1",
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "process_resident_memory_bytes ",
        "process_start_time_seconds ",
        "server_connections_open{network_protocol_name=\"http1\"}",
        "tokio_alive_tasks ",
        "tokio_global_queue_depth ",
        "tokio_worker_parks_total ",
        "tokio_workers ",
        "tokio_workers_busy_seconds_total ",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name}\n{metrics}");
    }
}

#[test]
fn there_are_as_many_workers_as_asked_for() {
    for (name, value, expected) in [("APP_WORKER_THREADS", "3", 3), ("APP_CPU_REQUEST", "1", 2)] {
        let process = testbed().set(name, value).start();
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        let expected = if name == "APP_CPU_REQUEST" { cores.min(expected) } else { expected };
        assert_eq!(
            metric(&mut process.connect_to_admin(), "tokio_workers"),
            expected as u64,
            "{name}={value}"
        );
    }
}

#[test]
fn times_are_counters_that_show_less_than_a_second() {
    let since = Instant::now();
    let process = testbed().set("APP_WORKER_THREADS", "1").start();
    let mut admin = process.connect_to_admin();
    process.connect().get("/block/20");
    // As often as it is asked for, a second is counted once.
    let metrics = (0..15).map(|_| admin.get("/metrics").body).last().expect("it was asked for");
    let most = since.elapsed().as_secs_f64();
    for name in ["process_cpu_seconds_total", "tokio_workers_busy_seconds_total"] {
        assert!(metrics.contains(&format!("# TYPE {name} counter\n")), "{metrics}");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let seconds: f64 = value.and_then(|value| value.parse().ok()).expect("it is a number");
        assert!(seconds > 0.0 && seconds.fract() > 0.0, "{name} {seconds}");
        assert!(name != "tokio_workers_busy_seconds_total" || seconds <= most, "{seconds} of {most}");
    }
}

#[test]
fn every_metric_has_its_row_in_the_docs() {
    let process = testbed().start();
    process.connect().get("/");
    let metrics = process.connect_to_admin().get("/metrics").body;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/observability.md");
    let page = fs::read_to_string(page).expect("it is there");
    let mut expected = rows(&metrics);
    // Shown only while there is one.
    expected.insert(
        "| `http_server_admission_limit` | gauge | `http_route` | Requests of a route worked on at once, as long as it \
         can't keep pace. |"
            .to_owned(),
    );
    let (_, table) = page.split_once("| metric | type | labels | what it says |\n").expect("it has a table");
    let table = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let found: BTreeSet<String> = table.map(str::to_owned).collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let more: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing: {missing:#?}\ntoo much: {more:#?}");
}

/// The rows of the table: name, type, labels, help.
fn rows(metrics: &str) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for family in metrics.split("# HELP ").skip(1) {
        let (name, rest) = family.split_once(' ').expect("help follows the name");
        let (help, rest) = rest.split_once("\n# TYPE ").expect("the type follows the help");
        let (kind, series) = rest.split_once('\n').expect("series follow the type");
        let kind = kind.rsplit(' ').next().expect("it is a word");
        let labels = series.lines().filter_map(|line| line.split_once('{')?.1.split_once('}'));
        let labels = labels.flat_map(|(labels, _)| labels.split(','));
        let names: BTreeSet<_> = labels.filter_map(|label| Some(label.split_once('=')?.0)).collect();
        let names: Vec<_> =
            names.into_iter().filter(|name| *name != "le").map(|name| format!("`{name}`")).collect();
        rows.insert(format!("| `{name}` | {kind} | {} | {help} |", names.join(", ")));
    }
    rows
}
