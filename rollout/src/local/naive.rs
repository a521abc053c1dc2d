//! The naive servers of the comparison: small, honest versions of what people write.

use std::convert::Infallible;
use std::env;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Mode;
use crate::duration;
use crate::report::summary::Verdict;
use crate::unable::{OrUnable, Unable};

const LARGE: usize = 8 << 20;

/// Set from SIGTERM on.
type Draining = Arc<AtomicBool>;

/// Serves until SIGTERM, then ends as `mode` says.
pub(crate) async fn serve(mode: Mode, stream: &str, download: &str) -> Result<Verdict, Unable> {
    let mut term = signal(SignalKind::terminate()).or_unable("listening for SIGTERM")?;
    let host: IpAddr = variable("APP_HOST", "127.0.0.1")?;
    let listener = bind(host, variable("APP_PORT", "8080")?).await?;
    let admin = bind(host, variable("APP_ADMIN_PORT", "9090")?).await?;
    let delay = env::var("APP_DRAIN_DELAY").unwrap_or_else(|_| "5s".into());
    let delay = duration::parse(&delay).or_unable("APP_DRAIN_DELAY")?;

    let draining = Draining::default();
    tokio::spawn(axum::serve(admin, probes(draining.clone())).into_future());
    let service = service(stream, download);
    let service = match mode {
        Mode::Close => service.layer(from_fn_with_state(draining.clone(), close_when_draining)),
        Mode::None | Mode::Flag => service,
    };
    axum::serve(listener, service)
        .with_graceful_shutdown(async move {
            term.recv().await;
            if mode != Mode::None {
                draining.store(true, Ordering::Release);
                tokio::time::sleep(delay).await;
            }
        })
        .await
        .or_unable("serving")?;
    Ok(Verdict::NothingLost)
}

/// Whatever the measured service is asked for: every path exists, one is endless and one is large.
fn service(stream: &str, download: &str) -> Router {
    let paths = [stream, download].map(|path| path.split('?').next().unwrap_or(path).into());
    Router::new().fallback_service(get(resource).post(created).with_state(paths))
}

async fn resource(State([stream, download]): State<[Arc<str>; 2]>, uri: Uri) -> Response {
    match uri.path() {
        path if path == &*stream => Sse::new(ticks()).into_response(),
        path if path == &*download => vec![b'a'; LARGE].into_response(),
        _ => Json(json!({"name": "naive"})).into_response(),
    }
}

fn probes(draining: Draining) -> Router {
    let ready = async |State(draining): State<Draining>| match draining.load(Ordering::Acquire) {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    Router::new()
        .route("/livez", get(|| async {}))
        .route("/startupz", get(|| async {}))
        .route("/readyz", get(ready))
        .with_state(draining)
}

async fn created(Json(body): Json<Value>) -> impl IntoResponse {
    (StatusCode::CREATED, Json(body))
}

fn ticks() -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(0u64, async |tick| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(Event::default().data(tick.to_string())), tick + 1))
    })
}

async fn close_when_draining(State(draining): State<Draining>, request: Request, next: Next) -> Response {
    let http1 = request.version() <= Version::HTTP_11;
    let mut response = next.run(request).await;
    if http1 && draining.load(Ordering::Acquire) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn bind(host: IpAddr, port: u16) -> Result<TcpListener, Unable> {
    TcpListener::bind((host, port)).await.or_unable(format!("binding {host}:{port}"))
}

fn variable<T: FromStr<Err: std::fmt::Display>>(name: &str, default: &str) -> Result<T, Unable> {
    env::var(name).as_deref().unwrap_or(default).parse().or_unable(name)
}
