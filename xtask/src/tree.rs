//! The files of a repository, and whose they are.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::places::Language;

/// What is the service's, or one's to edit: `make update-engine` leaves it alone. All else that comes with the engine is
/// the engine's. docs/upgrading.md lists the same.
pub(crate) const SERVICES: &[&str] = &[
    "service/",
    "k8s/site/",
    "k8s/overlays/",
    "k8s/gitops/",
    "k8s/components/blue-green/service.yaml",
    "k8s/components/external-secrets/",
    "k8s/components/sealed-secrets/",
    "k8s/components/secret-files/files.yaml",
    "compose.yaml",
    "compose.replicas.yaml",
    "deny.toml",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "docs/proof.html",
    ".ci/",
    ".github/",
    ".gitignore",
    "Cargo.lock",
    "engine.lock",
];

/// What never names the service, whatever it is called.
const NAMELESS: &[&str] = &[
    "src/",
    "tests/",
    "benches/",
    "examples/",
    "frames/",
    "otlp/",
    "rollout/",
    "telemetry/",
    "variables/",
    "xtask/",
    "k8s/check/",
    "image/load.py",
    "image/test.py",
    "scripts/",
    ".dockerignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "Makefile",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "clippy.toml",
    "rustfmt.toml",
    "deny.toml",
    "engine.lock",
];

/// Every file that is tracked or could be, sorted, relative to the root.
pub(crate) fn files(root: &Path) -> Result<Vec<String>, String> {
    let git = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()
        .filter(|output| root.join(".git").exists() && output.status.success());
    let mut all: Vec<String> = match git {
        Some(output) => {
            let listed = String::from_utf8_lossy(&output.stdout);
            listed
                .split_terminator('\0')
                .filter(|path| root.join(path).is_file())
                .map(str::to_owned)
                .collect()
        }
        None => {
            let mut all = Vec::new();
            walk(root, Path::new(""), &mut all).map_err(|e| format!("{}: {e}", root.display()))?;
            all
        }
    };
    all.sort();
    all.dedup();
    Ok(all)
}

fn walk(root: &Path, under: &Path, all: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(under))? {
        let entry = entry?;
        let path = under.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() && ![".git", ".tools", "target"].iter().any(|skipped| path.ends_with(skipped)) {
            walk(root, &path, all)?;
        } else if kind.is_file() {
            all.extend(path.to_str().map(str::to_owned));
        }
    }
    Ok(())
}

/// Whether `make update-engine` replaces it.
pub(crate) fn is_engines(path: &str) -> bool {
    !within(path, SERVICES)
}

/// How the service's name is to be looked for in a file, if at all.
pub(crate) fn language(root: &Path, path: &str) -> Option<Language> {
    if within(path, NAMELESS) || path.ends_with(".svg") || path == "docs/proof.html" {
        None
    } else if !path.ends_with(".rs") {
        Some(Language::Text)
    } else if root.join("service/src/lib.rs").exists() {
        Some(Language::Library)
    } else {
        Some(Language::Program)
    }
}

fn within(path: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| if entry.ends_with('/') { path.starts_with(entry) } else { path == *entry })
}

/// The text of a file, if it is text.
pub(crate) fn text(root: &Path, path: &str) -> Option<String> {
    String::from_utf8(fs::read(root.join(path)).ok()?).ok()
}

pub(crate) fn read(root: &Path, path: &str) -> Result<String, String> {
    fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))
}

pub(crate) fn write(root: &Path, path: &str, text: &str) -> Result<(), String> {
    fs::write(root.join(path), text).map_err(|e| format!("{path}: {e}"))
}

/// The service's name, which is its package's.
pub(crate) fn service(root: &Path) -> Result<String, String> {
    let manifest = read(root, "service/Cargo.toml")?;
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.map(str::to_owned).ok_or_else(|| "service/Cargo.toml names no package".to_owned())
}

/// Copies a file with its mode.
pub(crate) fn copy(from: &Path, to: &Path, path: &str) -> Result<(), String> {
    let target: PathBuf = to.join(path);
    let parent = target.parent().unwrap_or(to);
    fs::create_dir_all(parent)
        .and_then(|()| fs::copy(from.join(path), &target))
        .map(drop)
        .map_err(|e| format!("{path}: {e}"))
}
