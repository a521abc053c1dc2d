//! `rollout local` against the sample service: nothing is lost, with a rollout and without.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::process::Command;

use common::{FEW, ROLLOUT, Service, code, err, json, local, out, sample, scratch, script};

#[test]
fn the_control_run_loses_nothing_and_counts_every_kind() {
    let file = scratch("control.json");
    let every_kind = format!("{FEW},h2-blocking=6,download=2,half-close=2");
    let run = local(&["--rollouts", "0", "--scale", "0.1", "--pause", "20s", "--clients", &every_kind])
        .args(["--download", "/large/8192"])
        .args(["--json".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let report = json(&file);
    assert_eq!(report["all"]["lost"], 0);
    assert_eq!(report["finished"], true);
    let kinds = ["busy", "idle", "fresh", "h2", "h2-idle", "h2-blocking", "post", "stream"];
    for kind in [&kinds[..], &["pipeline", "download", "half-close"]].concat() {
        let requests = report["clients"][kind]["requests"].as_u64().unwrap();
        assert!(requests > 0, "{kind} sent nothing");
        assert_eq!(report["clients"][kind]["ok"].as_u64().unwrap(), requests, "{kind}");
    }
    let buckets = report["timeline"]["buckets"].as_array().unwrap();
    let in_time: u64 = buckets.iter().map(|bucket| bucket["requests"].as_u64().unwrap()).sum();
    let counted = report["all"]["requests"].as_u64().unwrap();
    assert!(in_time <= counted && in_time > counted / 2, "{in_time} of {counted} are in the timeline");
}

#[test]
fn rollouts_lose_nothing_and_replace_every_pod() {
    let (file, chart) = (scratch("short.json"), scratch("short.svg"));
    let run = local(&["--rollouts", "2", "--scale", "0.1", "--clients", FEW])
        .args(["--json".as_ref(), file.as_os_str(), "--chart".as_ref(), chart.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let report = json(&file);
    assert_eq!(report["all"]["lost"], 0);
    let pods = report["pods"].as_array().unwrap();
    let ended = pods.iter().filter(|pod| pod["end"]["exit"] == 0).count();
    assert_eq!((pods.len(), ended), (9, 6), "{pods:#?}");
    let svg = std::fs::read_to_string(chart).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    assert!(svg.contains(">h2-idle</text>"), "a kind of client has no row");
}

#[test]
fn what_a_rollout_falls_into_is_finished() {
    let file = scratch("slow.json");
    let mix = "upload=6@300ms-900ms,download=6@300ms-900ms,half-close=2,pipeline=2";
    let run = local(&["--rollouts", "1", "--scale", "0.3", "--clients", mix, "--download", "/large/8192"])
        // As long as the drain, so that a busy machine is no reason for a 504.
        .args(["--env", "APP_REQUEST_TIMEOUT=6s"])
        .args(["--json".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let clients = &json(&file)["clients"];
    for kind in ["upload", "download"] {
        // It took its time.
        let middle = clients[kind]["latency_us"]["p50"].as_u64().unwrap();
        assert!(middle > 300_000, "{kind} took {middle} us");
    }
}

#[test]
fn chaos_loses_nothing_and_ends_with_every_pod_in_place() {
    let file = scratch("chaos.json");
    let run = local(&["--rollouts", "2", "--scale", "0.2", "--chaos", "--clients", FEW])
        .args(["--json".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let pods = json(&file)["pods"].as_array().unwrap().clone();
    let living = pods.iter().filter(|pod| pod["gone"].is_null()).count();
    assert_eq!(living, 3, "{pods:#?}");
}

#[test]
fn kept_connections_stay_where_they_are_after_a_scale_up_unless_they_age() {
    let file = scratch("shares.json");
    let share_of_the_new_pod = |age: &[&str]| -> Vec<f64> {
        let run = local(&["--replicas", "1", "--scale-up", "2", "--scale", "0.2", "--pause", "10s"])
            .args(["--clients", "busy=30@50ms-150ms,h2=6@50ms-150ms"])
            .args(age)
            .args(["--json".as_ref(), file.as_os_str()])
            .output()
            .unwrap();
        assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
        assert!(out(&run).contains("after the scale-up:  pod-1 "), "{}", out(&run));
        let parts = json(&file)["shares"].as_array().unwrap().clone();
        parts.iter().map(|part| part["pods"][1]["share"].as_f64().unwrap()).collect()
    };
    assert_eq!(share_of_the_new_pod(&[]), [0.0; 3]);
    let with_age = share_of_the_new_pod(&["--env", "APP_CONNECTION_MAX_AGE=1s"]);
    // Each goes to either pod.
    assert!((0.2..0.8).contains(&with_age[2]), "{with_age:?}");
}

#[test]
fn a_rate_is_kept() {
    let file = scratch("rate.json");
    let run = local(&[
        "--rollouts",
        "0",
        "--scale",
        "0.1",
        "--pause",
        "30s",
        "--clients",
        "busy=5@50/s,h2=2@150/s",
    ])
    .args(["--json".as_ref(), file.as_os_str()])
    .output()
    .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let rate = json(&file)["requests_per_second"].as_f64().unwrap();
    assert!((170.0..230.0).contains(&rate), "{rate} instead of 200 per second");
}

#[test]
fn requests_of_a_rate_are_sent_while_the_service_stands_still_and_their_wait_is_counted() {
    let service = Service::naive();
    let file = scratch("open.json");
    // The closed-loop client beside it sends one request in the time that the service stands still.
    let stall = format!("kill -STOP {0}; sleep 1; kill -CONT {0}", service.process.id());
    let run = Command::new(ROLLOUT)
        .args(["drive", "--url", &service.url(), "--pause", "500ms", "--idle", "100ms-200ms"])
        .args(["--clients", "busy=1@10ms", "--rate", "100/s", "--json"])
        .arg(&file)
        .args(["--", "sh", "-c", &stall])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let report = json(&file);
    assert_eq!(report["load"]["clients"], "busy=1@10ms-10ms,open=1@100/s");
    let (open, seconds) = (&report["clients"]["open"], report["seconds_of_load"].as_f64().unwrap());
    let requests = open["requests"].as_f64().unwrap();
    assert!((0.9..1.1).contains(&(requests / (100.0 * seconds))), "{requests} in {seconds} s");
    // A second of about two and a half: one in ten waited for more than half a second.
    let p99 = |kind: &str| report["clients"][kind]["latency_us"]["p99"].as_u64().unwrap();
    assert!(p99("open") > 800_000, "{open:#}");
    assert!(open["latency_us"]["p50"].as_u64().unwrap() < 800_000, "{open:#}");
    assert!(report["clients"]["busy"]["requests"].as_f64().unwrap() < requests);
}

#[test]
fn rollouts_go_on_until_there_were_enough_requests() {
    let file = scratch("enough.json");
    let run = local(&[
        "--rollouts",
        "1",
        "--requests",
        "1500",
        "--scale",
        "0.1",
        "--pause",
        "0s",
        "--clients",
        FEW,
    ])
    .args(["--json".as_ref(), file.as_os_str()])
    .output()
    .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let report = json(&file);
    let (rollouts, requests) =
        (report["rollouts"].as_u64().unwrap(), report["all"]["requests"].as_u64().unwrap());
    assert!(requests >= 1500, "{requests} in {rollouts} rollouts");
    let ended = report["pods"].as_array().unwrap().iter().filter(|pod| pod["end"]["exit"] == 0).count();
    assert_eq!(ended as u64, 3 * rollouts);
}

#[test]
fn every_pod_gets_the_variables_and_they_win_over_the_timings() {
    let (service, seen, file) = (scratch("service.sh"), scratch("variables"), scratch("variables.json"));
    let sample = sample();
    script(&service, &format!("echo $APP_DRAIN_DELAY $REGION >> '{}'; exec '{sample}'", seen.display()));
    let run = Command::new(ROLLOUT)
        .args(["local", "--binary", service.to_str().unwrap(), "--rollouts", "0", "--scale", "0.1"])
        .args(["--clients", "busy=1", "--env", "REGION=a b=c", "--env", "APP_DRAIN_DELAY=700ms"])
        .args(["--json".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "700ms a b=c\n".repeat(3));
    let report = json(&file);
    assert_eq!(report["timings"]["drain_delay"], "700ms");
    assert_eq!(report["name"], service.file_name().unwrap().to_str().unwrap());
    // The pause, 2.4 drain delays until every idle client has come back, and a little.
    let seconds = report["seconds_of_load"].as_f64().unwrap();
    assert!(seconds > 0.3 + 1.68 + 0.19, "{seconds} s");
}

#[test]
fn a_mix_without_post_and_stream_needs_neither_path() {
    let run = local(&["--rollouts", "0", "--scale", "0.1", "--clients", "busy=1,h2=1,post=0"])
        .args(["--post", "/nowhere", "--stream", "/nowhere"])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
}

#[test]
fn the_timings_are_those_of_an_overlay_that_is_rendered() {
    let (tools, file) = (scratch("tools"), scratch("overlay.json"));
    let _ = std::fs::create_dir(&tools);
    let rendered = "kind: Deployment\nmetadata: { name: orders }\nspec:\n  replicas: 2\n  template:\n    spec:\n      containers:\n        \
        - env: [{ name: APP_DRAIN_DELAY, value: 7s }]";
    let run = |kubectl: &str| {
        script(&tools.join("kubectl"), kubectl);
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        local(&[
            "--rollouts",
            "0",
            "--scale",
            "0.1",
            "--clients",
            "busy=1",
            "--overlay",
            tools.to_str().unwrap(),
        ])
        .args(["--json".as_ref(), file.as_os_str()])
        .env("PATH", path)
        .output()
        .unwrap()
    };
    let rendering = run(&format!("[ $1 = kustomize ] && echo '{rendered}'"));
    assert_eq!(code(&rendering), 0, "{}{}", out(&rendering), err(&rendering));
    let timings = &json(&file)["timings"];
    assert_eq!((&timings["replicas"], &timings["drain_delay"]), (&2.into(), &"700ms".into()));
    let failing = run("echo no such base >&2; exit 1");
    assert_eq!(code(&failing), 2, "{}", out(&failing));
    let because = format!("kubectl kustomize {}: no such base", tools.display());
    assert!(err(&failing).contains(&because), "{}", err(&failing));
}
