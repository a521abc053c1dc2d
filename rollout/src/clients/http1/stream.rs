//! The client of endless responses: reads until the server ends them as their framing says.

use std::time::Instant;

use tokio::time::timeout;

use super::connection::{Connection, Head};
use super::keep_alive::{connect, loss};
use crate::clients::client::{Client, Loss, lost};
use crate::clients::pacer::Pacer;
use crate::record::outcome::Outcome;

/// Opens one stream after another until the run ends.
pub(crate) async fn run(mut client: Client, mut pacer: Pacer) {
    let request = client.context.target.http1(client.kind);
    let mut kept = None;
    while client.pause(&mut pacer).await {
        let began = Instant::now();
        let (mut connection, mut head) = match open(&client, kept.take(), &request).await {
            Ok(opened) => opened,
            Err(loss) => {
                client.failed(loss);
                continue;
            }
        };
        let latency = began.elapsed();
        let mut stop = client.stop.clone();
        let read = tokio::select! {
            read = read_to_end(&client, &mut connection, &mut head) => read,
            // Still open at the end of the run: nothing was lost, so it counts as answered.
            _ = stop.wait_for(|stop| *stop) => return client.answered(head.status, latency),
        };
        match read {
            Ok(()) => {
                client.answered(head.status, latency);
                kept = connection.finish(&head).reusable.then_some(connection);
            }
            Err(loss) => client.failed(loss),
        }
    }
}

async fn open(client: &Client, kept: Option<Connection>, request: &[u8]) -> Result<(Connection, Head), Loss> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => connect(client).await?,
    };
    match timeout(client.context.target.response_timeout, connection.send(request)).await {
        Ok(Ok(head)) => Ok((connection, head)),
        Ok(Err(error)) => {
            let outcome = lost(connection.responses, connection.received);
            Err(loss(&connection, outcome, error.to_string()))
        }
        Err(_) => Err(loss(&connection, Outcome::ResponseTimeout, "no head in time".into())),
    }
}

async fn read_to_end(client: &Client, connection: &mut Connection, head: &mut Head) -> Result<(), Loss> {
    loop {
        let part =
            timeout(client.context.target.response_timeout, connection.read_body(&mut head.body)).await;
        match part {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Ok(()),
            Ok(Err(error)) => return Err(loss(connection, Outcome::Cut, error.to_string())),
            Err(_) => {
                return Err(loss(connection, Outcome::ResponseTimeout, "the stream fell silent".into()));
            }
        }
    }
}
