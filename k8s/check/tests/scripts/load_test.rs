//! The load test that runs in a cluster, with stand-ins for kubectl and `rollout`.

use std::{env, fs, os::unix::fs::PermissionsExt, process::Command};

use manifests::render::root;

use crate::cluster::Cluster;

#[test]
fn the_load_test_ends_as_rollout_ends_and_keeps_its_report() {
    for code in [0, 1, 2] {
        let answers = "*apply*) cat >/dev/null; echo applied >>\"$0.applied\" ;;";
        let cluster = Cluster::new(&format!("rollout-test-{code}"), answers);
        let rollout = format!("#!/bin/sh\necho \"$*\"\nexit {code}\n");
        fs::write(cluster.directory.join("rollout"), rollout).expect("the directory was just made");
        fs::set_permissions(cluster.directory.join("rollout"), fs::Permissions::from_mode(0o755))
            .expect("the file was just written");
        let path = format!("{}:{}", cluster.directory.display(), env::var("PATH").unwrap_or_default());
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
        assert!(cluster.directory.join("kubectl.applied").exists(), "the ConfigMap is applied");
    }
}
