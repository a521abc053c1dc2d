//! A stand-in for kubectl, and copies of `k8s` to run its scripts in.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use manifests::render::{NEEDED, root, service};

/// A kubectl that renders as the real one, answers `get` with what a test says, and notes everything else.
pub(crate) struct Cluster {
    pub(crate) directory: PathBuf,
    /// What the script finds in its environment besides.
    environment: Vec<(&'static str, &'static str)>,
}

/// The context that is kubectl's current one.
pub(crate) const CURRENT: &str = "kind-here";

impl Cluster {
    /// `answers` is the body of a shell `case` over the arguments after `-n NAMESPACE`.
    pub(crate) fn new(name: &str, answers: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("cargo made the directory above");
        let real = Command::new("sh").args(["-c", "command -v kubectl"]).output().expect("there is a shell");
        assert!(real.status.success(), "{NEEDED}");
        let real = String::from_utf8_lossy(&real.stdout).trim().to_owned();
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = kustomize ]; then exec {real} \"$@\"; fi\n\
             if [ \"$*\" = 'config current-context' ]; then echo \"${{CURRENT-{CURRENT}}}\"; exit; fi\n\
             if [ \"$1\" = --context ]; then echo \"$2\" >>'{0}/contexts'; shift 2; else echo none >>'{0}/contexts'; fi\n\
             if [ \"$1\" = -n ]; then shift 2; fi\n\
             case \"$*\" in\n{answers}\nget*) ;;\n*) echo \"$*\" >>'{0}/changes' ;;\nesac\n",
            dir.display()
        );
        fs::write(dir.join("kubectl"), script).expect("the directory was just made");
        fs::set_permissions(dir.join("kubectl"), fs::Permissions::from_mode(0o755))
            .expect("the file was just written");
        Self { directory: dir, environment: vec![("SETTLE", "0")] }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Runs a script of `k8s`, or of another copy of it: whether it succeeded, and what it said.
    pub(crate) fn run(&self, k8s: &Path, script: &str, arguments: &[&str]) -> (bool, String) {
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
    pub(crate) fn changes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("changes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The contexts that kubectl was sent to.
    pub(crate) fn contexts(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.directory.join("contexts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A copy of `k8s` whose names are no placeholders, with a production overlay of these components.
pub(crate) fn copy(name: &str, components: &str) -> PathBuf {
    copy_of("shop.test", name, components)
}

/// A copy of `k8s` with names of this domain, whatever those of the team are.
pub(crate) fn copy_of(domain: &str, name: &str, components: &str) -> PathBuf {
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

pub(crate) fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("the file was just copied");
    assert!(text.contains(from), "{}: no {from}", path.display());
    fs::write(path, text.replace(from, to)).expect("the file was just copied");
}
