//! CORS, and compression of JSON: both outside the engine's layers, so that what is shed or fails passes them too.

use std::{io, process::ExitCode, time::Duration};

use axum::{
    Router,
    http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    routing::get,
};
use landfall::{
    App, Build, Program, Service, Signals, StartError,
    config::{Config, ConfigErrors},
    error::{self, Json},
    trace::{REQUEST_ID, TRACEPARENT},
};
use serde_json::{Value, json};
use tower_http::{
    compression::{
        CompressionLayer,
        predicate::{Predicate, SizeAbove},
    },
    cors::CorsLayer,
};

landfall::variables! {
    /// What the service reads from its environment.
    struct Variables {
        /// Pages that may call the service from a browser: their origins, separated by commas.
        origins: Vec<String>, "origins such as https://shop.example.com, separated by commas";
    }

    fn check(&self, _config: &Config, errors: &mut ConfigErrors) {
        for origin in &self.origins {
            errors.expect(is_origin(origin), "origins", "a scheme and a host, and no path", origin);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    const BUILD: Build =
        Build { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), revision: "unknown" };
    let signals = Signals::register()?;
    Ok(Program::new(BUILD).run(signals, start).await)
}

async fn start(app: App<Variables>) -> Result<Service, StartError> {
    let items = get(list).post(add);
    Ok(with_outer_layers(Service::new(Router::new().route("/items", items)), &app.variables))
}

/// The order matters little here: neither needs what the other adds, and both add to `Vary`.
fn with_outer_layers(service: Service, variables: &Variables) -> Service {
    let (cors, compression) = (cors(variables), compression());
    service.with_outer_layers(|router| router.layer(compression).layer(cors))
}

/// A preflight is answered here and goes no further: it is neither counted nor logged, shed nor timed.
fn cors(variables: &Variables) -> CorsLayer {
    let origins = variables.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, TRACEPARENT])
        // What scripts may read beside the body.
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
        .max_age(Duration::from_secs(60 * 60))
}

/// Problems are JSON too. Streams of events are not: compressed, they would wait in the encoder.
fn compression() -> CompressionLayer<impl Predicate> {
    let is_json = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        kind.starts_with(b"application/json") || kind.starts_with(error::CONTENT_TYPE.as_bytes())
    };
    // Less than a packet does not get there any sooner.
    CompressionLayer::new().compress_when(SizeAbove::new(1024).and(is_json))
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/'))
}

async fn list() -> Json<Value> {
    Json(
        (0..100).map(|number| json!({ "item": number, "name": "a thing of which there are many" })).collect(),
    )
}

async fn add(Json(item): Json<Value>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(item))
}

#[cfg(test)]
mod tests;
