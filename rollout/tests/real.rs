//! Real client libraries, and real proxies in front: `make libraries proxies` fetches them, so these tests are run by name.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{code, err, json, local, out, rollout, sample, scratch};
use serde_json::Value;

/// Where `make` puts what it fetches.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// One rollout at a fifth of the timings with little load; the delay leaves Traefik's own lag room, and the timeout ends
/// connections that a proxy keeps to a pod that it no longer asks.
fn replaced(arguments: &[&str], file: &Path) -> Output {
    let timings = ["--env", "APP_DRAIN_DELAY=3s", "--env", "APP_DRAIN_TIMEOUT=2s"];
    let short = [&["--rollouts", "1", "--scale", "0.2"][..], &timings].concat();
    let json = ["--json".as_ref(), file.as_os_str()];
    local(&short).args(arguments).args(json).current_dir(root()).output().unwrap()
}

#[test]
#[ignore = "needs `make libraries`"]
fn no_library_that_is_there_loses_a_request() {
    let file = scratch("libraries.json");
    let run = replaced(&["--library", "installed", "--library-clients", "busy=2@20ms-60ms,idle=4"], &file);
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let report = json(&file);
    let clients = report["clients"].as_object().unwrap();
    let answered = |row: &Value| row["ok"].as_u64().unwrap();
    assert!(clients.len() >= 2 && clients.values().all(|row| answered(row) > 0), "{clients:#?}");
}

#[test]
#[ignore = "needs `make proxies`"]
fn no_proxy_loses_a_request() {
    let file = scratch("proxies.json");
    let all = "nginx,haproxy,haproxy-h2,haproxy-checks,envoy,envoy-h2,envoy-checks,traefik,traefik-h2,traefik-checks,\
               caddy,caddy-h2,caddy-checks";
    let run = replaced(&["--through", all, "--clients", "busy=4,idle=8,fresh=2,post=2,stream=2"], &file);
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let reports = json(&file);
    assert_eq!(reports.as_array().unwrap().len(), 13);
    for report in reports.as_array().unwrap() {
        let ended = report["pods"].as_array().unwrap().iter().filter(|pod| pod["end"]["exit"] == 0).count();
        assert_eq!(ended, 3, "{}", report["name"]);
    }
}

#[test]
#[ignore = "needs `make proxies`"]
fn a_server_that_just_stops_loses_requests_through_a_proxy_too() {
    let file = scratch("naive.json");
    let through = ["--compare", "--modes", "none", "--through", "envoy,haproxy"];
    let run = replaced(&[&through[..], &["--clients", "busy=4,idle=4,fresh=8"]].concat(), &file);
    assert_eq!(code(&run), 1, "{}{}", out(&run), err(&run));
    for report in json(&file).as_array().unwrap() {
        assert!(report["all"]["lost"].as_u64().unwrap() > 0, "{}", report["name"]);
    }
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let run = Command::new(common::ROLLOUT)
        .args(["local", "--binary", sample(), "--through", "traefik"])
        .env("PATH", "")
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let because =
        "--through traefik: there is no traefik on the PATH or in .tools/bin; `make proxies` fetches it";
    assert!(code(&run) == 2 && err(&run).contains(because), "{}", err(&run));
    let run = rollout(&["local", "--binary", sample(), "--through", "squid"]);
    assert!(code(&run) == 2 && err(&run).contains("`squid` is none of nginx, haproxy, "), "{}", err(&run));
}
