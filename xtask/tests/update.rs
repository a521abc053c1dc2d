//! `xtask update-engine`: a service made from an older state takes a newer engine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use common::{append, cargo, content, copy, done, read, refused, service, write};

const NAME: &str = "tried-name-2";

const OWN: &str = r#"//! A route and a variable of the service's own.

landfall::variables! {
    /// Read from the environment.
    pub(crate) struct Own {
        /// What the route says.
        motto: String = "carpe diem".to_owned(), "a sentence";
    }
}

/// The route.
pub(crate) fn router(own: Own) -> axum::Router {
    axum::Router::new().route("/motto", axum::routing::get(async move || own.motto))
}
"#;

/// A service with a name, a route, a variable and an overlay of its own.
fn older(name: &str) -> PathBuf {
    let root = copy(name);
    let _ = fs::remove_file(root.join("engine.lock"));
    done(&root, &["rename", NAME]);
    write(&root, "service/src/tried.rs", OWN);
    append(&root, "service/src/main.rs", "#[allow(dead_code)]\nmod tried;");
    write(&root, "k8s/overlays/qa/kustomization.yaml", "resources:\n- ../../base\n");
    append(&root, "README.md", "Ours.");
    root
}

/// What the engine could be later: a file changed, one with the service's name in it added, one removed.
fn newer(name: &str) -> PathBuf {
    let root = copy(name);
    let service = service(&root);
    append(&root, "src/lib.rs", "/// What is newer.\npub const NEWER: bool = true;");
    append(&root, "k8s/base/config.env", "APP_LOG_FORMAT=json");
    write(&root, "docs/added.md", &format!("`kubectl get deployment/{service}`\n"));
    append(&root, "README.md", "Theirs.");
    fs::remove_file(root.join("docs/service.md")).unwrap();
    root
}

fn differing(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<String> {
    let paths = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    paths
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| path.display().to_string())
        .collect()
}

fn update(root: &Path, from: &Path) -> String {
    done(root, &["update-engine", from.to_str().unwrap()])
}

fn refusal(root: &Path, from: &Path) -> String {
    refused(root, &["update-engine", from.to_str().unwrap()])
}

#[test]
fn a_newer_engine_is_taken_whole_and_nothing_else_changes() {
    let (ours, theirs) = (older("older"), newer("newer"));
    let before = content(&ours);
    let said = update(&ours, &theirs);
    assert!(said.contains("2 changed, 1 added, 1 removed"), "{said}");
    let after = content(&ours);
    assert_eq!(
        differing(&before, &after),
        ["docs/service.md", "engine.lock", "k8s/base/config.env", "src/lib.rs", "docs/added.md"]
    );
    assert_eq!(read(&ours, "src/lib.rs"), read(&theirs, "src/lib.rs"));
    assert_eq!(read(&ours, "docs/added.md"), format!("`kubectl get deployment/{NAME}`\n"));

    let said = update(&ours, &theirs);
    assert!(said.contains("already"), "{said}");
    assert_eq!(differing(&after, &content(&ours)), [""; 0]);
    cargo(&ours, &["build", "--locked", "--offline"]);
}

#[test]
fn what_was_edited_is_named_and_nothing_is_replaced() {
    let (ours, theirs) = (older("edited"), newer("newer-than-edited"));
    append(&ours, "src/server.rs", "// An edit.");
    fs::remove_file(ours.join("docs/configuration.md")).unwrap();
    write(&ours, "docs/added.md", "Ours.\n");
    let said = refusal(&ours, &theirs);
    for edited in
        ["src/server.rs: edited here", "docs/configuration.md: edited here", "docs/added.md: yours, and"]
    {
        assert!(said.contains(edited), "{said}");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("  ")).count(), 3, "{said}");

    // A name given later does not make an edit the engine's own.
    done(&ours, &["rename", "between-2"]);
    assert!(refusal(&ours, &theirs).contains("src/server.rs: edited here"));
}

#[test]
fn without_a_lock_there_has_to_be_a_commit_to_go_back_to() {
    let (ours, theirs) = (copy("unlocked"), newer("newer-than-unlocked"));
    let _ = fs::remove_file(ours.join("engine.lock"));
    assert!(refusal(&ours, &theirs).contains("commit what you have first"));
    assert!(refusal(&ours, &ours).contains("this very repository"));
}

#[test]
fn the_page_lists_what_is_the_services() {
    let page = read(&common::repository(), "docs/upgrading.md");
    let source = read(&common::repository(), "xtask/src/tree.rs");
    let list = source.split_once("SERVICES: &[&str] = &[").unwrap().1.split_once("];").unwrap().0;
    let paths: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        assert!(page.contains(&format!("`{path}`")), "docs/upgrading.md does not name {path}");
    }
}
