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
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn load(vars: &[(&str, &str)]) -> Result<Loaded, Faults> {
        Loaded::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn faults(vars: &[(&str, &str)]) -> Vec<String> {
        load(vars).unwrap_err().0.iter().map(Fault::to_string).collect()
    }

    /// A file that is gone when this is.
    struct File(std::path::PathBuf);

    impl File {
        fn with(text: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("landfall-{:x}", fastrand::u128(..)));
            fs::write(&path, text).unwrap();
            Self(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let loaded = load(&[("PATH", "/bin"), ("PORT", "eighty")]).unwrap();
        assert_eq!(loaded.config.port, 8080);
        assert_eq!(loaded.config.drain_delay.0, Duration::from_secs(5));
        assert_eq!(loaded.config.drain_timeout.0, Duration::from_secs(20));
        assert_eq!(loaded.config.idle_timeout.0, Duration::from_secs(75));
        assert_eq!(loaded.config.body_limit, 1024 * 1024);
        assert!(loaded.effective().all(|(_, _, source)| source == Source::Default));
    }

    #[test]
    fn every_variable_takes_its_own_default() {
        for (variable, value, _) in load(&[]).unwrap().effective() {
            let Some(value) = value else { continue };
            let loaded = load(&[(&variable.name(), &value)]);
            assert!(loaded.is_ok(), "{}={value}: {loaded:?}", variable.name());
        }
    }

    #[test]
    fn each_bad_value_is_named_with_what_was_expected_and_found() {
        for (name, value) in [
            ("APP_PORT", "eighty"),
            ("APP_PORT", "65536"),
            ("APP_ADMIN_PORT", "-1"),
            ("APP_HOST", "localhost"),
            ("APP_LOG", "landfall=loud"),
            ("APP_LOG", "inof"),
            ("APP_LOG_FORMAT", "xml"),
            ("APP_ACCESS_LOG", "some"),
            ("APP_DRAIN_DELAY", "5"),
            ("APP_DRAIN_TIMEOUT", "soon"),
            ("APP_BODY_LIMIT", "1MiB"),
            ("APP_MAX_CONNECTIONS", "0"),
            ("APP_MAX_IN_FLIGHT", ""),
            ("APP_POD_NAME", ""),
        ] {
            let expects = VARIABLES.iter().find(|variable| variable.name() == name).unwrap().expects;
            assert_eq!(faults(&[(name, value)]), [format!("{name}: expected {expects}; found {value:?}")]);
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let found = faults(&[
            ("APP_PORT", "eighty"),
            ("APP_DRAIN_DELAY", "5"),
            ("APP_PROT", "80"),
            ("APP_REQUEST_TIMEOUT", "30s"),
        ]);
        let variables: Vec<_> = found.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        assert_eq!(variables, ["APP_DRAIN_DELAY", "APP_PORT", "APP_PROT", "APP_REQUEST_TIMEOUT"]);
    }

    #[test]
    fn an_unknown_name_stops_the_start_with_the_closest_known_one() {
        for (name, closest) in [
            ("APP_PROT", "APP_PORT"),
            ("APP_DRAIN_DELY", "APP_DRAIN_DELAY"),
            ("APP_api_token", "APP_API_TOKEN"),
            ("APP_API_TOKEN_FIEL", "APP_API_TOKEN_FILE"),
        ] {
            let expected = format!("{name}: expected no such variable; did you mean {closest}?");
            assert_eq!(faults(&[(name, "hidden")]), [expected]);
        }
    }

    #[test]
    fn values_that_contradict_each_other_are_faults() {
        for (vars, variable) in [
            (&[("APP_REQUEST_TIMEOUT", "21s")][..], "APP_REQUEST_TIMEOUT"),
            (&[("APP_DRAIN_TIMEOUT", "9s")], "APP_REQUEST_TIMEOUT"),
            (&[("APP_ADMIN_PORT", "8080")], "APP_ADMIN_PORT"),
            (&[("APP_TERMINATION_GRACE_PERIOD", "27s")], "APP_TERMINATION_GRACE_PERIOD"),
            (&[("APP_IDLE_TIMEOUT", "0s")], "APP_IDLE_TIMEOUT"),
        ] {
            let found = faults(vars);
            assert!(found.len() == 1 && found[0].starts_with(variable), "{vars:?}: {found:?}");
        }
        assert!(load(&[("APP_TERMINATION_GRACE_PERIOD", "28s")]).is_ok());
        assert!(load(&[("APP_PORT", "0"), ("APP_ADMIN_PORT", "0")]).is_ok());
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = "hunter2hunter2";
        let loaded = load(&[("APP_API_TOKEN", secret)]).unwrap();
        let effective: Vec<_> = loaded.effective().collect();
        for shown in [
            format!("{loaded:?}"),
            format!("{:#?}", loaded.config),
            serde_json::to_string(&loaded.config).unwrap(),
            format!("{effective:?}"),
        ] {
            assert!(!shown.contains("hunter2") && shown.contains("api_token"), "{shown}");
        }
        let bytes = OsString::from_vec([secret.as_bytes(), b"\xff"].concat());
        let faults = Loaded::from_vars([("APP_API_TOKEN".into(), bytes)]).unwrap_err();
        assert_eq!(faults.to_string(), "APP_API_TOKEN: expected a token, not empty");
        let misspelt = load(&[("APP_API_TOKNE", secret)]).unwrap_err();
        assert!(!format!("{misspelt:?} {misspelt}").contains("hunter2"));
    }

    #[test]
    fn a_value_that_is_not_text_is_a_fault() {
        let bytes = OsString::from_vec(b"80\xff".to_vec());
        let faults = Loaded::from_vars([("APP_PORT".into(), bytes)]).unwrap_err();
        assert_eq!(
            faults.to_string(),
            "APP_PORT: expected a port, 0 to 65535; found bytes that are not UTF-8"
        );
    }

    #[test]
    fn a_file_gives_a_value_without_its_last_line_break() {
        for text in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            let file = File::with(text.as_bytes());
            let loaded = load(&[("APP_API_TOKEN_FILE", file.path())]).unwrap();
            assert_eq!(loaded.sources["api_token"], Source::File(file.path().to_owned()));
            use secrecy::ExposeSecret;
            assert_eq!(loaded.config.api_token.unwrap().0.expose_secret(), "s3cret");
        }
        let file = File::with(b"9s\n");
        let loaded = load(&[("APP_DRAIN_DELAY_FILE", file.path())]).unwrap();
        assert_eq!(loaded.config.drain_delay.0, Duration::from_secs(9));
    }

    #[test]
    fn a_file_that_is_missing_empty_or_not_alone_is_a_fault() {
        let missing = faults(&[("APP_API_TOKEN_FILE", "/nowhere/token")]);
        assert!(
            missing[0].starts_with("APP_API_TOKEN_FILE: expected the path of a readable file"),
            "{missing:?}"
        );
        assert!(missing[0].contains("/nowhere/token"), "{missing:?}");
        let empty = File::with(b"\n");
        let found = faults(&[("APP_API_TOKEN_FILE", empty.path())]);
        assert_eq!(found, ["APP_API_TOKEN_FILE: expected a token, not empty"]);
        let file = File::with(b"81");
        let both = faults(&[("APP_PORT", "80"), ("APP_PORT_FILE", file.path())]);
        assert_eq!(both, ["APP_PORT_FILE: expected either APP_PORT or APP_PORT_FILE, not both"]);
        let bad = File::with(b"eighty");
        let found = faults(&[("APP_PORT_FILE", bad.path())]);
        assert_eq!(found, ["APP_PORT_FILE: expected a port, 0 to 65535; found \"eighty\""]);
    }

    #[test]
    fn links_to_a_service_called_app_are_passed_over() {
        let links = [
            ("APP_ADMIN_PORT", "tcp://10.0.0.2:90"),
            ("APP_ADMIN_SERVICE_HOST", "10.0.0.2"),
            ("APP_PORT", "tcp://10.0.0.1:80"),
            ("APP_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("APP_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("APP_PORT_80_TCP_PORT", "80"),
            ("APP_PORT_80_TCP_PROTO", "tcp"),
            ("APP_SERVICE_HOST", "10.0.0.1"),
            ("APP_SERVICE_PORT", "80"),
            ("APP_SERVICE_PORT_HTTP_ALT", "8081"),
        ];
        let loaded = load(&links).unwrap();
        assert_eq!(loaded.service_links, links.map(|(name, _)| name));
        assert_eq!((loaded.config.port, loaded.config.admin_port), (8080, 9090));
        assert!(loaded.sources.is_empty());
    }

    #[test]
    fn what_only_looks_like_a_link_is_a_fault() {
        for (name, value) in [
            ("APP_PORT", "tcp:80"),
            ("APP_SERVICE_HOST", "example"),
            ("APP_SERVICE_PORT", "http"),
            ("APP_PORT_80", "80"),
        ] {
            assert_eq!(faults(&[(name, value)]).len(), 1, "{name}={value}");
        }
    }

    #[test]
    fn a_long_value_is_shown_shortened() {
        let long = "x".repeat(1000);
        assert!(faults(&[("APP_PORT", &long)])[0].len() < 200);
    }

    #[test]
    fn the_readme_has_the_table_of_variables() {
        let readme = include_str!("../README.md");
        let rows = Config::default();
        let rows = Loaded { config: rows, sources: BTreeMap::new(), service_links: Vec::new() };
        let table: String = rows
            .effective()
            .map(|(variable, value, _)| {
                let value = value.map_or_else(|| "–".to_owned(), |value| format!("`{value}`"));
                format!("| `{}` | {value} | {} |\n", variable.name(), variable.meaning)
            })
            .collect();
        assert!(readme.contains(&table), "README.md should have these rows:\n{table}");
    }
}
