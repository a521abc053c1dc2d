//! The scripts behind `make deploy`, `undeploy`, `rollback`, `promote`, `canary` and `check-placeholders`, with a kubectl
//! that only notes what it is told to change.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use manifests::render::{NEEDED, root, service};

/// A kubectl that renders as the real one, answers `get` with what a test says, and notes everything else.
struct Cluster {
    directory: PathBuf,
    /// What the script finds in its environment besides.
    environment: Vec<(&'static str, &'static str)>,
}

/// The context that is kubectl's current one.
const CURRENT: &str = "kind-here";

impl Cluster {
    /// `answers` is the body of a shell `case` over the arguments after `-n NAMESPACE`.
    fn new(name: &str, answers: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("cargo made the directory above");
        let real = Command::new("sh").args(["-c", "command -v kubectl"]).output().expect("there is a shell");
        assert!(real.status.success(), "{NEEDED}");
        let real = String::from_utf8_lossy(&real.stdout).trim().to_owned();
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = kustomize ]; then exec {real} \"$@\"; fi\n\
             if [ \"$*\" = 'config current-context' ]; then echo \"${{CURRENT-{CURRENT}}}\"; exit; fi\n\
             [ \"$1\" = --context ] || {{ echo no context is named >&2; exit 1; }}\n\
             echo \"$2\" >>'{0}/contexts'; shift 2\n\
             if [ \"$1\" = -n ]; then shift 2; fi\n\
             case \"$*\" in\n{answers}\nget*) ;;\n*) echo \"$*\" >>'{0}/changes' ;;\nesac\n",
            dir.display()
        );
        fs::write(dir.join("kubectl"), script).expect("the directory was just made");
        fs::set_permissions(dir.join("kubectl"), fs::Permissions::from_mode(0o755))
            .expect("the file was just written");
        Self { directory: dir, environment: vec![("SETTLE", "0")] }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Runs a script of `k8s`, or of another copy of it: whether it succeeded, and what it said.
    fn run(&self, k8s: &Path, script: &str, arguments: &[&str]) -> (bool, String) {
        let path = format!("{}:{}", self.directory.display(), env::var("PATH").unwrap_or_default());
        let output = Command::new(k8s.join(script))
            .args(arguments)
            .env_remove("CONTEXT")
            .env("PATH", path)
            .envs(self.environment.iter().copied())
            .output()
            .expect("the script is there");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// What kubectl was told to change, in order.
    fn changes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("changes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The contexts that kubectl was sent to.
    fn contexts(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.directory.join("contexts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A copy of `k8s` whose names are no placeholders, with a production overlay of these components.
fn copy(name: &str, components: &str) -> PathBuf {
    copy_of("shop.test", name, components)
}

/// A copy of `k8s` with names of this domain, whatever those of the team are.
fn copy_of(domain: &str, name: &str, components: &str) -> PathBuf {
    let to = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&to);
    fs::create_dir_all(&to).expect("cargo made the directory above");
    for part in
        ["base", "components", "overlays", "gitops", "site", "names.sh", "deploy.sh", "check-placeholders.sh"]
    {
        let copied = Command::new("cp").arg("-R").arg(root().join(part)).arg(&to).status();
        assert!(copied.is_ok_and(|status| status.success()), "{part}");
    }
    let service = service();
    let names = [
        ("image", format!("registry.{domain}/{service}")),
        ("domain", domain.to_owned()),
        ("subdomain", service.clone()),
        ("repository", format!("https://git.{domain}/platform/{service}.git")),
        ("acme-email", format!("platform@{domain}")),
    ];
    let site = fs::read_to_string(root().join("site/site.env")).expect("it is there");
    let site =
        site.lines().map(|line| match names.iter().find(|(key, _)| line.starts_with(&format!("{key}="))) {
            Some((key, value)) => format!("{key}={value}\n"),
            None => format!("{line}\n"),
        });
    fs::write(to.join("site/site.env"), site.collect::<String>()).expect("the directory was just made");
    edit(
        &to.join("overlays/production/kustomization.yaml"),
        "components:\n",
        &format!("components:\n{components}"),
    );
    to
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("the file was just copied");
    assert!(text.contains(from), "{}: no {from}", path.display());
    fs::write(path, text.replace(from, to)).expect("the file was just copied");
}

#[test]
fn placeholders_that_are_left_are_found() {
    let cluster = Cluster::new("placeholders", "");
    let left = copy_of("example.com", "placeholders-left", "");
    let (ok, said) = cluster.run(&left, "check-placeholders.sh", &["production"]);
    let name = service();
    assert!(!ok, "{said}");
    assert!(said.contains(&format!("registry.example.com/{name}")), "{said}");
    assert!(said.contains(&format!("host: {name}.example.com")), "{said}");
    let (ok, said) = cluster.run(&root(), "check-placeholders.sh", &["local"]);
    assert!(ok, "a local overlay has none: {said}");
    let changed = copy("placeholders-changed", "");
    let (ok, said) = cluster.run(&changed, "check-placeholders.sh", &[]);
    assert!(ok, "one file is enough: {said}");
    edit(
        &changed.join("overlays/production/kustomization.yaml"),
        "components:\n",
        "commonAnnotations:\n  store: change-me\ncomponents:\n",
    );
    let (ok, said) = cluster.run(&changed, "check-placeholders.sh", &[]);
    assert!(!ok && said.contains("store: change-me"), "{said}");
}

#[test]
fn deploy_applies_and_waits() {
    let cluster = Cluster::new("deploy", "get\\ deployments*) echo deployment.apps/shop ;;");
    let (ok, said) = cluster.run(&root(), "deploy.sh", &["local"]);
    assert!(ok, "{said}");
    assert_eq!(
        cluster.changes(),
        ["apply -k overlays/local", "rollout status deployment.apps/shop --timeout=15m"]
    );
}

#[test]
fn deploy_refuses_placeholders() {
    let cluster = Cluster::new("deploy-placeholders", "");
    let left = copy_of("example.com", "deploy-left", "");
    assert!(!cluster.run(&left, "deploy.sh", &["production"]).0);
    assert_eq!(cluster.changes(), Vec::<String>::new());
}

#[test]
fn deploy_fails_when_it_cannot_look_or_has_nothing_to_wait_for() {
    let refused = format!("get\\ deployments*) {} ;;", forbidden("deployments.apps"));
    let (ok, said) = Cluster::new("deploy-forbidden", &refused).run(&root(), "deploy.sh", &["local"]);
    assert!(!ok && said.contains("is forbidden"), "{said}");
    let (ok, said) = Cluster::new("deploy-empty", "").run(&root(), "deploy.sh", &["local"]);
    assert!(!ok && said.contains("Nothing to wait for"), "{said}");
}

/// What kubectl says, and how it ends, when a right is missing.
fn forbidden(resource: &str) -> String {
    format!(
        "echo 'Error from server (Forbidden): {resource} is forbidden: User cannot get resource' >&2; exit 1"
    )
}

#[test]
fn every_script_says_where_and_keeps_local_out_of_a_context_that_does_not_look_so() {
    let name = service();
    let deployments = "get\\ deployments*) echo deployment.apps/shop ;;";
    let scripts: [(&str, &[&str]); 6] = [
        ("deploy.sh", &["local"]),
        ("diff.sh", &["local"]),
        ("undeploy.sh", &["local"]),
        ("rollback.sh", &["local"]),
        ("promote.sh", &["local"]),
        ("canary.sh", &["local", "20"]),
    ];
    for (script, arguments) in scripts {
        for context in ["arn:aws:eks:eu-west-1:1:cluster/shop", "default", ""] {
            let cluster = Cluster::new(&format!("elsewhere-{script}"), deployments).with("CURRENT", context);
            let (ok, said) = cluster.run(&root(), script, arguments);
            assert!(!ok && said.contains("does not look like one"), "{script} {context}: {said}");
            assert!(cluster.contexts().is_empty(), "{script} {context}");
        }
        let cluster = Cluster::new(&format!("here-{script}"), deployments);
        let (_, said) = cluster.run(&root(), script, arguments);
        let place = format!("overlay local, namespace {name}-local, context {CURRENT}\n");
        assert!(said.starts_with(&place), "{script}: {said}");
        assert_eq!(cluster.contexts(), [CURRENT.to_owned()].into(), "{script}");
    }
    let meant = Cluster::new("elsewhere-meant", deployments).with("CONTEXT", "default");
    let (ok, said) = meant.run(&root(), "deploy.sh", &["local"]);
    assert!(ok && meant.contexts() == ["default".to_owned()].into(), "{said}");
    let (ok, said) = meant.run(&root(), "deploy.sh", &["nowhere"]);
    assert!(!ok && said.contains("no overlay"), "{said}");
}

#[test]
fn undeploy_of_another_overlay_than_local_wants_its_namespace_said() {
    let name = service();
    let cluster = Cluster::new("undeploy", "").with("CURRENT", "production-eu");
    for confirm in ["", "local", "default"] {
        let (ok, said) = cluster.run(&root(), "undeploy.sh", &["production", confirm]);
        assert!(!ok && said.contains(&format!("CONFIRM={name}")), "{said}");
    }
    assert_eq!(cluster.changes(), Vec::<String>::new());
    let (ok, said) = cluster.run(&root(), "undeploy.sh", &["production", &name]);
    assert!(ok, "{said}");
    assert_eq!(cluster.changes(), ["delete -k overlays/production --ignore-not-found"]);
}

#[test]
fn rollback_goes_back_in_the_track_that_is_live() {
    let name = service();
    for (live, deployment) in [("stable", name.clone()), ("green", format!("{name}-green"))] {
        let cluster = Cluster::new(&format!("rollback-{live}"), &format!("get\\ service*) echo {live} ;;"));
        assert!(cluster.run(&root(), "rollback.sh", &["production"]).0);
        assert_eq!(cluster.changes()[0], format!("rollout undo deployment/{deployment}"));
    }
}

#[test]
fn deploy_neither_undoes_a_promotion_nor_goes_before_it() {
    let k8s = copy("deploy-colours", "- ../../components/blue-green\n");
    let pods = "get\\ deployments*) echo deployment.apps/shop ;;";
    let live = |track: &str| {
        Cluster::new(&format!("deploy-{track}"), &format!("get\\ service\\ *) echo {track} ;;\n{pods}"))
    };
    let (green, stable) = (live("green"), live("stable"));
    let (ok, said) = green.run(&k8s, "deploy.sh", &["production"]);
    assert!(!ok && said.contains("green is live and the overlay says stable"), "{said}");
    assert_eq!(green.changes(), Vec::<String>::new());
    let (ok, said) = stable.run(&k8s, "deploy.sh", &["production"]);
    assert!(ok, "the second colour joins: {said}");
    edit(&k8s.join("components/blue-green/service.yaml"), "track: stable", "track: green");
    let (ok, said) = green.run(&k8s, "deploy.sh", &["production"]);
    assert!(ok, "{said}");
    let before = stable.changes();
    let (ok, said) = stable.run(&k8s, "deploy.sh", &["production"]);
    assert!(!ok && said.contains("stable is live and the overlay says green"), "{said}");
    assert_eq!(stable.changes(), before);
    let first = Cluster::new("deploy-first", pods);
    assert!(first.run(&k8s, "deploy.sh", &["production"]).0, "a first deploy has no live colour");
    let left = copy("deploy-left-colours", "");
    let (ok, said) = green.run(&left, "deploy.sh", &["production"]);
    assert!(!ok && said.contains("green is live"), "the component was taken out too early: {said}");
}

/// A live colour of seven pods, and the other, whose HPA keeps three.
fn colours(live: &str, other: &str) -> String {
    let name = service();
    let of = |track: &str| if track == "stable" { name.clone() } else { format!("{name}-{track}") };
    format!(
        "get\\ service\\ {name}\\ *) echo {live} ;;\nget\\ deployment\\ {}\\ *replicas*) echo 7 ;;\n\
         get\\ deployment\\ {1}\\ *) echo deployment/{1} ;;\nget\\ hpa\\ {1}\\ *) echo 3 ;;\n",
        of(live),
        of(other)
    )
}

#[test]
fn promote_fills_the_other_colour_and_then_switches() {
    let name = service();
    for (live, other, to) in [("stable", "green", format!("{name}-green")), ("green", "stable", name.clone())]
    {
        let cluster = Cluster::new(&format!("promote-{live}"), &colours(live, other));
        let (ok, said) = cluster.run(&root(), "promote.sh", &["production"]);
        assert!(ok && said.contains(&format!("{to} is live")), "{said}");
        assert_eq!(
            cluster.changes(),
            [
                format!(r#"patch hpa {to} --patch {{"spec": {{"minReplicas": 7}}}}"#),
                format!("scale deployment/{to} --replicas=7"),
                format!("rollout status deployment/{to} --timeout=15m"),
                format!(r#"patch service {name} --patch {{"spec": {{"selector": {{"track": "{other}"}}}}}}"#),
                format!(r#"patch hpa {to} --patch {{"spec": {{"minReplicas": 3}}}}"#),
            ]
        );
    }
}

#[test]
fn promote_does_not_switch_to_a_colour_that_is_not_ready_and_puts_its_minimum_back() {
    let name = service();
    let answers = colours("stable", "green") + "rollout*) exit 1 ;;";
    let cluster = Cluster::new("promote-unready", &answers);
    assert!(!cluster.run(&root(), "promote.sh", &["production"]).0);
    assert_eq!(
        cluster.changes(),
        [
            format!(r#"patch hpa {name}-green --patch {{"spec": {{"minReplicas": 7}}}}"#),
            format!("scale deployment/{name}-green --replicas=7"),
            format!(r#"patch hpa {name}-green --patch {{"spec": {{"minReplicas": 3}}}}"#),
        ]
    );
}

#[test]
fn promote_needs_two_colours() {
    let cluster = Cluster::new("promote-one", "get\\ service*) echo stable ;;");
    let (ok, said) = cluster.run(&root(), "promote.sh", &["production"]);
    assert!(!ok && said.contains("add components/blue-green"), "{said}");
    assert_eq!(cluster.changes(), Vec::<String>::new());
}

#[test]
fn canary_sets_both_weights_of_every_rule() {
    let cluster = Cluster::new("canary", "get\\ httproutes*) printf 'rule\\nrule\\n' ;;");
    let (ok, said) = cluster.run(&root(), "canary.sh", &["production", "20"]);
    assert!(ok, "{said}");
    let changes = cluster.changes();
    let patch = changes[0].split_once("--patch ").expect("it is a patch").1;
    let patch: serde_json::Value = serde_json::from_str(patch).expect("it is JSON");
    let values: Vec<_> = patch
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|op| (op["path"].as_str(), op["value"].as_i64()))
        .collect();
    assert_eq!(
        values,
        [
            (Some("/spec/rules/0/backendRefs/0/weight"), Some(80)),
            (Some("/spec/rules/0/backendRefs/1/weight"), Some(20)),
            (Some("/spec/rules/1/backendRefs/0/weight"), Some(80)),
            (Some("/spec/rules/1/backendRefs/1/weight"), Some(20)),
        ]
    );
}

#[test]
fn canary_weighs_in_istio_and_refuses_what_is_no_share() {
    let answers = "get\\ httproutes*) echo 'error: the server doesn'\\''t have a resource type \"httproutes\"' >&2; exit 1 ;;\n\
                   get\\ virtualservices*) echo rule ;;";
    let cluster = Cluster::new("canary-istio", answers);
    let (ok, said) = cluster.run(&root(), "canary.sh", &["production", "100"]);
    assert!(ok, "{said}");
    assert!(cluster.changes()[0].contains(r#""path": "/spec/http/0/route/1/weight", "value": 100"#));
    for weight in ["101", "-1", "many", "", "99999999999999999999"] {
        let (ok, said) = cluster.run(&root(), "canary.sh", &["production", weight]);
        assert!(!ok && said.contains("from 0 to 100"), "{weight}: {said}");
    }
    assert_eq!(cluster.changes().len(), 1);
}

#[test]
fn canary_tells_a_missing_route_from_a_missing_right() {
    let none = Cluster::new("canary-none", "");
    let (ok, said) = none.run(&root(), "canary.sh", &["production", "20"]);
    assert!(!ok && said.contains("no route"), "{said}");
    let answers = format!("get\\ httproutes*) {} ;;", forbidden("httproutes.gateway.networking.k8s.io"));
    let cluster = Cluster::new("canary-forbidden", &answers);
    let (ok, said) = cluster.run(&root(), "canary.sh", &["production", "20"]);
    assert!(!ok && said.contains("is forbidden") && !said.contains("no route"), "{said}");
}
