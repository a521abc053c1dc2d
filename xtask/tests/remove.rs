//! `xtask remove`: what a team does not want goes, the rest holds, and a newer engine does not bring it back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use common::{append, cargo, cargo_in, copy, done, is_in, read, refused, removed, repository, write};

/// As `xtask/src/remove.rs` lists them, with what each has to take along.
const PARTS: &[(&str, &[&str])] = &[
    ("rollout", &["rollout/Cargo.toml", "docs/rollout.md"]),
    ("benches", &["benches/against_axum.rs"]),
    ("examples", &["examples/Cargo.toml"]),
    ("k8s/check", &["k8s/check/Cargo.toml", "k8s/tests"]),
    ("docs", &["docs/README.md", "docs/engine.md"]),
];

/// Those that are still here.
fn parts() -> impl Iterator<Item = &'static (&'static str, &'static [&'static str])> {
    let gone = removed(&repository());
    PARTS.iter().filter(move |(_, paths)| !is_in(paths[0], &gone))
}

fn metadata(root: &Path) -> String {
    cargo(root, &["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])
}

#[test]
fn each_part_can_go_alone_and_cargo_takes_what_is_left() {
    for (part, paths) in parts() {
        let root = copy(&format!("remove-{}", part.replace('/', "-")));
        done(&root, &["rename", "tried-name-2"]);
        write(&root, &format!("{part}/ours.md"), "Ours.\n");
        let said = done(&root, &["remove", part]);
        if *part == "examples" {
            assert!(said.contains("docs/README.md:") && said.contains(" still names it: "), "{said}");
        }
        assert!(root.join(part).join("ours.md").exists(), "{part}: it has taken ours along");
        for path in *paths {
            assert!(!root.join(path).exists(), "{part}: {path} is left");
        }
        for kept in ["configuration", "decisions", "logs", "runbook", "service", "strategies", "upgrading"] {
            assert!(root.join(format!("docs/{kept}.md")).exists(), "{part} has taken {kept}.md along");
        }
        metadata(&root);
        let ignored = read(&root, ".dockerignore");
        for line in ignored.lines().filter_map(|line| line.strip_prefix('!')) {
            assert!(root.join(line).exists(), "{part}: .dockerignore still has {line}");
        }
    }
}

#[test]
fn a_newer_engine_does_not_bring_it_back() {
    let Some((part, paths)) = parts().next() else { return };
    let (ours, theirs) = (copy("removed"), copy("newer-than-removed"));
    done(&ours, &["remove", part]);
    let manifest = read(&ours, "Cargo.toml");
    append(&theirs, "src/lib.rs", "/// What is newer.\npub const NEWER: bool = true;");
    append(&theirs, "Cargo.toml", "# Newer.");
    let said = done(&ours, &["update-engine", theirs.to_str().unwrap()]);
    assert!(said.contains("2 changed, 0 added, 0 removed"), "{said}");
    assert!(!ours.join(paths[0]).exists());
    assert_eq!(read(&ours, "Cargo.toml"), manifest + "# Newer.\n");
    done(&ours, &["rename", "tried-name-2"]);
    assert!(read(&ours, "engine.lock").contains("# without "));
}

#[test]
fn what_was_edited_is_not_removed_and_what_is_no_part_is_refused() {
    let root = copy("remove-refused");
    let said = refused(&root, &["remove", "src"]);
    assert!(said.contains("rollout, benches"), "{said}");
    if let Some((part, paths)) = parts().next() {
        done(&root, &["rename", "tried-name-2"]);
        write(&root, paths[0], "Ours.\n");
        let said = refused(&root, &["remove", part]);
        assert!(said.contains(paths[0]), "{said}");
    }
}

#[test]
fn the_page_lists_what_can_be_removed() {
    let page = read(&repository(), "docs/upgrading.md");
    for (part, _) in PARTS {
        assert!(
            page.contains(&format!("`make remove WHAT={part}`")),
            "docs/upgrading.md does not name {part}"
        );
    }
}

#[test]
#[ignore = "it builds for minutes; `make check-removed` runs it"]
fn with_everything_removed_all_tests_pass() {
    let root = copy("remove-all");
    let all: Vec<&str> = parts().map(|(part, _)| *part).collect();
    done(&root, &[&["remove"], &all[..]].concat());
    // In a directory of its own: what is built here, and knows its place, must not be taken for what is built there.
    cargo_in("copies", &root, &["test", "--workspace", "--locked", "--offline"]);
}
