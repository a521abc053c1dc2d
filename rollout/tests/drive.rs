//! `rollout drive`: load before, while and after a command replaces what serves the URL.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, copy};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use common::{
    FEW, ROLLOUT, Service, code, err, eventually, free_port, is_alive, json, out, rollout, scratch, signal,
};

/// `rollout drive` with short pauses and this script as its command, its JSON in a file.
fn drive(url: &str, mix: &str, script: &str, file: &Path) -> Command {
    let mut command = Command::new(ROLLOUT);
    command
        .args(["drive", "--url", url, "--pause", "500ms", "--idle", "100ms-700ms", "--clients", mix])
        .args(["--json".as_ref(), file.as_os_str()])
        .args(["--", "sh", "-c", script]);
    command
}

#[test]
fn a_replacement_behind_a_balancer_loses_nothing() {
    let (mut old, new) = (Service::sample(), Service::sample());
    let (upstream, file) = (scratch("upstream"), scratch("drive.json"));
    std::fs::write(&upstream, old.address.to_string()).unwrap();
    let script = format!(
        "echo {new} > {upstream}.new; mv {upstream}.new {upstream}; kill -TERM {old}",
        new = new.address,
        upstream = upstream.display(),
        old = old.process.id(),
    );
    let run = drive(&proxy(&upstream), FEW, &script, &file).output().unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    assert_eq!(old.process.wait().unwrap().code(), Some(0));
    let report = json(&file);
    assert_eq!((&report["rollouts"], &report["all"]["lost"]), (&1.into(), &0.into()));
    assert_eq!(report["name"], format!("sh -c {script}"));
    for (kind, tally) in report["clients"].as_object().unwrap() {
        assert!(tally["ok"].as_u64().unwrap() > 0, "{kind} sent nothing");
    }
}

#[test]
fn a_command_that_kills_the_service_ends_with_1() {
    let service = Service::naive();
    let file = scratch("killed.json");
    let script = format!("kill -KILL {}", service.process.id());
    let run = drive(&service.url(), "busy=2,idle=2", &script, &file).output().unwrap();
    assert_eq!(code(&run), 1, "{}{}", out(&run), err(&run));
    let all = &json(&file)["all"];
    // Nothing was lost before the command.
    assert!(all["ok"].as_u64().unwrap() > 0 && all["refused"].as_u64().unwrap() > 0, "{all:#}");
}

#[test]
fn there_is_load_before_the_command_and_after_it() {
    let service = Service::naive();
    let file = scratch("pauses.json");
    let run = drive(&service.url(), "busy=1", "sleep 0.3", &file).output().unwrap();
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    // Two pauses, the command, and the longest silence of an idle client.
    let seconds = json(&file)["seconds_of_load"].as_f64().unwrap();
    assert!((2.0..10.0).contains(&seconds), "{seconds}");
}

#[test]
fn a_command_that_fails_or_is_not_there_ends_with_2_and_prints_what_there_is() {
    let service = Service::naive();
    let run = drive(&service.url(), "busy=1", "exit 3", &scratch("failed.json")).output().unwrap();
    assert_eq!(code(&run), 2, "{}", err(&run));
    assert!(out(&run).contains("unfinished running `sh -c exit 3`: exit status: 3"), "{}", out(&run));
    assert!(out(&run).contains("ended early") && out(&run).contains(" 0 lost"), "{}", out(&run));
    let url = service.url();
    let drive = ["drive", "--url", &url, "--pause", "100ms", "--clients", "busy=1"];
    let run = rollout(&[&drive[..], &["--", "/nowhere/replace", "all"]].concat());
    assert_eq!(code(&run), 2, "{}", err(&run));
    assert!(out(&run).contains("unfinished running `/nowhere/replace all`: No such file"), "{}", out(&run));
    let run = rollout(&drive);
    assert_eq!(code(&run), 2);
    assert!(err(&run).contains("<COMMAND>"), "{}", err(&run));
}

#[test]
fn without_a_service_to_drive_the_command_does_not_run() {
    let service = Service::naive();
    let there = service.url();
    let nobody = free_port(Ipv4Addr::LOCALHOST);
    let nobody = nobody.local_addr().unwrap();
    for (url, mix, because) in [
        (format!("http://{nobody}"), "busy=1", "no route to http://127.0.0.1:"),
        (there.replace("http", "ftp"), "busy=1", "begins with neither http:// nor https://"),
        (format!("{there} "), "busy=1", "the URL `"),
    ] {
        let ran = scratch("ran");
        let run =
            drive(&url, mix, &format!("touch {}", ran.display()), &scratch("none.json")).output().unwrap();
        assert_eq!(code(&run), 2, "{}", out(&run));
        assert!(err(&run).contains(because), "{}", err(&run));
        assert!(!ran.exists(), "the command ran: {because}");
    }
}

#[test]
fn ctrl_c_ends_the_command_too_and_prints_what_there_is() {
    let service = Service::naive();
    let id = scratch("id");
    let mut run = drive(
        &service.url(),
        "busy=1",
        &format!("echo $$ > {}; exec sleep 1000", id.display()),
        &scratch("ended.json"),
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    let read = || std::fs::read_to_string(&id).ok()?.trim().parse().ok();
    eventually("the command runs", || read().is_some());
    signal("INT", run.id());
    let mut table = String::new();
    run.stdout.take().unwrap().read_to_string(&mut table).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(2), "{table}");
    assert!(table.contains("ended early") && table.contains(" 0 lost"), "{table}");
    eventually("the command has ended", || !is_alive(read().unwrap()));
}

/// A balancer that sends each new connection to the address in this file, and leaves it there; its URL.
fn proxy(upstream: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream: PathBuf = upstream.to_path_buf();
    thread::spawn(move || {
        for client in listener.incoming() {
            let address: SocketAddr = std::fs::read_to_string(&upstream).unwrap().trim().parse().unwrap();
            let server = TcpStream::connect(address).unwrap();
            let client = client.unwrap();
            one_way(client.try_clone().unwrap(), server.try_clone().unwrap());
            one_way(server, client);
        }
    });
    url
}

fn one_way(mut from: TcpStream, mut to: TcpStream) {
    from.set_nodelay(true).unwrap();
    thread::spawn(move || {
        // Either side may be gone already.
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
