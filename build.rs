//! Tells the code which revision it is built from: `REVISION` in the environment, else what git says.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=REVISION");
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let revision = std::env::var("REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = revision.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=LANDFALL_REVISION={}", revision.as_deref().unwrap_or("unknown"));
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
