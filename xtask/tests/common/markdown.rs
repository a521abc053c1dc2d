//! The pages of the repository: their fenced blocks, links and headings.

use std::{collections::BTreeSet, path::Path};

use super::read;

/// A fenced block: "```LANGUAGE MARK…", its lines, and "```".
pub(crate) struct Fence {
    /// The page and the line in which it begins.
    pub(crate) place: String,
    pub(crate) language: String,
    pub(crate) marks: Vec<String>,
    pub(crate) lines: Vec<String>,
}

/// `[text](target)`, outside of fences and of code.
pub(crate) struct Link {
    pub(crate) place: String,
    pub(crate) text: String,
    pub(crate) target: String,
}

/// Every Markdown file, relative to the root, sorted.
pub(crate) fn pages(root: &Path) -> Vec<String> {
    fn walk(root: &Path, under: &Path, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(root.join(under)).unwrap().map(Result::unwrap) {
            let path = under.join(entry.file_name());
            let skipped = [".git", ".tools", "target"].iter().any(|name| path.ends_with(name));
            if entry.file_type().unwrap().is_dir() && !skipped {
                walk(root, &path, all);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                all.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    let mut all = Vec::new();
    walk(root, Path::new(""), &mut all);
    all.sort();
    all
}

pub(crate) fn fences(root: &Path, page: &str) -> Vec<Fence> {
    let mut all: Vec<Fence> = Vec::new();
    let mut is_open = false;
    for (number, line) in read(root, page).lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(info) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                is_open = true;
                all.push(Fence {
                    place: format!("{page}:{}", number + 1),
                    language: words.next().unwrap_or_default(),
                    marks: words.collect(),
                    lines: Vec::new(),
                });
            }
            None if is_open => all.last_mut().unwrap().lines.push(line.to_owned()),
            None => {}
        }
    }
    all
}

/// The lines outside of fences, with their numbers.
pub(crate) fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut is_open = false;
    let outside = text.lines().enumerate().filter(|(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_open ^= is_fence;
        !is_open && !is_fence
    });
    outside.map(|(number, line)| (number + 1, line)).collect()
}

pub(crate) fn links(root: &Path, page: &str) -> Vec<Link> {
    let text = read(root, page);
    let mut all = Vec::new();
    for (number, line) in prose(&text) {
        for (at, _) in line.match_indices("](") {
            let is_code = line[..at].matches('`').count() % 2 == 1;
            let (Some(from), Some(to)) = (line[..at].rfind('['), line[at..].find(')')) else { continue };
            if !is_code {
                all.push(Link {
                    place: format!("{page}:{number}"),
                    text: line[from + 1..at].to_owned(),
                    target: line[at + 2..at + to].to_owned(),
                });
            }
        }
    }
    all
}

/// The anchors that GitHub makes of the headings.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let slug = |heading: &str| -> String {
        let text: String = heading.trim_start_matches('#').trim().chars().filter(kept).collect();
        text.to_lowercase().replace(' ', "-")
    };
    headings.map(slug).collect()
}
