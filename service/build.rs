//! Writes down which revision the service is built from: `REVISION` in the environment, else what git says.

use std::{env, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=REVISION");
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let revision = env::var("REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = revision.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let directory = env::var_os("OUT_DIR").expect("cargo sets it");
    // A file and not a variable, which cargo would hand to the running service among those that configure it.
    fs::write(Path::new(&directory).join("revision"), revision.as_deref().unwrap_or("unknown"))
        .expect("cargo made the directory");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
