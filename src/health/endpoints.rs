//! What `/livez`, `/readyz` and `/startupz` answer: terse on the service's port, in full on the admin port.

use std::fmt;

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use super::{Check, Endpoint, Health, Severity};
use crate::error::{Problem, or_problem};

/// What an endpoint answers.
pub(super) struct Report {
    pub(super) endpoint: Endpoint,
    pub(super) lines: Vec<Line>,
}

#[derive(Serialize)]
pub(super) struct Line {
    name: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

const OK: &str = "ok";
const DEGRADED: &str = "degraded";
const FAILED: &str = "failed";

impl Line {
    pub(super) fn of(check: &Check) -> Self {
        let reason = check.outcome().err();
        let status = match (&reason, check.severity) {
            (None, _) => OK,
            (Some(_), Severity::Degraded) => DEGRADED,
            (Some(_), Severity::Critical) => FAILED,
        };
        Self { name: check.name, status, reason }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, status, reason } = self;
        let reason = reason.as_deref().unwrap_or("reason withheld");
        match *status {
            OK => write!(f, "[+]{name} ok"),
            DEGRADED => write!(f, "[~]{name} degraded: {reason}"),
            _ => write!(f, "[-]{name} {status}: {reason}"),
        }
    }
}

impl Report {
    pub(super) fn passes(&self) -> bool {
        self.lines.iter().all(|line| line.status != FAILED)
    }

    fn withhold_reasons(mut self) -> Self {
        for line in &mut self.lines {
            line.reason = None;
        }
        self
    }

    fn respond(&self, verbose: bool, json: bool) -> Response {
        let status = if self.passes() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let uncached = [(header::CACHE_CONTROL, "no-store")];
        if json {
            let word = if self.passes() { OK } else { FAILED };
            let body = serde_json::json!({ "status": word, "checks": self.lines });
            return (status, uncached, axum::Json(body)).into_response();
        }
        let body = if verbose || !self.passes() {
            let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
            let verdict = if self.passes() { "passed" } else { "failed" };
            format!("{lines}{} check {verdict}\n", self.endpoint.name())
        } else {
            "ok\n".to_owned()
        };
        (status, uncached, body).into_response()
    }
}

/// Whether JSON is asked for.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("application/json")
}

/// `/livez` and `/readyz` for the service's port: no parameters, and no reasons.
pub(crate) fn public_router(health: &Health) -> Router {
    [Endpoint::Livez, Endpoint::Readyz].into_iter().fold(Router::new(), |router, endpoint| {
        let health = health.clone();
        let handler =
            async move || health.report(endpoint, |_| true).withhold_reasons().respond(false, false);
        router.route(&format!("/{}", endpoint.name()), get(handler).layer(map_response(wrong_method)))
    })
}

/// A probe that fails says why in a form of its own; all other errors are problems.
async fn wrong_method(response: Response) -> Response {
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => or_problem(response),
        _ => response,
    }
}

/// `/livez`, `/readyz` and `/startupz` in full, and each check under them, for the admin port.
pub(crate) fn router(health: &Health) -> Router {
    Endpoint::ALL.into_iter().fold(Router::new(), |router, endpoint| {
        let routes = Router::new()
            .route("/", get(all))
            .route("/{check}", get(one))
            .layer(map_response(wrong_method))
            .with_state((health.clone(), endpoint));
        router.nest(&format!("/{}", endpoint.name()), routes)
    })
}

async fn all(
    State((health, endpoint)): State<(Health, Endpoint)>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let excluded = |name: &str| parameters.iter().any(|(key, value)| key == "exclude" && value == name);
    let verbose = parameters.iter().any(|(key, _)| key == "verbose");
    health.report(endpoint, |name| !excluded(name)).respond(verbose, wants_json(&headers))
}

async fn one(
    State((health, endpoint)): State<(Health, Endpoint)>,
    Path(check): Path<String>,
    headers: HeaderMap,
) -> Response {
    let report = health.report(endpoint, |name| name == check);
    if report.lines.is_empty() {
        let detail = format!("{} has no check called {check:?}", endpoint.name());
        return Problem::new(StatusCode::NOT_FOUND, detail).into_response();
    }
    report.respond(false, wants_json(&headers))
}
