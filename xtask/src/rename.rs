//! Gives the service another name, everywhere but in the engine.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use crate::{
    cargo_lock,
    engine_lock::{self, EngineLock},
    name,
    places::{Language, Name, places, replace},
    tree,
};

/// How many places a message lists.
const SHOWN: usize = 8;

/// Renames the service and says what was done, or says why not and changes nothing.
pub(crate) fn rename(root: &Path, to: &str) -> Result<String, String> {
    let from = tree::service(root)?;
    let lock = tree::read(root, "Cargo.lock")?;
    let packages: Vec<&str> = cargo_lock::packages(&lock).into_iter().filter(|name| *name != from).collect();
    name::check(to, &packages)?;
    let files = tree::files(root)?;
    let old_lock = EngineLock::read(root);
    let edited = old_lock.as_ref().map(|lock| lock.edited(root)).unwrap_or_default();

    let mut report = String::new();
    if from == to {
        let _ = writeln!(report, "The service is called `{to}` already.");
    } else {
        check_free(root, &files, &from, to)?;
        let changed = in_files(root, &files, &from, to);
        for (path, text) in &changed {
            tree::write(root, path, text)?;
        }
        tree::write(root, "Cargo.lock", &cargo_lock::rename(&lock, &from, to))?;
        let _ = writeln!(report, "`{from}` is `{to}` now, in {} files.", changed.len() + 1);
        // The engine's own text says the first name nowhere else, and may say a later one for something else.
        let engines = |path: &String| old_lock.as_ref().is_some_and(|lock| lock.files.contains_key(path));
        let looked_through: Vec<String> = files.iter().filter(|path| !engines(path)).cloned().collect();
        report += &leftovers(root, &looked_through, &from, to);
    }

    let new_lock = match old_lock {
        None => {
            let engines: Vec<String> = files.into_iter().filter(|path| tree::is_engines(path)).collect();
            EngineLock::of(root, engine_lock::version(root)?, &engines)
        }
        // What was edited before stays edited.
        Some(old) => {
            let paths: Vec<String> = old.files.keys().cloned().collect();
            let mut new = EngineLock::of(root, old.version, &paths);
            new.without = old.without;
            for path in edited {
                new.files.insert(path.clone(), old.files[&path].clone());
            }
            new
        }
    };
    new_lock.write(root)?;
    Ok(report)
}

/// The files that have to change, and their new text.
pub(crate) fn in_files(root: &Path, files: &[String], from: &str, to: &str) -> BTreeMap<String, String> {
    let (old, new) = (Name::new(from), Name::new(to));
    let all =
        texts(root, files).map(|(path, language, text)| (path, replace(&text, language, &old, &new), text));
    all.filter(|(_, new, old)| new != old).map(|(path, new, _)| (path, new)).collect()
}

/// Refuses a name that stands for something else already: a later renaming could not tell the two apart.
fn check_free(root: &Path, files: &[String], from: &str, to: &str) -> Result<(), String> {
    let (old, new) = (Name::new(from), Name::new(to));
    let mut taken = Vec::new();
    for (path, language, text) in texts(root, files) {
        let ours = places(&text, language, &old);
        // The beginning of `orders-dev` is no other name when that is what becomes `orders`.
        let theirs = places(&text, language, &new);
        let theirs = theirs.iter().filter(|place| !ours.iter().any(|our| our.start == place.start));
        taken.extend(theirs.map(|place| line_of(&path, &text, place.start)));
    }
    match taken.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "`{to}` cannot be the service's name: it stands for something else already:\n{}",
            listed(&taken)
        )),
    }
}

/// What still has the old name, by a plain search.
fn leftovers(root: &Path, files: &[String], from: &str, to: &str) -> String {
    let engine = root.join("src");
    let is_english = tree::files(&engine)
        .unwrap_or_default()
        .iter()
        .filter_map(|path| tree::text(&engine, path))
        .any(|text| !words(&text, from).is_empty());
    if is_english {
        return format!("`{from}` is a word of the engine's too, so what else contains it is not listed.\n");
    }
    let new = Name::new(to);
    let mut left = Vec::new();
    for (path, language, text) in texts(root, files) {
        let renamed = places(&text, language, &new);
        let found = words(&text, from).into_iter().filter(|at| !renamed.iter().any(|new| new.contains(at)));
        left.extend(found.map(|at| line_of(&path, &text, at)));
    }
    match left.len() {
        0 => format!("Nothing is left of `{from}`.\n"),
        _ => format!("Left of `{from}`, for you to judge:\n{}", listed(&left)),
    }
}

fn texts<'a>(root: &'a Path, files: &'a [String]) -> impl Iterator<Item = (String, Language, String)> + 'a {
    files.iter().filter_map(move |path| {
        let language = tree::language(root, path)?;
        Some((path.clone(), language, tree::text(root, path)?))
    })
}

/// Where a word stands, in any case and with `_` for `-`, but for the example in `make rename NAME=orders`.
fn words(text: &str, word: &str) -> Vec<usize> {
    let plain = text.to_ascii_lowercase().replace('_', "-");
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let is_whole = |at: usize| {
        let (before, after) = (&plain[..at], &plain[at + word.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part) && !text[..at].ends_with("NAME=")
    };
    plain.match_indices(word).map(|(at, _)| at).filter(|at| is_whole(*at)).collect()
}

fn line_of(path: &str, text: &str, at: usize) -> String {
    let number = text[..at].matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default();
    format!("  {path}:{}: {}", number + 1, line.trim())
}

fn listed(lines: &[String]) -> String {
    let mut lines = lines.to_vec();
    lines.dedup();
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    let mut text = lines.join("\n") + "\n";
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_any_case() {
        assert_eq!(words("MySvc my_svc MY-SVC my-svcs xmy-svc", "my-svc").len(), 2);
        assert_eq!(words("make rename NAME=shop", "shop").len(), 0);
        assert_eq!(words("Shop, shop_x; shops", "shop").len(), 2);
    }
}
