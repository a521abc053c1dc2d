//! The engine's public API as a list, `api.txt`, so that whoever changes it sees it and decides.

use std::{env, fs, path::Path, process::Command};

use crate::tree;

const FILE: &str = "api.txt";

/// The engine and the crates that it re-exports from.
const CRATES: [&str; 3] = ["landfall", "landfall-telemetry", "landfall-variables"];

/// Compares the list with the code, or writes it anew.
pub(crate) fn api(root: &Path, accept: bool) -> Result<String, String> {
    let now = CRATES.iter().map(|name| list(root, name)).collect::<Result<String, String>>()?;
    let before = fs::read_to_string(root.join(FILE)).unwrap_or_default();
    if accept {
        tree::write(root, FILE, &now)?;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), now.lines().collect());
    let removed = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{line}\n"));
    let added = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{line}\n"));
    let difference: String = removed.chain(added).collect();
    match (difference.is_empty(), accept) {
        (true, _) => Ok(format!("The public API is what {FILE} lists: {} items.\n", new.len())),
        (false, true) => Ok(format!("{difference}{FILE} lists it now.\n")),
        (false, false) => Err(format!(
            "{difference}The public API is not what {FILE} lists. A line that goes or changes breaks services: is it worth a new \
             version of theirs? Then say so in CHANGELOG.md, and run make api ACCEPT=1"
        )),
    }
}

/// One line for each public item, by rustdoc's JSON. It is no stable format, so a released compiler has to be told to write it.
fn list(root: &Path, name: &str) -> Result<String, String> {
    let target = root.join("target/api");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["rustdoc", "--quiet", "--locked", "--package", name, "--lib", "--target-dir"])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(root)
        .status()
        .map_err(|e| format!("cargo rustdoc: {e}"))?;
    if !status.success() {
        return Err("cargo rustdoc fails".to_owned());
    }
    let api =
        public_api::Builder::from_rustdoc_json(target.join(format!("doc/{}.json", name.replace('-', "_"))))
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()
            .map_err(|e| format!("rustdoc wrote what public-api cannot read (xtask/Cargo.toml): {e}"))?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}
