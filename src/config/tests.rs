use std::time::Duration;

use landfall_variables::Variables as _;
use proptest::prelude::*;

use super::*;
use crate::fuzz_tests::holds;

crate::variables! {
    struct Own {
        /// Who may come in.
        token: Option<Secret> = None, "a token, not empty", secret;
        /// Who has.
        guests: Vec<String> = Vec::new(), "names with commas between them";
        /// How many may.
        most: u16 = 20, "a whole number, 0 to 65535";
    }

    fn check(&self, config: &Config, errors: &mut ConfigErrors) {
        errors.expect(self.most != config.port, "most", "anything but APP_PORT", self.most);
    }
}

fn load<T: AsRef<str>>(vars: &[(T, T)]) -> Result<LoadedConfig<Own>, ConfigErrors> {
    LoadedConfig::from_vars(vars.iter().map(|(name, value)| (name.as_ref().into(), value.as_ref().into())))
}

fn errors(vars: &[(&str, &str)]) -> Vec<String> {
    load(vars).unwrap_err().0.iter().map(ConfigError::to_string).collect()
}

#[test]
fn an_empty_environment_gives_the_defaults() {
    let loaded = load(&[("PATH", "/bin"), ("PORT", "eighty")]).unwrap();
    assert_eq!(loaded.config.port, 8080);
    assert_eq!(loaded.config.drain_delay.0, Duration::from_secs(5));
    assert_eq!(loaded.config.drain_timeout.0, Duration::from_secs(20));
    assert_eq!(loaded.config.idle_timeout.0, Duration::from_secs(75));
    assert_eq!(loaded.config.body_limit, 64 * 1024);
    assert!(loaded.effective().filter(|(_, _, source)| *source != Source::Default).count() == 0);
}

#[test]
fn every_variable_takes_its_own_default() {
    for (variable, value, _) in load::<&str>(&[]).unwrap().effective() {
        let Some(value) = value else { continue };
        if variable.secret {
            continue;
        }
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
        ("APP_DRAIN_DELAY", "18446744073709551615s"),
        ("APP_TERMINATION_GRACE_PERIOD", "97h"),
        ("APP_IDLE_TIMEOUT", "0s"),
        ("APP_HEARTBEAT_LIMIT", "1ms"),
        ("APP_BODY_LIMIT", "1MiB"),
        ("APP_MAX_CONNECTIONS", "0"),
        ("APP_MAX_IN_FLIGHT", ""),
        ("APP_POD_NAME", ""),
    ] {
        let expects = list::<Own>().find(|variable| variable.name() == name).unwrap().expected();
        assert_eq!(errors(&[(name, value)]), [format!("{name}: expected {expects}; found {value:?}")]);
    }
}

#[test]
fn every_duration_has_bounds_and_they_are_told() {
    for variable in Config::LIST.iter().filter(|variable| variable.expects == DURATION) {
        let (shortest, longest) = variable.bounds.unwrap();
        for (value, is_within) in [
            (shortest.0, true),
            (longest.0, true),
            (longest.0 + Duration::from_nanos(1), false),
            (shortest.0.saturating_sub(Duration::from_nanos(1)), shortest.0.is_zero()),
        ] {
            let text = humantime::format_duration(value).to_string();
            assert_eq!(variable.takes(&text), is_within, "{}={text}", variable.name());
        }
        let told = format!(", {shortest} to {longest}");
        assert!(variable.expected().ends_with(&told), "{}", variable.expected());
    }
    assert_eq!(Config::LIST.iter().filter(|variable| variable.bounds.is_some()).count(), 13);
}

#[test]
fn values_that_contradict_each_other_are_faults() {
    for (vars, variable) in [
        (&[("APP_REQUEST_TIMEOUT", "21s")][..], "APP_REQUEST_TIMEOUT"),
        (&[("APP_DRAIN_TIMEOUT", "9s")], "APP_REQUEST_TIMEOUT"),
        (&[("APP_ADMIN_PORT", "8080")], "APP_ADMIN_PORT"),
        (&[("APP_TERMINATION_GRACE_PERIOD", "27s")], "APP_TERMINATION_GRACE_PERIOD"),
    ] {
        let found = errors(vars);
        assert!(found.len() == 1 && found[0].starts_with(variable), "{vars:?}: {found:?}");
    }
    assert!(load(&[("APP_TERMINATION_GRACE_PERIOD", "28s")]).is_ok());
    assert!(load(&[("APP_PORT", "0"), ("APP_ADMIN_PORT", "0")]).is_ok());
}

#[test]
fn worker_threads_go_by_what_is_said_then_by_the_request_then_by_the_cores() {
    for (variables, cores, expected) in [
        (&[][..], 64, 64),
        (&[("APP_CPU_REQUEST", "1")], 64, 2),
        (&[("APP_CPU_REQUEST", "1")], 1, 1),
        (&[("APP_CPU_REQUEST", "4")], 64, 4),
        (&[("APP_CPU_REQUEST", "8")], 4, 4),
        (&[("APP_CPU_REQUEST", "8"), ("APP_WORKER_THREADS", "1")], 64, 1),
        (&[("APP_WORKER_THREADS", "96")], 64, 96),
    ] {
        let config = load(variables).unwrap().config;
        assert_eq!(config.worker_threads(cores), expected, "{variables:?} on {cores}");
    }
}

#[test]
fn the_docs_have_the_table_of_the_engines_variables() {
    crate::testing::assert_documented::<Config>(include_str!("../../docs/configuration.md"));
}

#[test]
#[should_panic = "is missing:\n| `APP_MOST` | `20` | How many may. |\n"]
fn a_row_that_the_docs_lack_is_named() {
    let rows = Own::LIST.iter().filter(|variable| variable.field != "most").map(Variable::row);
    crate::testing::assert_documented::<Own>(&rows.collect::<Vec<_>>().join("\n"));
}

#[test]
#[should_panic = "is too much:\n| `APP_GONE` | – | Was here. |\n"]
fn a_row_of_a_variable_that_is_gone_is_named() {
    let rows = Own::LIST.iter().map(Variable::row).chain(["| `APP_GONE` | – | Was here. |".to_owned()]);
    crate::testing::assert_documented::<Own>(&rows.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_service_checks_its_variables_beside_the_engines() {
    assert_eq!(errors(&[("APP_MOST", "8080")]), ["APP_MOST: expected anything but APP_PORT; found 8080"]);
}

#[test]
fn any_variables_are_taken_in_and_told_again_or_refused_with_reasons_and_no_secret() {
    holds("variables", |input| {
        let text = input.text();
        let vars: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        match load(&vars) {
            Ok(loaded) => {
                let told = |loaded: &LoadedConfig<Own>| {
                    let set = loaded.effective().filter(|(.., source)| *source != Source::Default);
                    set.filter_map(|(variable, value, _)| Some((variable.name(), value?))).collect::<Vec<_>>()
                };
                let again = load(&told(&loaded)).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
                prop_assert_eq!(told(&again), told(&loaded));
                let shown = format!("{loaded:?}");
                prop_assert!(!shown.contains("hunter2hunter2") || is_no_secret(&vars));
            }
            Err(errors) => {
                prop_assert!(!errors.0.is_empty());
                prop_assert!(!errors.to_string().contains("hunter2hunter2") || is_no_secret(&vars));
            }
        }
        Ok(())
    });
}

/// Whether the token stands where none is expected.
fn is_no_secret(vars: &[(String, String)]) -> bool {
    let has_token = |text: &String| text.contains("hunter2hunter2");
    vars.iter().any(|(name, value)| {
        has_token(name) || (has_token(value) && !["APP_TOKEN", "APP_TOKEN_FILE"].contains(&name.as_str()))
    })
}
