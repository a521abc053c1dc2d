//! The engine's spans to an OpenTelemetry collector: OTLP over HTTP, set up by the standard `OTEL_*` variables.
//!
//! Nothing is sent, and nothing costs anything, unless `OTEL_EXPORTER_OTLP_ENDPOINT` or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set. The spans carry the ids of the engine: those of the log lines, of the
//! problems and of `traceparent`.

mod client;
mod layer;

use std::{env, io, process::ExitCode, sync::Arc, time::Duration};

use landfall::{
    App, Build, Program, Service, Signals, StartError, config::Variables, telemetry::TracingLayer,
};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, SpanExporter, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{BatchSpanProcessor, Config, SpanProcessor},
};

use self::client::Client;

/// Runs the program with its spans exported as the environment says; fails when a variable of the exporter is wrong.
/// What is not sent a quarter of `APP_FLUSH_TIMEOUT` after the drain is lost, and does not change the exit code.
pub async fn run<V, F>(
    program: Program<V>,
    build: Build,
    signals: Signals,
    start: impl FnOnce(App<V>) -> F + Send + 'static,
) -> io::Result<ExitCode>
where
    V: Variables,
    F: Future<Output = Result<Service, StartError>> + Send + 'static,
{
    let Some(spans) = Spans::from_env(build).map_err(io::Error::other)? else {
        return Ok(program.run(signals, start).await);
    };
    let layer = spans.layer();
    let start = |app: App<V>| {
        let limit = app.config.flush_timeout.0 / 4;
        let starting = start(app);
        async move { Ok(starting.await?.with_cleanup(spans.flush(limit))) }
    };
    Ok(program.with_tracing(move |_| vec![layer]).run(signals, start).await)
}

/// Spans on their way to the collector, from a thread of their own.
#[derive(Debug, Clone)]
pub struct Spans(Arc<BatchSpanProcessor>);

impl Spans {
    /// Spans to the collector that the environment names, `None` when it names none; fails when a variable is wrong.
    pub fn from_env(build: Build) -> Result<Option<Self>, StartError> {
        let is = |name: &str, value: &str| variable(&[name]).is_some_and(|is| is.eq_ignore_ascii_case(value));
        let endpoint = variable(&[OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT]);
        let Some(endpoint) = endpoint else { return Ok(None) };
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        if !endpoint.starts_with("http://") {
            return Err(format!(
                "expected a collector's endpoint that begins with http://, found {endpoint}"
            )
            .into());
        }
        let timeout = variable(&[OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT]);
        let timeout = timeout.and_then(|text| text.parse().ok()).unwrap_or(10_000);
        let client = Client::new(Duration::from_millis(timeout));
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource(build));
        Ok(Some(Self(Arc::new(processor))))
    }

    /// What hands them over: a layer for `Program::with_tracing`. It takes spans at level info and above, whatever the
    /// log filter is.
    pub fn layer(&self) -> TracingLayer {
        layer::exporting(self.0.clone(), Config::default().sampler)
    }

    /// Sends what is left and ends the export, for at most this long. For `Service::with_cleanup`.
    pub async fn flush(self, limit: Duration) {
        // What goes wrong is in the log already.
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(limit)).await;
    }
}

/// The first of these variables that is set and not empty.
fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Who sends the spans: what the engine knows, and over it what `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say.
fn resource(build: Build) -> Resource {
    let pod = [
        ("k8s.pod.name", "APP_POD_NAME"),
        ("k8s.namespace.name", "APP_POD_NAMESPACE"),
        ("k8s.node.name", "APP_NODE_NAME"),
    ];
    let pod = pod.into_iter().filter_map(|(key, name)| Some(KeyValue::new(key, variable(&[name])?)));
    let builder = Resource::builder_empty()
        .with_service_name(build.name)
        .with_attribute(KeyValue::new("service.version", build.version))
        .with_attributes(pod)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match variable(&["OTEL_SERVICE_NAME"]) {
        Some(name) => builder.with_service_name(name).build(),
        None => builder.build(),
    }
}
