//! Removes a part of the engine that a team does not want, and keeps newer engines from bringing it back.

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path, process::Command};

use crate::{
    engine_lock::{self, EngineLock},
    tree,
};

/// What can be removed, and all that goes with it: files, and folders with a `/` at the end. docs/upgrading.md lists the same.
pub(crate) const PARTS: &[(&str, &[&str])] = &[
    ("rollout", &["rollout/", "docs/rollout.md", "docs/images/"]),
    ("benches", &["benches/"]),
    ("examples", &["examples/"]),
    ("k8s/check", &["k8s/check/", "k8s/tests/"]),
    ("docs", &["docs/"]),
];

/// Pages that tests hold against the code: they stay.
const KEPT: &[&str] = &[
    "docs/configuration.md",
    "docs/decisions.md",
    "docs/logs.md",
    "docs/observability.md",
    "docs/runbook.md",
    "docs/service.md",
    "docs/strategies.md",
    "docs/upgrading.md",
];

/// Removes these parts, and says what went; or says why not and changes nothing.
pub(crate) fn remove(root: &Path, what: &[&str]) -> Result<String, String> {
    let mut paths = Vec::new();
    for name in what {
        let part = PARTS.iter().find(|(part, _)| part == name);
        let names: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        let (_, of_part) =
            part.ok_or_else(|| format!("`{name}` cannot be removed, but these can: {}", names.join(", ")))?;
        paths.extend(of_part.iter().map(|path| (*path).to_owned()));
    }
    let files = tree::files(root)?;
    let mut lock = match EngineLock::read(root) {
        Some(lock) => lock,
        None => {
            let engines: Vec<String> = files.iter().filter(|path| tree::is_engines(path)).cloned().collect();
            EngineLock::of(root, engine_lock::version(root)?, &engines)
        }
    };
    let edited = lock.edited(root);
    let lost: Vec<&String> =
        edited.iter().filter(|path| is_in(path, &paths) && root.join(path).exists()).collect();
    if !lost.is_empty() {
        let lost: Vec<&str> = lost.iter().map(|path| path.as_str()).collect();
        return Err(format!(
            "Nothing was removed: these were edited here, and would be lost: {}",
            lost.join(", ")
        ));
    }

    let mut report = String::new();
    // What a team has added there is its own.
    let goes = |path: &&String| is_in(path, &paths) && lock.files.contains_key(*path);
    let (gone, left): (Vec<&String>, Vec<&String>) = files.iter().partition(goes);
    for path in &gone {
        let file = root.join(path);
        fs::remove_file(&file).map_err(|e| format!("{path}: {e}"))?;
        // A folder with something in it is not removed.
        let _ = file.ancestors().skip(1).try_for_each(fs::remove_dir);
        lock.files.remove(*path);
    }
    for path in left {
        let Some(text) = tree::text(root, path) else { continue };
        let Some(new) = without(path, &text, &paths) else { continue };
        tree::write(root, path, &new)?;
        let _ = writeln!(report, "{path}: its lines about them");
        if !edited.contains(path) {
            lock.files.extend(EngineLock::of(root, String::new(), std::slice::from_ref(path)).files);
        }
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo).args(["update", "--workspace", "--quiet"]).current_dir(root).status();
    if !done.is_ok_and(|status| status.success()) {
        return Err(
            "The files are removed, but Cargo.lock is as it was: run cargo update --workspace".to_owned()
        );
    }
    lock.without.extend(paths);
    lock.without.sort();
    lock.without.dedup();
    lock.write(root)?;
    let gone: Vec<&str> = gone.into_iter().map(String::as_str).collect();
    report.push_str(&still_named(root, &gone)?);
    Ok(format!("{} files are removed.\n{report}", gone.len()))
}

/// Where files that are left name what is gone, a line each.
fn still_named(root: &Path, gone: &[&str]) -> Result<String, String> {
    let folder = |path: &str| path.split_once('/').map(|(folder, _)| format!("{folder}/"));
    let folders: BTreeSet<String> = gone.iter().filter_map(|path| folder(path)).collect();
    let folders = folders.into_iter().filter(|folder| !root.join(folder).exists());
    let names: Vec<String> = folders.chain(gone.iter().map(|path| (*path).to_owned())).collect();
    let mut report = String::new();
    for path in tree::files(root)?.iter().filter(|path| !path.ends_with(".lock")) {
        for (number, line) in tree::text(root, path).unwrap_or_default().lines().enumerate() {
            if names.iter().any(|name| line.contains(name)) {
                let _ = writeln!(report, "{path}:{} still names it: {}", number + 1, line.trim());
            }
        }
    }
    Ok(report)
}

/// Whether a path is one of these, or in one of these folders, and not kept.
pub(crate) fn is_in(path: &str, paths: &[String]) -> bool {
    !KEPT.contains(&path)
        && paths
            .iter()
            .any(|entry| if entry.ends_with('/') { path.starts_with(entry) } else { path == entry })
}

/// The text of a file without its lines about what is removed, if it has any.
pub(crate) fn without(path: &str, text: &str, removed: &[String]) -> Option<String> {
    let mut new = text.to_owned();
    match path {
        "Cargo.toml" => {
            for folder in removed.iter().filter_map(|path| path.strip_suffix('/')) {
                let member = format!("\"{folder}\"");
                new = new.replace(&format!("{member}, "), "").replace(&format!(", {member}"), "");
            }
            if removed.iter().any(|path| path == "benches/") {
                let sections = new
                    .split_inclusive("\n\n")
                    .map(|section| section.split("\n[[bench]]").next().unwrap_or_default().to_owned());
                new = sections.filter(|section| !section.starts_with("[[bench]]")).collect();
            }
        }
        ".dockerignore" => {
            let is_left =
                |line: &&str| !line.trim_end().strip_prefix('!').is_some_and(|path| is_in(path, removed));
            new = new.split_inclusive('\n').filter(is_left).collect();
        }
        _ => {}
    }
    (new != text).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_loses_its_members_and_benches() {
        let removed = ["rollout/".to_owned(), "benches/".to_owned(), "k8s/check/".to_owned()];
        let manifest = "[workspace]\nmembers = [\"k8s/check\", \"rollout\", \"service\"]\n\n[[bench]]\nname = \"a\"\n\n[b]\n";
        let left = "[workspace]\nmembers = [\"service\"]\n\n[b]\n";
        assert_eq!(without("Cargo.toml", manifest, &removed).as_deref(), Some(left));
        assert_eq!(without("Cargo.toml", left, &removed), None);
        assert_eq!(without("x.toml", manifest, &removed), None);
    }
}
