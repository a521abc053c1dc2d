//! What `rollout/Dockerfile` copies is enough for cargo: an image needs an engine to be built, and this does not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{err, scratch};

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn cargo_finds_every_file_that_a_manifest_names() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().unwrap();
    let context = scratch("context");
    let listed = fs::read_to_string(package.join("Dockerfile.dockerignore")).unwrap();
    for path in listed.lines().filter_map(|line| line.strip_prefix('!')) {
        // `make remove` leaves the line of what it takes away, and Docker does not mind.
        if root.join(path).exists() {
            copy(&root.join(path), &context.join(path));
        }
    }
    // Reads the manifests, and needs no crates.
    let read = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(&context)
        .output()
        .unwrap();
    fs::remove_dir_all(context).unwrap();
    assert!(read.status.success(), "{}", err(&read));
}
