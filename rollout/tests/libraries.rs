//! `--library`: programs that send with a library of their own, here scripts that say what a library could.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;

use common::{ROLLOUT, Service, code, err, json, out, rollout, scratch, script};

/// Until its input ends, which `read` tells from a line that has not come yet.
const UNTIL_THE_END: &str = "cat > /dev/null";

fn directory(name: &str) -> PathBuf {
    let directory = scratch(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Drives a service that never ends with these libraries, a busy client each.
fn drive(service: &Service, directory: &Path, names: &str, file: &Path) -> Output {
    let url = service.url();
    std::process::Command::new(ROLLOUT)
        .args(["drive", "--url", &url, "--pause", "200ms", "--idle", "100ms-200ms", "--library", names])
        .args(["--library-clients", "busy=2@5ms-20ms,idle=3"])
        .args(["--libraries".as_ref(), directory.as_os_str(), "--json".as_ref(), file.as_os_str()])
        .args(["--", "true"])
        .output()
        .unwrap()
}

#[test]
fn what_a_library_says_is_counted_as_it_says_it() {
    let (service, libraries, file) = (Service::naive(), directory("said"), scratch("said.json"));
    let said = format!(
        "echo 201 0.001; echo 000 0.2 connection reset; echo 503 0.003; {UNTIL_THE_END}; echo 200 0.4"
    );
    script(&libraries.join("ruby"), &said);
    let run = drive(&service, &libraries, "ruby", &file);
    assert_eq!(code(&run), 1, "{}{}", out(&run), err(&run));
    assert!(out(&run).contains(", ruby: connection reset ("), "{}", out(&run));
    let clients = &json(&file)["clients"];
    // Only the library, and each pace has a row.
    assert_eq!(clients.as_object().unwrap().len(), 2, "{clients:#}");
    for row in ["ruby", "ruby-idle"] {
        let row = &clients[row];
        // What it had begun when its input ended is counted too.
        assert_eq!(
            (&row["ok"], &row["library_error"], &row["statuses"]["503"]),
            (&2.into(), &1.into(), &1.into())
        );
        assert_eq!(row["lost"], 2, "{row:#}");
    }
}

#[test]
fn a_library_is_told_what_to_send_and_how() {
    let (service, libraries) = (Service::naive(), directory("told"));
    let told = libraries.join("told");
    let variables =
        "$ROLLOUT_URL|$ROLLOUT_BODY|$ROLLOUT_HEADERS|$ROLLOUT_CLIENTS|$ROLLOUT_PAUSE_MS|$ROLLOUT_TIMEOUT_MS";
    script(
        &libraries.join("ruby"),
        &format!(
            "echo \"{variables}\" >> '{}.'$ROLLOUT_CLIENTS; echo 200 0; {UNTIL_THE_END}",
            told.display()
        ),
    );
    let (url, directory) = (service.url(), libraries.to_str().unwrap());
    let drive = ["drive", "--url", &url, "--pause", "200ms", "--idle", "100ms-200ms", "--library", "ruby"];
    let what = [
        "--libraries",
        directory,
        "--post",
        "/carts",
        "--post-body",
        "[1]",
        "--header",
        "A: b",
        "--header",
        "C:d",
    ];
    let how = ["--response-timeout", "3s", "--library-clients", "busy=2,idle=3", "--", "true"];
    let run = rollout(&[&drive[..], &what[..], &how[..]].concat());
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let read = |clients| std::fs::read_to_string(format!("{}.{clients}", told.display())).unwrap();
    assert_eq!(read(2), format!("{url}/carts|[1]|A: b\nC: d\n|2|5 20|3000\n"));
    assert_eq!(read(3), format!("{url}/carts|[1]|A: b\nC: d\n|3|100 200|3000\n"));
}

#[test]
fn one_that_is_missing_ends_with_2_and_says_why() {
    let (service, libraries, file) = (Service::naive(), directory("missing"), scratch("missing.json"));
    script(&libraries.join("ruby"), &format!("echo 200 0.001; {UNTIL_THE_END}"));
    std::fs::write(libraries.join("perl.missing"), "no perl on the PATH\n").unwrap();
    let run = drive(&service, &libraries, "ruby,perl", &file);
    assert_eq!(code(&run), 2, "{}", out(&run));
    assert!(
        err(&run).contains("--library perl: there is none in ")
            && err(&run).contains(": no perl on the PATH; ")
    );
    // Those that are there are not held up by one that is not, but it is named.
    let run = drive(&service, &libraries, "installed", &file);
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    assert!(err(&run).contains("rollout: without perl: no perl on the PATH"), "{}", err(&run));
    let run = drive(&service, &libraries.join("none"), "installed", &file);
    assert_eq!((code(&run), err(&run).contains("run `make libraries`")), (2, true), "{}", err(&run));
}

#[test]
fn one_that_fails_proves_nothing() {
    let (service, libraries) = (Service::naive(), directory("fails"));
    for (says, because) in [
        (
            "echo 200 0.001; echo no such module >&2; exit 3",
            "ended by itself (exit status: 3): no such module",
        ),
        ("echo 200 0.001; echo hello; cat > /dev/null", "wrote what is no response: hello"),
    ] {
        script(&libraries.join("ruby"), says);
        let run = drive(&service, &libraries, "ruby", &scratch("fails.json"));
        assert_eq!(code(&run), 2, "{}{}", out(&run), err(&run));
        assert!(out(&run).contains(because), "{}", out(&run));
    }
}
