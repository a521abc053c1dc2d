//! `engine.lock`: an id for each of the engine's files, by which an edited one is told.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use crate::tree;

const FILE: &str = "engine.lock";
const HEAD: &str = "# The engine's files as `make rename` or `make update-engine` left them: docs/upgrading.md.\n# landfall ";
const WITHOUT: &str = "# without ";

/// Which engine, and the ids of its files.
#[derive(Debug, PartialEq)]
pub(crate) struct EngineLock {
    pub(crate) version: String,
    /// What `make remove` took away: files, and folders with a `/` at the end.
    pub(crate) without: Vec<String>,
    pub(crate) files: BTreeMap<String, String>,
}

impl EngineLock {
    /// What stands in the repository's file, if there is one.
    pub(crate) fn read(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join(FILE)).ok()?;
        let version = text.strip_prefix(HEAD)?.lines().next()?.to_owned();
        let without = text.lines().filter_map(|line| line.strip_prefix(WITHOUT).map(str::to_owned)).collect();
        let files =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
        let files = files.map(|(id, path)| (path.to_owned(), id.to_owned())).collect();
        Some(Self { version, without, files })
    }

    /// These files as they are now.
    pub(crate) fn of(root: &Path, version: String, files: &[String]) -> Self {
        let ids = files.iter().filter_map(|path| Some((path.clone(), id(root, path)?)));
        Self { version, without: Vec::new(), files: ids.collect() }
    }

    pub(crate) fn write(&self, root: &Path) -> Result<(), String> {
        let mut text = format!("{HEAD}{}\n", self.version);
        for path in &self.without {
            let _ = writeln!(text, "{WITHOUT}{path}");
        }
        for (path, id) in &self.files {
            let _ = writeln!(text, "{id} {path}");
        }
        tree::write(root, FILE, &text)
    }

    /// The files that are not as they were written.
    pub(crate) fn edited(&self, root: &Path) -> Vec<String> {
        let edited = self.files.iter().filter(|(path, was)| id(root, path).as_ref() != Some(was));
        edited.map(|(path, _)| path.clone()).collect()
    }
}

/// The engine's version in a repository.
pub(crate) fn version(root: &Path) -> Result<String, String> {
    let manifest = tree::read(root, "Cargo.toml")?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.map(str::to_owned).ok_or_else(|| "Cargo.toml has no version".to_owned())
}

/// FNV-1a over a file's content: edits are to be noticed, nobody has to be kept from forging them.
fn id(root: &Path, path: &str) -> Option<String> {
    let content = fs::read(root.join(path)).ok()?;
    let hash = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Some(format!("{hash:016x}"))
}
