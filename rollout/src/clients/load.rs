//! The clients of a run, started and stopped together.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::{Client, Context};
use super::http1::{keep_alive, open, pipelined, slow, stream, websocket};
use super::http2::{blocking, multiplexed};
use super::library::{self, Library};
use super::mix::{Mix, Pace};
use super::pacer::Pacer;
use crate::record::kind::Kind;
use crate::unable::Unable;

/// Who sends in a run.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) mix: Mix,
    /// The pause of idle clients that have none of their own.
    pub(crate) idle: (Duration, Duration),
    /// Streams at once on each HTTP/2 connection.
    pub(crate) h2_streams: u32,
    pub(crate) libraries: Vec<Library>,
}

/// The clients of a run, at work.
pub(crate) struct Load {
    clients: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Starts every client.
    pub(crate) fn start(wanted: &Clients, context: &Context) -> Self {
        let Clients { mix, idle, h2_streams, libraries } = wanted;
        let (idle, h2_streams) = (*idle, *h2_streams);
        let (stop, stopped) = watch::channel(false);
        let mut clients = JoinSet::new();
        for group in &mix.0 {
            let client = Client { context: context.clone(), kind: group.kind, stop: stopped.clone() };
            let senders = match group.kind {
                Kind::H2 => group.count * h2_streams,
                _ => group.count,
            };
            let (pace, length) = match (group.kind, group.pace) {
                (Kind::Upload | Kind::Download, Some(Pace::Pause(min, max))) => (None, (min, max)),
                (_, pace) => (pace, (idle.0 / 4, idle.0 / 2)),
            };
            let pace = pace.unwrap_or_else(|| own_pace(group.kind, idle));
            for _ in 0..group.count {
                let pacer = Pacer::new(pace, senders);
                let client = client.clone();
                match group.kind {
                    Kind::H2 => clients.spawn(multiplexed::run(client, pacer, h2_streams)),
                    Kind::H2Idle => clients.spawn(multiplexed::run(client, pacer, 1)),
                    Kind::H2Blocking => clients.spawn(blocking::run(client, pacer)),
                    Kind::Stream => clients.spawn(stream::run(client, pacer)),
                    Kind::Websocket => clients.spawn(websocket::run(client, pacer)),
                    Kind::Pipeline => clients.spawn(pipelined::run(client, pacer)),
                    Kind::Upload | Kind::Download => clients.spawn(slow::run(client, pacer, length)),
                    Kind::Open => clients.spawn(open::run(client, pacer)),
                    _ => clients.spawn(keep_alive::run(client, pacer)),
                };
            }
        }
        for library in libraries {
            let client = Client { context: context.clone(), kind: library.kind, stop: stopped.clone() };
            clients.spawn(library::run(client, library.clone()));
        }
        Self { clients, stop }
    }

    /// Lets each client end what it has begun, and waits for that.
    pub(crate) async fn stop(mut self) -> Result<(), Unable> {
        self.stop.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            if let Err(error) = ended {
                return Err(Unable(format!("a client of this tool failed: {error}")));
            }
        }
        Ok(())
    }
}

fn own_pace(kind: Kind, idle: (Duration, Duration)) -> Pace {
    match kind {
        Kind::Idle | Kind::H2Idle | Kind::H2Blocking => Pace::Pause(idle.0, idle.1),
        Kind::Pipeline => Pace::Pause(Duration::from_millis(20), Duration::from_millis(80)),
        Kind::Fresh => Pace::Pause(Duration::from_millis(10), Duration::from_millis(40)),
        _ => Pace::Pause(Duration::from_millis(5), Duration::from_millis(20)),
    }
}
