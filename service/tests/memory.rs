//! What many connections took is given back when they have gone, or an autoscaler that goes by memory keeps the pods of a
//! peak for ever.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

const CONNECTIONS: usize = 7000;

/// How much more than before may be left, a minute after the peak.
const LEFT_KIB: u64 = 16 * 1024;

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn resident_kib(process: &KillOnDrop) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn ask(mut client: &TcpStream) {
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut response = String::new();
    while !response.trim_end().ends_with("\r\n\r\nok") {
        let mut buffer = [0; 1024];
        let length = client.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "closed after {response:?}");
        response += str::from_utf8(&buffer[..length]).unwrap();
    }
}

#[test]
fn what_a_peak_of_connections_took_is_given_back() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let required = include_str!("../test.env").lines().filter(|line| !line.starts_with('#'));
    let mut child = Command::new(env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))))
        .env_clear()
        .envs(required.filter_map(|line| line.split_once('=')))
        .envs([("APP_HOST", "127.0.0.1"), ("APP_PORT", "0"), ("APP_ADMIN_PORT", "0")])
        .envs([("APP_MAX_CONNECTIONS", "8000"), ("APP_IDLE_TIMEOUT", "5m")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let process = KillOnDrop(child);
    let listening: Value = serde_json::from_str(&log.next().unwrap()).unwrap();
    let address = listening["address"].as_str().unwrap();
    assert!(log.any(|line| line.contains("\"serving\"")));
    ask(&TcpStream::connect(address).unwrap());
    let idle = resident_kib(&process);

    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let client = TcpStream::connect(address).unwrap();
            ask(&client);
            client
        })
        .collect();
    clients.iter().for_each(ask);
    let peak = resident_kib(&process);
    assert!(peak > idle + 2 * LEFT_KIB, "{peak} KiB with {CONNECTIONS} connections, {idle} KiB before");
    drop(clients);

    let deadline = Instant::now() + Duration::from_secs(60);
    while resident_kib(&process) > idle + LEFT_KIB {
        let left = resident_kib(&process);
        assert!(Instant::now() < deadline, "{left} KiB a minute after {peak} KiB, {idle} KiB before");
        thread::sleep(Duration::from_millis(100));
    }
}
