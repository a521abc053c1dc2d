//! What is kept of a connection, and a server in this process: whom it closes, and how.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

use axum::routing::get;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    task::{JoinHandle, yield_now},
    time::timeout,
};

use super::{activity::Activity, *};

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Far away.
const NEVER: Duration = Duration::from_secs(300);

const HEAD: &str = "GET /held HTTP/1.1\r\nhost: a\r\n\r\n";

/// A server that has not begun.
pub(super) fn server(router: Router, limits: Limits, transport: Option<Transport>) -> Server {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let metrics = Metrics::new();
    let limits = Limits { connections: NonZeroUsize::MIN, ..limits };
    Server::new(listener, router, limits, transport, &Lifecycle::new(&metrics), &metrics)
}

/// Limits that nobody meets, but for the cap.
fn far() -> Limits {
    let limits = Limits::from(&Config::default());
    Limits { first_byte: NEVER, head: NEVER, idle: NEVER, stall: NEVER, ..limits }
}

fn begin(server: Server) -> (net::SocketAddr, Arc<Shared>, JoinHandle<()>) {
    let (address, shared) = (server.listener.local_addr().unwrap(), server.shared.clone());
    (address, shared, tokio::spawn(server.run()))
}

async fn client(address: net::SocketAddr, text: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(text.as_bytes()).await.unwrap();
    client
}

/// All that comes until the server closes.
async fn rest(client: &mut TcpStream) -> String {
    let mut rest = String::new();
    timeout(PATIENCE, client.read_to_string(&mut rest)).await.expect("it is closed in time").unwrap();
    rest
}

/// Waits until a connection has been closed for this reason.
async fn closed(shared: &Shared, reason: CloseReason) {
    let counted = async {
        while shared.connections.closed(reason) == 0 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, counted).await.expect("it is counted in time");
}

// What is kept

fn activity() -> Activity {
    Activity::new(&server(Router::new(), far(), None).shared)
}

#[test]
fn it_is_our_turn_from_the_end_of_a_request_to_the_end_of_its_response() {
    let activity = activity();
    assert!(!activity.is_our_turn());
    activity.request_began(true);
    assert!(!activity.is_our_turn(), "the body is still to come");
    activity.body_read();
    assert!(activity.is_our_turn());
    activity.request_ended();
    assert!(!activity.is_our_turn());
}

#[test]
fn requests_are_seen_that_wait_and_none_in_a_body() {
    let activity = activity();
    activity.bytes_read(HEAD.as_bytes());
    activity.request_began(true);
    activity.bytes_read(b"a\r\n\r\nb\r\n\r\n");
    assert!(!activity.has_pipelined_request());
    activity.body_read();
    activity.bytes_read(HEAD.as_bytes());
    activity.bytes_read(HEAD.as_bytes());
    assert!(activity.has_pipelined_request());
    activity.request_ended();
    activity.request_began(false);
    assert!(activity.has_pipelined_request());
    activity.request_ended();
    activity.request_began(false);
    assert!(!activity.has_pipelined_request());
}

#[test]
fn what_was_read_before_and_is_answered_by_nobody_is_not_waited_for() {
    let activity = activity();
    activity.bytes_read(HEAD.as_bytes());
    // hyper reads more only when nothing waits.
    activity.bytes_read(HEAD.as_bytes());
    activity.request_began(false);
    assert!(!activity.has_pipelined_request());
}

// Room for probes

#[tokio::test]
async fn who_hangs_makes_room_for_probes_and_who_waits_for_a_response_does_not() {
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let router = Router::new().route("/held", get(async move || released.notified().await));
    let (address, shared, _running) = begin(server(router, Limits { for_probes: true, ..far() }, None));

    let mut asked = client(address, HEAD).await;
    let mut other = client(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // Longer than from when one hangs.
    let early = timeout(Duration::from_millis(400), other.read_u8()).await;
    assert!(early.is_err(), "there is no room");
    release.notify_one();
    assert!(rest(&mut asked).await.starts_with("HTTP/1.1 200 "));
    assert!(rest(&mut other).await.starts_with("HTTP/1.1 404 "));

    let mut silent = client(address, "").await;
    assert!(rest(&mut client(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await).await.contains(" 404 "));
    assert_eq!(rest(&mut silent).await, "");
    closed(&shared, CloseReason::Idle).await;
}

#[tokio::test]
async fn who_has_just_come_has_the_time_that_a_probe_takes_and_who_came_long_ago_had_it() {
    let (address, shared, _running) =
        begin(server(Router::new(), Limits { for_probes: true, ..far() }, None));
    // Below the cap, where nobody makes room by himself.
    shared.slots.add_permits(1);
    let mut client = client(address, "").await;
    while shared.connections.open() == 0 {
        yield_now().await;
    }
    yield_now().await;
    shared.crowded.notify_waiters();
    let early = timeout(Duration::from_millis(200), client.read_u8()).await;
    assert!(early.is_err(), "it has just come");
    shared.crowded.notify_waiters();
    assert_eq!(rest(&mut client).await, "");
    closed(&shared, CloseReason::Idle).await;
}

// What is wrapped

/// Counts how often it is closed properly, as TLS has to be.
struct Wrapped(TcpStream, Arc<AtomicUsize>);

impl AsyncRead for Wrapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.fetch_add(1, Relaxed);
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn connections_that_are_idle_when_all_is_over_are_closed_properly() {
    // So long that hyper has let go of the first.
    for idle in [Duration::from_millis(400), Duration::ZERO] {
        let proper = Arc::new(AtomicUsize::new(0));
        let counted = proper.clone();
        let transport = Transport::new(move |tcp| {
            let counted = counted.clone();
            async move { Ok(Wrapped(tcp, counted)) }
        });
        let (address, shared, running) = begin(server(Router::new(), far(), Some(transport)));
        // Below the cap, where connections are kept.
        shared.slots.add_permits(2);
        let mut client = client(address, HEAD).await;
        let mut response = [0; 12];
        timeout(PATIENCE, client.read_exact(&mut response)).await.unwrap().unwrap();
        assert_eq!(&response, b"HTTP/1.1 404");
        sleep(idle).await;
        shared.lifecycle.enter(Phase::Stopped);
        rest(&mut client).await;
        running.await.unwrap();
        closed(&shared, CloseReason::IdleAtDeadline).await;
        assert_eq!(proper.load(Relaxed), 1, "after {idle:?}");
    }
}
