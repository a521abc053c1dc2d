//! The accept loop: a cap on connections, short back-off, and an accept queue that is emptied before it closes.

mod activity;
mod connection;
mod connections;
mod http1;
mod http2;
mod listen;
mod read_ahead;
mod requests;
mod stream;
mod transport;
mod unsent;

use std::{
    io, net,
    num::NonZeroUsize,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tracing::{error, warn};

use self::stream::Stream;
pub(crate) use self::{
    connections::{CloseReason, Connections, Protocol},
    listen::bind,
    transport::Transport,
};
use crate::{
    config::Config,
    lifecycle::{Lifecycle, Phase},
    metrics::Metrics,
    waiting::Timed,
};

/// How long to wait when `accept` fails for want of something, such as file descriptors.
const BACK_OFF: Duration = Duration::from_millis(20);

/// How long a peer may take to close its side after we closed ours.
const LINGER: Duration = Duration::from_secs(2);

/// What a server allows its clients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections open at once.
    pub connections: NonZeroUsize,
    /// For the first bytes of a connection.
    pub first_byte: Duration,
    /// For the head of a request, from its first byte.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// For taking up any of what is written to it.
    pub stall: Duration,
    /// From which age a connection is to go, at most.
    pub max_age: Option<Duration>,
    /// Whether this is the port of probes: HTTP/1 alone, and at the cap whoever hangs makes room.
    pub for_probes: bool,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            connections: config.max_connections,
            first_byte: config.first_byte_timeout.0,
            head: config.head_timeout.0,
            idle: config.idle_timeout.0,
            stall: config.stall_timeout.0,
            max_age: config.connection_max_age.map(|age| age.0),
            for_probes: false,
        }
    }
}

/// A router behind a listener.
#[derive(Debug)]
pub(crate) struct Server {
    listener: net::TcpListener,
    shared: Arc<Shared>,
}

/// What all connections of a server share.
#[derive(Debug)]
struct Shared {
    router: Router,
    limits: Limits,
    transport: Option<Transport>,
    lifecycle: Lifecycle,
    connections: Arc<Connections>,
    slots: Arc<Semaphore>,
    crowded: Notify,
}

impl Server {
    /// A server that accepts nothing until it is [run](Server::run).
    pub(crate) fn new(
        listener: net::TcpListener,
        router: Router,
        limits: Limits,
        transport: Option<Transport>,
        lifecycle: &Lifecycle,
        metrics: &Metrics,
    ) -> Self {
        let slots = limits.connections.get().min(Semaphore::MAX_PERMITS);
        let shared = Shared {
            router,
            limits,
            transport,
            lifecycle: lifecycle.clone(),
            connections: Arc::new(Connections::new(metrics)),
            slots: Arc::new(Semaphore::new(slots)),
            crowded: Notify::new(),
        };
        Self { listener, shared: Arc::new(shared) }
    }

    /// What is counted of its connections.
    pub(crate) fn connections(&self) -> Arc<Connections> {
        self.shared.connections.clone()
    }

    /// Accepts until the closing phase, then empties the accept queue and closes the listener. The runtime that this
    /// runs on drives the listener and all of its connections.
    pub(crate) fn run(self) -> impl Future<Output = ()> + Send {
        let Self { listener, shared } = self;
        // From the call on: a signal may come at once.
        let drain_waits = shared.lifecycle.connection();
        async move {
            let _drain_waits = drain_waits;
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return error!(%error, "nothing can be accepted"),
            };
            tokio::select! {
                biased;
                () = shared.lifecycle.reached(Phase::Closing) => {}
                () = tokio::task::unconstrained(shared.accept(&listener)) => {}
            }
            if let Err(error) = shared.accept_backlog(listener).await {
                warn!(%error, "the accept queue can't be emptied");
            }
        }
    }
}

impl Shared {
    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        // Where connections come and fail in turn, one line in a while says enough.
        const QUIET: Duration = Duration::from_secs(10);
        let mut warned: Option<Instant> = None;
        loop {
            let slot = self.slot().await;
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream, Some(slot)),
                Err(error) => {
                    if warned.is_none_or(|at| at.elapsed() > QUIET) {
                        warn!(%error, "connections can't be accepted");
                        warned = Some(Instant::now());
                    }
                    self.refused(&error).await;
                }
            }
        }
    }

    /// Waits for room, and asks for it again and again, as connections that hang are told from others by their age.
    async fn slot(&self) -> OwnedSemaphorePermit {
        const AGAIN: Duration = Duration::from_millis(50);
        let mut slot = pin!(self.slots.clone().acquire_owned());
        loop {
            tokio::select! {
                biased;
                slot = &mut slot => return slot.expect("the semaphore is never closed"),
                () = sleep(AGAIN), if self.limits.for_probes => self.crowded.notify_waiters(),
            }
        }
    }

    /// Serves what waits in the accept queue, beyond the cap too: closing the listener would reset it.
    async fn accept_backlog(self: &Arc<Self>, listener: TcpListener) -> io::Result<()> {
        // The socket itself is asked, because tokio may not have heard yet of who has just come.
        let listener = listener.into_std()?;
        while self.lifecycle.phase() < Phase::Stopped {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    self.serve(TcpStream::from_std(stream)?, None);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.refused(&error).await,
            }
        }
        Ok(())
    }

    async fn refused(&self, error: &io::Error) {
        // These are about one connection, which is gone already.
        const ABOUT_ONE: [io::ErrorKind; 3] =
            [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
        self.connections.accept_errors.inc();
        if !ABOUT_ONE.contains(&error.kind()) {
            sleep(BACK_OFF).await;
        }
    }

    fn serve(self: &Arc<Self>, stream: TcpStream, slot: Option<OwnedSemaphorePermit>) {
        self.lifecycle.count_connection();
        let stream = Box::new(Stream::new(stream, self, slot));
        if self.limits.for_probes {
            tokio::spawn(connection::serve_or_make_room(stream, self.clone()));
        } else {
            tokio::spawn(Timed::new(connection::serve(stream, self.clone())));
        }
    }

    /// Whether an HTTP/1 response has to be the last one of its connection: during the drain, and at the cap,
    /// where a kept connection would keep others waiting.
    fn is_last_response(&self) -> bool {
        self.lifecycle.phase() >= Phase::Draining || self.slots.available_permits() == 0
    }
}

#[cfg(test)]
mod tests;
