//! Frames of one connection, in steps that a client could not take alone.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::Wake,
};

use axum::Router;
use landfall_frames::frames::{END_HEADERS, END_STREAM};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{config::Config, server::Limits, server::tests::server};

/// A connection that has sent the preface, and its client.
async fn connected() -> (Wire, TcpStream) {
    let shared = server(Router::new(), Limits::from(&Config::default()), None).shared;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let mut wire = Wire::new(Box::new(Stream::new(tcp, &shared, None)));
    wire.received(&mut H2_PREFACE.to_vec());
    (wire, client)
}

fn with_flags(mut frame: Vec<u8>, flags: u8) -> Vec<u8> {
    frame[KIND_OFFSET + 1] = flags;
    frame
}

/// A request, or a response without a body, on stream 1.
fn head() -> Vec<u8> {
    with_flags(frames::encode(HEADERS, 1, &[0x88]), END_HEADERS | END_STREAM)
}

fn ping() -> Vec<u8> {
    frames::encode(PING, 0, &[7; 8])
}

#[tokio::test]
async fn of_what_is_handed_over_only_what_was_written_is_followed() {
    let (mut wire, _client) = connected().await;
    let (first, second) = (ping(), ping());
    wire.sent(&[IoSlice::new(&first), IoSlice::new(&second)], first.len() + 3);
    assert!(!wire.outgoing.is_between_frames());
    wire.sent(&[IoSlice::new(&second[3..])], second.len() - 3);
    assert!(wire.outgoing.is_between_frames());
}

#[tokio::test]
async fn a_peer_is_idle_and_quiet_until_it_opens_a_stream() {
    let (mut wire, _client) = connected().await;
    wire.activity.leave(Leaving::Quiet);
    wire.received(&mut ping());
    assert_eq!((wire.activity.leaving(), wire.activity.is_idle()), (Leaving::Quiet, true));
    wire.received(&mut head());
    assert_eq!((wire.activity.leaving(), wire.activity.is_idle()), (Leaving::Draining, false));
    wire.sent(&[IoSlice::new(&head())], head().len());
    assert!(wire.activity.is_idle());
}

#[tokio::test]
async fn who_has_asked_is_pinged_when_it_is_quiet_and_who_has_not_at_closing() {
    let (mut wire, _client) = connected().await;
    wire.activity.leave(Leaving::Quiet);
    assert_eq!(wire.next_own(), None, "it would go, and its next connection too, and never ask");
    wire.activity.shared.lifecycle.enter(Phase::Closing);
    assert_eq!(wire.next_own().unwrap()[KIND_OFFSET], PING);

    let (mut wire, _client) = connected().await;
    wire.activity.request_began(false);
    wire.activity.request_ended();
    wire.activity.leave(Leaving::Draining);
    assert_eq!(wire.next_own(), None, "it may be about to ask");
    wire.activity.leave(Leaving::Quiet);
    assert_eq!(wire.next_own().unwrap()[KIND_OFFSET], PING);
}

#[tokio::test]
async fn a_frame_of_our_own_waits_for_the_end_of_one_of_hypers() {
    let (mut wire, mut client) = connected().await;
    let (hypers, ours) = (ping(), goaway(1));
    wire.sent(&[IoSlice::new(&hypers)], 12);
    wire.own.clone_from(&ours);
    poll_own(&mut wire).await;
    assert_eq!(wire.own, ours);
    wire.sent(&[IoSlice::new(&hypers[12..])], hypers.len() - 12);
    poll_own(&mut wire).await;
    drop(wire);
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, ours);
}

async fn poll_own(wire: &mut Wire) {
    std::future::poll_fn(|cx| wire.poll_own(cx)).await.unwrap();
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn hyper_is_woken_for_what_it_is_to_read_and_for_nothing_else() {
    let (mut wire, _client) = connected().await;
    let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
    let waker = wakes.clone().into();
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_ready());
    assert_eq!(wakes.0.load(Relaxed), 0, "it would never rest");
    wire.for_hyper = ping();
    assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_ready());
    assert_eq!(wakes.0.load(Relaxed), 1);
}

/// Passes these bytes by the pings; tells how many answers to pings begin in them.
fn received(pings: &mut IdlePings, bytes: &[u8]) -> usize {
    let mut answers = 0;
    FrameScanner::default()
        .scan(bytes, |frame, payload, _| answers += usize::from(pings.received(frame, payload)));
    answers
}

#[test]
fn a_peer_reads_while_it_is_idle_if_it_has_answered_two_pings_and_asked_nothing_meanwhile() {
    let mut pings = IdlePings::default();
    let next = |pings: &mut IdlePings| {
        let ping = pings.next().unwrap();
        assert_eq!(pings.next(), None, "one at a time");
        (with_flags(ping.clone(), ACK), ping)
    };
    let (first, _) = next(&mut pings);
    received(&mut pings, &head());
    assert_eq!(received(&mut pings, &first), 1, "it comes too late, and hyper must not see it");
    let (second, question) = next(&mut pings);
    for no_answer in [&first, &question] {
        received(&mut pings, no_answer);
        assert_eq!((pings.is_outstanding, pings.answered), (true, 0));
    }
    assert_eq!(received(&mut pings, &question), 0, "hyper answers it");
    assert_eq!(received(&mut pings, &with_flags(frames::encode(frames::SETTINGS, 0, &[]), ACK)), 0);
    for _ in 0..2 {
        assert_eq!(received(&mut pings, &second), 1);
        assert_eq!((pings.is_outstanding, pings.answered), (false, 1), "an answer counts once");
    }
    let (third, _) = next(&mut pings);
    assert!(!pings.are_answered());
    received(&mut pings, &third[..HEAD]);
    assert!(!pings.are_answered(), "it is not complete");
    received(&mut pings, &third);
    assert!(pings.are_answered());
    received(&mut pings, &head());
    assert!(!pings.are_answered());
}
