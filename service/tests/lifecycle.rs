//! What a team wants on the first day and keeps when it replaces the routes: the real binary starts, says what is
//! wrong with its configuration, and survives a SIGTERM.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure")]

use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What the service cannot start without.
const REQUIRED: &str = include_str!("../test.env");

const BINARY: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

/// The service's program with what it requires, and nothing else of this process' environment.
fn program() -> Command {
    let required = REQUIRED.lines().filter(|line| !line.starts_with('#'));
    let mut program = Command::new(BINARY);
    program.env_clear().envs(required.filter_map(|line| line.split_once('=')));
    program
}

/// The service on free ports, killed when dropped.
struct Running {
    child: Child,
    log: Lines<BufReader<ChildStdout>>,
    address: String,
    admin: String,
}

impl Running {
    fn start(vars: &[(&str, &str)]) -> Self {
        let mut child = program()
            .envs([("APP_HOST", "127.0.0.1"), ("APP_PORT", "0"), ("APP_ADMIN_PORT", "0")])
            .envs(vars.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Self { child, log, address: String::new(), admin: String::new() };
        let listening = running.line("listening");
        running.address = listening["address"].as_str().unwrap().to_owned();
        running.admin = listening["admin_address"].as_str().unwrap().to_owned();
        running.line("serving");
        running
    }

    /// Reads the log up to the line whose message begins like this.
    fn line(&mut self, message: &str) -> Value {
        let mut read = String::new();
        for line in self.log.by_ref().map(Result::unwrap) {
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"].as_str().is_some_and(|text| text.starts_with(message)) {
                return line;
            }
            read += &format!("{line}\n");
        }
        panic!("the log ended without a line {message:?}:\n{read}")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The response to a GET request on a connection of its own, head and body.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn it_starts_is_ready_and_ends_cleanly_on_sigterm() {
    let mut service = Running::start(&[("APP_DRAIN_DELAY", "100ms")]);
    for probe in ["/livez", "/readyz", "/startupz"] {
        assert!(get(&service.admin, probe).starts_with("HTTP/1.1 200"), "{probe}");
    }
    assert!(get(&service.admin, "/metrics").contains("\nbuild_info{"));
    service.signal(Signal::TERM);
    assert_eq!(service.line("stopped")["clean"], true);
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn while_draining_it_is_unready_and_still_answers() {
    let mut service = Running::start(&[("APP_DRAIN_DELAY", "1m")]);
    service.signal(Signal::TERM);
    service.line("draining");
    assert!(get(&service.admin, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(get(&service.address, "/livez").starts_with("HTTP/1.1 200"));
    // The second one skips what is left of the delay.
    service.signal(Signal::TERM);
    service.line("stopped");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn a_path_that_is_not_there_is_answered_with_a_problem() {
    let service = Running::start(&[]);
    let response = get(&service.address, "/there-is-nothing-here");
    assert!(response.starts_with("HTTP/1.1 404"), "{response}");
    assert!(response.contains("application/problem+json"), "{response}");
}

#[test]
fn a_misspelt_variable_stops_the_start() {
    let output = program().env("APP_PROT", "80").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stdout).contains("did you mean APP_PORT?"));
}
