//! Environment in, a checked value out: everything that is wrong at once, or one [`LoadedConfig`].

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
};

#[doc(hidden)]
pub use landfall_variables::declare;
pub use landfall_variables::{ConfigError, ConfigErrors, HumanDuration, PREFIX, Secret, Source, Variable};

use crate::telemetry::{AccessLog, LogFilter, LogFormat};

const DURATION: &str = "a duration such as 500ms, 10s or 1m";
const NOTHING: HumanDuration = HumanDuration::secs(0);
const SHORTEST: HumanDuration = HumanDuration::millis(10);
const DAY: HumanDuration = HumanDuration::hours(24);
const COUNT: &str = "a whole number, 1 or more";

crate::variables! {
    /// The engine's configuration, the same in every service. Every field is the variable `APP_<FIELD>`.
    pub struct Config {
        /// IP address that both ports bind; `::` is every address of both families.
        host: IpAddr = Ipv4Addr::UNSPECIFIED.into(), "an IP address such as 0.0.0.0";
        /// Port of the service; 0 takes a free one.
        port: u16 = 8080, "a port, 0 to 65535";
        /// Port of probes, metrics and the log filter; 0 takes a free one.
        admin_port: u16 = 9090, "a port, 0 to 65535";
        /// Log filter at the start, in place of `RUST_LOG`; changed at run time by `PUT /log` on the admin port.
        log: LogFilter = LogFilter::default(), "a log filter such as info or info,landfall=debug";
        /// Log format; `auto` is pretty on a terminal and JSON elsewhere.
        log_format: LogFormat = LogFormat::Auto, "one of auto, json, pretty";
        /// Which requests get an access line; `errors` is those answered 5xx or slow.
        access_log: AccessLog = AccessLog::Errors, "one of all, errors, off";
        /// A request that takes longer is slow and gets an access line.
        slow_request: HumanDuration = HumanDuration::secs(1), DURATION, within(NOTHING, DAY);
        /// From SIGTERM to closing the listener: as long as endpoint lists and load balancers take to forget the pod.
        drain_delay: HumanDuration = HumanDuration::secs(5), DURATION, within(NOTHING, DAY);
        /// From closing the listener to aborting what is left; kept connections are answered so long.
        drain_timeout: HumanDuration = HumanDuration::secs(20), DURATION, within(SHORTEST, DAY);
        /// Limit for what comes after the drain: workers finish, pools close, telemetry is flushed.
        flush_timeout: HumanDuration = HumanDuration::secs(3), DURATION, within(HumanDuration::millis(100), DAY);
        /// The pod's terminationGracePeriodSeconds, to check that delay, timeout and flush fit inside it.
        termination_grace_period: Option<HumanDuration> = None, DURATION, within(NOTHING, HumanDuration::hours(96));
        /// Limit for a handler to begin its response, then 504.
        request_timeout: HumanDuration = HumanDuration::secs(10), DURATION, within(SHORTEST, DAY);
        /// Largest request body in bytes, then 413.
        body_limit: usize = 64 * 1024, "a number of bytes";
        /// Connections open at once; more wait in the kernel's accept queue.
        max_connections: NonZeroUsize = count(4096), COUNT;
        /// Requests worked on at once; more are shed with 503 and Retry-After.
        max_in_flight: NonZeroUsize = count(1024), COUNT;
        /// How long a request may wait for a thread while others always do; then it is shed with 503 and Retry-After.
        max_wait: HumanDuration = HumanDuration::millis(100), DURATION, within(SHORTEST, DAY);
        /// Threads of the main runtime. Without it `APP_CPU_REQUEST`, 2 at least; without that, and at most, one for each core it may use.
        worker_threads: Option<NonZeroUsize> = None, COUNT;
        /// The pod's CPU request in cores, rounded up, from the downward API.
        cpu_request: Option<NonZeroUsize> = None, COUNT;
        /// Limit for a new connection to send its first bytes.
        first_byte_timeout: HumanDuration = HumanDuration::secs(10), DURATION, within(SHORTEST, DAY);
        /// Limit from the first byte of a request to the end of its head, then 408.
        head_timeout: HumanDuration = HumanDuration::secs(10), DURATION, within(SHORTEST, DAY);
        /// How long a kept connection may be idle; above the 60 s of common load balancers, so that they close first.
        idle_timeout: HumanDuration = HumanDuration::secs(75), DURATION, within(SHORTEST, DAY);
        /// How long a peer may neither send the body it began nor read its response.
        stall_timeout: HumanDuration = HumanDuration::secs(10), DURATION, within(SHORTEST, DAY);
        /// Age at which a connection goes with its next response, for each drawn from 0.8 to 1 times this; without it, none goes.
        connection_max_age: Option<HumanDuration> = None, DURATION, within(SHORTEST, DAY);
        /// How long nothing may run on the main runtime before `/livez` fails.
        heartbeat_limit: HumanDuration = HumanDuration::secs(5), DURATION, within(HumanDuration::millis(500), HumanDuration::hours(1));
        /// Name of the pod, from the downward API.
        pod_name: Option<String> = None, "a name, not empty";
        /// Namespace of the pod, from the downward API.
        pod_namespace: Option<String> = None, "a name, not empty";
        /// Node the pod runs on, from the downward API.
        node_name: Option<String> = None, "a name, not empty";
    }

    fn check(&self, _config: &Config, errors: &mut ConfigErrors) {
        let Self { port, admin_port, request_timeout, drain_timeout, .. } = *self;
        let expected =
            format!("at most APP_DRAIN_TIMEOUT ({drain_timeout}), or the drain cuts off requests that are in time");
        errors.expect(request_timeout <= drain_timeout, "request_timeout", expected, request_timeout);
        let differs = port != admin_port || port == 0;
        errors.expect(differs, "admin_port", "another port than APP_PORT", admin_port);
        if let Some(grace) = self.termination_grace_period {
            let needed = HumanDuration(self.drain_delay.0 + drain_timeout.0 + self.flush_timeout.0);
            let expected =
                format!("at least {needed}, the sum of APP_DRAIN_DELAY, APP_DRAIN_TIMEOUT and APP_FLUSH_TIMEOUT");
            errors.expect(grace >= needed, "termination_grace_period", expected, grace);
        }
    }
}

const fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("the defaults are not zero")
}

impl Default for Config {
    fn default() -> Self {
        landfall_variables::Variables::from_values(&Default::default()).expect("each variable has a default")
    }
}

impl Config {
    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        (self.host, self.port).into()
    }

    /// Where probes and metrics listen.
    pub fn admin_address(&self) -> SocketAddr {
        (self.host, self.admin_port).into()
    }

    /// How many threads the main runtime has on so many cores.
    pub(crate) fn worker_threads(&self, cores: usize) -> usize {
        let Self { worker_threads, cpu_request, .. } = *self;
        // With two, a handler that computes does not hold up all others.
        let by_request = cpu_request.map_or(cores, |request| request.get().max(2).min(cores));
        worker_threads.map_or(by_request, NonZeroUsize::get)
    }
}

/// A set of variables of a service's own; [`variables!`](crate::variables) declares one.
pub trait Variables: landfall_variables::Variables<Config> {}

impl<V: landfall_variables::Variables<Config>> Variables for V {}

/// The engine's configuration and the service's own variables, and how they came about.
pub type LoadedConfig<V = ()> = landfall_variables::LoadedConfig<Config, V>;

/// Every variable there is: the engine's, then the service's own.
pub fn list<V: Variables>() -> impl Iterator<Item = &'static Variable> {
    LoadedConfig::<V>::list()
}

/// Declares a struct of variables that are read from the environment.
///
/// Each line is the variable's meaning, its field and type, its default (without one it is required), what a value
/// has to look like, and what of [`Variable`](crate::config::Variable)'s is to be said of it: `secret` where it is never
/// to be shown, `within` for the bounds of a duration. After the struct may follow
/// [`check`](landfall_variables::Variables::check), for what holds between variables.
///
/// ```
/// use landfall::config::HumanDuration;
///
/// landfall::variables! {
///     /// The variables of this service's own.
///     pub struct Variables {
///         /// How many items a page has.
///         page_size: u16 = 20, "a whole number, 0 to 65535";
///         /// How long an item is kept.
///         retention: HumanDuration = HumanDuration::hours(1), "a duration such as 10m",
///             within(HumanDuration::secs(1), HumanDuration::hours(24));
///         /// Where the items are kept.
///         database_url: landfall::config::Secret, "a URL that begins with postgres://", secret;
///     }
/// }
/// ```
#[macro_export]
macro_rules! variables {
    ($($declaration:tt)*) => {
        $crate::config::declare! { beside $crate::config::Config; $($declaration)* }
    };
}

#[cfg(test)]
mod tests;
