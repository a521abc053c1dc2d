//! The service of the engine's own tests: it uses every hook of the engine's, and misbehaves on request.
//!
//! What is *held* logs the line `held` and goes on at the next SIGUSR1, so that tests decide when and never wait
//! for a clock. `TESTBED_START`, `TESTBED_TASK`, `TESTBED_WORKER` and `TESTBED_CLEANUP`, set to anything, hold the
//! start, a background task when the drain has started, a worker after the last response, and the clean-up;
//! `TESTBED_UNREADY` adds a check that always fails, `TESTBED_SPANS` a tracing layer, `TESTBED_TRACING` makes the accept
//! loop panic when a connection can't be accepted.

use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc, thread, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::{StreamExt, stream};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use landfall::{
    App, Build, Drain, Program, RouteLimits, Service, Signals, StartError,
    config::{HumanDuration, Secret},
    error::Json,
    health::{Endpoint, Severity},
    telemetry::TracingLayer,
    trace,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tracing::{
    Instrument, Level, Span, info, info_span,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer, Registry,
    filter::filter_fn,
    layer::{Context, Identity},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let signals = Signals::register()?;
    let build = Build { name: "testbed", version: env!("CARGO_PKG_VERSION"), revision: "unknown" };
    Ok(Program::new(build).with_tracing(tracing_layers).run(signals, start).await)
}

/// With `TESTBED_SPANS` a layer that prints spans; with `TESTBED_TRACING` one that panics when connections can't be
/// accepted.
fn tracing_layers(_: &Variables) -> Vec<TracingLayer> {
    let mut layers: Vec<TracingLayer> = Vec::new();
    if env::var_os("TESTBED_SPANS").is_some() {
        layers.push(Box::new(Spans));
    }
    if env::var_os("TESTBED_TRACING").is_some() {
        let faulty = filter_fn(|event| {
            assert!(event.target() != "landfall::server" || *event.level() != Level::WARN, "asked to");
            true
        });
        layers.push(Box::new(Layer::with_filter(Identity::new(), faulty)));
    }
    layers
}

/// Prints the ids of each request's span to stderr, as an exporter would send them.
struct Spans;

impl Layer<Registry> for Spans {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, Registry>) {
        if let (Some(context), "request") = (trace::current(), span.metadata().name()) {
            eprintln!("{context} {:016x}", context.span_id);
        }
    }
}

landfall::variables! {
    /// A variable of each kind, but for a required one.
    pub(crate) struct Variables {
        /// A token that nothing asks for.
        api_token: Option<Secret> = None, "a token, not empty", secret;
        /// How long the routes under `/patient` and `/effect` may take.
        patience: HumanDuration = HumanDuration::secs(300), "a duration such as 10s";
    }
}

#[derive(Clone)]
struct Testbed {
    released: Arc<Notify>,
    drain: Drain,
}

impl Testbed {
    async fn held(&self) {
        let released = self.released.notified();
        tokio::pin!(released);
        released.as_mut().enable();
        info!("held");
        released.await;
    }
}

/// Logs, after having made a span, used the current one, or taken it along into a task, or nothing of that.
async fn log(Path(how): Path<String>) {
    match how.as_str() {
        "after" => info_span!("part").in_scope(|| ()),
        "current" => Span::current().in_scope(|| info!("logged")),
        "task" => tokio::spawn(async { info!("logged") }.in_current_span()).await.unwrap_or_default(),
        _ => {}
    }
    tokio::task::yield_now().await;
    info!("logged");
}

async fn start(app: App<Variables>) -> Result<Service, StartError> {
    let mut release = signal(SignalKind::user_defined1())?;
    let testbed = Testbed { released: Arc::default(), drain: app.drain };
    let released = testbed.released.clone();
    tokio::spawn(async move {
        while release.recv().await.is_some() {
            released.notify_waiters();
        }
    });
    if env::var_os("TESTBED_START").is_some() {
        testbed.held().await;
    }
    if env::var_os("TESTBED_UNREADY").is_some() {
        let never = || Err("told to".to_owned());
        app.health.check(Endpoint::Readyz, "unready", Severity::Critical, never);
    }
    if env::var_os("TESTBED_TASK").is_some() {
        testbed.drain.spawn(work(testbed.clone()));
    }
    if env::var_os("TESTBED_WORKER").is_some() {
        testbed.drain.spawn_worker(ship(testbed.clone()));
    }
    let router = Router::new()
        .route("/greetings", post(greet))
        .route("/greetings/held", post(greet_held))
        .route("/ticks", get(ticks))
        .route("/patient/held", get(held))
        .route("/panic", get(panics))
        .route("/log/{how}", get(log))
        .route("/effect", post(effect))
        .route("/effect/kept", post(effect))
        .route("/effect/panic", post(panic_when_released))
        .route("/block/{ms}", get(block))
        .route("/held", get(held).post(held))
        .route("/endless", get(endless))
        .route("/quiet", get(quiet))
        .route("/large/{kib}", get(large))
        .route("/mirror", post(mirror))
        .route("/echo", get(echo))
        .route("/echo/untracked", get(echo_untracked))
        .nest_service("/nested", Router::new().route("/plain", get(plain)))
        .with_state(testbed.clone())
        .merge(measured());
    let patience = RouteLimits::new().timeout(app.variables.patience.0);
    Ok(Service::new(router)
        .with_limits("/patient/held", patience)
        .with_limits("/effect", patience)
        .with_limits("/effect/kept", patience.outlives_caller())
        .with_limits("/effect/panic", patience.outlives_caller())
        .with_cleanup(clean_up(testbed)))
}

/// What benchmarks ask for, which bare axum has too.
fn measured() -> Router {
    let about = get(async || Json(json!({ "name": "testbed" })));
    Router::new().route("/", about).route("/copy", post(async |body: Bytes| body))
}

async fn work(testbed: Testbed) {
    testbed.drain.started().await;
    testbed.held().await;
    info!("worked");
}

async fn ship(testbed: Testbed) {
    testbed.drain.stopped().await;
    testbed.held().await;
    info!("shipped");
}

async fn clean_up(testbed: Testbed) {
    if env::var_os("TESTBED_CLEANUP").is_some() {
        testbed.held().await;
    }
    info!("cleaned up");
}

async fn greet(Json(guest): Json<Value>) -> (StatusCode, Json<Value>) {
    match guest["name"].as_str() {
        Some("") | None => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": "expected a name" }))),
        Some(name) => (StatusCode::CREATED, Json(json!({ "greeting": format!("Hello, {name}!") }))),
    }
}

async fn greet_held(State(testbed): State<Testbed>, guest: Json<Value>) -> (StatusCode, Json<Value>) {
    testbed.held().await;
    greet(guest).await
}

/// A tick every second until the drain, then a last event.
async fn ticks(State(Testbed { drain, .. }): State<Testbed>) -> impl IntoResponse {
    let clock = tokio::time::interval(Duration::from_secs(1));
    let events = stream::unfold(Some((clock, drain)), async |state| {
        let (mut clock, drain) = state?;
        tokio::select! {
            biased;
            () = drain.started() => Some(("event: drain\nretry: 1000\ndata: come back\n\n", None)),
            _ = clock.tick() => Some(("event: tick\ndata: 0\n\n", Some((clock, drain)))),
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events.map(Ok::<_, Infallible>)))
}

async fn plain() -> (StatusCode, &'static str) {
    (StatusCode::CONFLICT, "there is one already")
}

async fn panics() -> String {
    panic!("asked to")
}

/// Does something when it is released, whoever waits for it.
async fn effect(State(testbed): State<Testbed>) -> StatusCode {
    testbed.held().await;
    info!("done");
    StatusCode::CREATED
}

async fn panic_when_released(State(testbed): State<Testbed>) -> StatusCode {
    testbed.held().await;
    panic!("asked to")
}

/// Holds a worker thread, as a handler does that computes or waits without `await`.
async fn block(Path(ms): Path<u64>) -> &'static str {
    thread::sleep(Duration::from_millis(ms));
    "blocked\n"
}

async fn held(State(testbed): State<Testbed>) -> &'static str {
    testbed.held().await;
    "released\n"
}

async fn endless() -> Body {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&ZEROS))))
}

/// One chunk, and then nothing more.
async fn quiet() -> Body {
    let once = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"once")) });
    Body::from_stream(once.chain(stream::pending()))
}

/// A response that takes memory of its own.
async fn large(Path(kib): Path<usize>) -> Vec<u8> {
    vec![b'a'; kib << 10]
}

/// Answers a body with itself while it comes.
async fn mirror(body: Body) -> Body {
    body
}

/// Switches to a protocol of lines that come back, and of one that says `bye` when the process is asked to stop;
/// the client ends it.
async fn echo(State(Testbed { drain, .. }): State<Testbed>, mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    drain.spawn(converse(upgrade, drain.clone()));
    switch()
}

/// As [`echo`], by a handler that does not hand its task to the drain.
async fn echo_untracked(State(Testbed { drain, .. }): State<Testbed>, mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(converse(upgrade, drain));
    switch()
}

fn switch() -> Response {
    (StatusCode::SWITCHING_PROTOCOLS, [(header::CONNECTION, "upgrade"), (header::UPGRADE, "echo")])
        .into_response()
}

async fn converse(upgrade: OnUpgrade, drain: Drain) {
    let Ok(upgraded) = upgrade.await else { return };
    // The client may leave when it likes.
    let _ = echo_lines(TokioIo::new(upgraded), drain).await;
}

async fn echo_lines(mut client: TokioIo<Upgraded>, drain: Drain) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let mut told = false;
    loop {
        tokio::select! {
            () = drain.started(), if !told => {
                told = true;
                client.write_all(b"bye\n").await?;
            }
            count = client.read(&mut buffer) => match count? {
                0 => return Ok(()),
                count => client.write_all(&buffer[..count]).await?,
            },
        }
    }
}
