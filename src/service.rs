//! What a service gets to build itself from, and what it gives to be run.

use std::{io, pin::Pin, sync::Arc};

use axum::Router;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{
    Build, config::Config, health::Health, layers::RouteLimits, lifecycle::Drain, metrics::Metrics,
    server::Transport,
};

/// Why a service could not start.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// What a service gets to build itself from; `V` are its own variables. A clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct App<V = ()> {
    /// What was built.
    pub build: Build,
    /// The engine's configuration in force.
    pub config: Arc<Config>,
    /// The service's own variables.
    pub variables: Arc<V>,
    /// For checks of the service's own.
    pub health: Health,
    /// For metrics of the service's own.
    pub metrics: Metrics,
    /// For long streams and background work.
    pub drain: Drain,
}

type Cleanup = Pin<Box<dyn Future<Output = ()> + Send>>;
type OuterLayers = Box<dyn FnOnce(Router) -> Router + Send>;

/// What a service gives to be run.
pub struct Service {
    pub(crate) router: Router,
    pub(crate) limits: Vec<(&'static str, RouteLimits)>,
    pub(crate) outer: OuterLayers,
    pub(crate) transport: Option<Transport>,
    pub(crate) cleanup: Cleanup,
}

impl Service {
    /// Serves these routes, each wrapped in the engine's layers. What the router is wrapped in already stands inside
    /// them.
    pub fn new(router: Router) -> Self {
        Self {
            router,
            limits: Vec::new(),
            outer: Box::new(|router| router),
            transport: None,
            cleanup: Box::pin(async {}),
        }
    }

    /// Gives one route limits of its own, by its path as the router has it; the start fails when there is no such
    /// route.
    pub fn with_limits(mut self, route: &'static str, limits: RouteLimits) -> Self {
        self.limits.push((route, limits));
        self
    }

    /// Wraps the routes once more, outside the engine's layers: what is shed, times out, fails or panics passes here
    /// too. The place for CORS and for compression.
    pub fn with_outer_layers(mut self, wrap: impl FnOnce(Router) -> Router + Send + 'static) -> Self {
        let inner = self.outer;
        self.outer = Box::new(move |router| wrap(inner(router)));
        self
    }

    /// Wraps each connection of the service's port before anything is read from it, such as in TLS. It has
    /// `APP_FIRST_BYTE_TIMEOUT` for its handshake and the first bytes of a request together.
    pub fn with_transport<T, F>(mut self, wrap: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        self.transport = Some(Transport::new(wrap));
        self
    }

    /// Runs this after the drain, for at most the flush timeout and at the same time as what was given before: the
    /// place to close pools and to send what exporters hold.
    pub fn with_cleanup(mut self, cleanup: impl Future<Output = ()> + Send + 'static) -> Self {
        let others = self.cleanup;
        self.cleanup = Box::pin(async {
            tokio::join!(others, cleanup);
        });
        self
    }
}
