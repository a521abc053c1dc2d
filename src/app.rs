//! The order things happen in, from the environment to the exit code.

use std::{
    io,
    mem::ManuallyDrop,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use axum::Router;
use landfall_telemetry::Logs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{runtime, sync::oneshot};
use tracing::{error, info, warn};

use crate::{
    Build, admin,
    command::{self, EX_CONFIG},
    config::{Config, ConfigErrors, LoadedConfig, Variables},
    health::{self, Health},
    layers,
    lifecycle::{Drain, Lifecycle, Phase},
    metrics::{Metrics, process},
    server::{self, Limits, Server},
    service::{App, Service, StartError},
    shutdown::{self, ShutdownSignal, Signals},
    status::Status,
    systemd,
    telemetry::{self, TracingLayer},
    trace,
    waiting::Timed,
};

/// A service's program: what `main` runs. `V` are the service's own variables.
pub struct Program<V> {
    build: Build,
    tracing: TracingLayers<V>,
}

type TracingLayers<V> = Box<dyn FnOnce(&V) -> Vec<TracingLayer>>;

impl<V: Variables> Program<V> {
    /// The program of this build; [`build!`](crate::build) tells which.
    pub fn new(build: Build) -> Self {
        Self { build, tracing: Box::new(|_| Vec::new()) }
    }

    /// Adds layers that see every span and event, whatever the log filter is; each may have a filter of its own.
    pub fn with_tracing(mut self, layers: impl FnOnce(&V) -> Vec<TracingLayer> + 'static) -> Self {
        let before = self.tracing;
        self.tracing = Box::new(|variables| before(variables).into_iter().chain(layers(variables)).collect());
        self
    }

    /// Does what the command line asks for. Without a command it serves until a signal ends it: the exit code is 0
    /// after a clean drain, 1 when anything was aborted, could not start or stopped accepting, 78 for bad configuration.
    pub async fn run<F>(
        self,
        mut signals: Signals,
        start: impl FnOnce(App<V>) -> F + Send + 'static,
    ) -> ExitCode
    where
        F: Future<Output = Result<Service, StartError>> + Send + 'static,
    {
        if let Some(command) = command::from_arguments(&self.build) {
            let run = unless_signalled(&mut signals, || command.run::<V>());
            return run.await.unwrap_or(ExitCode::FAILURE);
        }
        let loaded = match unless_signalled(&mut signals, LoadedConfig::from_env).await {
            Ok(loaded) => loaded,
            Err(signal) => return end_with(ExitCode::SUCCESS, || log_early_signal(signal)),
        };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(errors) => return refuse(&errors),
        };
        let Config { log, log_format, flush_timeout, .. } = &loaded.config;
        let log_limit = shutdown::log_flush_limit(flush_timeout.0);
        let logs = match trace::init(log, *log_format, (self.tracing)(&loaded.variables)) {
            Ok(logs) => logs,
            Err(error) => return no_log(&error),
        };
        for variable in &loaded.service_links {
            warn!(
                variable,
                "ignored: Kubernetes made it for a Service called like our prefix; enableServiceLinks: false avoids it"
            );
        }
        let code = match serve(self.build, &mut signals, loaded, &logs, start).await {
            Ok(code) => code,
            Err(error) => {
                error!(error, "the service could not start");
                ExitCode::FAILURE
            }
        };
        logs.flush(log_limit);
        code
    }
}

/// Does what may hang, such as to read a file on a mount that does, on a thread that a signal leaves behind.
async fn unless_signalled<T: Send + 'static>(
    signals: &mut Signals,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ShutdownSignal> {
    let (done, result) = oneshot::channel();
    thread::spawn(move || {
        // Nobody waits for it any more after a signal.
        done.send(work()).ok();
    });
    tokio::select! {
        biased;
        signal = signals.next() => Err(signal),
        result = result => Ok(result.expect("the thread sends before it ends")),
    }
}

/// Logs as the defaults say, where no configuration has been read, and ends with this exit code.
fn end_with(code: ExitCode, log_lines: impl FnOnce()) -> ExitCode {
    let Config { log, log_format, flush_timeout, .. } = Config::default();
    let logs = match trace::init(&log, log_format, Vec::new()) {
        Ok(logs) => logs,
        Err(error) => return no_log(&error),
    };
    log_lines();
    logs.flush(shutdown::log_flush_limit(flush_timeout.0));
    code
}

fn no_log(error: &io::Error) -> ExitCode {
    eprintln!("no thread can be started for the log: {error}");
    ExitCode::FAILURE
}

fn refuse(errors: &ConfigErrors) -> ExitCode {
    end_with(ExitCode::from(EX_CONFIG), || {
        for error in &errors.0 {
            error!(
                variable = error.variable,
                expected = error.expected,
                found = error.found,
                "bad configuration"
            );
        }
    })
}

fn log_early_signal(signal: ShutdownSignal) {
    info!(%signal, "stopped: received a signal before anything was served");
}

async fn serve<V, F>(
    build: Build,
    signals: &mut Signals,
    loaded: LoadedConfig<V>,
    logs: &Logs,
    start: impl FnOnce(App<V>) -> F + Send + 'static,
) -> Result<ExitCode, StartError>
where
    V: Variables,
    F: Future<Output = Result<Service, StartError>> + Send + 'static,
{
    let (app, status) = prepare(build, loaded);
    let (config, lifecycle) = (app.config.clone(), status.lifecycle.clone());
    let (health, metrics) = (status.health.clone(), status.metrics.clone());
    process::watch_process(&metrics, build.version, build.revision);
    telemetry::export(logs.dropped(), &metrics);
    shutdown::export(&lifecycle, &config, &metrics);

    let [inherited, inherited_admin] = systemd::listeners()?;
    let listener = bind("APP_PORT", inherited, config.address(), config.stall_timeout.0)?;
    let admin_listener =
        bind("APP_ADMIN_PORT", inherited_admin, config.admin_address(), config.stall_timeout.0)?;
    info!(
        name = build.name,
        version = build.version,
        revision = build.revision,
        address = %listener.local_addr()?,
        admin_address = %admin_listener.local_addr()?,
        "listening"
    );

    // This thread has a runtime of its own for signals, phases and the admin port: a main runtime that is
    // saturated or stuck is seen, reported and ended from here.
    tokio::spawn(admin_server(admin_listener, admin::router(status, &logs.filter)).run());
    let threads = config.worker_threads(thread::available_parallelism().map_or(1, NonZeroUsize::get));
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("main")
        .enable_all()
        .build()?;
    // Never dropped, which would wait for what is stuck on it: it ends with the process.
    let runtime = ManuallyDrop::new(runtime);
    process::watch_runtime(&metrics, runtime.handle());
    health.watch_runtime(runtime.handle(), &lifecycle, config.heartbeat_limit.0);

    tokio::spawn(systemd::notify(health.clone(), lifecycle.clone()));

    let starting = runtime.handle().spawn(async move { start(app).await });
    let service = tokio::select! {
        biased;
        signal = signals.next() => {
            log_early_signal(signal);
            return Ok(ExitCode::SUCCESS);
        }
        service = starting => service??,
    };
    let router = router(
        service.router,
        &service.limits,
        service.outer,
        &config,
        &health,
        &metrics,
        lifecycle.drain(),
        threads,
    )
    .await?;
    let limits = within_descriptors(Limits::from(&*config));
    let server = Server::new(listener, router, limits, service.transport, &lifecycle, &metrics);
    let connections = server.connections();
    // Before the first client is answered, or it could be told that we are still starting.
    lifecycle.enter(Phase::Serving);
    let accepting = runtime.handle().spawn(Timed::new(server.run()));
    health.watch_listener(accepting.abort_handle());
    info!("serving");

    let cleanup = async {
        let cleaned_up = runtime.handle().spawn(service.cleanup).await.is_ok();
        logs.tell_left_out();
        cleaned_up
    };
    Ok(shutdown::drain(&lifecycle, signals, accepting, &config, &connections, cleanup).await)
}

/// What a service is built from, and what the admin port shows.
pub(crate) fn prepare<V: Variables>(build: Build, loaded: LoadedConfig<V>) -> (App<V>, Status) {
    let metrics = Metrics::new();
    let lifecycle = Lifecycle::new(&metrics);
    let health = Health::new(&lifecycle);
    health.export(&metrics);
    let drain = lifecycle.drain();
    let flags = (loaded.to_table(), loaded.to_json());
    let status = Status { build, flags, lifecycle, health: health.clone(), metrics: metrics.clone() };
    let (config, variables) = (Arc::new(loaded.config), Arc::new(loaded.variables));
    (App { build, config, variables, health, metrics, drain }, status)
}

/// The service's routes in their layers, beside the probes of the service's port.
#[expect(clippy::too_many_arguments, reason = "of things that have nothing else in common")]
pub(crate) async fn router(
    routes: Router,
    limits: &[(&'static str, layers::RouteLimits)],
    outer: impl FnOnce(Router) -> Router,
    config: &Config,
    health: &Health,
    metrics: &Metrics,
    drain: Drain,
    threads: usize,
) -> Result<Router, StartError> {
    if let Some(route) = layers::unknown_route(&routes, limits).await {
        return Err(format!("limits are given for {route}, and there is no such route").into());
    }
    let wrapped = outer(layers::wrap(routes, config, limits, metrics, drain, threads));
    // In this order, because a merge keeps the fallback of the one that is merged in: 404s are wrapped too.
    let router = health::public_router(health).merge(wrapped);
    // Now, or axum wraps the handlers that have no state anew for each request.
    Ok(router.with_state(()))
}

/// What was handed over, or the address.
fn bind(
    variable: &str,
    inherited: Option<TcpListener>,
    address: SocketAddr,
    stall: Duration,
) -> Result<TcpListener, StartError> {
    server::bind(inherited, address, stall)
        .map_err(|error| format!("{variable}: can't listen on {address}: {error}").into())
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
        max_age: None,
        for_probes: true,
    };
    let unseen = Metrics::new();
    Server::new(listener, router, limits, None, &Lifecycle::new(&unseen), &unseen)
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
            wanted = limits.connections,
            most, descriptors, "APP_MAX_CONNECTIONS is lowered to fit the limit of open files"
        );
    }
    Limits { connections: limits.connections.min(most), ..limits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_connections_are_taken_than_there_are_descriptors() {
        let asked = Limits { connections: NonZeroUsize::MAX, ..Limits::from(&Config::default()) };
        let taken = within_descriptors(asked).connections.get();
        let most = getrlimit(Resource::Nofile).maximum.map_or(usize::MAX, |most| most as usize);
        assert!(taken < most, "{taken} of {most}");
    }
}
