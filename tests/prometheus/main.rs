//! A real Prometheus scrapes the process through a replacement: what it then knows, and what dashboard, rules and
//! autoscalers make of it.

mod picture;
mod rollout;
mod server;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    fs,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use server::{Prometheus, component, dashboard, free_port, job, number};
use support::{
    eventually,
    http1::{Http1, request},
    lifecycle::held,
    process::testbed,
};

/// What was done before the tests look at it, all of it under one Prometheus.
static SCENE: LazyLock<Scene> = LazyLock::new(Scene::play);

struct Scene {
    prometheus: Prometheus,
    /// Requests that clients have got a response to.
    answered: u64,
    /// When three requests were in flight in the first pod and one in the second.
    at_in_flight: f64,
    /// When the first pod was draining and requests came.
    at_draining: f64,
    /// When only the second pod was there.
    at_replaced: f64,
}

/// Requests with a path and a method that nobody has heard of.
const RANDOM: u64 = 10_000;

impl Scene {
    fn play() -> Self {
        let ports = [free_port(), free_port()];
        let prometheus =
            Prometheus::start("prometheus", &[("pod-1", ports[0]), ("pod-2", ports[1])], "500ms");
        // Held when nothing is served any more, so that the last counts are scraped.
        let first =
            testbed().set("APP_ADMIN_PORT", &ports[0].to_string()).set("TESTBED_CLEANUP", "1").start();
        prometheus.eventually("up{pod=\"pod-1\"} == 1");
        let mut kept = first.connect();
        let paths = ["/", "/panic", "/nothing", "/nested/plain", "/large/1"];
        for path in paths {
            kept.get(path);
        }
        ask_at_random(&mut kept);

        let second = testbed().set("APP_ADMIN_PORT", &ports[1].to_string()).start();
        let mut waiting = [held(&first), held(&first), held(&first), held(&second)];
        prometheus.eventually("sum(http_server_active_requests) == 4");
        let at_in_flight = now();
        first.release();
        second.release();
        for client in &mut waiting {
            client.response();
        }
        drop(waiting);

        first.drain();
        prometheus.eventually("lifecycle_phase{pod=\"pod-1\",phase=\"draining\"} == 1");
        first.connect().get("/");
        second.connect().get("/panic");
        prometheus.eventually("lifecycle_requests_total{pod=\"pod-1\",phase=\"draining\"} == 1");
        // The dashboard's rates are over 2 s here.
        prometheus.eventually("rate(http_server_panics_total{pod=\"pod-2\"}[2s]) > 0");
        let at_draining = now();
        first.close();
        assert!(kept.get("/").says_close());
        drop(kept);
        // The clean-up, behind three requests.
        first.lines("held", 4);
        let answered = paths.len() as u64 + RANDOM + 4 + 3;
        eventually("Prometheus knows of every response", || {
            prometheus.number("sum(http_server_request_duration_seconds_count)") == Some(answered as f64)
        });
        first.release();
        first.exit().with_code(0);
        prometheus.eventually("up{pod=\"pod-1\"} == 0");
        let at_replaced = now();
        // What is in a static is never dropped.
        second.drain();
        second.close();
        second.exit().with_code(0);
        Self { prometheus, answered, at_in_flight, at_draining, at_replaced }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64()
}

/// Asks with random methods for random paths, and for routes with random parameters.
fn ask_at_random(client: &mut Http1) {
    let word = |letter: fn() -> char| -> String { (0..fastrand::usize(3..12)).map(|_| letter()).collect() };
    let random = |n| {
        // No method that there is begins with an X.
        let method = if n % 2 == 0 { format!("X{}", word(fastrand::uppercase)) } else { "GET".to_owned() };
        let under = ["", "large/", "nested/", "some/where/"][fastrand::usize(..4)];
        request(&method, &format!("/{under}{}", word(fastrand::alphabetic)))
    };
    // A hundred at a time, which is much faster than one.
    for _ in 0..RANDOM / 100 {
        client.send(&(0..100).map(random).collect::<String>());
        for _ in 0..100 {
            let response = client.response();
            assert!(response.status >= 400, "{response:?}");
        }
    }
}

fn labels(series: &[Value], name: &str) -> BTreeSet<String> {
    series.iter().filter_map(|series| series["metric"][name].as_str().map(str::to_owned)).collect()
}

#[test]
fn every_response_was_counted() {
    let Scene { prometheus, answered, .. } = &*SCENE;
    let counted = "sum(max_over_time(http_server_request_duration_seconds_count[1h]))";
    assert_eq!(prometheus.number(counted), Some(*answered as f64));
    assert_eq!(
        prometheus.number("max_over_time(lifecycle_requests_total{phase=\"draining\"}[1h]) > 0"),
        Some(1.0)
    );
    let took = prometheus.number("max_over_time(lifecycle_last_request_seconds{pod=\"pod-1\"}[1h])");
    assert!(took.is_some_and(|took| took > 0.1 && took < 30.0), "{took:?}");
    let left = prometheus.number("min_over_time(lifecycle_drain_remaining_seconds{pod=\"pod-1\"}[1h])");
    assert!(left.is_some_and(|left| left > 500.0 && left < 600.0), "{left:?}");
}

#[test]
fn random_paths_and_methods_add_no_series() {
    let Scene { prometheus, .. } = &*SCENE;
    let counts = prometheus.query("last_over_time(http_server_request_duration_seconds_count[1h])", None);
    let routes = ["/", "/held", "/large/{kib}", "/nested/plain", "/nested/{*path}", "/panic", "unmatched"];
    let unknown: Vec<_> =
        labels(&counts, "http_route").into_iter().filter(|r| !routes.contains(&&**r)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(labels(&counts, "http_request_method"), BTreeSet::from(["GET", "_OTHER"].map(String::from)));
    let series = prometheus.number("max_over_time(scrape_samples_scraped{pod=\"pod-1\"}[1h])");
    assert!(series.is_some_and(|series| series < 500.0), "{series:?}");
}

#[test]
fn no_counter_goes_back() {
    let Scene { prometheus, .. } = &*SCENE;
    let names = prometheus.get("/api/v1/label/__name__/values");
    let is_counter =
        |name: &&str| ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
    let names: Vec<&str> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let counters: Vec<&str> = names.into_iter().filter(is_counter).collect();
    assert!(counters.len() > 10, "{counters:?}");
    for counter in counters {
        let resets = prometheus.query(&format!("resets({counter}[1h]) > 0"), None);
        assert!(resets.is_empty(), "{counter}: {resets:#?}");
    }
}

#[test]
fn every_query_of_the_dashboard_returns_series() {
    let Scene { prometheus, at_draining, .. } = &*SCENE;
    let queries = picture::queries(&dashboard());
    assert!(queries.len() > 20, "{queries:?}");
    // One scrape may fail where there is much to do.
    let (from, to) = (at_draining - 1.0, at_draining + 1.0);
    let empty: Vec<_> =
        queries.iter().filter(|query| prometheus.range(query, from, to, 0.25).is_empty()).collect();
    assert!(empty.is_empty(), "{empty:#?}");
}

#[test]
fn every_rule_evaluates_and_every_selector_selects() {
    let Scene { prometheus, .. } = &*SCENE;
    eventually("every rule has been evaluated", || {
        let groups = prometheus.get("/api/v1/rules");
        let rules: Vec<&Value> = array(&groups["groups"]).flat_map(|group| array(&group["rules"])).collect();
        assert!(rules.len() > 20, "{rules:#?}");
        assert!(!rules.iter().any(|rule| rule["health"] == "err"), "{rules:#?}");
        rules.iter().all(|rule| rule["health"] == "ok")
    });
    let rules = fs::read_to_string(component("rules.yaml")).expect("the component has them");
    let selectors = selectors(&rules);
    assert!(selectors.len() > 20 && rules.contains(&format!("job=\"{}\"", job())), "{selectors:?}");
    for selector in selectors {
        prometheus.eventually(&format!("last_over_time({selector}[1h])"));
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The metrics that rules ask for, with their labels where they have some.
fn selectors(rules: &str) -> BTreeSet<&str> {
    const PREFIXES: [&str; 7] = ["health_", "http_", "kube_", "lifecycle_", "log_", "server_", "slo:"];
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let expressions = rules.lines().filter(|line| !line.contains("record: ") && !line.contains("summary: "));
    let words = expressions.flat_map(|line| {
        let starts = line.char_indices().map(|(at, _)| at);
        starts.filter(move |at| !line[..*at].ends_with(is_part)).map(move |at| &line[at..])
    });
    let metrics = words.filter(|text| PREFIXES.iter().any(|prefix| text.starts_with(prefix)));
    metrics
        .filter_map(|text| {
            let name = text.find(|c| !is_part(c)).unwrap_or(text.len());
            match text[name..].chars().next() {
                Some('{') => Some(&text[..=text.find('}')?]),
                // A label.
                Some('=') => None,
                _ => Some(&text[..name]),
            }
        })
        .collect()
}

#[test]
fn a_panic_raises_its_alert_and_the_scraped_pods_raise_none() {
    let Scene { prometheus, .. } = &*SCENE;
    prometheus.eventually("last_over_time(ALERTS{alertname=\"RequestsPanic\",alertstate=\"firing\"}[1h])");
    for quiet in
        ["DrainDeadlineReached", "NoPodScraped", "PodStuckTerminating", "ReadinessFlaps", "RuntimeStuck"]
    {
        let firing = prometheus.query(
            &format!("last_over_time(ALERTS{{alertname=\"{quiet}\",alertstate=\"firing\"}}[1h])"),
            None,
        );
        assert!(firing.is_empty(), "{firing:#?}");
    }
}

#[test]
fn autoscalers_see_the_requests_in_flight() {
    let Scene { prometheus, at_in_flight, at_replaced, .. } = &*SCENE;
    let read = |file: &str| fs::read_to_string(component(file)).expect("the component has it");
    let after = |text: &str, key: &str| -> String {
        let line = text.lines().find_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().to_owned()
    };

    let keda = after(&read("../keda/scaledobject.yaml"), "query:");
    // The overlay's namespace is the service's name.
    let keda = keda.replace(&format!("namespace=\"{}\"", job()), "namespace=\"here\"");
    let found = prometheus.query(&keda, Some(*at_in_flight));
    assert_eq!(found.iter().map(number).collect::<Vec<_>>(), [4.0], "{keda}");

    // As prometheus-adapter fills in its template, for all pods of a namespace.
    let values = read("../hpa-requests/adapter-values.yaml");
    let series = after(&values, "seriesQuery:");
    let (metric, _) = series.split_once('{').expect("it has labels");
    let adapter = after(&values, "metricsQuery:")
        .replace("<<.GroupBy>>", "pod")
        .replace("<<.Series>>", metric)
        .replace("<<.LabelMatchers>>", "namespace=\"here\",pod=~\"pod-1|pod-2\"");
    let found = prometheus.query(&format!("sort_desc({adapter})"), Some(*at_in_flight));
    assert_eq!(found.iter().map(number).collect::<Vec<_>>(), [3.0, 1.0], "{adapter}");
    assert!(!prometheus.query(&series, Some(*at_in_flight)).is_empty(), "{series}");
    // A pod that is gone is not counted any more.
    let gone = prometheus.query(&adapter, Some(*at_replaced));
    assert_eq!(labels(&gone, "pod"), BTreeSet::from(["pod-2".to_owned()]));
}
