//! A look inside a process, in the manner of Kubernetes' z-pages: `/statusz` says how it is, `/flagz` how it is
//! configured, both as text and as JSON, and a page at `/` shows both. For people: programs read `/metrics`.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::{Map, Value, json};

use crate::{
    Build,
    health::{Health, wants_json},
    lifecycle::Lifecycle,
    metrics::Metrics,
};

/// What is shown of connections and requests, of admission, and of the process: the metrics that begin like this.
const METRICS: [(&str, &[&str]); 3] = [
    ("traffic", &["server_connections_", "http_server_route_"]),
    ("admission", &["http_server_requests_", "http_server_admission_"]),
    ("runtime", &["tokio_", "process_", "log_"]),
];

/// What is shown.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) build: Build,
    /// The configuration in force, secrets redacted: as a table, and as JSON.
    pub(crate) flags: (String, Value),
    pub(crate) lifecycle: Lifecycle,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
}

/// `/statusz`, `/flagz` and the page.
pub(crate) fn router(status: Status) -> Router {
    Router::new()
        .route("/", get(async || Html(include_str!("status.html"))))
        .route("/statusz", get(statusz))
        .route("/flagz", get(flagz))
        .with_state(status)
}

async fn statusz(State(status): State<Status>, headers: HeaderMap) -> Response {
    let sections = status.sections();
    let line = |(name, value): (&String, &Value)| match value {
        Value::String(value) => format!("  {name} {value}\n"),
        value => format!("  {name} {value}\n"),
    };
    let text = sections.iter().map(|(name, values)| {
        let lines: String = values.as_object().into_iter().flatten().map(line).collect();
        format!("{name}\n{lines}")
    });
    respond(&headers, text.collect(), json!(Map::from_iter(sections)))
}

async fn flagz(State(Status { flags: (text, json), .. }): State<Status>, headers: HeaderMap) -> Response {
    respond(&headers, text, json)
}

fn respond(headers: &HeaderMap, text: String, json: Value) -> Response {
    let body = if wants_json(headers) { Json(json).into_response() } else { text.into_response() };
    ([(header::CACHE_CONTROL, "no-store")], body).into_response()
}

impl Status {
    fn sections(&self) -> Vec<(String, Value)> {
        let Build { name, version, revision } = self.build;
        let (phase, since, uptime) = self.lifecycle.ages();
        let process = json!({
            "name": name,
            "version": version,
            "revision": revision,
            "uptime_s": uptime.as_secs(),
            "phase": phase.name(),
            "phase_s": since.as_secs(),
        });
        let text = self.metrics.render();
        let values = |prefixes: &[&str]| {
            let lines = text.lines().filter(|line| prefixes.iter().any(|prefix| line.starts_with(prefix)));
            lines
                .filter_map(|line| line.rsplit_once(' '))
                .map(|(name, value)| (name, number(value)))
                .collect()
        };
        let metrics = METRICS.map(|(name, prefixes)| (name, values(prefixes)));
        let sections = [("process", process), ("checks", self.health.summary())].into_iter().chain(metrics);
        sections.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn number(text: &str) -> Value {
    text.parse().map_or_else(|_| text.into(), Value::Number)
}
