use std::{ffi::OsString, os::unix::ffi::OsStringExt, time::Duration};

use crate::*;

/// As a framework names it.
type Loaded<V = ()> = LoadedConfig<Config, V>;

declare! {
    beside Config;
    /// What several programs have.
    struct Config {
        /// The door.
        port: u16 = 8080, "a port, 0 to 65535";
        /// The door at the back.
        admin_port: u16 = 9090, "a port, 0 to 65535";
        /// How long it stays open.
        drain_delay: HumanDuration = HumanDuration::secs(5), "a duration";
    }

    fn check(&self, _config: &Config, errors: &mut ConfigErrors) {
        errors.expect(self.port != self.admin_port, "admin_port", "another port than APP_PORT", self.admin_port);
    }
}

declare! {
    beside Config;
    /// One of each kind.
    struct Own {
        /// Where the items are kept.
        database_url: Secret, "a URL that begins with postgres://", secret;
        /// How many items a page has.
        page_size: u16 = 20, "a whole number, 0 to 65535";
        /// How many a page may have at most.
        largest_page: u16 = 100, "a whole number, 0 to 65535";
        /// How long an item is kept.
        retention: HumanDuration = HumanDuration::secs(90), "a duration", within(HumanDuration::secs(1), HumanDuration::hours(2));
        /// How long it may take.
        patience: HumanDuration = HumanDuration::secs(1), "a duration";
        /// A note.
        note: Option<String> = None, "text, not empty";
    }

    fn check(&self, config: &Config, errors: &mut ConfigErrors) {
        errors.expect(self.page_size <= self.largest_page, "page_size", "at most APP_LARGEST_PAGE", self.page_size);
        errors.expect(self.page_size != config.port, "page_size", "anything but APP_PORT", self.page_size);
    }
}

const URL: (&str, &str) = ("APP_DATABASE_URL", "postgres://hunter2@db");

fn load(vars: &[(&str, &str)]) -> Result<Loaded<Own>, ConfigErrors> {
    let url = [URL]
        .into_iter()
        .filter(|(url, _)| vars.iter().all(|(name, _)| name.strip_suffix("_FILE").unwrap_or(name) != *url));
    load_alone(&url.chain(vars.iter().copied()).collect::<Vec<_>>())
}

fn load_alone(vars: &[(&str, &str)]) -> Result<Loaded<Own>, ConfigErrors> {
    Loaded::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())))
}

fn errors(vars: &[(&str, &str)]) -> Vec<String> {
    load(vars).unwrap_err().0.iter().map(ConfigError::to_string).collect()
}

/// A file that is gone when this is.
struct File(std::path::PathBuf);

impl File {
    fn with(text: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("landfall-{:x}", fastrand::u128(..)));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn a_service_gives_its_durations_bounds_too_and_without_them_a_year_is_the_longest() {
    for bad in ["999ms", "2h 1ns"] {
        let expected = format!("APP_RETENTION: expected a duration, 1s to 2h; found {bad:?}");
        assert_eq!(errors(&[("APP_RETENTION", bad)]), [expected]);
    }
    assert!(load(&[("APP_RETENTION", "1s")]).is_ok());
    assert!(load(&[("APP_PATIENCE", "365days")]).is_ok());
    assert_eq!(errors(&[("APP_PATIENCE", "366days")]).len(), 1);
}

#[test]
fn all_faults_are_told_at_once() {
    let found = errors(&[
        ("APP_PORT", "eighty"),
        ("APP_DRAIN_DELAY", "5"),
        ("APP_PROT", "80"),
        ("APP_PAGE_SIZE", "101"),
    ]);
    let variables: Vec<_> = found.iter().map(|fault| fault.split(':').next().unwrap()).collect();
    assert_eq!(variables, ["APP_DRAIN_DELAY", "APP_PORT", "APP_PROT", "APP_PAGE_SIZE"]);
}

#[test]
fn an_unknown_name_stops_the_start_with_the_closest_known_one() {
    for (name, closest) in [
        ("APP_PROT", "APP_PORT"),
        ("APP_DRAIN_DELY", "APP_DRAIN_DELAY"),
        ("APP_database_url", "APP_DATABASE_URL"),
        ("APP_DATABASE_URL_FIEL", "APP_DATABASE_URL_FILE"),
    ] {
        let expected = format!("{name}: expected no such variable; did you mean {closest}?");
        assert_eq!(errors(&[(name, "hidden")]), [expected]);
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let secret = "hunter2hunter2";
    let loaded = load(&[("APP_DATABASE_URL", secret)]).unwrap();
    let effective: Vec<_> = loaded.effective().collect();
    for shown in [
        format!("{loaded:?}"),
        format!("{:#?}", loaded.variables),
        loaded.to_table(),
        loaded.to_json().to_string(),
        format!("{effective:?}"),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.to_lowercase().contains("database_url"), "{shown}");
    }
    let bytes = OsString::from_vec([secret.as_bytes(), b"\xff"].concat());
    let faults = Loaded::<Own>::from_vars([("APP_DATABASE_URL".into(), bytes)]).unwrap_err();
    assert_eq!(faults.to_string(), "APP_DATABASE_URL: expected a URL that begins with postgres://");
    let misspelt = load(&[("APP_DATABASE_ULR", secret)]).unwrap_err();
    assert!(!format!("{misspelt:?} {misspelt}").contains("hunter2"));
}

#[test]
fn a_value_that_is_not_text_is_a_fault() {
    let bytes = OsString::from_vec(b"80\xff".to_vec());
    let faults = Loaded::<()>::from_vars([("APP_PORT".into(), bytes)]).unwrap_err();
    assert_eq!(faults.to_string(), "APP_PORT: expected a port, 0 to 65535; found bytes that are not UTF-8");
}

#[test]
fn a_file_gives_a_value_without_its_last_line_break() {
    for text in ["s3cret", "s3cret\n", "s3cret\r\n"] {
        let file = File::with(text.as_bytes());
        let loaded = load(&[("APP_DATABASE_URL_FILE", file.path())]).unwrap();
        assert_eq!(loaded.sources["database_url"], Source::File(file.path().to_owned()));
        assert_eq!(loaded.variables.database_url.expose(), "s3cret");
    }
    let file = File::with(b"9s\n");
    let loaded = load(&[("APP_DRAIN_DELAY_FILE", file.path())]).unwrap();
    assert_eq!(loaded.config.drain_delay.0, Duration::from_secs(9));
}

const FILE: &str = "expected the path of a readable file, a regular one of 64 KiB at most; found";

#[test]
fn a_file_that_is_large_or_not_regular_is_a_fault() {
    let largest = File::with(&[b'x'; 64 * 1024]);
    assert!(load(&[("APP_NOTE_FILE", largest.path())]).is_ok());
    let sparse = File::with(b"");
    std::fs::File::options().write(true).open(&sparse.0).unwrap().set_len(300 << 20).unwrap();
    for (path, reason) in [
        (sparse.path(), "it is larger than 64 KiB"),
        ("/dev/zero", "it is no regular file"),
        ("/tmp", "it is no regular file"),
    ] {
        assert_eq!(errors(&[("APP_NOTE_FILE", path)]), [format!("APP_NOTE_FILE: {FILE} {path:?}: {reason}")]);
    }
}

#[test]
fn a_secret_that_was_taken_for_a_path_is_shown_nowhere() {
    for (secret, reason) in [
        ("hunter2", "No such file or directory (os error 2)"),
        ("hunter2\0", "file name contained an unexpected NUL byte"),
        (&"hunter2".repeat(1000), "File name too long (os error 36)"),
    ] {
        let found = errors(&[("APP_DATABASE_URL_FILE", secret)]);
        assert_eq!(found, [format!("APP_DATABASE_URL_FILE: {FILE} {reason}")]);
    }
}

#[test]
fn a_file_that_is_missing_empty_or_not_alone_is_a_fault() {
    let missing = errors(&[("APP_NOTE_FILE", "/nowhere/note")]);
    let reason = "\"/nowhere/note\": No such file or directory (os error 2)";
    assert_eq!(missing, [format!("APP_NOTE_FILE: {FILE} {reason}")]);
    let empty = File::with(b"\n");
    let found = errors(&[("APP_DATABASE_URL_FILE", empty.path())]);
    assert_eq!(found, ["APP_DATABASE_URL_FILE: expected a URL that begins with postgres://"]);
    let file = File::with(b"81");
    let both = errors(&[("APP_PORT", "80"), ("APP_PORT_FILE", file.path())]);
    assert_eq!(both, ["APP_PORT_FILE: expected either APP_PORT or APP_PORT_FILE, not both"]);
    let bad = File::with(b"eighty");
    let found = errors(&[("APP_PORT_FILE", bad.path())]);
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
    assert_eq!(loaded.sources.keys().copied().collect::<Vec<_>>(), ["database_url"]);
}

#[test]
fn what_only_looks_like_a_link_is_a_fault() {
    for (name, value) in [
        ("APP_PORT", "tcp:80"),
        ("APP_SERVICE_HOST", "example"),
        ("APP_SERVICE_PORT", "http"),
        ("APP_PORT_80", "80"),
        ("APP_PORT_80_HTTP", "80"),
        ("APP_PORT_HTTP_TCP", "80"),
    ] {
        assert_eq!(errors(&[(name, value)]).len(), 1, "{name}={value}");
    }
}

#[test]
fn a_long_value_is_shown_shortened() {
    let long = "x".repeat(1000);
    assert!(errors(&[("APP_PORT", &long)])[0].len() < 200);
}

#[test]
fn a_required_variable_that_is_missing_stops_the_start() {
    let found = load_alone(&[("APP_PAGE_SIZE", "many")]).unwrap_err().to_string();
    assert_eq!(
        found,
        "APP_PAGE_SIZE: expected a whole number, 0 to 65535; found \"many\"\n\
         APP_DATABASE_URL: expected a URL that begins with postgres://; it has no default; found nothing"
    );
}

#[test]
fn variables_of_the_service_are_listed_behind_the_engines() {
    let loaded = load(&[("APP_PAGE_SIZE", "7")]).unwrap();
    let rows: Vec<_> = loaded.effective().collect();
    assert_eq!(rows.len(), Config::LIST.len() + Own::LIST.len());
    let row = |field| rows.iter().find(|(variable, ..)| variable.field == field).unwrap();
    assert_eq!((row("page_size").1.as_deref(), &row("page_size").2), (Some("7"), &Source::Env));
    assert_eq!((row("largest_page").1.as_deref(), &row("largest_page").2), (Some("100"), &Source::Default));
    assert_eq!(row("database_url").1.as_deref(), Some("[redacted]"));
    assert_eq!(row("note").1, None);
}

#[test]
fn the_table_says_what_is_required() {
    let rows: Vec<_> = Own::LIST.iter().map(Variable::row).collect();
    assert_eq!(rows[0], "| `APP_DATABASE_URL` | required | Where the items are kept. |");
    assert_eq!(rows[1], "| `APP_PAGE_SIZE` | `20` | How many items a page has. |");
    assert_eq!(rows[3], "| `APP_RETENTION` | `90s` | How long an item is kept. 1s to 2h. |");
    assert_eq!(rows[5], "| `APP_NOTE` | – | A note. |");
}

#[test]
fn a_service_checks_its_variables_against_each_other_and_against_the_engines() {
    let found = errors(&[("APP_PAGE_SIZE", "8080"), ("APP_LARGEST_PAGE", "9")]);
    assert_eq!(
        found,
        [
            "APP_PAGE_SIZE: expected at most APP_LARGEST_PAGE; found 8080",
            "APP_PAGE_SIZE: expected anything but APP_PORT; found 8080",
        ]
    );
}

#[test]
fn a_service_cannot_declare_a_variable_of_the_engines() {
    declare! {
        beside Config;
        struct Clashing {
            /// A door.
            port: String, "a door";
        }
    }
    let errors = Loaded::<Clashing>::from_vars([("APP_PORT".into(), "8080".into())]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "APP_PORT: expected a name that the engine does not use; the service declares it too"
    );
}

#[test]
fn a_list_is_shown_as_it_is_written() {
    declare! {
        beside Config;
        struct Lists {
            /// Who may come.
            guests: Vec<String> = vec!["ada".to_owned(), "bob".to_owned()], "names with commas between them";
            /// Who may not.
            banned: Vec<String> = Vec::new(), "names with commas between them";
        }
    }
    let load = |vars: Vec<(OsString, OsString)>| Loaded::<Lists>::from_vars(vars).unwrap();
    let shown = |loaded: &Loaded<Lists>, field| {
        loaded.effective().find(|(variable, ..)| variable.field == field).unwrap().1
    };
    let defaults = load(Vec::new());
    assert_eq!(shown(&defaults, "guests").as_deref(), Some("ada,bob"));
    assert_eq!(shown(&defaults, "banned"), None);
    let set = load(vec![("APP_BANNED".into(), "eve,mallory".into())]);
    assert_eq!(set.variables.banned, ["eve", "mallory"]);
    assert_eq!(shown(&set, "banned").as_deref(), Some("eve,mallory"));
}
