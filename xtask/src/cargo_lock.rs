//! `Cargo.lock` as text: the names of its packages, and a package by another name in cargo's order.

const HEAD: &str = "[[package]]\n";

/// The names of all packages.
pub(crate) fn packages(lock: &str) -> Vec<&str> {
    lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect()
}

/// The same lock file for a package that is now called otherwise.
pub(crate) fn rename(lock: &str, from: &str, to: &str) -> String {
    let mut parts = lock.split(HEAD);
    let head = parts.next().unwrap_or_default();
    let old = format!("name = \"{from}\"");
    let mut packages: Vec<String> = parts
        .map(|package| {
            let package =
                package.replacen(&old, &format!("name = \"{to}\""), usize::from(package.starts_with(&old)));
            depend_on(package.trim_end(), from, to)
        })
        .collect();
    // Versions of one package keep their order.
    packages.sort_by(|a, b| a.lines().next().cmp(&b.lines().next()));
    let packages: Vec<String> = packages.iter().map(|package| format!("{HEAD}{package}\n")).collect();
    head.to_owned() + &packages.join("\n")
}

/// Renames among a package's dependencies, which are sorted too.
fn depend_on(package: &str, from: &str, to: &str) -> String {
    let old = format!(" \"{from}\",");
    if !package.lines().any(|line| line == old) {
        return package.to_owned();
    }
    let mut lines: Vec<String> = package.lines().map(str::to_owned).collect();
    for line in lines.iter_mut().filter(|line| **line == old) {
        *line = format!(" \"{to}\",");
    }
    let first = lines.iter().position(|line| line.starts_with(" \"")).unwrap_or(0);
    let count = lines[first..].iter().take_while(|line| line.starts_with(" \"")).count();
    lines[first..first + count].sort();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"e2e\"\nversion = \"0.1.0\"\ndependencies = [\n \"hut\",\n \"itoa\",\n]\n\n\
                        [[package]]\nname = \"hut\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"itoa\"\nversion = \"0.9.0\"\n\n\
                        [[package]]\nname = \"itoa\"\nversion = \"0.10.0\"\n";

    #[test]
    fn packages_and_dependencies_stay_sorted() {
        let renamed = rename(LOCK, "hut", "zoo");
        assert_eq!(packages(&renamed), ["e2e", "itoa", "itoa", "zoo"]);
        assert!(renamed.contains("[\n \"itoa\",\n \"zoo\",\n]"), "{renamed}");
        assert!(renamed.find("0.9.0") < renamed.find("0.10.0"));
        assert_eq!(rename(&renamed, "zoo", "hut"), LOCK);
    }
}
