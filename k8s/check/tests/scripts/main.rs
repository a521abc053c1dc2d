//! The scripts behind `make deploy`, `undeploy`, `rollback`, `promote`, `canary` and `check-placeholders`, with a kubectl
//! that only notes what it is told to change.

mod cluster;
mod load_test;

use manifests::{
    Rendered,
    render::{kustomize, root, service},
};

use cluster::{CURRENT, Cluster, copy, copy_of, edit};

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
    assert!(said.contains("k8s/site/site.env:11:monitoring-namespace=change-me"), "{said}");
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
    let scripts: [(&str, &[&str]); 8] = [
        ("deploy.sh", &["local"]),
        ("diff.sh", &["local"]),
        ("status.sh", &["local"]),
        ("clean-config.sh", &["local"]),
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
        assert!(said.contains(&place), "{script}: {said}");
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
