//! The service: the file you replace. Every way of doing things is shown once.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::{Stream, stream};
use landfall::{
    App, Drain, Service, StartError,
    error::{FieldError, Json, Problem},
    metrics::IntCounter,
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, interval_at};

use crate::variables::Variables;

/// What the handlers share.
#[derive(Debug)]
struct AppState {
    about: About,
    variables: Arc<Variables>,
    greetings: IntCounter,
    drain: Drain,
}

/// Builds the service: connect to what it needs here. The pod is not ready until this returns.
pub(crate) async fn start(app: App<Variables>) -> Result<Service, StartError> {
    let state = AppState {
        about: About::of(&app),
        greetings: app.metrics.counter("greetings_total", "Greetings made."),
        variables: app.variables,
        drain: app.drain,
    };
    Ok(Service::new(router(Arc::new(state))))
}

fn router(state: Arc<AppState>) -> Router {
    let writing = Router::new()
        .route("/greetings", post(greet))
        .route_layer(middleware::from_fn_with_state(state.clone(), require_token));
    Router::new()
        .route("/", get(about))
        .route("/greetings", get(count))
        .route("/ticks", get(ticks))
        .merge(writing)
        .with_state(state)
}

/// Which build answers, and where it runs.
#[derive(Debug, Serialize)]
struct About {
    name: &'static str,
    version: &'static str,
    revision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
}

impl About {
    fn of(app: &App<Variables>) -> Self {
        Self {
            name: app.build.name,
            version: app.build.version,
            revision: app.build.revision,
            pod: app.config.pod_name.clone(),
            node: app.config.node_name.clone(),
        }
    }
}

async fn about(State(state): State<Arc<AppState>>) -> Response {
    axum::Json(&state.about).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Guest {
    name: String,
    #[serde(default = "once")]
    times: u8,
}

const fn once() -> u8 {
    1
}

#[derive(Debug, Serialize)]
struct Greeting {
    greeting: String,
}

async fn greet(
    State(state): State<Arc<AppState>>,
    Json(guest): Json<Guest>,
) -> Result<(StatusCode, Json<Greeting>), Problem> {
    let mut errors = Vec::new();
    let mut expect = |holds: bool, field, detail: String| {
        if !holds {
            errors.push(FieldError { field, detail });
        }
    };
    let length = guest.name.chars().count();
    expect((1..=64).contains(&length), "name", format!("expected 1 to 64 characters, found {length}"));
    expect((1..=3).contains(&guest.times), "times", format!("expected 1 to 3, found {}", guest.times));
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    state.greetings.inc();
    tracing::debug!(times = guest.times, "greeted");
    let greeting = vec![format!("Hello, {}!", guest.name); guest.times.into()].join(" ");
    Ok((StatusCode::CREATED, Json(Greeting { greeting })))
}

async fn count(State(state): State<Arc<AppState>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "greetings": state.greetings.get() }))
}

/// A tick every second until the drain; then a last event that tells the client to come back elsewhere.
async fn ticks(State(state): State<Arc<AppState>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    const PERIOD: Duration = Duration::from_secs(1);
    let clock = interval_at(Instant::now(), PERIOD);
    let ticks = stream::unfold(Some((0_u64, clock, state.drain.clone())), async |state| {
        let (tick, mut clock, drain) = state?;
        tokio::select! {
            biased;
            () = drain.started() => {
                // Not all at once: the next pod has to take them all.
                let retry = PERIOD.mul_f64(1.0 + fastrand::f64());
                Some((Ok(Event::default().event("drain").retry(retry).data("come back")), None))
            }
            _ = clock.tick() => {
                let event = Event::default().event("tick").data(tick.to_string());
                Some((Ok(event), Some((tick + 1, clock, drain))))
            }
        }
    });
    Sse::new(ticks).keep_alive(KeepAlive::default())
}

async fn require_token(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let Some(token) = &state.variables.api_token else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    if given.ct_eq(token.expose().as_bytes()).into() {
        return next.run(request).await;
    }
    Problem::new(StatusCode::UNAUTHORIZED, "expected the header authorization: Bearer <token>")
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        .into_response()
}

#[cfg(test)]
mod tests;
