//! Takes the variables in one by one, and keeps everything that is wrong with them.

use std::{collections::BTreeMap, ffi::OsString, fmt, net::IpAddr};

use serde_json::{Value, json};

use crate::{ConfigErrors, PREFIX, Variable, Variables, file};

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

/// The configuration and the program's own variables, and how they came about.
#[derive(Debug, Clone)]
pub struct LoadedConfig<C, V = ()> {
    /// The configuration in force.
    pub config: C,
    /// The program's own variables.
    pub variables: V,
    /// Where each value that is not a default came from, by field.
    pub sources: BTreeMap<&'static str, Source>,
    /// Variables that Kubernetes made for a Service called `app` or `app-…`; they set nothing.
    pub service_links: Vec<String>,
}

impl<C: Variables<C>, V: Variables<C>> LoadedConfig<C, V> {
    /// Every variable there is: the configuration's, then the program's own.
    pub fn list() -> impl Iterator<Item = &'static Variable> {
        C::LIST.iter().chain(V::LIST)
    }

    /// Reads this process's environment.
    pub fn from_env() -> Result<Self, ConfigErrors> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads the given variables; those without the prefix are not looked at.
    pub fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigErrors> {
        let mut reader = Reader { known: Self::list().collect(), ..Reader::default() };
        let vars: BTreeMap<_, _> = vars
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        for (name, value) in vars {
            reader.read(name, value);
        }
        reader.require();
        let Reader { values, sources, service_links, mut errors, .. } = reader;
        let (config, variables) = (C::from_values(&values), V::from_values(&values));
        if let Some(config) = &config {
            config.check(config, &mut errors);
            variables.iter().for_each(|variables| variables.check(config, &mut errors));
        }
        match (config, variables) {
            (Some(config), Some(variables)) if errors.0.is_empty() => {
                Ok(Self { config, variables, sources, service_links })
            }
            _ => Err(errors),
        }
    }

    /// Each variable with its effective value, secrets redacted, and where that came from.
    pub fn effective(&self) -> impl Iterator<Item = (Variable, Option<String>, Source)> {
        let values = self.config.shown().into_iter().chain(self.variables.shown());
        Self::list().zip(values).map(|(variable, value)| {
            let source = self.sources.get(variable.field).cloned().unwrap_or(Source::Default);
            (*variable, value, source)
        })
    }

    /// What is in force, for programs: an array of one object for each variable.
    pub fn to_json(&self) -> Value {
        let row = |(variable, value, source): (Variable, Option<String>, Source)| {
            json!({
                "name": variable.name(),
                "value": value,
                "source": source.to_string(),
                "meaning": variable.meaning,
                "expects": variable.expected(),
                "secret": variable.secret,
                "required": variable.required,
            })
        };
        self.effective().map(row).collect()
    }

    /// What is in force, for people: a table with a line for each variable.
    pub fn to_table(&self) -> String {
        let header = ["VARIABLE", "VALUE", "SOURCE", "MEANING"].map(str::to_owned);
        let rows = self.effective().map(|(variable, value, source)| {
            let value = value.unwrap_or_else(|| "-".to_owned());
            [variable.name(), value, source.to_string(), variable.meaning.to_owned()]
        });
        let rows: Vec<[String; 4]> = [header].into_iter().chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [a, b, c] = [width(0), width(1), width(2)];
        let line = |[name, value, source, meaning]: &[String; 4]| {
            format!("{name:a$}  {value:b$}  {source:c$}  {meaning}\n")
        };
        rows.iter().map(line).collect()
    }
}

/// Reads variables one by one.
#[derive(Default)]
struct Reader {
    known: Vec<&'static Variable>,
    values: BTreeMap<&'static str, String>,
    sources: BTreeMap<&'static str, Source>,
    service_links: Vec<String>,
    errors: ConfigErrors,
}

impl Reader {
    fn find(&self, name: &str) -> Option<&'static Variable> {
        self.known.iter().copied().find(|variable| variable.name() == name)
    }

    fn read(&mut self, name: String, value: OsString) {
        if value.to_str().is_some_and(|value| is_service_link(&name[PREFIX.len()..], value)) {
            return self.service_links.push(name);
        }
        if let Some(variable) = self.find(&name) {
            let value = value.into_string().map_err(|_| "bytes that are not UTF-8".to_owned());
            return self.accept(variable, name, value, Source::Env);
        }
        let Some(variable) = name.strip_suffix("_FILE").and_then(|name| self.find(name)) else {
            let expected = format!("no such variable; did you mean {}?", self.closest(&name));
            return self.errors.push(name, expected, None);
        };
        if self.sources.contains_key(variable.field) {
            let expected = format!("either {} or {name}, not both", variable.name());
            return self.errors.push(name, expected, None);
        }
        let path = value.to_string_lossy().into_owned();
        match file::read(&path) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
                self.accept(variable, name, Ok(text), Source::File(path));
            }
            Err(error) => {
                // A secret that was put here itself must not be shown.
                let found = if variable.secret { error.to_string() } else { format!("{path:?}: {error}") };
                let expected = "the path of a readable file, a regular one of 64 KiB at most";
                self.errors.push(name, expected.to_owned(), Some(found));
                self.sources.insert(variable.field, Source::File(path));
            }
        }
    }

    fn accept(
        &mut self,
        variable: &'static Variable,
        name: String,
        value: Result<String, String>,
        source: Source,
    ) {
        self.sources.insert(variable.field, source);
        match value {
            Ok(value) if !value.is_empty() && variable.takes(&value) => {
                self.values.insert(variable.field, value);
            }
            rejected => {
                let found = match rejected {
                    _ if variable.secret => None,
                    Ok(value) => Some(format!("{:?}", shorten(&value))),
                    Err(what) => Some(what),
                };
                self.errors.push(name, variable.expected(), found);
            }
        }
    }

    /// What has no default has to be there, be it wrong; and each variable has one meaning.
    fn require(&mut self) {
        for (place, variable) in self.known.iter().enumerate() {
            if self.known[..place].iter().any(|engines| engines.field == variable.field) {
                let expected = "a name that the engine does not use; the service declares it too";
                self.errors.push(variable.name(), expected.to_owned(), None);
            }
            if variable.required && !self.sources.contains_key(variable.field) {
                let expected = format!("{}; it has no default", variable.expected());
                self.errors.push(variable.name(), expected, Some("nothing".to_owned()));
            }
        }
    }

    fn closest(&self, name: &str) -> String {
        self.known
            .iter()
            .flat_map(|variable| [variable.name(), variable.name() + "_FILE"])
            .min_by_key(|known| strsim::damerau_levenshtein(known, &name.to_uppercase()))
            .expect("there are variables")
    }
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
        [.., "PORT", port, protocol] | [.., "PORT", port, protocol, "PROTO" | "PORT" | "ADDR"]
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
