//! The order things happen in, from the environment to the exit code.

use std::{io, net::SocketAddr, num::NonZeroUsize, pin::Pin, process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, runtime, time::timeout};
use tracing::{error, info, warn};

use crate::{
    admin,
    config::{Config, Faults, Loaded},
    health::{self, Health},
    layers,
    metrics::Metrics,
    server::{self, Limits, Server},
    shutdown::{self, Drain, Lifecycle, Phase, Signals},
    telemetry::{self, LogHandle},
};

/// Exit code for bad configuration, EX_CONFIG of sysexits.h.
pub const EX_CONFIG: u8 = 78;

/// Why a service could not start.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// What a service gets to build itself from.
#[derive(Debug, Clone)]
pub struct App {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// For checks of the service's own.
    pub health: Health,
    /// For metrics of the service's own.
    pub metrics: Metrics,
    /// For long streams and background tasks.
    pub drain: Drain,
}

/// What a service gives to be run.
pub struct Service {
    router: Router,
    cleanup: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Service {
    /// Serves these routes.
    pub fn new(router: Router) -> Self {
        Self { router, cleanup: Box::pin(async {}) }
    }

    /// The routes alone, for tests that need no socket.
    pub fn into_router(self) -> Router {
        self.router
    }

    /// Runs this after the drain, for at most the flush timeout: the place to close pools.
    pub fn with_cleanup(mut self, cleanup: impl Future<Output = ()> + Send + 'static) -> Self {
        self.cleanup = Box::pin(cleanup);
        self
    }
}

/// Runs a service to its end: 0 after a clean drain, 1 when anything was aborted or could not start, 78 for bad
/// configuration.
pub async fn run<F>(mut signals: Signals, start: impl FnOnce(App) -> F + Send + 'static) -> ExitCode
where
    F: Future<Output = Result<Service, StartError>> + Send + 'static,
{
    let loaded = match Loaded::from_env() {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults),
    };
    let log = telemetry::init(&loaded.config);
    for variable in &loaded.service_links {
        warn!(
            variable,
            "passed over: Kubernetes made it for a Service called like our prefix; enableServiceLinks: false avoids it"
        );
    }
    let code = match serve(&mut signals, loaded.config, &log, start).await {
        Ok(code) => code,
        Err(error) => {
            error!(error, "the service could not start");
            ExitCode::FAILURE
        }
    };
    telemetry::flush();
    code
}

fn refuse(faults: &Faults) -> ExitCode {
    telemetry::init(&Config::default());
    for fault in &faults.0 {
        error!(
            variable = fault.variable,
            expected = fault.expected,
            found = fault.found,
            "bad configuration"
        );
    }
    telemetry::flush();
    ExitCode::from(EX_CONFIG)
}

async fn serve<F>(
    signals: &mut Signals,
    config: Config,
    log: &LogHandle,
    start: impl FnOnce(App) -> F + Send + 'static,
) -> Result<ExitCode, StartError>
where
    F: Future<Output = Result<Service, StartError>> + Send + 'static,
{
    let config = Arc::new(config);
    let lifecycle = Lifecycle::default();
    let metrics = Metrics::new();
    let health = Health::new(&lifecycle);
    metrics.watch_lifecycle(&lifecycle);
    health.export(&metrics);

    let listener = bind("APP_PORT", config.address())?;
    let admin_listener = bind("APP_ADMIN_PORT", config.admin_address())?;
    info!(
        version = crate::VERSION,
        revision = crate::REVISION,
        address = %listener.local_addr()?,
        admin_address = %admin_listener.local_addr()?,
        "listening"
    );

    // This thread has a runtime of its own for signals, phases and the admin port: a main runtime that is
    // saturated or stuck is seen, reported and ended from here.
    tokio::spawn(admin_server(admin_listener, admin::router(&health, &metrics, log)).run());
    let runtime = MainRuntime::new()?;
    metrics.watch_runtime(runtime.handle());

    let app = App { config: config.clone(), health, metrics: metrics.clone(), drain: lifecycle.drain() };
    let building = runtime.handle().spawn(build(app.clone(), start));
    let service = tokio::select! {
        biased;
        asked = signals.next() => {
            info!(signal = %asked, "stopped: asked to before anything was served");
            return Ok(ExitCode::SUCCESS);
        }
        service = building => service??,
    };
    // In this order, because a merge keeps the fallback of the one that is merged in: 404s are wrapped too.
    let router = health::public_router(&app.health).merge(layers::wrap(service.router, &config, &metrics));
    let limits = within_descriptors(Limits::from(&*config));
    let server = Server::new(listener, router, limits, &lifecycle, &metrics);
    app.health.watch_listener(server.alive());
    // Before the first client is answered, or it could be told that we are still starting.
    lifecycle.enter(Phase::Serving);
    runtime.handle().spawn(server.run());
    info!("serving");

    let report = shutdown::drain(&lifecycle, signals, &config, metrics.counters()).await;
    let cleanup = timeout(config.flush_timeout.0, runtime.handle().spawn(service.cleanup));
    let report = report.cleaned_up(matches!(cleanup.await, Ok(Ok(()))));
    report.log(&lifecycle, metrics.counters());
    Ok(report.exit_code())
}

async fn build<F>(app: App, start: impl FnOnce(App) -> F) -> Result<Service, StartError>
where
    F: Future<Output = Result<Service, StartError>>,
{
    app.health.watch_runtime(app.config.heartbeat_limit.0);
    start(app).await
}

fn bind(variable: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    server::bind(address).map_err(|error| format!("{variable}: can't listen on {address}: {error}").into())
}

/// The admin port serves to the very end: a lifecycle of its own never leaves the serving phase.
fn admin_server(listener: TcpListener, router: Router) -> Server {
    const DEADLINE: Duration = Duration::from_secs(10);
    let limits = Limits {
        connections: NonZeroUsize::new(64).expect("64 is not zero"),
        first_byte: DEADLINE,
        head: DEADLINE,
        idle: Duration::from_secs(75),
        stall: DEADLINE,
    };
    Server::new(listener, router, limits, &Lifecycle::default(), &Metrics::new())
}

/// Raises the limit of file descriptors as far as it goes, and keeps the cap on connections under it, so that
/// some are left for the admin port and for what the service itself opens.
fn within_descriptors(limits: Limits) -> Limits {
    const SPARE: usize = 128;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it can't be raised, what there is has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let descriptors = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    let most = NonZeroUsize::new(descriptors.saturating_sub(SPARE)).unwrap_or(NonZeroUsize::MIN);
    if limits.connections > most {
        warn!(
            asked = limits.connections,
            most, descriptors, "APP_MAX_CONNECTIONS is lowered to fit the limit of open files"
        );
    }
    Limits { connections: limits.connections.min(most), ..limits }
}

/// The runtime that serves. Dropping it does not wait for what is stuck on it.
struct MainRuntime(Option<runtime::Runtime>);

impl MainRuntime {
    fn new() -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread().thread_name("main").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> &runtime::Handle {
        self.0.as_ref().expect("taken only by drop").handle()
    }
}

impl Drop for MainRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
