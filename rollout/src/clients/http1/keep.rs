//! The HTTP/1.1 clients with one request at a time: busy, idle, post, and fresh, which keeps nothing.

use std::time::Instant;

use tokio::time::timeout;

use super::connection::Connection;
use crate::clients::client::{Broken, Client, lost};
use crate::clients::pacer::Pacer;
use crate::record::outcome::{Kind, Outcome};

/// Sends until the run ends.
pub(crate) async fn run(mut client: Client, mut pacer: Pacer) {
    let request = client.context.target.http1(client.kind);
    let mut kept = None;
    while client.pause(&mut pacer).await {
        let began = Instant::now();
        match send(&client, kept.take(), &request).await {
            Ok((connection, status, reusable)) => {
                client.answered(status, began.elapsed());
                kept = connection.filter(|_| reusable && client.kind != Kind::Fresh);
            }
            Err(broken) => client.failed(broken),
        }
    }
}

async fn send(
    client: &Client,
    kept: Option<Connection>,
    request: &[u8],
) -> Result<(Option<Connection>, u16, bool), Broken> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => connect(client).await?,
    };
    let answer = timeout(client.context.target.answer_timeout, connection.exchange(request)).await;
    match answer {
        Ok(Ok(answer)) => Ok((Some(connection), answer.status, answer.reusable)),
        Ok(Err(error)) => {
            let outcome = lost(connection.answered, connection.received);
            Err(broken(&connection, outcome, error.to_string()))
        }
        Err(_) => Err(broken(&connection, Outcome::AnswerTimeout, "no answer in time".into())),
    }
}

/// Connects for HTTP/1.1.
pub(in crate::clients) async fn connect(client: &Client) -> Result<Connection, Broken> {
    let (stream, caller) = client.connect().await?;
    match Connection::new(stream) {
        Ok(mut connection) => {
            connection.caller = Some(caller);
            Ok(connection)
        }
        Err(error) => Err(Broken::at_first(caller, error)),
    }
}

/// What is known of a connection that broke.
pub(in crate::clients) fn broken(connection: &Connection, outcome: Outcome, detail: String) -> Broken {
    Broken {
        outcome,
        answered_before: connection.answered,
        bytes_received: connection.received,
        caller: connection.caller,
        detail,
    }
}
