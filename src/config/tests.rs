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
    assert_eq!(faults.to_string(), "APP_PORT: expected a port, 0 to 65535; found bytes that are not UTF-8");
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
    let readme = include_str!("../../README.md");
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
