//! The scripts behind `make deploy`, `promote`, `canary` and `check-placeholders`, with a kubectl that only
//! notes what it is told to change.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use manifests::{
    Rendered,
    render::{NEEDED, kustomize, root, service},
};

/// A kubectl that renders as the real one, answers `get` with what a test says, and notes everything else.
struct Cluster(PathBuf);

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
            "#!/bin/sh\nif [ \"$1\" = kustomize ]; then exec {real} \"$@\"; fi\nif [ \"$1\" = -n ]; then shift 2; fi\n\
             case \"$*\" in\n{answers}\nget*) ;;\n*) echo \"$*\" >>'{}/changes' ;;\nesac\n",
            dir.display()
        );
        fs::write(dir.join("kubectl"), script).expect("the directory was just made");
        fs::set_permissions(dir.join("kubectl"), fs::Permissions::from_mode(0o755))
            .expect("the file was just written");
        Self(dir)
    }

    /// Runs a script of `k8s`, or of another copy of it: whether it succeeded, and what it said.
    fn run(&self, k8s: &Path, script: &str, arguments: &[&str]) -> (bool, String) {
        let path = format!("{}:{}", self.0.display(), env::var("PATH").unwrap_or_default());
        let output = Command::new(k8s.join(script))
            .args(arguments)
            .env("PATH", path)
            .output()
            .expect("the script is there");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// What kubectl was told to change, in order.
    fn changes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("changes")).unwrap_or_default();
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
    for part in [
        "base",
        "components",
        "overlays",
        "gitops",
        "site",
        "names",
        "names.sh",
        "deploy.sh",
        "check-placeholders.sh",
    ] {
        let copied = Command::new("cp").arg("-R").arg(root().join(part)).arg(&to).status();
        assert!(copied.is_ok_and(|status| status.success()), "{part}");
    }
    let service = service();
    let names = [
        ("image", format!("registry.{domain}/{service}")),
        ("rollout-test-image", format!("registry.{domain}/{service}-rollout-test")),
        ("domain", domain.to_owned()),
        ("subdomain", service.clone()),
        ("repository", format!("https://git.{domain}/platform/{service}.git")),
        ("acme-email", format!("platform@{domain}")),
        ("monitoring-namespace", "observability".to_owned()),
        ("gateway", "public".to_owned()),
        ("gateway-namespace", "edge".to_owned()),
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
    let of_others = copy_of("example.com", "placeholders-of-others", "- ../../components/gateway-api\n");
    let site = of_others.join("site/site.env");
    edit(&site, "=observability", "=change-me");
    edit(&site, "=edge", "=change-me");
    let (_, said) = cluster.run(&of_others, "check-placeholders.sh", &["production"]);
    for left in ["kubernetes.io/metadata.name: change-me", "namespace: change-me"] {
        assert!(said.contains(left), "{left}: {said}");
    }
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
fn deploy_does_not_undo_a_promotion() {
    let k8s = copy("deploy-colours", "- ../../components/blue-green\n");
    let green = Cluster::new("deploy-green", "get\\ service*) echo green ;;");
    let (ok, said) = green.run(&k8s, "deploy.sh", &["production"]);
    assert!(!ok && said.contains("green is live and the overlay says blue"), "{said}");
    assert_eq!(green.changes(), Vec::<String>::new());
    edit(&k8s.join("components/blue-green/service.yaml"), "track: blue", "track: green");
    let (ok, said) = green.run(&k8s, "deploy.sh", &["production"]);
    assert!(ok, "{said}");
    let nothing = Cluster::new("deploy-first", "");
    assert!(nothing.run(&k8s, "deploy.sh", &["production"]).0, "a first deploy has no live colour");
}

#[test]
fn promote_fills_the_other_colour_and_then_switches() {
    let name = service();
    let answers =
        format!("get\\ service\\ {name}\\ *) echo blue ;;\nget\\ deployment/{name}-blue*) echo 7 ;;");
    let cluster = Cluster::new("promote", &answers);
    let (ok, said) = cluster.run(&root(), "promote.sh", &["production"]);
    assert!(ok && said.contains("green is live"), "{said}");
    assert_eq!(
        cluster.changes(),
        [
            format!("scale deployment/{name}-green --replicas=7"),
            format!("rollout status deployment/{name}-green --timeout=15m"),
            format!(r#"patch service {name} --patch {{"spec": {{"selector": {{"track": "green"}}}}}}"#),
        ]
    );
}

#[test]
fn promote_does_not_switch_to_a_colour_that_is_not_ready() {
    let name = service();
    let answers = format!(
        "get\\ service*) echo blue ;;\nget\\ deployment/{name}-blue*) echo 7 ;;\nrollout*) exit 1 ;;"
    );
    let cluster = Cluster::new("promote-unready", &answers);
    assert!(!cluster.run(&root(), "promote.sh", &["production"]).0);
    assert_eq!(cluster.changes(), [format!("scale deployment/{name}-green --replicas=7")]);
}

#[test]
fn promote_needs_two_colours() {
    let cluster = Cluster::new("promote-one", "");
    let (ok, said) = cluster.run(&root(), "promote.sh", &["production"]);
    assert!(!ok && said.contains("no colour"), "{said}");
}

#[test]
fn canary_sets_both_weights_of_every_rule() {
    let cluster = Cluster::new("canary", "get\\ httproutes*) echo httproute/shop ;;");
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
    let cluster = Cluster::new("canary-istio", "get\\ virtualservices*) echo virtualservice/shop ;;");
    assert!(cluster.run(&root(), "canary.sh", &["production", "100"]).0);
    assert!(cluster.changes()[0].contains(r#""path": "/spec/http/0/route/1/weight", "value": 100"#));
    for weight in ["101", "-1", "many", ""] {
        assert!(!cluster.run(&root(), "canary.sh", &["production", weight]).0, "{weight}");
    }
    assert_eq!(cluster.changes().len(), 1);
    let none = Cluster::new("canary-none", "");
    let (ok, said) = none.run(&root(), "canary.sh", &["production", "20"]);
    assert!(!ok && said.contains("no route"), "{said}");
}

#[test]
fn clean_config_removes_what_no_revision_names() {
    let name = service();
    let maps = format!(
        "get\\ configmaps*) for n in 2222222222 3333333333 mine; do echo configmap/{name}-$n; done ;;"
    );
    let named = format!(r#"get\ deployments,replicasets,pods*) echo '{{"name": "{name}-3333333333"}}' ;;"#);
    let cluster = Cluster::new("clean-config", &format!("{maps}\n{named}"));
    let (ok, said) = cluster.run(&root(), "clean-config.sh", &["production"]);
    assert!(ok, "{said}");
    assert_eq!(cluster.changes(), [format!("delete configmap {name}-2222222222")]);
    let blind = format!("{maps}\nget\\ deployments,replicasets,pods*) exit 1 ;;");
    let cluster = Cluster::new("clean-config-blind", &blind);
    assert!(!cluster.run(&root(), "clean-config.sh", &["production"]).0);
    assert_eq!(cluster.changes(), Vec::<String>::new(), "what is in use is not known");
}

#[test]
fn keda_scales_production_between_the_same_bounds() {
    let bounds = |name: &str, components: &str| {
        let k8s = copy(name, components);
        let rendered =
            Rendered::read(&kustomize(&k8s.join("overlays/production").display().to_string()).unwrap());
        let rendered = rendered.unwrap();
        let workloads =
            rendered.workloads().map(|workload| (workload.name.to_owned(), rendered.scale(&workload)));
        workloads.collect::<Vec<_>>()
    };
    let by_hpa = bounds("scaled-by-hpa", "- ../../components/canary\n");
    let by_keda = bounds("scaled-by-keda", "- ../../components/canary\n- ../../components/keda\n");
    assert_eq!(by_keda, by_hpa);
    assert!(by_hpa.len() == 2 && by_hpa.iter().all(|(_, bounds)| bounds.is_some()), "{by_hpa:?}");
}

#[test]
fn the_load_test_ends_as_rollout_ends_and_keeps_its_report() {
    for code in [0, 1, 2] {
        let answers = "*apply*) cat >/dev/null; echo applied >>\"$0.applied\" ;;";
        let cluster = Cluster::new(&format!("rollout-test-{code}"), answers);
        let rollout = format!("#!/bin/sh\necho \"$*\"\nexit {code}\n");
        fs::write(cluster.0.join("rollout"), rollout).expect("the directory was just made");
        fs::set_permissions(cluster.0.join("rollout"), fs::Permissions::from_mode(0o755))
            .expect("the file was just written");
        let path = format!("{}:{}", cluster.0.display(), env::var("PATH").unwrap_or_default());
        let output = Command::new(root().join("rollout-test/run.sh"))
            .envs([
                ("PATH", path.as_str()),
                ("NAMESPACE", "here"),
                ("DEPLOYMENT", "shop"),
                ("URL", "http://shop"),
            ])
            .envs([("ROLLOUTS", "3"), ("ROLLOUT_ARGS", "--clients idle=4"), ("REPORT", "report")])
            .output()
            .expect("the script is there");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let asked = "cluster --namespace here --deployment shop --url http://shop --rollouts 3";
        assert!(said.contains(asked) && said.contains("--clients idle=4"), "{said}");
        let changes = cluster.changes();
        assert!(changes[0].starts_with("create configmap report --from-file="), "{changes:?}");
        assert!(changes[0].contains(&format!("--from-literal=exit-code={code}")), "{changes:?}");
        assert!(cluster.0.join("kubectl.applied").exists(), "the ConfigMap is applied");
    }
}
