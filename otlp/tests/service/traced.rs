//! The service of these tests: its spans are exported.

use std::{io, process::ExitCode};

use axum::{Router, routing::get};
use landfall::{App, Build, Program, Service, Signals, StartError, trace};
use tracing::info;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    let signals = Signals::register()?;
    let build = Build { name: "traced", version: env!("CARGO_PKG_VERSION"), revision: "unknown" };
    landfall_otlp::run(Program::new(build), build, signals, start).await
}

async fn start(_app: App) -> Result<Service, StartError> {
    let router = Router::new()
        .route("/items/{id}", get(item))
        .route("/panic", get(async || -> () { panic!("asked to") }))
        .route("/outgoing", get(outgoing))
        .route("/never", get(std::future::pending::<()>));
    Ok(Service::new(router).with_cleanup(async { info!("the service's own clean-up") }))
}

#[tracing::instrument]
async fn item() -> &'static str {
    tokio::task::yield_now().await;
    "an item"
}

/// The headers that a call from here would have.
async fn outgoing() -> String {
    let context = trace::current().expect("a handler is inside a request");
    let state = trace::tracestate();
    let state = state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default();
    format!("{} {state}", context.traceparent().to_str().unwrap_or_default())
}
