//! What the workflows make is there, and what a release asks of `scripts/release.sh`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{copy_into, make_targets, read, removed, repository, service, write};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A copy of what a release reads and changes.
fn checkout(name: &str) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release").join(name);
    let _ = fs::remove_dir_all(&to);
    for part in ["scripts", "k8s/overlays"] {
        copy_into(&repository().join(part), &to.join(part));
    }
    write(&to, "service/Cargo.toml", &read(&repository(), "service/Cargo.toml"));
    write(
        &to,
        "CHANGELOG.md",
        "# Changelog\n\n## [1.10.0] - 2026-01-02\n\n- Ten.\n\n## [1.1.0]\n\n- One.\n\n### Fixed\n\n- A fault.\n",
    );
    to
}

/// What it prints, or why it fails.
fn release(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("sh").arg(root.join("scripts/release.sh")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn whatever_a_workflow_makes_is_a_target() {
    if !removed(&repository()).is_empty() {
        return; // and the workflows, which are the team's, may still make it
    }
    let targets = make_targets(&repository());
    let Ok(workflows) = fs::read_dir(repository().join(".github/workflows")) else { return };
    for path in workflows.map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&path).unwrap();
        let matrices =
            text.lines().filter_map(|line| line.trim().strip_prefix("goals: [")?.strip_suffix(']'));
        let commands = text.lines().filter_map(|line| {
            let (_, command) = line.split_once("make ")?;
            let is_matrix = command.starts_with("${{");
            let is_run = !is_matrix && (line.contains("run: ") || line.contains("$(make "));
            is_run.then(|| command.split_once(')').map_or(command, |(command, _)| command))
        });
        let goals = matrices.chain(commands).flat_map(|goals| goals.split([' ', ',']));
        let is_goal = |goal: &&str| {
            goal.starts_with(|c: char| c.is_ascii_lowercase())
                && goal.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
        };
        for goal in goals.filter(is_goal) {
            assert!(targets.contains(goal), "{}: there is no target `{goal}`", path.display());
        }
    }
}

#[test]
fn a_tag_has_to_be_the_version_of_the_service() {
    let root = checkout("version");
    let manifest = read(&root, "service/Cargo.toml");
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"')).unwrap();
    assert_eq!(release(&root, &["version", &format!("v{version}")]), Ok(format!("{version}\n")));
    let said = release(&root, &["version", "v99.0.0"]).unwrap_err();
    assert!(said.contains(&format!("expected v{version}")), "{said}");
}

#[test]
fn the_notes_are_the_section_of_the_version_alone() {
    let root = checkout("changelog");
    assert_eq!(release(&root, &["changelog", "1.1.0"]).unwrap().trim(), "- One.\n\n### Fixed\n\n- A fault.");
    assert_eq!(release(&root, &["changelog", "1.10.0"]).unwrap().trim(), "- Ten.");
    assert_eq!(release(&root, &["changelog", "1.1"]), Ok(String::new()));
}

#[test]
fn a_bump_sets_the_tag_of_every_overlay_but_local_and_nothing_else() {
    let root = checkout("bump");
    let name = service(&root);
    let overlay = |name: &str| format!("k8s/overlays/{name}/kustomization.yaml");
    let images =
        format!("images:\n- name: other\n  newTag: 9.9.9\n- name: {name}\n  # why\n  newTag: 0.1.0\n");
    write(&root, &overlay("qa"), &images);
    let local = read(&root, &overlay("local"));
    let production = read(&root, &overlay("production"));
    let tag = format!("2.0.0@{DIGEST}");
    let said = release(&root, &["bump", &tag]).unwrap();
    assert!(said.contains("overlays/production"), "{said}");
    assert_eq!(read(&root, &overlay("local")), local);
    assert_eq!(read(&root, &overlay("qa")), images.replace("0.1.0", &tag));
    let changed = read(&root, &overlay("production"));
    let differ = production.lines().zip(changed.lines()).filter(|(old, new)| old != new);
    assert_eq!(differ.collect::<Vec<_>>().len(), 1, "{changed}");
    assert!(changed.contains(&format!("newTag: {tag}\n")), "{changed}");
}

#[test]
fn a_bump_to_what_is_no_tag_changes_nothing() {
    let root = checkout("no-tag");
    let before = read(&root, "k8s/overlays/production/kustomization.yaml");
    for tag in ["", "1.0.0@sha256:12", "a b", "1.0.0\nx: y"] {
        assert!(release(&root, &["bump", tag]).is_err(), "{tag}");
    }
    assert_eq!(read(&root, "k8s/overlays/production/kustomization.yaml"), before);
}
