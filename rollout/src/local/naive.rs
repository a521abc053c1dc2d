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
            drain(mode, &draining, delay).await;
        })
        .await
        .or_unable("serving")?;
    Ok(Verdict::NothingLost)
}

/// What comes between SIGTERM and the last connection that is accepted.
async fn drain(mode: Mode, draining: &Draining, delay: Duration) {
    if mode != Mode::None {
        draining.store(true, Ordering::Release);
        tokio::time::sleep(delay).await;
    }
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;
    use crate::clients::http1::connection::{Body, Connection, Head};
    use crate::clients::tls::Transport;

    /// What it answers on a connection of its own, and whether that is kept.
    async fn answer(service: Router, path: &str) -> (Head, bool) {
        let listener = bind([127, 0, 0, 1].into(), 0).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let serving = tokio::spawn(axum::serve(listener, service).into_future());
        let mut connection = Connection::new(Transport::Left(stream));
        let request = format!("GET {path} HTTP/1.1\r\nHost: naive\r\n\r\n");
        let head = connection.send(request.as_bytes()).await.unwrap();
        let kept = connection.finish(&head).reusable;
        serving.abort();
        (head, kept)
    }

    #[tokio::test]
    async fn one_path_is_endless_and_one_is_large() {
        let service = || service("/ticks?of=a", "/large?of=a");
        assert!(matches!(answer(service(), "/ticks?of=b").await.0.body, Body::Chunk(_)));
        assert!(
            matches!(answer(service(), "/large").await.0.body, Body::Length(length) if length == LARGE as u64)
        );
        assert!(matches!(answer(service(), "/").await.0.body, Body::Length(16)));
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_are_numbered() {
        let mut ticks = pin!(ticks());
        for n in ["0", "1", "2"] {
            let tick = format!("{:?}", ticks.next().await.unwrap().unwrap());
            assert!(tick.contains(&format!("data: {n}")), "{tick}");
        }
    }

    #[tokio::test]
    async fn it_is_ready_until_it_drains_and_lives_on() {
        let draining = Draining::default();
        for ready in [200, 503] {
            for (path, status) in [("/livez", 200), ("/startupz", 200), ("/readyz", ready)] {
                assert_eq!(answer(probes(draining.clone()), path).await.0.status, status, "{path}");
            }
            draining.store(true, Ordering::Release);
        }
    }

    #[tokio::test]
    async fn connections_are_closed_once_it_drains() {
        let draining = Draining::default();
        for kept in [true, false] {
            let closing = from_fn_with_state(draining.clone(), close_when_draining);
            assert_eq!(answer(service("/ticks", "/large").layer(closing), "/").await.1, kept);
            draining.store(true, Ordering::Release);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_mode_that_waits_says_that_it_drains() {
        let delay = Duration::from_secs(5);
        for (mode, waits) in [(Mode::None, false), (Mode::Flag, true), (Mode::Close, true)] {
            let (draining, began) = (Draining::default(), Instant::now());
            drain(mode, &draining, delay).await;
            assert_eq!((draining.load(Ordering::Acquire), began.elapsed() >= delay), (waits, waits));
        }
    }
}
