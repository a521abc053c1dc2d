//! gRPC and its health service on the service's port: the health status follows the drain, and calls in flight are answered.

use std::{io, process::ExitCode};

use landfall::{App, Build, Drain, Program, RouteLimits, Service, Signals, StartError, metrics::IntCounter};
use tonic::{Request, Response, Status, Streaming, service::Routes};
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};

use self::pb::{
    Greeting, Guest,
    hello_server::{self, Hello, HelloServer},
};

#[allow(unreachable_pub)]
mod pb {
    tonic::include_proto!("hello.v1");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    const BUILD: Build =
        Build { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), revision: "unknown" };
    let signals = Signals::register()?;
    Ok(Program::new(BUILD).run(signals, start).await)
}

async fn start(app: App) -> Result<Service, StartError> {
    let (reporter, health) = health_reporter();
    reporter.set_service_status(hello_server::SERVICE_NAME, ServingStatus::Serving).await;
    app.drain.spawn(follow(app.drain.clone(), reporter));

    let hello = Greetings { made: app.metrics.counter("greetings_total", "Greetings made.") };
    let router = Routes::new(HelloServer::new(hello)).add_service(health).into_axum_router();
    // A client may stream as much and for as long as it likes; the methods of one gRPC service are one route.
    let streaming = RouteLimits::new().body(usize::MAX).no_timeout();
    Ok(Service::new(router).with_limits("/hello.v1.Hello/{*rest}", streaming))
}

/// Tells gRPC's own health checks of the drain.
async fn follow(drain: Drain, mut health: HealthReporter) {
    // The empty name stands for the whole server.
    let names = ["", hello_server::SERVICE_NAME];
    drain.started().await;
    for name in names {
        health.set_service_status(name, ServingStatus::NotServing).await;
    }
    // Ends the streams of those who watch, which would hold the drain up to its timeout.
    drain.closing().await;
    for name in names {
        health.clear_service_status(name).await;
    }
}

struct Greetings {
    made: IntCounter,
}

impl Greetings {
    fn greet(&self, names: &str) -> Response<Greeting> {
        self.made.inc();
        Response::new(Greeting { text: format!("Hello, {names}!") })
    }
}

#[tonic::async_trait]
impl Hello for Greetings {
    async fn greet(&self, request: Request<Guest>) -> Result<Response<Greeting>, Status> {
        match request.into_inner().name.as_str() {
            "" => Err(Status::invalid_argument("expected a name, found none")),
            name => Ok(self.greet(name)),
        }
    }

    async fn greet_all(&self, request: Request<Streaming<Guest>>) -> Result<Response<Greeting>, Status> {
        let mut guests = request.into_inner();
        let mut names = Vec::new();
        while let Some(guest) = guests.message().await? {
            names.push(guest.name);
        }
        Ok(self.greet(&names.join(" and ")))
    }
}
