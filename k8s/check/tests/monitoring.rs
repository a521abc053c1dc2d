//! Alerts, their cases, their runbook, and the dashboard's way into the cluster. What they ask Prometheus is run in
//! `tests/prometheus` of the engine.

use std::{collections::BTreeSet, fs, process::Command};

use manifests::render::{kustomize, parse, root};
use serde_json::Value;

/// Has the component, and site's names.
const TARGET: &str = "tests/keda";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn rules() -> Value {
    parse(&read("components/monitoring/rules.yaml")).expect("it is YAML").remove(0)
}

fn alerts(groups: &Value) -> Vec<Value> {
    let groups = groups["groups"].as_array().expect("a file of rules has groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("a group has rules"));
    rules.filter(|rule| rule["alert"].is_string()).cloned().collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn rendered(kind: &str) -> Vec<Value> {
    let objects = kustomize(TARGET).expect("the target renders, or another test says why");
    objects.into_iter().filter(|object| object["kind"] == kind).collect()
}

/// The value of a line of `site.env`.
fn site(name: &str) -> String {
    let env = read("site/site.env");
    let value = env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("site.env has no {name}")).to_owned()
}

#[test]
fn the_prometheus_rule_is_the_plain_file() {
    let resource = parse(&read("components/monitoring/prometheusrule.yaml")).expect("it is YAML").remove(0);
    assert!(resource["spec"] == rules(), "they differ: run `make rules`");
}

#[test]
fn each_alert_fires_in_its_case_and_not_in_its_neighbours() {
    let promtool = Command::new("promtool")
        .args(["test", "rules", "rules.test.yaml"])
        .current_dir(root().join("components/monitoring"))
        .output()
        .expect("promtool is on the PATH: `make test` puts it there");
    let said = [promtool.stdout, promtool.stderr].concat();
    assert!(promtool.status.success(), "{}", String::from_utf8_lossy(&said));
    let cases = read("components/monitoring/rules.test.yaml");
    for alert in alerts(&rules()) {
        let fires = format!("- labels: '{{alertname=\"{}\"", text(&alert["alert"]));
        assert!(cases.contains(&fires), "no case in which {} fires", alert["alert"]);
    }
}

#[test]
fn each_alert_has_its_section_in_the_runbook_and_links_to_it() {
    let runbook = read("../docs/runbook.md");
    let sections: Vec<(&str, &str)> =
        runbook.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let alerts = alerts(&rules());
    let named = |alert: &Value| text(&alert["alert"]).to_owned();
    let expected: BTreeSet<String> = alerts.iter().map(named).collect();
    let found: BTreeSet<String> = sections.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, expected);
    for (name, section) in sections {
        for part in ["**It means** ", "**Look first** ", "**Do** "] {
            assert!(section.contains(&format!("\n{part}")), "{name} has no {part}");
        }
    }
    for alert in alerts {
        let url = format!("docs/runbook.md#{}", named(&alert).to_lowercase());
        assert_eq!(text(&alert["annotations"]["runbook_url"]), url);
        assert!(["page", "ticket"].contains(&text(&alert["labels"]["severity"])), "{alert}");
    }
}

#[test]
fn the_release_and_the_runbook_are_one_line_each() {
    let monitors = [rendered("PodMonitor"), rendered("PrometheusRule")].concat();
    assert_eq!(monitors.len(), 2);
    for object in &monitors {
        assert_eq!(text(&object["metadata"]["labels"]["release"]), site("prometheus-release"), "{object}");
    }
    let runbook = site("runbook");
    for alert in alerts(&monitors[1]["spec"]) {
        let url = text(&alert["annotations"]["runbook_url"]);
        assert_eq!(url, format!("{runbook}#{}", text(&alert["alert"]).to_lowercase()));
    }
}

#[test]
fn the_dashboard_is_in_a_config_map_that_the_sidecar_takes() {
    let maps = rendered("ConfigMap");
    let map = maps.iter().find(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1");
    let map = map.expect("one has the sidecar's label");
    let files = map["data"].as_object().expect("it has data");
    let (name, content) = files.iter().next().expect("it has a file");
    // The sidecar puts the files of all services into one folder.
    assert_eq!(*name, format!("{}.json", manifests::render::service()));
    assert_eq!(text(content), read("components/monitoring/dashboard.json"));
}
