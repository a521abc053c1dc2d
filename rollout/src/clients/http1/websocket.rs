//! The WebSocket client: pings, and reads until the pong. A server may end the connection by a Close; without one it was cut.

use std::io;
use std::time::Instant;

use tokio::time::timeout;

use super::connection::Connection;
use super::keep_alive::{connect, loss};
use crate::clients::client::{Client, Loss, lost};
use crate::clients::pacer::Pacer;
use crate::record::outcome::Outcome;

/// A whole PING without a payload, masked with zeros.
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];

/// A whole Close without a status, masked with zeros.
const CLOSE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];

const OPCODE: u8 = 0x0f;
const OPCODE_CLOSE: u8 = 0x8;
const OPCODE_PONG: u8 = 0xa;

/// What an open connection answers a ping with.
enum Reply {
    Pong,
    Close,
}

/// Pings until the run ends.
pub(crate) async fn run(mut client: Client, mut pacer: Pacer) {
    let mut kept = None;
    while client.pause(&mut pacer).await {
        let began = Instant::now();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match open(&client).await {
                Ok(connection) => connection,
                Err(loss) => {
                    client.failed(loss);
                    continue;
                }
            },
        };
        match timeout(client.context.target.response_timeout, ping(&mut connection)).await {
            Ok(Ok(Reply::Pong)) => {
                client.answered(200, began.elapsed());
                kept = Some(connection);
            }
            // A ping that crosses the Close gets no pong: RFC 6455 section 5.5.1.
            Ok(Ok(Reply::Close)) => {}
            Ok(Err(error)) => client.failed(loss(&connection, Outcome::Cut, error.to_string())),
            Err(_) => {
                client.failed(loss(&connection, Outcome::ResponseTimeout, "no pong in time".into()));
            }
        }
    }
}

async fn open(client: &Client) -> Result<Connection, Loss> {
    let mut connection = connect(client).await?;
    let request = client.context.target.http1(client.kind);
    match timeout(client.context.target.response_timeout, connection.send(&request)).await {
        Ok(Ok(head)) if head.status == 101 => Ok(connection),
        Ok(Ok(head)) => {
            let why = format!("{} instead of an upgrade", head.status);
            Err(loss(&connection, Outcome::Status(head.status), why))
        }
        Ok(Err(error)) => {
            let outcome = lost(connection.responses, connection.received);
            Err(loss(&connection, outcome, error.to_string()))
        }
        Err(_) => Err(loss(&connection, Outcome::ResponseTimeout, "no upgrade in time".into())),
    }
}

async fn ping(connection: &mut Connection) -> io::Result<Reply> {
    connection.write(&PING).await?;
    loop {
        let head = connection.take(2).await?;
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(array(connection.take(2).await?.as_ref()))),
            127 => u64::from_be_bytes(array(connection.take(8).await?.as_ref())),
            short => u64::from(short),
        };
        let length = usize::try_from(length).map_err(io::Error::other)?;
        connection.take(length).await?;
        match head[0] & OPCODE {
            OPCODE_PONG => return Ok(Reply::Pong),
            OPCODE_CLOSE => {
                // Who does not wait for it has gone.
                let _ = connection.write(&CLOSE).await;
                return Ok(Reply::Close);
            }
            _ => {}
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("as many were taken")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::client::Context;
    use crate::clients::http2::peer::target;
    use crate::clients::mix::Pace;
    use crate::record::kind::Kind;
    use crate::record::recorder::Recorder;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    /// Pongs to two pings on each connection, behind a message of another kind, then ends it so.
    async fn pinged(end: &'static [u8], tallied: u64) -> (u64, u64, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream
                    .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
                    .await
                    .unwrap();
                for _ in 0..2 {
                    let mut ping = [0; 6];
                    stream.read_exact(&mut ping).await.unwrap();
                    assert_eq!(ping, PING);
                    stream.write_all(&[0x81, 3, b'a', b'b', b'c', 0x8a, 0]).await.unwrap();
                }
                stream.write_all(end).await.unwrap();
                stream.shutdown().await.unwrap();
                // The client's own Close, or its end.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        let recorder = Arc::new(Recorder::start());
        let (stop, stopped) = watch::channel(false);
        let context =
            Context { target: Arc::new(target(address)), recorder: recorder.clone(), connections: None };
        let client = Client { context, kind: Kind::Websocket, stop: stopped };
        let pause = Duration::from_millis(10);
        let running = tokio::spawn(run(client, Pacer::new(Pace::Pause(pause, pause), 1)));
        while recorder.totals().0 < tallied {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send_replace(true);
        running.await.unwrap();
        serving.abort();
        let tally = recorder.observations().tallies.remove(&Kind::Websocket).unwrap();
        (tally.ok, tally.cut, tally.failures())
    }

    #[tokio::test]
    async fn a_close_loses_nothing() {
        let (ok, _, failed) = pinged(&[0x88, 2, 0x03, 0xe9], 6).await;
        assert!(ok >= 6 && failed == 0, "{ok} {failed}");
    }

    #[tokio::test]
    async fn an_end_without_a_close_is_a_cut() {
        let (ok, cut, failed) = pinged(&[], 6).await;
        assert!(ok >= 4 && cut > 0 && cut == failed, "{ok} {cut} {failed}");
    }

    #[tokio::test]
    async fn only_a_switch_of_protocols_opens_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let context = Context {
            target: Arc::new(target(listener.local_addr().unwrap())),
            recorder: Arc::new(Recorder::start()),
            connections: None,
        };
        let client = Client { context, kind: Kind::Websocket, stop: watch::channel(false).1 };
        for (status, opened) in
            [(101, None), (200, Some(Outcome::Status(200))), (404, Some(Outcome::Status(404)))]
        {
            let serving = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
            };
            let (open, ()) = tokio::join!(open(&client), serving);
            assert_eq!(open.err().map(|loss| loss.outcome), opened, "{status}");
        }
    }

    #[test]
    fn a_long_length_is_read_as_it_was_written() {
        assert_eq!(u16::from_be_bytes(array(&[1, 2])), 258);
    }
}
