//! The clients of HTTP/1.1 at a server that counts their connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{keep_alive, pipelined};
use crate::clients::client::{Client, Context};
use crate::clients::http2::peer::target;
use crate::clients::mix::Pace;
use crate::clients::pacer::Pacer;
use crate::record::kind::Kind;
use crate::record::recorder::Recorder;
use crate::record::tally::Tally;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// When the server answers what.
#[derive(Clone)]
struct Answers {
    /// Each time so many requests have come; 0 waits for the client to end its side.
    after: usize,
    answer: String,
    /// It keeps the connection.
    keeps: bool,
}

/// What a client saw until it had sent so many requests, and how many connections it made.
async fn drive(kind: Kind, answers: Answers, requests: u64) -> (Tally, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let counted = connections.clone();
    let serving = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(client, answers.clone()));
        }
    });
    let recorder = Arc::new(Recorder::start());
    let (stop, stopped) = watch::channel(false);
    let mut target = target(address);
    target.response_timeout = Duration::from_secs(1);
    let context = Context { target: Arc::new(target), recorder: recorder.clone(), connections: None };
    let client = Client { context, kind, stop: stopped };
    let pause = Duration::from_millis(20);
    let pacer = Pacer::new(Pace::Pause(pause, pause), 1);
    let running = match kind {
        Kind::Pipeline => tokio::spawn(pipelined::run(client, pacer)),
        _ => tokio::spawn(keep_alive::run(client, pacer)),
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while recorder.totals().0 < requests {
        assert!(Instant::now() < deadline, "{requests} requests took too long");
        sleep(Duration::from_millis(1)).await;
    }
    let tally = recorder.observations().tallies.remove(&kind).unwrap();
    stop.send_replace(true);
    running.await.unwrap();
    serving.abort();
    (tally, connections.load(Ordering::Relaxed))
}

async fn serve(mut client: TcpStream, Answers { after, answer, keeps }: Answers) {
    let mut came = String::new();
    loop {
        let mut bytes = [0; 1024];
        let n = client.read(&mut bytes).await.unwrap_or_default();
        came += &String::from_utf8_lossy(&bytes[..n]);
        let heads = came.matches("\r\n\r\n").count();
        if (after > 0 && heads >= after) || (after == 0 && n == 0 && heads > 0) {
            came.clear();
            let _ = client.write_all(answer.as_bytes()).await;
            if !keeps {
                return;
            }
        }
        if n == 0 {
            return;
        }
    }
}

fn each(answer: &str) -> Answers {
    Answers { after: 1, answer: answer.to_owned(), keeps: true }
}

#[tokio::test]
async fn a_connection_is_kept_by_those_who_keep_theirs_while_the_server_lets_them() {
    for (kind, answer, kept) in
        [(Kind::Busy, OK, true), (Kind::Idle, OK, true), (Kind::Busy, CLOSE, false), (Kind::Fresh, OK, false)]
    {
        let (tally, connections) = drive(kind, each(answer), 3).await;
        assert_eq!(tally.failures(), 0, "{kind:?}: {tally:?}");
        assert_eq!(connections == 1, kept, "{kind:?} made {connections} connections");
    }
}

#[tokio::test]
async fn a_half_closing_client_ends_its_side_once_it_has_asked() {
    let answers = Answers { after: 0, answer: OK.to_owned(), keeps: false };
    let (tally, _) = drive(Kind::HalfClose, answers, 2).await;
    assert_eq!(tally.failures(), 0, "{tally:?}");
}

#[tokio::test]
async fn what_was_written_behind_the_last_answer_is_lost() {
    for (answer, keeps, ok, lost, late) in [
        (OK.repeat(4), true, 4, 0, 0),
        (format!("{OK}{CLOSE}"), false, 2, 2, 0),
        (OK.to_owned(), false, 1, 3, 0),
        (OK.to_owned(), true, 1, 0, 3),
    ] {
        let answers = Answers { after: 4, answer, keeps };
        let (tally, _) = drive(Kind::Pipeline, answers, 4).await;
        assert_eq!((tally.ok, tally.lost_kept, tally.response_timeout), (ok, lost, late), "{tally:?}");
        assert_eq!(tally.requests(), 4, "{tally:?}");
    }
}
