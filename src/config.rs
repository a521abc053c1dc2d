//! Environment in, a checked value out: every fault at once, or one [`Config`].

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};

use crate::telemetry::{AccessLog, LogFilter, LogFormat};

/// What every variable's name begins with.
pub const PREFIX: &str = "APP_";

/// What a variable is, for the table that `landfall config` and the README show.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The field's name; the variable's is [`PREFIX`] and this in upper case.
    pub field: &'static str,
    /// What it sets, in a sentence.
    pub meaning: &'static str,
    /// What a value has to look like.
    pub expects: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
}

impl Variable {
    /// The name in the environment: `APP_DRAIN_DELAY` for `drain_delay`.
    pub fn name(&self) -> String {
        format!("{PREFIX}{}", self.field.to_uppercase())
    }
}

/// Writes the struct, its defaults and the table of variables from one list, so that they can't disagree.
macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr, $expects:expr $(, $secret:ident)?;)+) => {
        /// The effective configuration. Every field is the variable `APP_<FIELD>`.
        #[derive(Debug, Clone, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $kind,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        /// Every variable there is, in the order of the table.
        pub const VARIABLES: &[Variable] = &[$(Variable {
            field: stringify!($field),
            meaning: concat!($($doc),+).trim_ascii_start(),
            expects: $expects,
            secret: !stringify!($($secret)?).is_empty(),
        }),+];
    };
}

const DURATION: &str = "a duration such as 500ms, 10s or 1m";
const COUNT: &str = "a whole number, 1 or more";

variables! {
    /// IP address that both ports bind; `::` is every address of both families.
    host: IpAddr = Ipv4Addr::UNSPECIFIED.into(), "an IP address such as 0.0.0.0";
    /// Port of the service; 0 takes a free one.
    port: u16 = 8080, "a port, 0 to 65535";
    /// Port of probes, metrics and the log filter; 0 takes a free one.
    admin_port: u16 = 9090, "a port, 0 to 65535";
    /// Log filter at the start; changed at run time by `PUT /log` on the admin port.
    log: LogFilter = LogFilter::default(), "a log filter such as info or info,landfall=debug";
    /// Log format; `auto` is pretty on a terminal and JSON elsewhere.
    log_format: LogFormat = LogFormat::Auto, "one of auto, json, pretty";
    /// Which requests get an access line; `errors` is those answered 5xx or slow.
    access_log: AccessLog = AccessLog::Errors, "one of all, errors, off";
    /// A request that takes longer is slow and gets an access line.
    slow_request: Period = Period::secs(1), DURATION;
    /// From SIGTERM to closing the listener: as long as endpoint lists and load balancers take to forget the pod.
    drain_delay: Period = Period::secs(5), DURATION;
    /// From closing the listener to aborting what is left; kept connections are answered so long.
    drain_timeout: Period = Period::secs(20), DURATION;
    /// Limit for clean-up after the drain: pools closed, telemetry flushed.
    flush_timeout: Period = Period::secs(3), DURATION;
    /// The pod's terminationGracePeriodSeconds, to check that delay, timeout and flush fit inside it.
    termination_grace_period: Option<Period> = None, DURATION;
    /// Limit for a handler to begin its answer, then 503.
    request_timeout: Period = Period::secs(10), DURATION;
    /// Largest request body in bytes, then 413.
    body_limit: usize = 1024 * 1024, "a number of bytes";
    /// Connections open at once; more wait in the kernel's accept queue.
    max_connections: NonZeroUsize = count(8192), COUNT;
    /// Requests worked on at once; more are shed with 503 and Retry-After.
    max_in_flight: NonZeroUsize = count(1024), COUNT;
    /// Limit for a new connection to send its first bytes.
    first_byte_timeout: Period = Period::secs(10), DURATION;
    /// Limit from the first byte of a request to the end of its head, then 408.
    head_timeout: Period = Period::secs(10), DURATION;
    /// How long a kept connection may be idle; above the 60 s of common load balancers, so that they close first.
    idle_timeout: Period = Period::secs(75), DURATION;
    /// How long a peer may neither send the body it began nor read its answer.
    stall_timeout: Period = Period::secs(10), DURATION;
    /// How long the main runtime's heartbeat may be late before `/livez` fails.
    heartbeat_limit: Period = Period::secs(5), DURATION;
    /// When set, the bearer token that every POST has to carry.
    api_token: Option<Secret> = None, "a token, not empty", secret;
    /// Name of the pod, from the downward API.
    pod_name: Option<String> = None, "a name, not empty";
    /// Namespace of the pod, from the downward API.
    pod_namespace: Option<String> = None, "a name, not empty";
    /// Node the pod runs on, from the downward API.
    node_name: Option<String> = None, "a name, not empty";
}

/// A duration written as people write it: `10s`, `500ms`, `1m 30s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_nanos() {
            0 => write!(f, "{}s", self.0.as_secs()),
            _ => humantime::format_duration(self.0).fmt(f),
        }
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Period {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

const fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("the defaults are not zero")
}

/// A value that no log, error or listing shows.
#[derive(Debug, Clone, Deserialize)]
pub struct Secret(pub SecretString);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("[redacted]")
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The variable was not set.
    Default,
    /// The variable itself.
    Env,
    /// The file that `NAME_FILE` names.
    File(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Env => f.write_str("env"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// One thing that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The variable at fault.
    pub variable: String,
    /// What was expected of it.
    pub expected: String,
    /// What was found; absent where it may be a secret.
    pub found: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.variable, self.expected)?;
        match &self.found {
            Some(found) => write!(f, "; found {found}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with the environment, in the order of the names.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Faults(pub Vec<Fault>);

/// A configuration, and how it came about.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values in force.
    pub config: Config,
    /// Where each value that is not a default came from, by field.
    pub sources: BTreeMap<&'static str, Source>,
    /// Variables that Kubernetes made for a Service called `app` or `app-…`; they set nothing.
    pub service_links: Vec<String>,
}

impl Loaded {
    /// Reads this process's environment.
    pub fn from_env() -> Result<Self, Faults> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads the given variables; those without the prefix are not looked at.
    pub fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Faults> {
        let mut reader = Reader::default();
        let vars: BTreeMap<_, _> = vars
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        for (name, value) in vars {
            reader.read(name, value);
        }
        let config: Config =
            envy::prefixed(PREFIX).from_iter(reader.values).expect("each value was accepted on its own");
        reader.faults.extend(config.contradictions());
        if reader.faults.is_empty() {
            Ok(Self { config, sources: reader.sources, service_links: reader.service_links })
        } else {
            Err(Faults(reader.faults))
        }
    }

    /// Each variable with its effective value, secrets redacted, and where that came from.
    pub fn effective(&self) -> impl Iterator<Item = (Variable, Option<String>, Source)> {
        let values = serde_json::to_value(&self.config).expect("a struct of plain values");
        VARIABLES.iter().map(move |variable| {
            let value = match &values[variable.field] {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            let source = self.sources.get(variable.field).cloned().unwrap_or(Source::Default);
            (*variable, value, source)
        })
    }
}

/// Takes the variables in one by one and keeps what is wrong with them.
#[derive(Default)]
struct Reader {
    values: BTreeMap<String, String>,
    sources: BTreeMap<&'static str, Source>,
    service_links: Vec<String>,
    faults: Vec<Fault>,
}

impl Reader {
    fn read(&mut self, name: String, value: OsString) {
        if value.to_str().is_some_and(|value| is_service_link(&name[PREFIX.len()..], value)) {
            return self.service_links.push(name);
        }
        if let Some(variable) = find(&name) {
            let value = value.into_string().map_err(|_| "bytes that are not UTF-8".to_owned());
            return self.accept(variable, name, value, Source::Env);
        }
        let Some(variable) = name.strip_suffix("_FILE").and_then(find) else {
            let expected = format!("no such variable; did you mean {}?", closest(&name));
            return self.faults.push(Fault { variable: name, expected, found: None });
        };
        if self.sources.contains_key(variable.field) {
            let expected = format!("either {} or {name}, not both", variable.name());
            return self.faults.push(Fault { variable: name, expected, found: None });
        }
        let path = value.to_string_lossy().into_owned();
        match fs::read_to_string(&path) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
                self.accept(variable, name, Ok(text), Source::File(path));
            }
            Err(error) => self.faults.push(Fault {
                variable: name,
                expected: "the path of a readable file".to_owned(),
                found: Some(format!("{path:?}: {error}")),
            }),
        }
    }

    /// Keeps a value that envy takes for its field when it is the only one; that is how each fault gets its variable.
    fn accept(&mut self, variable: &Variable, name: String, value: Result<String, String>, source: Source) {
        let alone = |value: &String| {
            let var = [(variable.name(), value.clone())];
            !value.is_empty() && envy::prefixed(PREFIX).from_iter::<_, Config>(var).is_ok()
        };
        self.sources.insert(variable.field, source);
        match value {
            Ok(value) if alone(&value) => {
                self.values.insert(variable.name(), value);
            }
            rejected => self.faults.push(Fault {
                variable: name,
                expected: variable.expects.to_owned(),
                found: match rejected {
                    _ if variable.secret => None,
                    Ok(value) => Some(format!("{:?}", shorten(&value))),
                    Err(what) => Some(what),
                },
            }),
        }
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

    /// What is wrong with values that are each right on their own.
    fn contradictions(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut expect = |holds: bool, field: &str, expected: String, found: String| {
            if !holds {
                let variable = format!("{PREFIX}{}", field.to_uppercase());
                faults.push(Fault { variable, expected, found: Some(found) });
            }
        };
        for (field, period) in [
            ("request_timeout", self.request_timeout),
            ("first_byte_timeout", self.first_byte_timeout),
            ("head_timeout", self.head_timeout),
            ("idle_timeout", self.idle_timeout),
            ("stall_timeout", self.stall_timeout),
            ("heartbeat_limit", self.heartbeat_limit),
        ] {
            expect(!period.0.is_zero(), field, "more than 0s".to_owned(), period.to_string());
        }
        expect(
            self.request_timeout <= self.drain_timeout,
            "request_timeout",
            format!(
                "at most APP_DRAIN_TIMEOUT ({}), or the drain cuts off requests that are in time",
                self.drain_timeout
            ),
            self.request_timeout.to_string(),
        );
        expect(
            self.port != self.admin_port || self.port == 0,
            "admin_port",
            "another port than APP_PORT".to_owned(),
            self.admin_port.to_string(),
        );
        if let Some(grace) = self.termination_grace_period {
            let needed = self.drain_delay.0 + self.drain_timeout.0 + self.flush_timeout.0;
            expect(
                grace.0 >= needed,
                "termination_grace_period",
                format!(
                    "at least {}, the sum of APP_DRAIN_DELAY, APP_DRAIN_TIMEOUT and APP_FLUSH_TIMEOUT",
                    Period(needed)
                ),
                grace.to_string(),
            );
        }
        faults
    }
}

fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name() == name)
}

fn closest(name: &str) -> String {
    VARIABLES
        .iter()
        .flat_map(|variable| [variable.name(), variable.name() + "_FILE"])
        .min_by_key(|known| strsim::damerau_levenshtein(known, &name.to_uppercase()))
        .expect("there are variables")
}

fn shorten(value: &str) -> String {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// Whether Kubernetes made this variable for a Service whose name begins like ours; the forms are those of
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
fn is_service_link(name: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let words: Vec<&str> = name.split('_').collect();
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    match words.as_slice() {
        [.., "SERVICE", "HOST"] => value.parse::<IpAddr>().is_ok(),
        [.., "SERVICE", "PORT"] => is_port(value),
        [.., "PORT", port, protocol] if is_port(port) && PROTOCOLS.contains(protocol) => true,
        [.., "PORT", port, protocol, "PROTO" | "PORT" | "ADDR"]
            if is_port(port) && PROTOCOLS.contains(protocol) =>
        {
            true
        }
        [.., "PORT"] => PROTOCOLS.iter().any(|protocol| {
            value.strip_prefix(&protocol.to_lowercase()).is_some_and(|rest| rest.starts_with("://"))
        }),
        _ => words.windows(2).any(|pair| pair == ["SERVICE", "PORT"]) && is_port(value),
    }
}

#[cfg(test)]
mod tests;
