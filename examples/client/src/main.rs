//! Calls of another service: in time, and in the same trace.

use std::{
    io,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use landfall::{
    App, Build, Program, Service, Signals, StartError,
    config::{Config, ConfigErrors, HumanDuration},
    error::{Json, Path, Problem},
    metrics::HistogramVec,
    trace::{self, TRACEPARENT},
};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tracing::warn;

landfall::variables! {
    /// What the service reads from its environment.
    struct Variables {
        /// The service that knows the prices, such as `http://prices`.
        prices_url: String, "a URL that begins with http://";
        /// How long it may take to answer in full, then 504.
        prices_timeout: HumanDuration = HumanDuration::secs(3), "a duration such as 500ms, 10s or 1m";
    }

    fn check(&self, config: &Config, errors: &mut ConfigErrors) {
        let is_url = Url::parse(&self.prices_url).is_ok_and(|url| url.scheme() == "http");
        errors.expect(is_url, "prices_url", "a URL that begins with http://", &self.prices_url);
        errors.expect(
            self.prices_timeout < config.request_timeout,
            "prices_timeout",
            format_args!("less than APP_REQUEST_TIMEOUT ({})", config.request_timeout),
            self.prices_timeout,
        );
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
    let variables = &app.variables;
    let client = Client::builder()
        // A pod that is gone does not answer at all: no need to wait for as long as a slow response may take.
        .connect_timeout(Duration::from_secs(1))
        .timeout(variables.prices_timeout.0)
        // Less than the other side's idle timeout (75 s in landfall), so that it never closes under a request.
        .pool_idle_timeout(Duration::from_secs(60))
        // Whoever answers with a redirect could send our headers anywhere.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(app.build.name)
        .build()?;
    let buckets = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
    let prices = Prices {
        client,
        url: variables.prices_url.trim_end_matches('/').to_owned(),
        took: app.metrics.histogram_vec(
            "prices_seconds",
            "Calls for prices, by outcome.",
            &buckets,
            &["outcome"],
        ),
    };
    Ok(Service::new(Router::new().route("/offers/{item}", get(offer)).with_state(Arc::new(prices))))
}

#[derive(Debug, Serialize)]
struct Offer {
    item: u32,
    price: Price,
}

#[derive(Debug, Serialize, Deserialize)]
struct Price {
    cents: u64,
}

async fn offer(State(prices): State<Arc<Prices>>, Path(item): Path<u32>) -> Result<Json<Offer>, Problem> {
    Ok(Json(Offer { item, price: prices.of(item).await? }))
}

/// The service that knows the prices.
struct Prices {
    client: Client,
    url: String,
    took: HistogramVec,
}

impl Prices {
    async fn of(&self, item: u32) -> Result<Price, Problem> {
        let started = Instant::now();
        let (outcome, price) = match self.ask(item).await {
            Ok(price) => ("ok", Ok(price)),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "the prices could not be asked");
                let (outcome, status, detail) = problem(&error);
                (outcome, Err(Problem::new(status, detail)))
            }
        };
        self.took.with_label_values(&[outcome]).observe(started.elapsed().as_secs_f64());
        price
    }

    async fn ask(&self, item: u32) -> reqwest::Result<Price> {
        let mut request = self.client.get(format!("{}/prices/{item}", self.url));
        // This request is the parent of the one that it makes. Asked here, in the handler's own task.
        if let Some(context) = trace::current() {
            request = request.header(TRACEPARENT, context.traceparent());
        }
        request.send().await?.error_for_status()?.json().await
    }
}

/// What went wrong there, as the caller here is told it: a 4xx would blame the caller.
fn problem(error: &reqwest::Error) -> (&'static str, StatusCode, &'static str) {
    if error.is_timeout() {
        return ("timeout", StatusCode::GATEWAY_TIMEOUT, "the prices took too long");
    }
    if error.is_connect() {
        return ("unreachable", StatusCode::SERVICE_UNAVAILABLE, "the prices can't be reached");
    }
    ("failed", StatusCode::BAD_GATEWAY, "the prices were not answered as expected")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_has_the_table() {
        landfall::testing::assert_documented::<super::Variables>(include_str!("../README.md"));
    }
}
