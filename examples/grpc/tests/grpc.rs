//! The recipe as a gRPC client sees it, which knows nothing of the drain.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use harness::{PATIENCE, Process};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::{self, NotServing, Serving},
    health_client::HealthClient,
};

use self::pb::{Guest, hello_client::HelloClient};

#[allow(unreachable_pub)]
mod pb {
    tonic::include_proto!("hello.v1");
}

const RECIPE: &str = env!("CARGO_BIN_EXE_grpc");
const NAME: &str = "hello.v1.Hello";

/// A connection of its own.
async fn connect(process: &mut Process) -> Channel {
    Channel::from_shared(process.url("").await).unwrap().connect().await.unwrap()
}

fn guest(name: &str) -> Guest {
    Guest { name: name.to_owned() }
}

async fn check(channel: Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let response = HealthClient::new(channel).check(request).await;
    response.map(|response| response.into_inner().status()).map_err(|status| status.code())
}

/// The next status that a watcher is told; `None` when the stream ends as it should.
async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let message = timeout(PATIENCE, watch.message()).await.expect("something comes");
    message.expect("it ends with OK").map(|response| response.status())
}

#[tokio::test]
async fn calls_and_probes_share_a_port() {
    let mut process = Process::start(RECIPE, &[("APP_BODY_LIMIT", "100")]).await;
    let mut client = HelloClient::new(connect(&mut process).await);
    let greeting = client.greet(guest("Ada")).await.unwrap().into_inner();
    assert_eq!(greeting.text, "Hello, Ada!");
    let refused = client.greet(guest("")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "expected a name, found none"));
    let many = tokio_stream::iter(std::iter::repeat_n(guest("Ada"), 100));
    assert!(client.greet_all(many).await.is_ok(), "the limit on a body is lifted");
    assert_eq!(process.metric("greetings_total").await, Some(2));

    let ready = reqwest::get(process.url("/readyz").await).await.unwrap();
    assert_eq!(ready.status(), 200);
}

#[tokio::test]
async fn the_health_status_follows_the_drain() {
    let mut process = Process::start(RECIPE, &[]).await;
    let channel = connect(&mut process).await;
    assert_eq!(check(channel.clone(), "").await, Ok(Serving));
    assert_eq!(check(channel.clone(), NAME).await, Ok(Serving));
    assert_eq!(check(channel.clone(), "unknown").await, Err(Code::NotFound));
    let request = HealthCheckRequest { service: NAME.to_owned() };
    let mut watch = HealthClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, Some(Serving));

    process.drain().await;
    assert_eq!(next(&mut watch).await, Some(NotServing));
    let late = connect(&mut process).await;
    assert_eq!(check(late.clone(), "").await, Ok(NotServing));
    assert_eq!(check(late.clone(), NAME).await, Ok(NotServing));
    drop((channel, late));

    process.close().await;
    assert_eq!(next(&mut watch).await, None);
    drop(watch);
    process.exit().await.assert_clean();
}

#[tokio::test]
async fn a_call_in_flight_is_answered_however_long_the_client_takes() {
    let mut process = Process::start(RECIPE, &[("APP_REQUEST_TIMEOUT", "10ms")]).await;
    let mut client = HelloClient::new(connect(&mut process).await);
    let (guests, coming) = mpsc::channel(1);
    guests.send(guest("Ada")).await.unwrap();
    let call = tokio::spawn(async move { client.greet_all(Request::new(ReceiverStream::new(coming))).await });
    // Taken up when there is room again, which is after the first has gone.
    guests.send(guest("Grace")).await.unwrap();
    // Longer than a request may take.
    sleep(Duration::from_millis(20)).await;

    process.drain().await;
    process.close().await;
    guests.send(guest("Barbara")).await.unwrap();
    drop(guests);
    let greeting = call.await.unwrap().unwrap().into_inner();
    assert_eq!(greeting.text, "Hello, Ada and Grace and Barbara!");
    process.exit().await.assert_clean();
}
