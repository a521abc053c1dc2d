//! A listener that takes TLS off, in front of the service's port.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use landfall::{Drain, config::Config};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tracing::{debug, warn};

/// How long a client may take to close its side after the service has.
const LINGER: Duration = Duration::from_secs(2);

/// Takes TLS off, and forwards what it carries to the service's port.
pub(crate) struct Front {
    service: SocketAddr,
    tls: watch::Receiver<Arc<ServerConfig>>,
    handshake: Duration,
    stall: Duration,
    delay: Duration,
    slots: Arc<Semaphore>,
    drain: Drain,
}

impl Front {
    pub(crate) fn new(config: &Config, tls: watch::Receiver<Arc<ServerConfig>>, drain: Drain) -> Self {
        let host = if config.host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { config.host };
        Self {
            service: (host, config.port).into(),
            tls,
            handshake: config.first_byte_timeout.0,
            stall: config.stall_timeout.0,
            delay: config.drain_delay.0,
            slots: Arc::new(Semaphore::new(config.max_connections.get().min(Semaphore::MAX_PERMITS))),
            drain,
        }
    }

    /// Accepts until the delay is nearly over: what has come by then reaches the service's port before that closes.
    pub(crate) async fn run(self, listener: TcpListener) {
        let front = Arc::new(self);
        let nearly_over = async {
            front.drain.started().await;
            sleep(front.delay.mul_f64(0.9)).await;
        };
        tokio::select! {
            biased;
            () = nearly_over => {}
            () = front.drain.closing() => {}
            () = front.accept(&listener) => {}
        }
        // What waits in the accept queue would be reset.
        while let Some(Ok((client, _))) = listener.accept().now_or_never() {
            front.serve(client, None);
        }
    }

    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((client, _)) => self.serve(client, Some(slot)),
                Err(error) => {
                    warn!(%error, "connections can't be accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn serve(self: &Arc<Self>, client: TcpStream, slot: Option<OwnedSemaphorePermit>) {
        let front = self.clone();
        self.drain.spawn(async move {
            let _slot = slot;
            if let Err(error) = front.forward(client).await {
                debug!(%error, "a connection failed");
            }
        });
    }

    async fn forward(&self, client: TcpStream) -> io::Result<()> {
        // Before the handshake: the service's port has the connection then, however long that takes.
        let service = TcpStream::connect(self.service).await?;
        client.set_nodelay(true)?;
        service.set_nodelay(true)?;
        let acceptor = TlsAcceptor::from(self.tls.borrow().clone());
        let client = timeout(self.handshake, acceptor.accept(client)).await??;
        let (from_client, to_client) = split(client);
        let (from_service, to_service) = service.into_split();
        let mut requests = pin!(pump(from_client, to_service, self.stall));
        let mut responses = pin!(pump(from_service, to_client, self.stall));
        tokio::select! {
            // The client may still be owed a response.
            _ = &mut requests => responses.await,
            // The service has closed, and the client may take a moment to do so too.
            closed = &mut responses => timeout(LINGER, requests).await.map_or(closed, |_| Ok(())),
        }
    }
}

/// Carries bytes one way until their end; whoever does not take them up for so long ends it.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    stall: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        timeout(stall, async {
            to.write_all(&buffer[..count]).await?;
            to.flush().await
        })
        .await??;
    }
}
