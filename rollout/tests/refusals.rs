//! A run that cannot be made ends with 2 and says what to do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{code, err, landfall, rollout, scratch, script};

#[track_caller]
fn refused(arguments: &[&str], because: &str) {
    let run = rollout(arguments);
    assert_eq!(code(&run), 2, "{}", err(&run));
    assert!(err(&run).contains(because), "{}", err(&run));
}

#[test]
fn a_command_line_that_means_nothing() {
    refused(&[], "Usage");
    refused(&["local", "--clients", "lazy=3"], "none of busy, idle, fresh, h2, post, stream");
    refused(&["local", "--clients", "busy=1@1"], "is not a duration");
    refused(&["local", "--scale", "0"], "a scale is a number from 0.01 to 10");
    refused(&["local", "--replicas", "0"], "0 is not in 1..=50");
    refused(&["local", "--get-path", "ticks"], "a path begins with /");
    refused(&["local", "--header", "nothing"], "Name: value");
    refused(&["local", "--modes", "none"], "--compare");
}

#[test]
fn a_service_that_is_not_there_or_does_not_start() {
    refused(&["local", "--binary", "/nowhere/landfall"], "there is no service at /nowhere/landfall");
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
fn a_path_that_the_service_does_not_have() {
    let service = landfall().to_str().unwrap();
    let run = ["local", "--binary", service, "--scale", "0.1", "--clients", "busy=1"];
    refused(&[&run[..], &["--get-path", "/nowhere"]].concat(), "/nowhere answered 404");
}

#[test]
fn an_overlay_that_cannot_be_read() {
    let service = landfall().to_str().unwrap();
    let run = ["local", "--binary", service, "--overlay"];
    refused(&[&run[..], &["/nowhere/overlay.yaml"]].concat(), "reading the overlay /nowhere/overlay.yaml");
    let overlay = scratch("overlay.yaml");
    std::fs::write(&overlay, "kind: Service\n").unwrap();
    refused(&[&run[..], &[overlay.to_str().unwrap()]].concat(), "it renders no Deployment");
}
