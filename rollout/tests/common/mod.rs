//! What the tests share: the executables, and a place for their files.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const ROLLOUT: &str = env!("CARGO_BIN_EXE_rollout");

/// The package and the binary of the sample service that is rolled. It reads the template's `APP_` variables and has
/// `GET /`, `POST /greetings`, and `GET /ticks`, which is endless.
const SAMPLE: [&str; 2] = ["landfall", "landfall"];

/// Every kind of client, few enough for a debug build on a busy machine.
pub(crate) const FEW: &str = "busy=6,idle=12,fresh=3,h2=2,post=3,stream=4";

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

/// `rollout local` against the sample service.
pub(crate) fn local(arguments: &[&str]) -> Command {
    let mut command = Command::new(ROLLOUT);
    command.args(["local", "--binary", sample()]).args(arguments);
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
