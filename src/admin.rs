//! The admin port: probes, metrics, the log filter and a look inside, for the cluster and its operators only.
//!
//! - `GET /livez`, `/readyz`, `/startupz`: [`crate::health`]
//! - `GET /metrics`: [`crate::metrics`]
//! - `GET /log`, `PUT /log`: the log filter, read and changed
//! - `GET /`, `/statusz`, `/flagz`: [`crate::status`]

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tracing::info;

use crate::{
    error::{Problem, or_problem},
    health,
    metrics::Metrics,
    status::{self, Status},
    telemetry::{BadFilter, LogHandle},
};

/// Everything the admin port answers.
pub(crate) fn router(status: Status, log: &LogHandle) -> Router {
    let health = health::router(&status.health);
    let others = Router::new()
        .route("/metrics", get(scrape).with_state(status.metrics.clone()))
        .route("/log", get(log_filter).put(set_log_filter).with_state(log.clone()))
        .merge(status::router(status))
        .layer(tower::ServiceBuilder::new().map_response(or_problem));
    // A failing probe says why in a form of its own, which must not become a problem.
    health.merge(others)
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], metrics.render())
}

async fn log_filter(State(log): State<LogHandle>) -> String {
    format!("{}\n", log.get())
}

async fn set_log_filter(State(log): State<LogHandle>, text: String) -> Result<String, Problem> {
    let filter =
        text.parse().map_err(|error: BadFilter| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    info!(from = %log.get(), to = %filter, "log filter changes");
    log.set(filter);
    Ok(format!("{}\n", log.get()))
}
