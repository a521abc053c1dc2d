//! The open-loop client: sends when it is time, however slow the responses are, as independent callers do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::task::JoinSet;

use super::connection::Connection;
use super::keep_alive::send;
use crate::clients::client::Client;
use crate::clients::pacer::Pacer;

/// The connections that no request is on; the one that was used least recently is taken first, so that all are kept.
type Free = Arc<Mutex<VecDeque<Connection>>>;

/// Sends until the run ends, then waits for the responses.
pub(crate) async fn run(mut client: Client, mut pacer: Pacer) {
    let request: Arc<[u8]> = client.context.target.http1(client.kind).into();
    let free = Free::default();
    let mut sending = JoinSet::new();
    while client.pause(&mut pacer).await {
        // A request that is sent late, by this tool too, was waited for from when it was due: no coordinated omission.
        sending.spawn(exchange(client.clone(), request.clone(), free.clone(), pacer.due()));
        while sending.try_join_next().is_some() {}
    }
    sending.join_all().await;
}

async fn exchange(client: Client, request: Arc<[u8]>, free: Free, due: Instant) {
    let locked = || free.lock().expect("nothing panics while it holds the list");
    let kept = locked().pop_front();
    match send(&client, kept, &request).await {
        Ok((connection, status, reusable)) => {
            client.answered(status, due.elapsed());
            locked().extend(connection.filter(|_| reusable));
        }
        Err(loss) => client.failed(loss),
    }
}
