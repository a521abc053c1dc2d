//! The dashboard's queries, and the dashboard drawn.

use serde_json::Value;

/// The dashboard's queries, its variables filled in.
pub(crate) fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| fill_in(target["expr"].as_str().expect("a target is a query"))).collect()
}

fn fill_in(expression: &str) -> String {
    expression.replace("$job", &crate::job()).replace("$namespace", ".+").replace("$__rate_interval", "2s")
}
