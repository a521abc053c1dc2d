//! A service that misbehaves on request: what the tests need and `landfall` itself must not have.

use std::{io, process::ExitCode, thread, time::Duration};

use axum::{Router, extract::Path, routing::get};
use landfall::{
    app::{self, App, Service, StartError},
    shutdown::Signals,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    Ok(app::run(Signals::register()?, start).await)
}

async fn start(_app: App) -> Result<Service, StartError> {
    Ok(Service::new(
        Router::new()
            .route("/panic", get(panics))
            .route("/block/{ms}", get(block))
            .route("/slow/{ms}", get(slow)),
    ))
}

async fn panics() -> String {
    panic!("asked to")
}

/// Holds a worker thread, as a handler does that computes or waits without `await`.
async fn block(Path(ms): Path<u64>) -> String {
    thread::sleep(Duration::from_millis(ms));
    "blocked\n".to_owned()
}

async fn slow(Path(ms): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "slow\n".to_owned()
}
