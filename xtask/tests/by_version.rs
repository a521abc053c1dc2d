//! A service that has the engine by version takes a newer one by one changed line.
//!
//! It builds the engine and the service twice: `cargo test -p xtask --test by_version -- --ignored`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{append, cargo, copy, copy_into, read, repository, write};

const WORKSPACE: &str = "{ path = \"..\" }";
const EXPORTER: &str = "path = \"../otlp\"";

fn git(root: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(root)
        .status();
    assert!(done.is_ok_and(|status| status.success()), "git {arguments:?}");
}

/// A repository of the engine with two versions, the second with something new in it.
fn engine() -> PathBuf {
    let root = copy("engine-by-version");
    for (tag, newer) in
        [("v0.1.0", None), ("v0.2.0", Some("/// What is newer.\npub const NEWER: bool = true;"))]
    {
        match newer {
            None => git(&root, &["init", "--quiet"]),
            Some(newer) => append(&root, "src/lib.rs", newer),
        }
        git(&root, &["add", "--all"]);
        git(&root, &["commit", "--quiet", "--message", tag]);
        git(&root, &["tag", tag]);
    }
    root
}

/// The folder `service` alone, as docs/upgrading.md makes it a repository.
fn alone(engine: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("service-by-version");
    let _ = fs::remove_dir_all(&root);
    copy_into(&repository().join("service"), &root);
    fs::copy(repository().join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
    let manifest = read(&repository(), "Cargo.toml");
    let shared = manifest.split_once("[workspace.package]").unwrap().1.split_once("[package]").unwrap().0;
    let own = read(&root, "Cargo.toml");
    assert!(own.contains(WORKSPACE), "{own}");
    let by_version = format!("git = \"file://{}\", tag = \"v0.1.0\"", engine.display());
    let own = own.replace(WORKSPACE, &format!("{{ {by_version} }}")).replace(EXPORTER, &by_version);
    write(&root, "Cargo.toml", &format!("{own}\n[workspace]\n\n[workspace.package]{shared}"));
    root
}

#[test]
#[ignore = "it builds for minutes; .ci/run runs it"]
fn one_changed_line_takes_a_newer_engine() {
    let root = alone(&engine());
    cargo(&root, &["fetch"]);
    cargo(&root, &["test", "--offline"]);

    let older = read(&root, "Cargo.toml");
    write(&root, "Cargo.toml", &older.replace("tag = \"v0.1.0\"", "tag = \"v0.2.0\""));
    append(&root, "src/main.rs", "const _: bool = landfall::NEWER;");
    cargo(&root, &["fetch"]);
    cargo(&root, &["test", "--offline"]);
}
