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
                (_, pace) => (pace, own_length(idle)),
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

/// How long an upload or a download takes that has no pace of its own.
fn own_length(idle: (Duration, Duration)) -> (Duration, Duration) {
    (idle.0 / 4, idle.0 / 2)
}

fn own_pace(kind: Kind, idle: (Duration, Duration)) -> Pace {
    match kind {
        Kind::Idle | Kind::H2Idle | Kind::H2Blocking => Pace::Pause(idle.0, idle.1),
        Kind::Pipeline => Pace::Pause(Duration::from_millis(20), Duration::from_millis(80)),
        Kind::Fresh => Pace::Pause(Duration::from_millis(10), Duration::from_millis(40)),
        _ => Pace::Pause(Duration::from_millis(5), Duration::from_millis(20)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;
    use crate::args::{Args, Command};
    use crate::record::recorder::Recorder;

    /// What one client of this kind writes until it has written `end`; a WebSocket is opened.
    async fn written(kind: Kind, end: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, mix) =
            (format!("http://{}", listener.local_addr().unwrap()), format!("{}=1@1ms-1ms", kind.name()));
        let args = ["rollout", "drive", "--url", &url, "--clients", &mix, "--idle", "1ms-1ms", "--", "true"];
        let Command::Drive(drive) = Args::parse_from(args).command else { panic!("it is `drive`") };
        let clients = drive.load.clients(drive.idle).unwrap_or_else(|unable| panic!("{}", unable.0));
        let mut target = drive.load.target();
        target.aim(&url).await.unwrap_or_else(|unable| panic!("{}", unable.0));
        let recorder = Arc::new(Recorder::start());
        let context = Context { target: Arc::new(target), recorder, connections: None };
        let _load = Load::start(&clients, &context);
        let (mut client, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        let read = async {
            while !text.contains(end) {
                let mut bytes = [0; 4096];
                let n = client.read(&mut bytes).await.unwrap();
                text += &String::from_utf8_lossy(&bytes[..n]);
                if kind == Kind::Websocket && text.ends_with("\r\n\r\n") {
                    let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                    client.write_all(switched).await.unwrap();
                }
            }
        };
        timeout(Duration::from_secs(10), read)
            .await
            .unwrap_or_else(|_| panic!("{} wrote {text:?}", kind.name()));
        text
    }

    #[tokio::test]
    async fn each_kind_speaks_as_it_is_named() {
        for kind in [Kind::H2, Kind::H2Idle, Kind::H2Blocking] {
            assert!(written(kind, "SM\r\n\r\n").await.starts_with("PRI * HTTP/2.0\r\n"));
        }
        for kind in [Kind::Busy, Kind::Idle, Kind::Fresh, Kind::HalfClose] {
            assert_eq!(written(kind, "\r\n\r\n").await.matches("GET / HTTP/1.1").count(), 1);
        }
        written(Kind::Pipeline, "\r\n\r\nGET / HTTP/1.1\r\n").await;
        assert!(written(Kind::Post, "Ada").await.starts_with("POST /greetings"));
        assert!(written(Kind::Stream, "\r\n\r\n").await.starts_with("GET /ticks"));
        // A ping, once it is open.
        written(Kind::Websocket, "\r\n\r\n\u{fffd}\u{fffd}\0\0\0\0").await;
    }

    #[test]
    fn a_kind_without_a_pace_has_its_own() {
        let idle = (Duration::from_secs(4), Duration::from_secs(8));
        for kind in [Kind::Idle, Kind::H2Idle, Kind::H2Blocking] {
            assert_eq!(own_pace(kind, idle), Pace::Pause(idle.0, idle.1));
        }
        let longest = |kind| match own_pace(kind, idle) {
            Pace::Pause(_, longest) => longest.as_millis(),
            Pace::Rate(_) => panic!("no kind has a rate of its own"),
        };
        assert_eq!([Kind::Pipeline, Kind::Fresh, Kind::Busy, Kind::H2].map(longest), [80, 40, 20, 20]);
        assert_eq!(own_length(idle), (Duration::from_secs(1), Duration::from_secs(2)));
    }
}
