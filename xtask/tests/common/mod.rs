//! Copies of the repository to try things on, and what is asked of them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part, and fails where it cannot go on"
)]

pub(crate) mod markdown;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A copy of it under this name, without what is built or fetched.
pub(crate) fn copy(name: &str) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&to);
    copy_into(&repository(), &to);
    to
}

pub(crate) fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if [".git", ".tools", "target"].iter().any(|skipped| name == *skipped) {
        } else if path.is_dir() {
            copy_into(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Every file with its content.
pub(crate) fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else {
                all.insert(path.strip_prefix(root).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// What the service is called there.
pub(crate) fn service(root: &Path) -> String {
    let manifest = read(root, "service/Cargo.toml");
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.unwrap().to_owned()
}

/// The targets of the Makefile and of what it includes.
pub(crate) fn make_targets(root: &Path) -> BTreeSet<String> {
    let files = ["Makefile", "scripts/ci.mk", "rollout/rollout.mk", "examples/examples.mk", "service/service.mk"];
    let texts = files.iter().filter_map(|file| fs::read_to_string(root.join(file)).ok());
    let heads = texts.flat_map(|text| {
        text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect::<Vec<_>>()
    });
    heads.flat_map(|head| head.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// What `make remove` took away there: files, and folders with a `/` at the end.
pub(crate) fn removed(root: &Path) -> Vec<String> {
    let lock = fs::read_to_string(root.join("engine.lock")).unwrap_or_default();
    lock.lines().filter_map(|line| line.strip_prefix("# without ").map(str::to_owned)).collect()
}

/// Whether a path is one of these, or in one of these folders.
pub(crate) fn is_in(path: &str, paths: &[String]) -> bool {
    let folder = format!("{path}/");
    paths.iter().any(|entry| path == entry || (entry.ends_with('/') && folder.starts_with(entry)))
}

pub(crate) fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn write(root: &Path, path: &str, text: &str) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), text).unwrap();
}

/// Puts a line at the end of a file.
pub(crate) fn append(root: &Path, path: &str, line: &str) {
    write(root, path, &(read(root, path) + line + "\n"));
}

fn xtask(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .current_dir(root)
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .unwrap()
}

/// What it says when it succeeds.
pub(crate) fn done(root: &Path, arguments: &[&str]) -> String {
    let output = xtask(root, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Why it refuses, having changed nothing.
pub(crate) fn refused(root: &Path, arguments: &[&str]) -> String {
    let before = content(root);
    let output = xtask(root, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(before == content(root), "{arguments:?} changed something");
    String::from_utf8(output.stderr).unwrap()
}

/// Runs cargo there, on what is built here already.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> String {
    cargo_in("", root, arguments)
}

/// The directory of this name below the one that is built into here.
pub(crate) fn target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(name)
}

/// Runs cargo there, and builds into the directory of this name below the one that is built into here.
pub(crate) fn cargo_in(name: &str, root: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target(name))
        // Otherwise cargo takes a copy's crates for ours, and does not see any more when ours are edited.
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "cargo {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
