//! Replaces the engine's files by those of a newer checkout, unless somebody edited them.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

use crate::{
    engine_lock::{self, EngineLock},
    remove, rename, tree,
};

/// Takes the engine at `from`, under the service's name, and says what changed; or says why not and changes nothing.
pub(crate) fn update(root: &Path, from: &Path) -> Result<String, String> {
    if is_same(root, from) {
        return Err("FROM is this very repository: make update-engine FROM=../landfall".to_owned());
    }
    let name = tree::service(root)?;
    let its_name = tree::service(from)?;
    let without = EngineLock::read(root).map(|lock| lock.without).unwrap_or_default();
    let is_taken = |path: &String| tree::is_engines(path) && !remove::is_in(path, &without);
    let newer: Vec<String> = tree::files(from)?.into_iter().filter(is_taken).collect();
    let old = match EngineLock::read(root) {
        Some(old) => old,
        None => unlocked(root, &newer)?,
    };
    let mut new_texts = match its_name == name {
        true => BTreeMap::new(),
        false => rename::in_files(from, &newer, &its_name, &name),
    };
    for path in newer.iter().filter(|_| !without.is_empty()) {
        let text = new_texts.get(path).cloned().or_else(|| tree::text(from, path));
        let left = text.and_then(|text| remove::without(path, &text, &without));
        new_texts.extend(left.map(|text| (path.clone(), text)));
    }
    refuse(root, from, &old, &newer, &new_texts)?;

    for path in &newer {
        tree::copy(from, root, path)?;
        if let Some(text) = new_texts.get(path) {
            tree::write(root, path, text)?;
        }
    }
    let kept: BTreeSet<&String> = newer.iter().collect();
    for path in old.files.keys().filter(|path| !kept.contains(path)) {
        fs::remove_file(root.join(path)).map_err(|e| format!("{path}: {e}"))?;
    }
    let mut new = EngineLock::of(root, revision(from)?, &newer);
    new.without = without;
    let report = difference(&old, &new);
    if new.files != old.files {
        // Adds what the engine needs now, and leaves the versions that are there.
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let done = Command::new(cargo).args(["update", "--workspace", "--quiet"]).current_dir(root).status();
        if !done.is_ok_and(|status| status.success()) {
            return Err(
                "The files are replaced, but Cargo.lock is not: run cargo update --workspace".to_owned()
            );
        }
    }
    new.write(root)?;
    Ok(report)
}

fn is_same(root: &Path, from: &Path) -> bool {
    match (root.canonicalize(), from.canonicalize()) {
        (Ok(root), Ok(from)) => root == from,
        _ => false,
    }
}

/// Names the files that would be lost.
fn refuse(
    root: &Path,
    from: &Path,
    old: &EngineLock,
    newer: &[String],
    new_texts: &BTreeMap<String, String>,
) -> Result<(), String> {
    let mut lost: Vec<String> =
        old.edited(root).iter().map(|path| format!("  {path}: edited here\n")).collect();
    for path in newer.iter().filter(|path| !old.files.contains_key(*path)) {
        let theirs = new_texts.get(path).map(|text| text.clone().into_bytes());
        let theirs = theirs.or_else(|| fs::read(from.join(path)).ok());
        if root.join(path).exists() && fs::read(root.join(path)).ok() != theirs {
            lost.push(format!("  {path}: yours, and the engine has one of that name now\n"));
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    Err(format!(
        "Nothing was replaced: these are the engine's files, and what is in them here would be lost:\n{}\
         Bring each edit where it belongs (docs/upgrading.md), put the file back or out of the way, and run it again.",
        lost.concat()
    ))
}

/// Stands for `engine.lock` where there is none: the files of the newer engine that are here, as they are.
fn unlocked(root: &Path, newer: &[String]) -> Result<EngineLock, String> {
    let git = |arguments: &[&str]| Command::new("git").arg("-C").arg(root).args(arguments).output();
    let tracked = git(&["ls-files", "Cargo.toml"]).is_ok_and(|output| !output.stdout.is_empty());
    let clean = git(&["status", "--porcelain", "."]).is_ok_and(|output| output.stdout.is_empty());
    if !(tracked && clean) {
        return Err("There is no engine.lock, so edits of the engine's files cannot be seen: commit what you have first, \
                    and look at git diff afterwards"
            .to_owned());
    }
    Ok(EngineLock::of(root, "unknown".to_owned(), newer))
}

/// The version, and the commit where git knows it.
fn revision(from: &Path) -> Result<String, String> {
    let version = engine_lock::version(from)?;
    let git = Command::new("git").arg("-C").arg(from).args(["rev-parse", "--short=12", "HEAD"]).output();
    let git = git.ok().filter(|output| output.status.success() && from.join(".git").exists());
    let commit = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Ok(commit.map_or_else(|| version.clone(), |commit| format!("{version} ({commit})")))
}

fn difference(old: &EngineLock, new: &EngineLock) -> String {
    let added = new.files.keys().filter(|path| !old.files.contains_key(*path)).count();
    let removed = old.files.keys().filter(|path| !new.files.contains_key(*path)).count();
    let common = new.files.iter().filter_map(|(path, id)| Some((id, old.files.get(path)?)));
    let changed = common.filter(|(new, old)| new != old).count();
    match added + removed + changed {
        0 => format!("The engine is landfall {} already.\n", new.version),
        _ => format!(
            "The engine was landfall {} and is {} now: {changed} changed, {added} added, {removed} removed.\n\
             Next: `git diff CHANGELOG.md` says what that means for you, `make check` whether all holds.\n",
            old.version, new.version
        ),
    }
}
