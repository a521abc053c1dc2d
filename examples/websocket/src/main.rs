//! WebSockets: each is closed with 1001 when the drain starts, and waited for.

use std::{io, ops::ControlFlow, pin::pin, process::ExitCode, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    response::Response,
    routing::get,
};
use landfall::{App, Build, Drain, Program, Service, Signals, StartError, metrics::IntGauge};
use tokio::time::{Instant, interval_at, sleep, timeout};

/// How often a client is asked whether it is there: more often than proxies give up on a silent connection.
const PING: Duration = Duration::from_secs(20);

/// How long a client may take to read what it is sent, and to answer a Close.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    const BUILD: Build =
        Build { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), revision: "unknown" };
    let signals = Signals::register()?;
    Ok(Program::new(BUILD).run(signals, start).await)
}

/// What all connections share.
struct Shared {
    drain: Drain,
    spread: Duration,
    open: IntGauge,
}

async fn start(app: App) -> Result<Service, StartError> {
    let shared = Shared {
        // Half of the delay, so that clients come back while the listeners of the other pods take them all.
        spread: app.config.drain_delay.0 / 2,
        open: app.metrics.gauge("websockets_open", "WebSockets that are open."),
        drain: app.drain,
    };
    Ok(Service::new(Router::new().route("/echo", get(upgrade)).with_state(Arc::new(shared))))
}

async fn upgrade(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    // The drain waits for the connection by itself, also after its upgrade.
    upgrade.max_message_size(64 * 1024).on_upgrade(async move |mut socket| {
        shared.open.inc();
        if serve(&mut socket, &shared).await.is_continue() {
            close(&mut socket).await;
        }
        shared.open.dec();
    })
}

/// Serves a client until it leaves, or is to go elsewhere: then it goes on with a Close.
async fn serve(socket: &mut WebSocket, shared: &Shared) -> ControlFlow<()> {
    let mut leaving = pin!(async {
        shared.drain.started().await;
        // Not all at once: other pods have to take them.
        sleep(shared.spread.mul_f64(fastrand::f64())).await;
    });
    let mut pings = interval_at(Instant::now() + PING, PING);
    let mut is_silent = false;
    loop {
        tokio::select! {
            biased;
            () = &mut leaving => return ControlFlow::Continue(()),
            message = socket.recv() => {
                is_silent = false;
                match message {
                    Some(Ok(echoed @ (Message::Text(_) | Message::Binary(_)))) => send(socket, echoed).await?,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return ControlFlow::Break(()),
                }
            }
            _ = pings.tick() => {
                if std::mem::replace(&mut is_silent, true) {
                    return ControlFlow::Break(());
                }
                send(socket, Message::Ping("are you there".into())).await?;
            }
        }
    }
}

/// A client that does not read must not hold its task, or it is not told of the drain either.
async fn send(socket: &mut WebSocket, message: Message) -> ControlFlow<()> {
    match timeout(PATIENCE, socket.send(message)).await {
        Ok(Ok(())) => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    }
}

/// 1001, "going away": the client connects anew, to another pod. What it still sends is not answered any more.
async fn close(socket: &mut WebSocket) {
    let frame = CloseFrame { code: close_code::AWAY, reason: "this server is going away".into() };
    if send(socket, Message::Close(Some(frame))).await.is_continue() {
        let answer = async { while let Some(Ok(_)) = socket.recv().await {} };
        // Without an answer it is closed all the same.
        let _ = timeout(PATIENCE, answer).await;
    }
}
