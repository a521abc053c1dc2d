//! The script of `k8s/rollout-test`, with a `rollout` that ends as it is told and a kubectl that notes what it is asked.

use std::{env, fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use manifests::render::root;

#[test]
fn the_load_test_ends_as_rollout_ends_and_keeps_its_report() {
    for code in [0, 1, 2] {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("rollout-test-{code}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let noted = dir.join("noted");
        // What `create` prints is what `apply` reads.
        let kubectl = format!(
            "case $3 in create) echo \"$*\" ;; apply) cat >>'{0}'; echo \"$*\" >>'{0}' ;; esac",
            noted.display()
        );
        for (name, body) in [("kubectl", kubectl), ("rollout", format!("echo \"$*\"; exit {code}"))] {
            fs::write(dir.join(name), format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", dir.display(), env::var("PATH").unwrap_or_default());
        let output = Command::new(root().join("rollout-test/run.sh"))
            .env("PATH", path)
            .envs([
                ("NAMESPACE", "here"),
                ("DEPLOYMENT", "shop"),
                ("URL", "http://shop"),
                ("REPORT", "report"),
            ])
            .envs([("ROLLOUTS", "3"), ("ROLLOUT_ARGS", "--clients idle=4")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let asked = "cluster --namespace here --deployment shop --url http://shop --rollouts 3";
        assert!(said.contains(asked) && said.contains("--clients idle=4"), "{said}");
        let noted = fs::read_to_string(noted).unwrap();
        assert!(noted.starts_with("-n here create configmap report --from-file="), "{noted}");
        assert!(noted.contains(&format!("--from-literal=exit-code={code}")), "{noted}");
        assert!(noted.contains("-n here apply --server-side"), "{noted}");
    }
}
