//! A run that cannot be made ends with 2 and says what to do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{code, err, rollout, sample, scratch, script};

#[track_caller]
fn refused(arguments: &[&str], because: &str) {
    let run = rollout(arguments);
    assert_eq!(code(&run), 2, "{}", err(&run));
    assert!(err(&run).contains(because), "{}", err(&run));
}

#[test]
fn a_command_line_that_means_nothing() {
    refused(&[], "Usage");
    refused(&["local"], "--binary <PATH>");
    let local = |rest: [&'static str; 2]| {
        ["local", "--binary", "/bin/true"].into_iter().chain(rest).collect::<Vec<_>>()
    };
    refused(&local(["--clients", "lazy=3"]), "`lazy` is none of busy, idle, fresh, h2");
    refused(&local(["--clients", "busy=1@1"]), "is not a duration");
    refused(&local(["--scale", "0"]), "a scale is a number from 0.01 to 10");
    refused(&local(["--replicas", "0"]), "0 is not in 1..=50");
    for path in ["--path", "--post", "--stream"] {
        refused(&local([path, "ticks"]), "a path begins with /");
    }
    refused(&local(["--post-body", "{name: Ada}"]), "not JSON");
    refused(&local(["--env", "APP_REGION"]), "a variable is written NAME=VALUE");
    refused(&local(["--env", "2ND=x"]), "`2ND` is not a variable's name");
    refused(&local(["--env", "APP_PORT=80"]), "APP_PORT is each pod's own");
    refused(&local(["--env", "APP_DRAIN_DELAY=soon"]), "APP_DRAIN_DELAY: `soon` is not a duration");
    refused(&local(["--header", "nothing"]), "Name: value");
    refused(&local(["--modes", "none"]), "--compare");
}

#[test]
fn a_service_that_is_not_there_or_does_not_start() {
    refused(&["local", "--binary", "/nowhere/orders"], "there is no service at /nowhere/orders");
    refused(
        &["local", "--binary", "/bin/false"],
        "exited without SIGTERM (exit status: 1) and without output",
    );
    refused(&["local", "--binary", "/etc/passwd"], "starting /etc/passwd");
    let service = scratch("service.sh");
    script(&service, "echo APP_HOST is no good >&2; exit 78");
    let service = service.to_str().unwrap();
    refused(&["local", "--binary", service], "(exit status: 78); its last output:\nAPP_HOST is no good");
}

#[test]
fn paths_that_the_service_does_not_have() {
    let run = [
        "local",
        "--binary",
        sample(),
        "--scale",
        "0.1",
        "--clients",
        "busy=1,idle=2@3s-12s,post=1,stream=1",
    ];
    let paths = ["--post", "/orders", "--stream", "/feed"];
    let because = "\n  post: POST /orders responded 404; pass --post PATH and --post-body JSON\n  \
                   stream: GET /feed responded 404; pass --stream PATH\n\
                   or leave them out: --clients busy=1,idle=2@3s-12s\n";
    refused(&[&run[..], &paths].concat(), because);
    let none =
        ["local", "--binary", sample(), "--scale", "0.1", "--clients", "busy=1,post=0", "--path", "/nowhere"];
    refused(&none, "GET /nowhere responded 404; pass --path PATH\n");
    assert!(!err(&rollout(&none)).contains("leave them out"), "nobody would be left");
    let because = "\n  busy, idle: GET /nowhere responded 404; pass --path PATH\n\
                   or leave them out: --clients post=1,stream=1\n";
    refused(&[&run[..], &["--path", "/nowhere"]].concat(), because);
}

#[test]
fn an_overlay_that_cannot_be_read() {
    let run = ["local", "--binary", sample(), "--overlay"];
    refused(&[&run[..], &["/nowhere/overlay.yaml"]].concat(), "reading the overlay /nowhere/overlay.yaml");
    let overlay = scratch("overlay.yaml");
    std::fs::write(&overlay, "kind: Service\n").unwrap();
    refused(&[&run[..], &[overlay.to_str().unwrap()]].concat(), "it renders no Deployment");
}
