//! An HTTP/2 server for the clients' tests, frame by frame.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::frames::{ACK, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, PREFACE};
use crate::clients::client::{Client, Context};
use crate::clients::mix::Pace;
use crate::clients::pacer::Pacer;
use crate::clients::target::Target;
use crate::clients::tls::Trust;
use crate::record::kind::Kind;
use crate::record::recorder::Recorder;
use crate::record::tally::Tally;

const SETTINGS_FRAME: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const STATUS_200: u8 = 0x88;

/// Longer than a PING takes.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) const PING_FRAME: [u8; 17] = [0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// Every stream so far will be answered.
pub(super) const GOAWAY_FRAME: [u8; 17] =
    [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What a client did at this server.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) tally: Tally,
    pub(super) connections: u32,
    /// The HEADERS and acknowledged PINGs that came, in order.
    pub(super) received: Vec<u8>,
}

#[derive(Default)]
struct Log {
    connections: u32,
    received: Vec<u8>,
}

/// Runs a client until it has sent three requests. `with_response` goes in one write with the first response,
/// `when_read` once the client has acknowledged a PING, so that it has read that response.
pub(super) async fn drive<F: Future<Output = ()> + Send + 'static>(
    kind: Kind,
    run: impl FnOnce(Client, Pacer) -> F,
    with_response: &'static [u8],
    when_read: &'static [u8],
) -> Run {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Arc::new(Mutex::new(Log::default()));
    let serving = tokio::spawn(serve(listener, log.clone(), with_response, when_read));
    let recorder = Arc::new(Recorder::start());
    let (stop, stopped) = watch::channel(false);
    let context =
        Context { target: Arc::new(target(address)), recorder: recorder.clone(), connections: None };
    let client = Client { context, kind, stop: stopped };
    let running = tokio::spawn(run(client, Pacer::new(Pace::Pause(PAUSE, PAUSE), 1)));
    let deadline = Instant::now() + Duration::from_secs(30);
    while recorder.totals().0 < 3 {
        assert!(Instant::now() < deadline, "three requests took too long");
        sleep(Duration::from_millis(10)).await;
    }
    stop.send_replace(true);
    running.await.unwrap();
    serving.abort();
    let tally = recorder.observations().tallies.remove(&kind).unwrap();
    let log = log.lock().unwrap();
    Run { tally, connections: log.connections, received: log.received.clone() }
}

async fn serve(
    listener: TcpListener,
    log: Arc<Mutex<Log>>,
    with_response: &'static [u8],
    when_read: &'static [u8],
) {
    let mut extra = Some((with_response, when_read));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        log.lock().unwrap().connections += 1;
        let (with_response, when_read) = extra.take().unwrap_or_default();
        tokio::spawn(respond(stream, log.clone(), with_response, when_read));
    }
}

async fn respond(
    mut stream: TcpStream,
    log: Arc<Mutex<Log>>,
    mut with_response: &[u8],
    mut when_read: &[u8],
) {
    stream.write_all(&SETTINGS_FRAME).await.unwrap();
    let (mut frames, mut bytes) = (Frames::after(PREFACE), vec![0; 4096]);
    loop {
        let length = stream.read(&mut bytes).await.unwrap_or_default();
        if length == 0 {
            return;
        }
        let mut reply = Vec::new();
        frames.feed(&bytes[..length], |Frame { kind, flags, stream }| match kind {
            HEADERS => {
                log.lock().unwrap().received.push(HEADERS);
                reply.extend([0, 0, 1, HEADERS, END_HEADERS | END_STREAM]);
                reply.extend(stream.to_be_bytes());
                reply.push(STATUS_200);
                reply.extend(std::mem::take(&mut with_response));
            }
            PING if flags & ACK != 0 => {
                log.lock().unwrap().received.push(PING);
                reply.extend(std::mem::take(&mut when_read));
            }
            _ => {}
        });
        // A client that has gone needs no reply.
        let _ = stream.write_all(&reply).await;
    }
}

/// Requests for everything at `/` of this address.
pub(in crate::clients) fn target(address: SocketAddr) -> Target {
    Target {
        addresses: vec![address],
        authority: address.to_string(),
        base: String::new(),
        path: "/".into(),
        post: "/".into(),
        post_body: String::new(),
        stream: "/".into(),
        download: "/".into(),
        websocket: "/".into(),
        headers: Vec::new(),
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        trust: Trust::System,
        tls: None,
    }
}
