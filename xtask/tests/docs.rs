//! What the pages say about the repository holds: links, anchors, functions, make targets, and marks of their commands.
//!
//! A block of commands (`sh`, or `console` with output) is run by `make docs`, unless a mark behind the language says what
//! it needs ([`NEEDS`]) or which test runs it (`by=PATH`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use common::{
    is_in, make_targets,
    markdown::{Fence, anchors, fences, links, pages, prose},
    read, removed, repository,
};

/// What a command may need that is not at hand in every checkout.
const NEEDS: &[&str] = &["needs-account", "needs-cluster", "needs-docker", "needs-minutes", "needs-program"];

/// How Rust defines a name.
const DEFINES: &[&str] = &["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "macro_rules!"];

fn none_of(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The target's path in the repository, and its anchor.
fn resolve(page: &str, target: &str) -> (PathBuf, Option<String>) {
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (target, None),
    };
    let mut resolved = match path {
        "" => PathBuf::from(page),
        _ => Path::new(page).parent().unwrap().to_path_buf(),
    };
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => assert!(resolved.pop(), "{page}: {target} leads out of the repository"),
            part => resolved.push(part),
        }
    }
    (resolved, anchor)
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let root = repository();
    let removed = removed(&root);
    let mut wrong = Vec::new();
    for page in pages(&root) {
        for link in links(&root, &page) {
            if link.target.starts_with("http://") || link.target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = resolve(&page, &link.target);
            if !root.join(&path).exists() {
                if is_in(path.to_str().unwrap(), &removed) {
                    continue;
                }
                wrong.push(format!("{}: there is no {}", link.place, path.display()));
            } else if let Some(anchor) = anchor
                && !anchors(&read(&root, path.to_str().unwrap())).contains(&anchor)
            {
                wrong.push(format!("{}: {} has no heading #{anchor}", link.place, path.display()));
            }
        }
    }
    none_of(wrong);
}

#[test]
fn what_a_link_to_rust_names_is_defined_there() {
    let root = repository();
    let mut wrong = Vec::new();
    for page in pages(&root) {
        for link in links(&root, &page).iter().filter(|link| link.target.ends_with(".rs")) {
            let name = link.text.trim_matches('`').trim_end_matches("()");
            if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                continue; // a file's name, or a sentence
            }
            let path = resolve(&page, &link.target).0;
            if !root.join(&path).exists() {
                continue; // the links are another test's
            }
            let source = read(&root, path.to_str().unwrap());
            for part in name.split("::") {
                let is_defined = DEFINES.iter().any(|keyword| {
                    let definition = format!("{keyword} {part}");
                    source.match_indices(&definition).any(|(at, found)| {
                        let next = source[at + found.len()..].chars().next();
                        !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
                    })
                });
                if !is_defined {
                    wrong.push(format!("{}: {} does not define {part}", link.place, link.target));
                }
            }
        }
    }
    none_of(wrong);
}

#[test]
fn every_make_target_that_is_named_is_there() {
    let root = repository();
    // What is removed has taken its targets along, and pages may still name them.
    if !removed(&root).is_empty() {
        return;
    }
    let targets = make_targets(&root);
    let mut wrong = Vec::new();
    for page in pages(&root) {
        let text = read(&root, &page);
        let code = prose(&text).into_iter().flat_map(|(number, line)| {
            line.split('`').skip(1).step_by(2).map(move |code| (number, code)).collect::<Vec<_>>()
        });
        let inline = code.map(|(number, code)| (format!("{page}:{number}"), code.to_owned()));
        let fenced = fences(&root, &page)
            .into_iter()
            .filter(|fence| is_shell(&fence.language))
            .flat_map(|fence| fence.lines.into_iter().map(move |line| (fence.place.clone(), line)));
        for (place, command) in inline.chain(fenced) {
            let command = command.trim_start().trim_start_matches("$ ");
            let Some(arguments) = command.strip_prefix("make ") else { continue };
            let goals = arguments
                .split_whitespace()
                .take_while(|word| !word.starts_with('#') && !word.contains("=\""));
            for goal in goals
                .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))
            {
                if !targets.contains(goal) {
                    wrong.push(format!("{place}: there is no target `{goal}` in the Makefile"));
                }
            }
        }
    }
    none_of(wrong);
}

fn is_shell(language: &str) -> bool {
    matches!(language, "sh" | "console")
}

#[test]
fn every_block_of_commands_is_run_or_says_what_it_needs() {
    let root = repository();
    let removed = removed(&root);
    let mut wrong = Vec::new();
    for fence in pages(&root).iter().flat_map(|page| fences(&root, page)) {
        if ["bash", "shell", "zsh"].contains(&fence.language.as_str()) {
            wrong.push(format!("{}: say `sh` or `console`", fence.place));
        }
        for mark in fence.marks.iter().filter(|_| is_shell(&fence.language)) {
            let is_known = match mark.strip_prefix("by=") {
                Some(path) => root.join(path).is_file() || is_in(path, &removed),
                None => NEEDS.contains(&mark.as_str()),
            };
            if !is_known {
                wrong.push(format!("{}: `{mark}` is none of by=FILE, {}", fence.place, NEEDS.join(", ")));
            }
        }
    }
    none_of(wrong);
}

#[test]
fn the_map_has_every_page() {
    let root = repository();
    if is_in("docs/README.md", &removed(&root)) {
        return;
    }
    let map: Vec<PathBuf> =
        links(&root, "docs/README.md").iter().map(|link| resolve("docs/README.md", &link.target).0).collect();
    // Pages that a team has added are its own affair.
    let lock = std::fs::read_to_string(root.join("engine.lock")).ok();
    let is_engines = |page: &str| {
        lock.as_ref().is_none_or(|lock| lock.lines().any(|line| line.ends_with(&format!(" {page}"))))
    };
    let missing = pages(&root).into_iter().filter(|page| {
        page.starts_with("docs/")
            && page != "docs/README.md"
            && is_engines(page)
            && !map.contains(&PathBuf::from(page))
    });
    none_of(missing.map(|page| format!("docs/README.md does not lead to {page}")).collect());
}

#[test]
fn what_is_not_run_is_shell_all_the_same() {
    let root = repository();
    let mut wrong = Vec::new();
    let is_left = |fence: &Fence| fence.language == "sh" && !fence.marks.is_empty();
    for fence in pages(&root).iter().flat_map(|page| fences(&root, page)).filter(is_left) {
        let output = Command::new("bash").args(["-n", "-c", &fence.lines.join("\n")]).output().unwrap();
        if !output.status.success() {
            wrong.push(format!("{}: {}", fence.place, String::from_utf8_lossy(&output.stderr)));
        }
    }
    none_of(wrong);
}
