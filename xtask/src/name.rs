//! Which names a service can have: it is a package, a program, an image, a host's label and part of longer names.

/// The longest that leaves room in the 63 characters of a pod's name for `-canary`, the hash of its ReplicaSet and its own.
pub(crate) const LONGEST: usize = 40;

const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];

/// Crates of the toolchain, and directories that cargo puts beside the program.
const CARGOS: &[&str] =
    &["alloc", "build", "core", "deps", "examples", "incremental", "proc-macro", "std", "test"];

/// Words that mean something else to YAML.
const YAMLS: &[&str] = &["n", "no", "null", "off", "on", "y", "yes"];

/// Says why a service cannot have this name; `packages` are those of `Cargo.lock`.
pub(crate) fn check(name: &str, packages: &[&str]) -> Result<(), String> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let reason = if name.is_empty() {
        "NAME is missing: make rename NAME=orders".to_owned()
    } else if !letters || name.ends_with('-') || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "it is no DNS label that can name a Service and a crate: a to z, 0 to 9 and - between them, a letter first"
            .to_owned()
    } else if name.len() > LONGEST {
        format!("it has {} characters, and {LONGEST} leave room for names such as NAME-canary", name.len())
    } else if KEYWORDS.contains(&name) {
        "it is a keyword of Rust".to_owned()
    } else if CARGOS.contains(&name) {
        "cargo or the toolchain has something of that name".to_owned()
    } else if YAMLS.contains(&name) {
        "YAML reads it as something else than a text".to_owned()
    } else if packages.iter().any(|package| package.replace('_', "-") == name) {
        "Cargo.lock has a package of that name".to_owned()
    } else {
        return Ok(());
    };
    Err(if name.is_empty() { reason } else { format!("`{name}` cannot be the service's name: {reason}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_a_crate_and_a_label() {
        let longest = "a".repeat(LONGEST);
        for good in ["orders", "my-svc2", "a", "shop", "async-jobs", longest.as_str()] {
            assert_eq!(check(good, &["serde", "proc-macro2"]), Ok(()), "{good}");
        }
    }

    #[test]
    fn names_that_cannot_are_refused_with_the_reason() {
        let long = "a".repeat(LONGEST + 1);
        for (bad, reason) in [
            ("", "missing"),
            ("Orders", "DNS label"),
            ("my_svc", "DNS label"),
            ("2fast", "DNS label"),
            ("-a", "DNS label"),
            ("a-", "DNS label"),
            ("a.b", "DNS label"),
            ("ünder", "DNS label"),
            ("or ders", "DNS label"),
            (long.as_str(), "41 characters"),
            ("match", "keyword"),
            ("self", "keyword"),
            ("test", "cargo"),
            ("deps", "cargo"),
            ("on", "YAML"),
            ("landfall", "Cargo.lock"),
            ("proc-macro2", "Cargo.lock"),
            ("serde-json", "Cargo.lock"),
        ] {
            let said = check(bad, &["landfall", "proc-macro2", "serde_json"]).expect_err(bad);
            assert!(said.contains(reason) && said.contains(bad), "{bad}: {said}");
        }
    }
}
