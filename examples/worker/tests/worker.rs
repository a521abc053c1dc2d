//! The recipe, drained while requests still come and while it sweeps.

#![allow(clippy::unwrap_used)]

use harness::{PATIENCE, Process, eventually};
use reqwest::{Client, StatusCode};
use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};

const RECIPE: &str = env!("CARGO_BIN_EXE_worker");

/// The next batch that arrives.
async fn batch(collector: &TcpListener) -> String {
    let receiving = async {
        let mut text = String::new();
        collector.accept().await.unwrap().0.read_to_string(&mut text).await.unwrap();
        text
    };
    timeout(PATIENCE, receiving).await.expect("a batch arrives")
}

async fn post(client: &Client, url: &str, event: &str) -> StatusCode {
    client.post(url).json(event).send().await.unwrap().status()
}

#[tokio::test]
async fn what_is_posted_in_the_last_moments_of_the_drain_is_shipped_before_the_exit() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = collector.local_addr().unwrap().to_string();
    let mut process =
        Process::start(RECIPE, &[("APP_COLLECTOR", &address), ("APP_FLUSH_TIMEOUT", "1m")]).await;
    let url = process.url("/events").await;
    let client = Client::new();

    assert_eq!(post(&client, &url, "serving").await, StatusCode::ACCEPTED);
    assert_eq!(batch(&collector).await, "serving\n");
    // Nobody takes batches now: what follows is still there when the last response is sent.
    drop(collector);
    assert_eq!(post(&client, &url, "served").await, StatusCode::ACCEPTED);
    process.line("the collector did not take a batch").await;
    process.drain().await;
    // The last response of the connection, which says so; without one to wait for, the drain is over at once.
    assert_eq!(post(&client, &url, "draining").await, StatusCode::ACCEPTED);
    process.close().await;

    let collector = TcpListener::bind(address).await.unwrap();
    assert_eq!(batch(&collector).await, "served\n");
    assert_eq!(batch(&collector).await, "draining\n");
    let exit = process.exit().await;
    exit.assert_clean();
    assert_eq!(exit.report["workers_aborted"], 0);
    assert!(exit.position("closing") < exit.position("every event is shipped"));
    assert_eq!(exit.log[exit.position("every event is shipped")]["shipped"], 3);
}

#[tokio::test]
async fn a_sweep_that_has_begun_is_finished_and_none_begins_in_the_drain() {
    let vars = [("APP_COLLECTOR", "127.0.0.1:9"), ("APP_SWEEP_INTERVAL", "1ms")];
    let mut process = Process::start(RECIPE, &vars).await;
    process.line("sweeping").await;
    process.drain().await;
    process.close().await;
    let exit = process.exit().await;
    exit.assert_clean();
    let count = |message: &str| exit.log.iter().filter(|line| line["message"] == message).count();
    assert_eq!(count("sweeping"), count("swept"));
    let draining = exit.position("draining");
    assert!(exit.log[draining..].iter().all(|line| line["message"] != "sweeping"), "{exit:#?}");
}

#[tokio::test]
async fn what_cannot_be_shipped_in_time_is_reported() {
    let vars = [("APP_COLLECTOR", "127.0.0.1:9"), ("APP_FLUSH_TIMEOUT", "200ms")];
    let mut process = Process::start(RECIPE, &vars).await;
    let url = process.url("/events").await;
    assert_eq!(post(&Client::new(), &url, "lost").await, StatusCode::ACCEPTED);
    process.drain().await;
    process.close().await;
    let exit = process.exit().await;
    assert_eq!((exit.code, exit.report["workers_aborted"].as_u64()), (Some(1), Some(1)), "{exit:#?}");
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_large_event_too() {
    let vars = [("APP_COLLECTOR", "127.0.0.1:9"), ("APP_QUEUE", "1"), ("APP_FLUSH_TIMEOUT", "200ms")];
    let mut process = Process::start(RECIPE, &vars).await;
    let url = process.url("/events").await;
    let client = Client::new();
    let large = "x".repeat(8 * 1024);
    assert_eq!(post(&client, &url, &large).await, StatusCode::PAYLOAD_TOO_LARGE);
    // One is on its way, one waits.
    eventually("the queue is full", async || {
        post(&client, &url, "one more").await == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(process.metric("events_waiting").await, Some(1));
    assert_eq!(process.metric("events_shipped_total").await, Some(0));
}
