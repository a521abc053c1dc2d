//! The files themselves: nothing deprecated, nothing forgotten, names and tags in one place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use manifests::{
    Rendered,
    render::{children, kustomize, root},
    rules::RULES,
};

/// Every file below a directory of `k8s`.
fn files(under: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(under).expect("the directory exists") {
        let path = entry.expect("a directory that was just listed can be read").path();
        match path.is_dir() {
            true if path.ends_with("check") => {}
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The kustomizations that have a feature that kustomize will drop.
fn deprecated(text: &str) -> Vec<&'static str> {
    const FIELDS: &[&str] =
        &["bases:", "commonLabels:", "imageTags:", "patchesJson6902:", "patchesStrategicMerge:", "vars:"];
    FIELDS.iter().copied().filter(|field| text.lines().any(|line| line.starts_with(field))).collect()
}

#[test]
fn no_kustomization_uses_a_deprecated_field() {
    let all: Vec<_> =
        files(&root()).into_iter().filter(|path| path.ends_with("kustomization.yaml")).collect();
    assert!(all.len() > 20, "{all:?}");
    for path in all {
        assert_eq!(deprecated(&read(&path)), Vec::<&str>::new(), "{}", path.display());
    }
    assert_eq!(deprecated("kind: Kustomization\ncommonLabels:\n  a: b\n"), ["commonLabels:"]);
}

#[test]
fn every_component_is_rendered_somewhere_and_has_its_line() {
    let lists: String = ["overlays", "tests"]
        .iter()
        .flat_map(|group| children(group))
        .map(|target| read(&root().join(target).join("kustomization.yaml")))
        .collect();
    let readme = read(&root().join("components/README.md"));
    for component in children("components") {
        let name = component.strip_prefix("components/").expect("it was listed there");
        assert!(
            lists.contains(&format!("- ../../{component}\n")),
            "no overlay and no combination has {name}"
        );
        assert!(readme.contains(&format!("\n| `{name}` |")), "components/README.md has no line for {name}");
    }
}

#[test]
fn names_to_be_changed_stand_in_one_file() {
    for path in files(&root()) {
        let script = path.extension().is_some_and(|ext| ext == "sh");
        assert!(
            script || path.ends_with("site.env") || !read(&path).contains("example.com"),
            "{} has example.com, which stands for a name to be changed: write the real one, or put it into site.env",
            path.display()
        );
    }
}

#[test]
fn every_overlay_sets_its_tag_in_one_place() {
    for overlay in children("overlays") {
        let text = read(&root().join(&overlay).join("kustomization.yaml"));
        let tags: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("newTag: ")).collect();
        assert_eq!(tags.len(), 1, "{overlay}: {tags:?}");
        assert_ne!(tags, ["latest"], "{overlay}");
        // The image's name is read from site.env itself, not from what an overlay merges into it.
        assert!(!text.contains("- image="), "{overlay}: another image is named by `newName`, under `images`");
    }
}

#[test]
fn every_check_that_is_skipped_has_its_reason() {
    let decisions = read(&root().join("../docs/decisions.md"));
    let skipped = read(&root().join("checkov.yaml"));
    let skipped: Vec<_> =
        skipped.lines().filter_map(|line| line.strip_prefix("- CKV")?.split(' ').next()).collect();
    assert!(!skipped.is_empty());
    for check in skipped {
        assert!(
            decisions.contains(&format!("CKV{check}")),
            "docs/decisions.md does not say why CKV{check} is skipped"
        );
    }
}

#[test]
fn every_rule_is_named_where_the_decisions_stand() {
    let decisions = read(&root().join("../docs/decisions.md"));
    for rule in RULES {
        assert!(
            decisions.contains(&format!("`{}`", rule.name)),
            "docs/decisions.md does not name {}",
            rule.name
        );
    }
}

#[test]
fn the_page_removes_every_kind_of_which_a_second_track_leaves_an_object_behind() {
    let page = read(&root().join("../docs/strategies.md"));
    let mut checked = 0;
    for target in children("tests") {
        let objects = kustomize(&target).expect("the target renders, or another test says why");
        for (kind, metadata) in Rendered::read(&objects).expect("its kinds are known").every {
            let labels = metadata.labels.unwrap_or_default();
            let Some(track) = labels.get("track").filter(|track| *track != "stable") else { continue };
            let kind = match kind.as_str() {
                "HorizontalPodAutoscaler" => "hpa".to_owned(),
                "PodDisruptionBudget" => "pdb".to_owned(),
                kind => kind.to_lowercase() + "s",
            };
            let removes = |line: &str| {
                let kinds = line.split(" delete ").nth(1).and_then(|rest| rest.split(' ').next());
                line.contains(&format!(",track={track}"))
                    && kinds.is_some_and(|kinds| kinds.split(',').any(|k| k == kind))
            };
            assert!(
                page.lines().any(removes),
                "docs/strategies.md leaves {kind} of {track} behind ({target})"
            );
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}
