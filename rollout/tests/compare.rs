//! The comparison's ordering: the naive sequences lose, the service loses nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{FEW, code, err, json, local, out, scratch};

#[test]
fn naive_sequences_lose_and_landfall_does_not() {
    let file = scratch("compare.json");
    let mix = "busy=16,idle=60,fresh=8,h2=3,h2-idle=20,post=6,stream=8,pipeline=4";
    let run = local(&["--compare", "--rollouts", "2", "--scale", "0.1", "--clients", mix])
        .args(["--json".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let reports = json(&file);
    let lost = |name: &str, kind: &str| {
        let report = reports.as_array().unwrap().iter().find(|report| report["name"] == name).unwrap();
        match kind {
            "all" => report["all"]["lost"].as_u64().unwrap(),
            kind => report["clients"][kind]["lost"].as_u64().unwrap(),
        }
    };
    for naive in ["none", "flag"] {
        assert!(lost(naive, "busy") > 0, "{naive} loses no busy request:\n{}", out(&run));
        assert!(lost(naive, "idle") > 0, "{naive} loses no idle request:\n{}", out(&run));
    }
    // `Connection: close` moves busy clients in time; a client that was idle all the while never got it.
    assert!(lost("close", "busy") < lost("flag", "busy"));
    assert!(lost("close", "idle") > 0, "close loses no idle request:\n{}", out(&run));
    assert_eq!(lost("landfall", "all"), 0, "{}", out(&run));
}

#[test]
fn a_sequence_that_loses_ends_with_1_and_says_which_request() {
    let run = local(&[
        "--compare",
        "--modes",
        "flag",
        "--rollouts",
        "1",
        "--scale",
        "0.1",
        "--clients",
        "busy=16,idle=20",
    ])
    .output()
    .unwrap();
    assert_eq!(code(&run), 1, "{}{}", out(&run), err(&run));
    let lost = "busy: the connection was closed (its connection had answered ";
    assert!(out(&run).contains(lost) && out(&run).contains("terminating for"), "{}", out(&run));
}

#[test]
fn the_naive_servers_have_whatever_paths_the_service_has() {
    let (file, chart) = (scratch("paths.json"), scratch("paths.svg"));
    let run =
        local(&["--compare", "--modes", "close", "--rollouts", "0", "--scale", "0.1", "--clients", FEW])
            .args([
                "--path",
                "/orders?page=1",
                "--post",
                "/orders",
                "--post-body",
                "[1]",
                "--stream",
                "/orders/feed?from=1",
            ])
            .args(["--json".as_ref(), file.as_os_str(), "--chart".as_ref(), chart.as_os_str()])
            .output()
            .unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    // A chart for each sequence.
    let chart = chart.with_file_name(format!("close-{}", chart.file_name().unwrap().display()));
    assert!(std::fs::read_to_string(chart).unwrap().starts_with("<svg"));
    let clients = &json(&file)[0]["clients"];
    assert!(clients["post"]["ok"].as_u64().unwrap() > 0, "{clients:#}");
    // An endless response is still the first one at the end of the run.
    assert_eq!(clients["stream"]["ok"], 4, "{clients:#}");
}
