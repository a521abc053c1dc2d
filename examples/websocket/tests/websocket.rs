//! The recipe, drained with WebSockets open.

#![allow(clippy::unwrap_used)]

use futures_util::{SinkExt, StreamExt};
use harness::{PATIENCE, Process, eventually};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

const RECIPE: &str = env!("CARGO_BIN_EXE_websocket");

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(process: &mut Process) -> Socket {
    let url = format!("ws://{}/echo", process.service().await);
    connect_async(url).await.expect("it upgrades").0
}

async fn next(socket: &mut Socket) -> Option<Message> {
    timeout(PATIENCE, socket.next()).await.expect("something comes").map(Result::unwrap)
}

async fn echo(socket: &mut Socket, text: &str) {
    socket.send(text.into()).await.unwrap();
    assert_eq!(next(socket).await, Some(Message::from(text)));
}

#[tokio::test]
async fn the_drain_says_close_1001_and_waits_for_the_client_to_answer() {
    let mut process = Process::start(RECIPE, &[("APP_DRAIN_DELAY", "200ms")]).await;
    let mut socket = connect(&mut process).await;
    echo(&mut socket, "hello").await;
    assert_eq!(process.metric("websockets_open").await, Some(1));

    process.drain().await;
    process.line("closing").await;
    // Read only now, so that nothing has been answered yet: the process is still there.
    let Some(Message::Close(Some(frame))) = next(&mut socket).await else { panic!("a Close comes") };
    assert_eq!(frame.code, CloseCode::Away);
    assert_eq!(process.metric("websockets_open").await, Some(1));
    assert_eq!(next(&mut socket).await, None);

    let exit = process.exit().await;
    exit.assert_clean();
    assert_eq!(exit.report["connections_idle_at_deadline"], 0);
}

#[tokio::test]
async fn the_clients_are_told_over_half_of_the_delay_and_served_until_then() {
    let mut process = Process::start(RECIPE, &[("APP_DRAIN_DELAY", "1h")]).await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(connect(&mut process).await);
    }
    process.drain().await;
    // Somebody's turn may have come, but hardly everybody's.
    let mut served = 0;
    for socket in &mut sockets {
        socket.send("still there?".into()).await.unwrap();
        served += usize::from(matches!(next(socket).await, Some(Message::Text(_))));
    }
    assert!(served > 0, "none is served in the drain");
}

#[tokio::test]
async fn a_client_that_leaves_or_does_not_answer_holds_nothing_up() {
    let mut process = Process::start(RECIPE, &[("APP_DRAIN_DELAY", "0s")]).await;
    let mut leaving = connect(&mut process).await;
    echo(&mut leaving, "hello").await;
    leaving.close(None).await.unwrap();
    drop(leaving);
    eventually("it is gone", async || process.metric("websockets_open").await == Some(0)).await;

    let mut silent = connect(&mut process).await;
    echo(&mut silent, "hello").await;
    process.drain().await;
    process.exit().await.assert_clean();
}
