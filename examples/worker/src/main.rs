//! Background work: a task that ends when the drain starts, and a worker that ships what the last requests left.

use std::{io, process::ExitCode, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use landfall::{
    App, Build, Drain, Program, RouteLimits, Service, Signals, StartError,
    config::HumanDuration,
    error::{Json, Problem},
    metrics::{Histogram, IntCounter},
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::mpsc::{self, error::TrySendError},
    time::{interval, sleep, timeout},
};
use tracing::{info, warn};

landfall::variables! {
    /// What the service reads from its environment.
    struct Variables {
        /// Where events are shipped to, as `host:port`: one event a line.
        collector: String, "a host and a port, such as collector:7000";
        /// Events that wait for it at most; more are refused with 503.
        queue: u16 = 10_000, "a whole number, 1 to 65535";
        /// From one look for what is outdated to the next.
        sweep_interval: HumanDuration = HumanDuration::secs(60), "a duration such as 500ms, 10s or 1m";
    }

    fn check(&self, _config: &landfall::config::Config, errors: &mut landfall::config::ConfigErrors) {
        errors.expect(self.queue > 0, "queue", "1 or more", self.queue);
        errors.expect(!self.sweep_interval.0.is_zero(), "sweep_interval", "more than 0s", self.sweep_interval);
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
    let (queue, events) = mpsc::channel(app.variables.queue.into());
    let waiting = queue.downgrade();
    app.metrics.gauge_on_scrape("events_waiting", "Events that wait for the collector.", move || {
        waiting.upgrade().map_or(0, |queue| (queue.max_capacity() - queue.capacity()) as i64)
    });
    let collector = Collector {
        address: app.variables.collector.clone(),
        shipped: app.metrics.counter("events_shipped_total", "Events that the collector took."),
        batches: app.metrics.histogram("events_batch_size", "Events shipped at once.", &[1.0, 10.0, 100.0]),
    };
    // Waited for after the drain, in half of APP_FLUSH_TIMEOUT: until then requests make more.
    app.drain.spawn_worker(collector.ship(events, app.drain.clone()));
    // Waited for in the drain: nothing depends on it, so it begins no more once it is asked.
    app.drain.spawn(sweep(app.variables.sweep_interval.0, app.drain.clone()));
    let router = Router::new().route("/events", post(add)).with_state(queue);
    Ok(Service::new(router).with_limits("/events", RouteLimits::new().body(8 * 1024)))
}

async fn add(
    State(queue): State<mpsc::Sender<String>>,
    Json(event): Json<String>,
) -> Result<StatusCode, Problem> {
    match queue.try_send(event) {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(TrySendError::Full(_)) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many events wait to be shipped; try again later",
        )),
        Err(TrySendError::Closed(_)) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the worker is gone"))
        }
    }
}

struct Collector {
    address: String,
    shipped: IntCounter,
    batches: Histogram,
}

impl Collector {
    async fn ship(self, mut events: mpsc::Receiver<String>, drain: Drain) {
        const MOST: usize = 100;
        let mut batch = Vec::with_capacity(MOST);
        loop {
            let received = tokio::select! {
                biased;
                received = events.recv_many(&mut batch, MOST) => received,
                // No request is left that could make another.
                () = drain.stopped() => 0,
            };
            if received == 0 {
                break;
            }
            self.ship_batch(&mut batch).await;
        }
        info!(shipped = self.shipped.get(), "every event is shipped");
    }

    /// Tries until the collector has taken it; what is left of the flush timeout ends it at the latest.
    async fn ship_batch(&self, batch: &mut Vec<String>) {
        const PATIENCE: Duration = Duration::from_secs(5);
        const PAUSE: Duration = Duration::from_millis(200);
        let lines: String = batch.iter().map(|event| event.replace('\n', " ") + "\n").collect();
        let send = async || {
            let mut stream = TcpStream::connect(&self.address).await?;
            stream.write_all(lines.as_bytes()).await?;
            stream.shutdown().await
        };
        while let Err(error) = timeout(PATIENCE, send()).await.unwrap_or_else(|late| Err(late.into())) {
            warn!(%error, events = batch.len(), "the collector did not take a batch; trying again");
            sleep(PAUSE).await;
        }
        self.shipped.inc_by(batch.len() as u64);
        self.batches.observe(batch.len() as f64);
        batch.clear();
    }
}

/// Looks again and again for what is outdated; what it has begun it finishes.
async fn sweep(period: Duration, drain: Drain) {
    let mut clock = interval(period);
    loop {
        tokio::select! {
            biased;
            () = drain.started() => break,
            _ = clock.tick() => {
                info!("sweeping");
                // Stands for the work, such as a DELETE in batches.
                sleep(Duration::from_millis(300)).await;
                info!("swept");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_has_the_table() {
        landfall::testing::assert_documented::<super::Variables>(include_str!("../README.md"));
    }
}
