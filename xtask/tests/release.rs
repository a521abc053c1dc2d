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
    for (path, goal) in made_by_workflows() {
        assert!(targets.contains(&goal), "{path}: there is no target `{goal}`");
    }
}

/// Each workflow and a target that it makes.
fn made_by_workflows() -> Vec<(String, String)> {
    let mut made = Vec::new();
    let Ok(workflows) = fs::read_dir(repository().join(".github/workflows")) else { return made };
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
        made.extend(goals.filter(is_goal).map(|goal| (path.display().to_string(), goal.to_owned())));
    }
    made
}

#[test]
fn what_make_test_ignores_a_workflow_or_ci_runs() {
    // After the first renaming the workflows are the team's.
    if repository().join("engine.lock").exists() {
        return;
    }
    let ci = read(&repository(), ".ci/run");
    let in_ci =
        ci.lines().filter_map(|line| line.strip_prefix("make ")?.split(' ').next().map(str::to_owned));
    let made: Vec<String> = made_by_workflows().into_iter().map(|(_, goal)| goal).chain(in_ci).collect();
    // Each executable of tests whose ignored ones a target runs, and that target.
    let mut run = Vec::new();
    for makefile in ["Makefile", "scripts/ci.mk", "rollout/rollout.mk"] {
        let mut target = "";
        let text = read(&repository(), makefile);
        for line in text.lines() {
            if let Some((name, _)) = line.split_once(':').filter(|_| !line.starts_with('\t')) {
                target = name;
            } else if line.contains(" --ignored")
                && let Some((_, test)) = line.split_once("--test ")
            {
                run.push((test.split(' ').next().unwrap().to_owned(), target.to_owned()));
            }
        }
    }
    let mut ignoring = Vec::new();
    files_that_ignore(&repository(), &mut ignoring);
    assert!(ignoring.len() >= 5, "{ignoring:?}");
    for file in ignoring {
        let mut parts = file.iter().skip_while(|part| *part != "tests").skip(1);
        let test = parts.next().map(|part| part.to_str().unwrap().trim_end_matches(".rs"));
        let is_run = run.iter().any(|(of, target)| Some(of.as_str()) == test && made.contains(target));
        assert!(is_run, "{}: nothing that a workflow makes runs what is ignored", file.display());
    }
}

/// The Rust files under a directory that have an ignored test.
fn files_that_ignore(under: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(under).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            if ![".git", ".tools", "target"].iter().any(|skipped| path.ends_with(skipped)) {
                files_that_ignore(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            if text.lines().any(|line| line.trim_start().starts_with("#[ignore")) {
                found.push(path.strip_prefix(repository()).unwrap().to_owned());
            }
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
