//! The clients that take their time: over writing a body, or over reading one.

use std::io;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::time::{sleep, timeout};

use super::connection::{Body, Connection, Response};
use super::keep_alive::{connect, loss};
use crate::clients::client::{Client, Loss, lost};
use crate::clients::pacer::{Pacer, between};
use crate::clients::target::UPLOAD_PADDING;
use crate::record::kind::Kind;
use crate::record::outcome::Outcome;

const PARTS: u32 = 16;

/// So that most of a large response stays with the server until it is read.
const RECEIVE_BUFFER: usize = 256 << 10;

/// Sends until the run ends; each upload or download takes so long, evenly drawn.
pub(crate) async fn run(mut client: Client, mut pacer: Pacer, (min, max): (Duration, Duration)) {
    let request = client.context.target.http1(client.kind);
    let mut kept = None;
    while client.pause(&mut pacer).await {
        let began = Instant::now();
        match send(&client, kept.take(), &request, between(min, max)).await {
            Ok((connection, response)) => {
                client.answered(response.status, began.elapsed());
                kept = response.reusable.then_some(connection);
            }
            Err(loss) => client.failed(loss),
        }
    }
}

async fn send(
    client: &Client,
    kept: Option<Connection>,
    request: &[u8],
    length: Duration,
) -> Result<(Connection, Response), Loss> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => connect(client).await?,
    };
    let exchange = async {
        match client.kind {
            Kind::Upload => upload(&mut connection, request, length).await,
            _ => download(&mut connection, request, length).await,
        }
    };
    match timeout(client.context.target.response_timeout + length, exchange).await {
        Ok(Ok(response)) => Ok((connection, response)),
        Ok(Err(error)) => {
            let outcome = lost(connection.responses, connection.received);
            Err(loss(&connection, outcome, error.to_string()))
        }
        Err(_) => Err(loss(&connection, Outcome::ResponseTimeout, "no response in time".into())),
    }
}

/// Writes the head, then spaces, which JSON may begin with, then the rest of the body.
async fn upload(connection: &mut Connection, request: &[u8], length: Duration) -> io::Result<Response> {
    let padding = UPLOAD_PADDING / PARTS as usize;
    connection.write(request.split_at(head(request)).0).await?;
    let (_, mut body) = request.split_at(head(request));
    for _ in 0..PARTS {
        sleep(length / PARTS).await;
        let (part, rest) = body.split_at(padding);
        connection.write(part).await?;
        body = rest;
    }
    connection.write(body).await?;
    connection.response().await
}

fn head(request: &[u8]) -> usize {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n");
    end.expect("the target's requests have a head") + 4
}

async fn download(connection: &mut Connection, request: &[u8], length: Duration) -> io::Result<Response> {
    set_socket_recv_buffer_size(connection.socket(), RECEIVE_BUFFER)?;
    let mut head = connection.send(request).await?;
    let Body::Length(size) = head.body else {
        let why = "a download needs a Content-Length, to be spread over time";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    };
    let began = Instant::now();
    let (mut read, mut pause_at) = (0, 0);
    while connection.read_body(&mut head.body).await? {
        if let Body::Length(left) = head.body {
            read = size - left;
        }
        if read >= pause_at {
            // As much of the time as of the body.
            let due = length.mul_f64(read as f64 / size.max(1) as f64);
            sleep(due.saturating_sub(began.elapsed())).await;
            pause_at += size / u64::from(PARTS);
        }
    }
    Ok(connection.finish(&head))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;
    use crate::clients::client::Context;
    use crate::clients::http2::peer::target;
    use crate::record::recorder::Recorder;

    /// How long a request took that is to take `length`, and in how many reads it came.
    async fn sent(kind: Kind, length: Duration, answer: String) -> (Duration, u32) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut target = target(listener.local_addr().unwrap());
        target.response_timeout = Duration::from_secs(1);
        let request = target.http1(kind);
        let (context, whole) = (
            Context { target: Arc::new(target), recorder: Arc::new(Recorder::start()), connections: None },
            request.len(),
        );
        let serving = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let (mut came, mut reads) = (0, 0);
            while came < whole {
                came += client.read(&mut [0; 4096]).await.unwrap();
                reads += 1;
            }
            client.write_all(answer.as_bytes()).await.unwrap();
            (client, reads)
        });
        let client = Client { context, kind, stop: watch::channel(false).1 };
        let began = Instant::now();
        let sent = send(&client, None, &request, length).await;
        sent.unwrap_or_else(|loss| panic!("{kind:?}: {}", loss.detail));
        (began.elapsed(), serving.await.unwrap().1)
    }

    /// Longer than the patience with the response alone.
    const LENGTH: Duration = Duration::from_millis(1100);

    #[tokio::test]
    async fn an_upload_takes_its_time_part_by_part() {
        let (took, reads) =
            sent(Kind::Upload, LENGTH, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()).await;
        assert!(took >= LENGTH && reads > 3, "{took:?}, in {reads} reads");
    }

    #[tokio::test]
    async fn a_download_takes_its_time() {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n{}", " ".repeat(65536));
        let (took, _) = sent(Kind::Download, LENGTH, answer).await;
        assert!(took >= LENGTH, "{took:?}");
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(head(b"POST / HTTP/1.1\r\nA: b\r\n\r\nbody\r\n\r\n"), 25);
    }
}
