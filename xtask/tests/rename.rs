//! `xtask rename` on copies of this repository.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{append, cargo, content, copy, done, read, refused, repository, service, write};

/// Names to try. What a team has written since may hold any of the words, so there it is one that nobody has.
fn names() -> Vec<String> {
    let names = match repository().join("engine.lock").exists() {
        true => vec!["tried-name-2".to_owned()],
        false => vec!["orders".to_owned(), "my-svc2".to_owned(), "a".to_owned(), "abcde-fghi".repeat(4)],
    };
    names.into_iter().filter(|name| *name != service(&repository())).collect()
}

/// What `kubectl kustomize` makes of a directory.
fn kustomize(directory: &Path) -> String {
    let output = Command::new("kubectl").arg("kustomize").arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn any_name_twice_in_a_row_and_back_leaves_the_very_same_tree() {
    let root = copy("round-trip");
    let old = service(&root);
    done(&root, &["rename", &old]);
    let before = content(&root);
    for name in names() {
        let said = done(&root, &["rename", &name]);
        assert_eq!(service(&root), name);
        assert!(said.contains(&format!("`{old}` is `{name}` now")), "{said}");
        let said = done(&root, &["rename", "between-2"]);
        let left = said.contains("Nothing is left") || said.contains("a word of the engine's");
        assert!(left || repository().join("engine.lock").exists(), "{said}");
        done(&root, &["rename", &name]);
        done(&root, &["rename", &name]);
        done(&root, &["rename", &old]);
        let after = content(&root);
        let differ: Vec<&PathBuf> = before.keys().filter(|path| before[*path] != after[*path]).collect();
        assert!(differ.is_empty() && before.len() == after.len(), "{name}: {differ:?}");
    }
}

#[test]
fn nothing_is_left_of_the_old_name_and_cargo_and_kubectl_take_the_new_one() {
    let root = copy("orders");
    let old = service(&root);
    let new = names().remove(0);
    let said = done(&root, &["rename", &new]);
    if !repository().join("engine.lock").exists() {
        assert!(said.contains(&format!("Nothing is left of `{old}`")), "{said}");
    }

    let tree = cargo(&root, &["tree", "--workspace", "--locked", "--depth", "0", "--prefix", "none"]);
    assert!(tree.lines().any(|line| line.starts_with(&format!("{new} v"))), "{tree}");
    for overlay in fs::read_dir(root.join("k8s/overlays")).unwrap().map(|entry| entry.unwrap().path()) {
        let rendered = kustomize(&overlay);
        let word = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        let is_old = |part: &str| part == old || part.starts_with(&format!("{old}-"));
        assert!(!rendered.split(word).any(is_old), "{}", overlay.display());
        assert!(rendered.contains(&format!("app.kubernetes.io/name: {new}\n")), "{}", overlay.display());
    }
}

#[test]
fn the_engine_is_not_touched() {
    let root = copy("engine");
    let before = content(&root);
    done(&root, &["rename", &names()[0]]);
    let after = content(&root);
    for path in before.keys().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        assert!(path.starts_with("service") || before[path] == after[path], "{}", path.display());
    }
    assert!(before[Path::new("Cargo.toml")] == after[Path::new("Cargo.toml")]);
}

#[test]
fn what_a_team_has_added_is_renamed_too_and_what_it_has_written_is_listed() {
    let root = copy("added");
    let old = service(&root);
    let overlay = |name: &str| {
        format!("namespace: {name}-qa\nresources:\n- ../../base\nimages:\n- name: {name}\n  newTag: 1.0.0\n")
    };
    let workflow = |name: &str| format!("steps:\n- run: docker push registry.test/{name}:1.0.0\n");
    let page = |name: &str| format!("Logs: `kubectl -n {name} logs deployment/{name}-canary`.\n");
    let files = [
        ("k8s/overlays/qa/kustomization.yaml", overlay(&old), overlay("tried-name-2")),
        (".github/workflows/push.yaml", workflow(&old), workflow("tried-name-2")),
        ("docs/logs.md", page(&old), page("tried-name-2")),
    ];
    for (path, text, _) in &files {
        write(&root, path, text);
    }
    let prose = format!("The {old} is what we call it, and {old}s are many.\n");
    write(&root, "docs/words.md", &prose);
    let said = done(&root, &["rename", "tried-name-2"]);
    for (path, _, expected) in &files {
        assert_eq!(&read(&root, path), expected, "{path}");
    }
    assert_eq!(read(&root, "docs/words.md"), prose);
    assert!(said.contains("docs/words.md:1: The ") || said.contains("a word of the engine's"), "{said}");
}

#[test]
fn a_name_that_cannot_be_is_refused_with_the_reason_and_nothing_changes() {
    let root = copy("refused");
    for (name, reason) in [
        ("Orders", "DNS label"),
        ("2fast", "DNS label"),
        ("match", "keyword"),
        ("test", "cargo"),
        ("landfall", "Cargo.lock"),
        ("xtask", "Cargo.lock"),
        ("tokio", "Cargo.lock"),
        ("production", "stands for something else"),
        (&"a".repeat(41), "41 characters"),
    ] {
        let said = refused(&root, &["rename", name]);
        assert!(said.contains(reason), "{name}: {said}");
    }
    assert!(refused(&root, &["rename"]).contains("usage"));
    append(&root, "k8s/overlays/local/kustomization.yaml", "# image: tried-name-2:local");
    let said = refused(&root, &["rename", "tried-name-2"]);
    assert!(said.contains("k8s/overlays/local/kustomization.yaml:"), "{said}");
}
