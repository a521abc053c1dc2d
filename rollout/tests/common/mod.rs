//! What the tests share: the executables, services to drive, and a place for their files.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpSocket;

pub(crate) const ROLLOUT: &str = env!("CARGO_BIN_EXE_rollout");

/// The package and the binary of the sample service that is rolled. It reads the template's `APP_` variables and has
/// `GET /`, `POST /greetings`, and `GET /ticks`, which is endless.
const SAMPLE: [&str; 2] = ["landfall", "testbed"];

/// Most kinds of client, few enough for a debug build on a busy machine.
pub(crate) const FEW: &str = "busy=6,idle=12,fresh=3,h2=2,h2-idle=6,post=3,stream=4,pipeline=1";

/// The sample service's executable, built if it is not there yet.
pub(crate) fn sample() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(ROLLOUT).parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        let [package, binary] = SAMPLE;
        build.args(["build", "--quiet", "--package", package, "--bin", binary]);
        if directory.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "{binary} does not build");
        directory.join(binary).display().to_string()
    })
}

/// `rollout local` against the sample service, which sheds nothing: a debug build on a busy machine is overloaded.
pub(crate) fn local(arguments: &[&str]) -> Command {
    let mut command = Command::new(ROLLOUT);
    command.args(["local", "--binary", sample(), "--env", "APP_MAX_WAIT=1h"]).args(arguments);
    command
}

pub(crate) fn rollout(arguments: &[&str]) -> Output {
    Command::new(ROLLOUT).args(arguments).output().unwrap()
}

/// A file of this test's own, with nothing in it yet.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Writes an executable script. A process of its own writes it: a file that this one, forking in many
/// threads, has open for writing could not be executed (ETXTBSY).
pub(crate) fn script(path: &Path, text: &str) {
    let written = Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod +x \"$1\"", "sh"])
        .arg(path)
        .arg(text)
        .status();
    assert!(written.unwrap().success());
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Polls until it holds; fails after a generous while.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running service; it is killed when dropped.
pub(crate) struct Service {
    pub(crate) process: Child,
    pub(crate) address: SocketAddr,
}

impl Service {
    /// A naive one, which does well while nobody ends it.
    pub(crate) fn naive() -> Self {
        Self::start(Command::new(ROLLOUT).args(["naive", "none", "/ticks"]))
    }

    /// The sample, which drains within seconds.
    pub(crate) fn sample() -> Self {
        let timings =
            [("APP_DRAIN_DELAY", "500ms"), ("APP_DRAIN_TIMEOUT", "10s"), ("APP_FLUSH_TIMEOUT", "1s")];
        Self::start(Command::new(sample()).envs(timings))
    }

    fn start(command: &mut Command) -> Self {
        static STARTED: AtomicU8 = AtomicU8::new(1);
        // An address of its own: nothing else takes a port there between the look for a free one and its use.
        let [_, .., high, low] = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, high.max(1), low, STARTED.fetch_add(1, Ordering::Relaxed));
        let [address, admin] = [(); 2].map(|()| free_port(host)).map(|socket| socket.local_addr().unwrap());
        let process = command
            .env("APP_HOST", host.to_string())
            .env("APP_PORT", address.port().to_string())
            .env("APP_ADMIN_PORT", admin.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the service accepts connections", || TcpStream::connect(address).is_ok());
        Self { process, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A free port, on which nobody listens: a process that is being started has a copy of each socket until it becomes its
/// program, and a copy that listens would keep the port, and accept connections.
pub(crate) fn free_port(host: Ipv4Addr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((host, 0).into()).unwrap();
    socket
}

/// Says whether a process runs; whoever adopted it may not have reaped it yet.
pub(crate) fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != "Z")
}

/// The state and the parent of a process, from the kernel.
pub(crate) fn stat(process: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_string(), fields.next()?.parse().ok()?))
}

/// Sends a signal, such as `TERM`.
pub(crate) fn signal(name: &str, process: u32) {
    // The shell's own: a bare machine has no program of that name.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().unwrap();
    assert!(sent.success());
}
