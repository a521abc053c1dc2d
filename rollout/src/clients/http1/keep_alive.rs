//! The HTTP/1.1 clients with one request at a time: busy, idle, post, and those that keep nothing, fresh and half-close.

use std::time::Instant;

use tokio::time::timeout;

use super::connection::Connection;
use crate::clients::client::{Client, Loss, lost};
use crate::clients::pacer::Pacer;
use crate::record::kind::Kind;
use crate::record::outcome::Outcome;

/// Sends until the run ends.
pub(crate) async fn run(mut client: Client, mut pacer: Pacer) {
    let request = client.context.target.http1(client.kind);
    let mut kept = None;
    while client.pause(&mut pacer).await {
        let began = Instant::now();
        match send(&client, kept.take(), &request).await {
            Ok((connection, status, reusable)) => {
                client.answered(status, began.elapsed());
                kept =
                    connection.filter(|_| reusable && !matches!(client.kind, Kind::Fresh | Kind::HalfClose));
            }
            Err(loss) => client.failed(loss),
        }
    }
}

/// Sends on a connection that was kept, or on a new one; returns it, the status, and whether it may be used again.
pub(super) async fn send(
    client: &Client,
    kept: Option<Connection>,
    request: &[u8],
) -> Result<(Option<Connection>, u16, bool), Loss> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => connect(client).await?,
    };
    let exchange = async {
        connection.write(request).await?;
        if client.kind == Kind::HalfClose {
            connection.end_writing().await?;
        }
        connection.response().await
    };
    match timeout(client.context.target.response_timeout, exchange).await {
        Ok(Ok(response)) => Ok((Some(connection), response.status, response.reusable)),
        Ok(Err(error)) => {
            let outcome = lost(connection.responses, connection.received);
            Err(loss(&connection, outcome, error.to_string()))
        }
        Err(_) => Err(loss(&connection, Outcome::ResponseTimeout, "no response in time".into())),
    }
}

/// Connects for HTTP/1.1.
pub(in crate::clients) async fn connect(client: &Client) -> Result<Connection, Loss> {
    let (stream, caller) = client.connect().await?;
    let mut connection = Connection::new(stream);
    connection.caller = Some(caller);
    Ok(connection)
}

/// What is known of a connection that broke.
pub(in crate::clients) fn loss(connection: &Connection, outcome: Outcome, detail: String) -> Loss {
    Loss {
        outcome,
        answered_before: connection.responses,
        bytes_received: connection.received,
        caller: connection.caller,
        detail,
    }
}
