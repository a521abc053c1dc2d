//! The client that pipelines: four requests in one write, then their responses.

use std::time::Instant;

use tokio::time::timeout;

use super::connection::Connection;
use super::keep_alive::{connect, loss};
use crate::clients::client::{Client, Loss, lost};
use crate::clients::pacer::Pacer;
use crate::record::outcome::Outcome;

const REQUESTS: usize = 4;

/// Sends until the run ends.
pub(crate) async fn run(mut client: Client, mut pacer: Pacer) {
    let requests = client.context.target.http1(client.kind).repeat(REQUESTS);
    let mut kept = None;
    while client.pause(&mut pacer).await {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match connect(&client).await {
                Ok(connection) => connection,
                Err(loss) => {
                    // One stands for all: none was written.
                    client.failed(loss);
                    continue;
                }
            },
        };
        match exchange(&client, &mut connection, &requests).await {
            Ok(true) => kept = Some(connection),
            Ok(false) => {}
            Err((unanswered, error)) => {
                for _ in 0..unanswered {
                    client.failed(Loss { detail: error.detail.clone(), ..error });
                }
            }
        }
    }
}

/// Says whether the connection may be used again, or how many requests were not answered, and why.
async fn exchange(
    client: &Client,
    connection: &mut Connection,
    requests: &[u8],
) -> Result<bool, (usize, Loss)> {
    let began = Instant::now();
    let patience = client.context.target.response_timeout;
    for n in 0..REQUESTS {
        let response = timeout(patience, async {
            if n == 0 {
                connection.write(requests).await?;
            }
            connection.response().await
        });
        match response.await {
            Ok(Ok(response)) => {
                client.answered(response.status, began.elapsed());
                let unanswered = REQUESTS - n - 1;
                match (response.reusable, unanswered) {
                    (true, _) => {}
                    (false, 0) => return Ok(false),
                    (false, _) => {
                        // RFC 9112 section 9.6: nothing behind it will be answered.
                        let detail = "written behind a Connection: close".into();
                        return Err((unanswered, loss(connection, Outcome::LostKept, detail)));
                    }
                }
            }
            Ok(Err(error)) => {
                let outcome = lost(connection.responses, connection.received);
                return Err((REQUESTS - n, loss(connection, outcome, error.to_string())));
            }
            Err(_) => {
                let detail = "no response in time".into();
                return Err((REQUESTS - n, loss(connection, Outcome::ResponseTimeout, detail)));
            }
        }
    }
    Ok(true)
}
