//! Where a name stands for the service, told by what stands around it: `a` is a good name, and a word of every sentence.

use std::ops::Range;

/// Options and words after which a name stands alone.
const OPTIONS: &[&str] = &[
    "-n ",
    "--namespace ",
    "--name ",
    "--deployment ",
    "--repository-name ",
    "--package ",
    "generic ",
    "sync ",
    "kustomization ",
    "pidof ",
];

/// How a line that runs the program goes on after its name.
const COMMANDS: &[&str] = &[" config", " healthcheck", " --version", " --help"];

/// How the name of a unit of systemd goes on.
const UNITS: &[&str] = &[".socket", "@.service", "@blue", "@green"];

const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error", "off"];

/// A name in the two ways in which it is written.
pub(crate) struct Name<'a> {
    /// As packages, objects and images have it.
    pub(crate) label: &'a str,
    /// As Rust's paths and log targets have it.
    pub(crate) path: String,
}

impl<'a> Name<'a> {
    pub(crate) fn new(label: &'a str) -> Self {
        Self { label, path: label.replace('-', "_") }
    }
}

/// What kind of text is looked through.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Language {
    /// Manifests, scripts, documents: whatever is not Rust.
    Text,
    /// A service that is a program alone: what its identifiers and strings say is its own affair.
    Program,
    /// A service with a library, which its program and its tests name in paths.
    Library,
}

/// The places in a text where the name stands for the service, in order.
pub(crate) fn places(text: &str, language: Language, name: &Name<'_>) -> Vec<Range<usize>> {
    let labels = text.match_indices(name.label).filter(|&(at, _)| is_label(text, at, name.label, language));
    let paths = text.match_indices(&name.path).filter(|&(at, _)| is_path(text, at, &name.path, language));
    let mut all: Vec<Range<usize>> = labels.chain(paths).map(|(at, word)| at..at + word.len()).collect();
    all.sort_by_key(|place| place.start);
    all.dedup();
    all
}

/// The text with another name in its places.
pub(crate) fn replace(text: &str, language: Language, from: &Name<'_>, to: &Name<'_>) -> String {
    let mut new = String::with_capacity(text.len());
    let mut copied = 0;
    for place in places(text, language, from) {
        new.push_str(&text[copied..place.start]);
        let path = is_path(text, place.start, &from.path, language);
        new.push_str(if path { &to.path } else { to.label });
        copied = place.end;
    }
    new + &text[copied..]
}

fn is_label(text: &str, at: usize, label: &str, language: Language) -> bool {
    let (before, after) = (&text[..at], &text[at + label.len()..]);
    if before.ends_with("CARGO_BIN_EXE_") {
        return !after.starts_with(is_word);
    }
    // `${IMAGE:-orders:local}` is no longer name.
    if language != Language::Text || (before.ends_with(is_word) && !before.ends_with(":-")) {
        return false;
    }
    // A derived name: orders-canary.
    let whole = match after.strip_prefix('-') {
        Some(suffix) if suffix.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            suffix.trim_start_matches(is_word)
        }
        _ => after,
    };
    if whole.starts_with(is_word) {
        return false;
    }
    let (previous, next) = (before.chars().next_back(), whole.chars().next());
    let quoted = matches!(previous, Some('"' | '\'' | '`')) && previous == next;
    let segment = previous == Some('/') && (next != Some('.') || whole.starts_with(".git"));
    // What `make rename NAME=orders` is an example of is no name.
    let assigned = previous == Some('=')
        && !before.ends_with("NAME=")
        && next.is_none_or(|c| c.is_whitespace() || matches!(c, ',' | ']' | ')' | '"' | '\'' | '`' | ':'));
    let tagged =
        whole.strip_prefix(':').is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_alphanumeric()));
    // A key of a ConfigMap that is filled from a file.
    let keyed = whole.starts_with(".json=");
    let unit = UNITS.iter().any(|unit| whole.starts_with(unit));
    let runs = (before.ends_with("$ ") || previous == Some('`'))
        && COMMANDS.iter().any(|command| whole.starts_with(command));
    let optional = OPTIONS.iter().any(|option| before.ends_with(option));
    quoted || segment || assigned || tagged || keyed || unit || runs || optional || is_scalar(before, whole)
}

/// The beginning of a YAML value or of an item of a list that is one word.
fn is_scalar(before: &str, after: &str) -> bool {
    let before = before.rsplit('\n').next().unwrap_or_default();
    let after = after.split('\n').next().unwrap_or_default();
    let opened = before.rfind(['{', '[']).is_some_and(|at| !before[at..].contains(['}', ']']));
    if opened && before.ends_with([' ', '[', '{']) {
        return after.starts_with([',', '}', ']']) && after.contains(['}', ']']);
    }
    let mut left = before.trim_start();
    let mut stands = false;
    while let Some(item) = left.strip_prefix("- ") {
        (left, stands) = (item.trim_start(), true);
    }
    if let Some(key) = left.trim_end().strip_suffix(':').filter(|_| left.ends_with(' ')) {
        (left, stands) = ("", !key.contains(char::is_whitespace));
    }
    let (word, rest) = after.split_once(' ').unwrap_or((after, ""));
    let whole = word.is_empty()
        || (word.len() > 1
            && word.starts_with(['/', ':', '.', '@'])
            && !word.contains('=')
            && !word.starts_with(".kubernetes.io"));
    stands && left.is_empty() && whole && (rest.is_empty() || rest.trim_start().starts_with('#'))
}

fn is_path(text: &str, at: usize, path: &str, language: Language) -> bool {
    let (before, after) = (&text[..at], &text[at + path.len()..]);
    if before.ends_with(is_word) {
        return false;
    }
    match language {
        Language::Text => after
            .strip_prefix('=')
            .is_some_and(|level| LEVELS.contains(&level.split(|c| !is_word(c)).next().unwrap_or_default())),
        Language::Program => false,
        Language::Library => {
            let used = before.ends_with("use ") && after.starts_with(';');
            (after.starts_with("::") || used) && !before.ends_with(':')
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(text: &str, from: &str, to: &str) -> String {
        replace(text, Language::Text, &Name::new(from), &Name::new(to))
    }

    #[test]
    fn every_way_in_which_a_manifest_a_script_or_a_document_names_the_service() {
        let text = r#"
  name: X
- name: X # the service
- X
  name: "X"
    app.kubernetes.io/name: X
  namespace: X-staging
  labels: {app.kubernetes.io/name: X, tier: web}
  hosts: [X, X-canary]
  image: ${IMAGE:-X:local}
  image=registry.example.com/X
  - spec.containers.[name=X].image
  expr: up{job="X", namespace="X"} == 0 or absent(up{job="X"})
  - APP_LOG=info,X=debug
  repository=https://git.example.com/platform/X.git
  key: X/token
  host: X.team.example # public
  - X.json=dashboard.json
argocd app sync X-production
kubectl -n X get deployment/X-canary -l app.kubernetes.io/name=X
kubectl create secret generic X --namespace X --from-file=TOKEN
docker build -t X:local . && docker push registry.example.com/X@sha256:…
The Service `X` and its Deployment `X-blue`; `X config` shows it.
$ X --version; kill $(pidof X)
install unit /etc/systemd/system/X@.service; systemctl enable X.socket X@blue
Service=X@blue.service
"#;
        for (from, to) in [("shop", "a"), ("a", "orders"), ("orders", "orders-x"), ("x2", "a-b")] {
            let old =
                text.replace("X=debug", "Y=debug").replace('X', from).replace("Y", &from.replace('-', "_"));
            let new = text.replace("X=debug", "Y=debug").replace('X', to).replace("Y", &to.replace('-', "_"));
            assert_eq!(renamed(&old, from, to), new);
            assert_eq!(renamed(&new, to, from), old);
        }
    }

    #[test]
    fn words_are_left_alone() {
        for text in [
            "# a new one is ready before an old one is told",
            "a: b",
            "x-a: b",
            "say: a word",
            "- a word",
            "(a, b) a. a/b 'a word' an a-b",
            "a=b",
            "[a line each](x)",
            "key: a.",
            "make rename NAME=a",
            "/a.html",
            "name: ab",
            "name: a_b",
        ] {
            assert_eq!(renamed(text, "a", "orders"), text);
        }
    }

    #[test]
    fn in_rust_only_paths_and_the_name_of_the_program_are_the_services() {
        let text = r#"use my_svc::routes; env!("CARGO_BIN_EXE_my-svc"); crate::my_svc::x(); "my-svc"; my_svc.get();"#;
        let (from, to) = (Name::new("my-svc"), Name::new("o-x"));
        assert_eq!(
            replace(text, Language::Library, &from, &to),
            r#"use o_x::routes; env!("CARGO_BIN_EXE_o-x"); crate::my_svc::x(); "my-svc"; my_svc.get();"#
        );
        assert_eq!(
            replace(text, Language::Program, &from, &to),
            r#"use my_svc::routes; env!("CARGO_BIN_EXE_o-x"); crate::my_svc::x(); "my-svc"; my_svc.get();"#
        );
    }
}
