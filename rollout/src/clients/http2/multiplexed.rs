//! The HTTP/2 client: several streams at once over one connection, replaced when a GOAWAY says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::socket::{Requests, Socket};
use crate::clients::client::{Client, Loss, lost};
use crate::clients::pacer::Pacer;
use crate::record::connections::Caller;
use crate::record::outcome::Outcome;

/// The connection that all streams of one client share.
#[derive(Clone)]
struct Shared {
    sender: SendRequest<Bytes>,
    caller: Caller,
    responses: Arc<AtomicU32>,
    requests: Arc<Requests>,
}

type Slot = Arc<Mutex<Option<Shared>>>;

/// Sends on this many streams until the run ends.
pub(crate) async fn run(client: Client, pacer: Pacer, streams: u32) {
    let slot = Slot::default();
    let mut senders = JoinSet::new();
    for _ in 0..streams {
        senders.spawn(send_in_turn(client.clone(), pacer.clone(), slot.clone()));
    }
    senders.join_all().await;
}

async fn send_in_turn(mut client: Client, mut pacer: Pacer, slot: Slot) {
    let request = client.context.target.http2().expect("the run checked it before it began");
    while client.pause(&mut pacer).await {
        let began = Instant::now();
        match send(&client, &slot, &request).await {
            Ok(status) => client.answered(status, began.elapsed()),
            Err(loss) => client.failed(loss),
        }
    }
}

async fn send(client: &Client, slot: &Slot, request: &http::Request<()>) -> Result<u16, Loss> {
    let (mut shared, response) = loop {
        let mut shared = usable(client, slot).await?;
        if !shared.requests.begin() {
            discard(slot, &shared).await;
            continue;
        }
        // An error here means that nothing was written: the connection ended a moment ago.
        match shared.sender.send_request(request.clone(), true) {
            Ok((response, _)) => break (shared, response),
            Err(_) => {
                shared.requests.cancel();
                discard(slot, &shared).await;
            }
        }
    };
    let mut received = 0;
    let response = timeout(client.context.target.response_timeout, async {
        let (head, mut body) = response.await?.into_parts();
        received = 1;
        while let Some(part) = body.data().await {
            let part = part?;
            received += part.len();
            body.flow_control().release_capacity(part.len())?;
        }
        Ok(head.status.as_u16())
    })
    .await;
    let loss = |outcome, shared: &mut Shared, detail| Loss {
        outcome,
        answered_before: shared.responses.load(Ordering::Relaxed),
        bytes_received: received,
        caller: Some(shared.caller),
        detail,
    };
    match response {
        Ok(Ok(status)) => {
            shared.responses.fetch_add(1, Ordering::Relaxed);
            Ok(status)
        }
        Ok(Err(error)) => {
            let outcome = match refused_unprocessed(&error) {
                true => Outcome::StreamRefused,
                false => lost(shared.responses.load(Ordering::Relaxed), received),
            };
            Err(loss(outcome, &mut shared, error.to_string()))
        }
        Err(_) => Err(loss(Outcome::ResponseTimeout, &mut shared, "no response in time".into())),
    }
}

/// Says whether the server promised (RFC 9113 section 8.7) that it never looked at the stream.
fn refused_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

/// The shared connection, or a new one when that has ended or a GOAWAY has come.
async fn usable(client: &Client, slot: &Slot) -> Result<Shared, Loss> {
    let mut slot = slot.lock().await;
    if let Some(shared) = &*slot
        && let Ok(sender) = shared.sender.clone().ready().await
    {
        return Ok(Shared { sender, ..shared.clone() });
    }
    let fresh = connect(client).await?;
    *slot = Some(fresh.clone());
    Ok(fresh)
}

/// Takes a connection out of use, if it is still the one in use.
async fn discard(slot: &Slot, ended: &Shared) {
    let mut slot = slot.lock().await;
    if slot.as_ref().is_some_and(|shared| Arc::ptr_eq(&shared.requests, &ended.requests)) {
        *slot = None;
    }
}

async fn connect(client: &Client) -> Result<Shared, Loss> {
    let (stream, caller) = client.connect().await?;
    let loss = |error: h2::Error| Loss::on_new_connection(caller, error);
    let (socket, requests) = Socket::new(stream);
    let (sender, connection) = h2::client::handshake(socket).await.map_err(loss)?;
    tokio::spawn(connection);
    let sender = sender.ready().await.map_err(loss)?;
    Ok(Shared { sender, caller, responses: Arc::default(), requests })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clients::http2::frames::{HEADERS, PING};
    use crate::clients::http2::peer::{self, GOAWAY_FRAME, PING_FRAME};
    use crate::record::kind::Kind;

    async fn idle(client: Client, pacer: Pacer) {
        run(client, pacer, 1).await;
    }

    #[tokio::test]
    async fn a_goaway_that_came_while_idle_loses_nothing() {
        let run = peer::drive(Kind::H2Idle, idle, &PING_FRAME, &GOAWAY_FRAME).await;
        assert_eq!((run.tally.failures(), run.connections), (0, 2), "{run:?}");
    }

    #[tokio::test]
    async fn a_ping_is_acknowledged_while_idle() {
        let run = peer::drive(Kind::H2Idle, idle, &PING_FRAME, &PING_FRAME).await;
        assert_eq!(run.received[..4], [HEADERS, PING, PING, HEADERS]);
        assert_eq!((run.tally.failures(), run.connections), (0, 1), "{run:?}");
    }
    #[tokio::test]
    async fn only_what_the_server_refused_by_its_own_word_is_a_refused_stream() {
        const REFUSED: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
        const FAILED: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        /// No stream was looked at.
        const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (frame, refused) in [(&REFUSED[..], true), (&FAILED, false), (&GOAWAY, true), (&[], false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
            tokio::spawn(connection);
            let request = http::Request::get("http://here/").body(()).unwrap();
            let (response, _) = sender.send_request(request, true).unwrap();
            // Its preface, its settings and its request.
            server.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut came = Vec::new();
            while !came.windows(5).any(|head| head[0] == 1 && head[2..] == [0, 0, 0]) {
                server.read_buf(&mut came).await.unwrap();
            }
            server.write_all(frame).await.unwrap();
            if frame.is_empty() {
                drop(server);
            }
            let error = response.await.unwrap_err();
            assert_eq!(refused_unprocessed(&error), refused, "{error}");
        }
    }
}
