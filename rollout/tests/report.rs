//! What a run writes besides its table: the page, the JSON and its schema, JUnit, and the summary of a CI job.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{FEW, ROLLOUT, Service, code, err, json, local, out, sample, scratch};
use serde_json::Value;

/// The files of one run.
struct Written {
    page: String,
    json: Value,
    junit: String,
    summary: String,
}

/// Runs with every file wanted; the exit code has to be this one.
#[track_caller]
fn written(name: &str, mut run: Command, exit: i32) -> Written {
    let files = ["html", "json", "xml", "md"].map(|kind| scratch(&format!("{name}.{kind}")));
    std::fs::write(&files[3], "before\n").unwrap();
    for (flag, file) in ["--report", "--json", "--junit", "--summary"].iter().zip(&files) {
        run.arg(flag).arg(file);
    }
    let run = run.output().unwrap();
    assert_eq!(code(&run), exit, "{}{}", out(&run), err(&run));
    let text = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    let [page, _, junit, summary] = files.each_ref().map(text);
    let written = Written { page, json: json(&files[1]), junit, summary };
    let schema = json(&PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json")));
    if let Err(error) = jsonschema::validate(&schema, &written.json) {
        panic!("{error} at {}", error.instance_path());
    }
    balanced(&written.page, &["meta"]);
    balanced(&written.junit, &[]);
    written
}

/// Fails unless every element that is begun is ended, in order.
#[track_caller]
fn balanced(markup: &str, empty: &[&str]) {
    let mut open = Vec::new();
    let mut rest = markup;
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, after) = tag.split_once('>').unwrap();
        rest = after;
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {}", &rest[..rest.len().min(200)]);
        } else if !tag.ends_with(['/', '?']) && !name.starts_with('!') && !empty.contains(&name) {
            open.push(name);
            // What stands in these is no markup.
            if ["script", "style"].contains(&name) {
                rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
            }
        }
    }
    assert!(open.is_empty(), "never ended: {open:?}");
}

/// What stands in the page's scripts of data.
fn data(page: &str) -> Vec<Value> {
    let scripts = page.split("class=\"data\">").skip(1);
    scripts.map(|script| serde_json::from_str(script.split("</script>").next().unwrap()).unwrap()).collect()
}

#[test]
fn a_comparison_is_one_page_with_each_lost_request() {
    let run =
        local(&["--compare", "--modes", "none,flag", "--rollouts", "1", "--scale", "0.1", "--clients", FEW]);
    let Written { page, json, junit, summary } = written("compared", run, 1);
    assert_eq!(&data(&page), json.as_array().unwrap());
    let [none, flag] = &json.as_array().unwrap()[..] else { panic!("{json:#}") };
    assert_eq!([&none["verdict"], &flag["verdict"]], ["lost", "lost"]);

    let failures = none["failures"].as_array().unwrap();
    assert_eq!(
        page.matches("<article>").count(),
        failures.len() + flag["failures"].as_array().unwrap().len()
    );
    assert!(failures.iter().any(|failure| failure["pod"]["name"].is_string()), "{failures:#?}");
    let first = &failures[0];
    assert!(page.contains(&format!("data-at=\"{:.3}\"", first["at"].as_f64().unwrap())));
    assert!(page.contains("got no new connections at") && page.contains("class=\"life\""));
    let lost = none["all"]["lost"].as_u64().unwrap();
    assert!(page.contains(&format!("<p class=\"verdict some\">{lost} requests were lost</p>")), "{lost}");
    assert_eq!(page.matches("<svg xmlns").count(), 2, "a chart for each run");
    // It opens without a network.
    for elsewhere in [" src=", "@import", "url(", "<link", "href=\"http"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }

    assert_eq!(junit.matches("<testsuite ").count(), 2);
    let lossy = |run: &Value| {
        let clients = run["clients"].as_object().unwrap();
        clients.values().filter(|tally| tally["lost"].as_u64().unwrap() > 0).count()
    };
    assert_eq!(junit.matches("<failure ").count(), lossy(none) + lossy(flag));
    assert!(summary.starts_with("before\n### The comparison\n\n| lost of requests"), "{summary}");
    assert!(
        summary.contains("### ❌ none: 1 rollout") && summary.contains("### ❌ flag: 1 rollout"),
        "{summary}"
    );
}

#[test]
fn names_are_no_markup_and_an_earlier_run_stands_beside() {
    let binary = scratch("<b>&\"x");
    std::os::unix::fs::symlink(sample(), &binary).unwrap();
    let earlier = scratch("earlier.json");
    let run = Command::new(ROLLOUT)
        .args(["local", "--binary", sample(), "--rollouts", "0", "--scale", "0.1", "--clients", "busy=1"])
        .args(["--json".as_ref(), earlier.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(code(&run), 0, "{}", err(&run));
    let mut run = Command::new(ROLLOUT);
    run.args([
        "local",
        "--rollouts",
        "0",
        "--scale",
        "0.1",
        "--clients",
        "busy=1,fresh=1",
        "--header",
        "X-Token: secret",
    ])
    .args(["--binary".as_ref(), binary.as_os_str(), "--beside".as_ref(), earlier.as_os_str()]);
    let Written { page, json, junit, summary } = written("named", run, 0);
    assert!(page.contains("<h1>") && page.contains("-&lt;b&gt;&amp;&quot;x</h1>"), "the name is missing");
    assert!(!page.contains("<b>") && !junit.contains("<b>"), "the name is markup");
    assert!(page.contains("<tr class=\"earlier\"><th scope=\"row\">testbed</th>"), "no earlier run");
    assert!(!page.contains("secret") && !json.to_string().contains("secret"), "a header's value is shown");
    assert_eq!(json["load"]["headers"][0], "X-Token");
    assert!(page.contains("<p class=\"verdict none\">Nothing was lost</p>"));
    assert!(junit.contains("tests=\"3\" failures=\"0\" errors=\"0\""), "{junit}");
    assert!(summary.contains(r"### ✅ ") && summary.contains(r"\<b>&"), "{summary}");
}

#[test]
fn an_unfinished_run_is_an_error_and_no_failure() {
    let service = Service::naive();
    let file = scratch("unfinished.xml");
    let run = Command::new(ROLLOUT)
        .args([
            "drive",
            "--url",
            &service.url(),
            "--pause",
            "300ms",
            "--idle",
            "100ms-200ms",
            "--clients",
            "busy=1",
        ])
        .args(["--junit".as_ref(), file.as_os_str()])
        .args(["--", "sh", "-c", "exit 3"])
        .output()
        .unwrap();
    assert_eq!(code(&run), 2, "{}", err(&run));
    let junit = std::fs::read_to_string(file).unwrap_or_else(|gone| panic!("{gone}: {}", err(&run)));
    balanced(&junit, &[]);
    assert!(junit.contains("failures=\"0\" errors=\"1\"") && junit.contains("exit status: 3"), "{junit}");
}

#[test]
fn what_is_no_earlier_run_is_refused_before_the_run() {
    let file = scratch("other.json");
    std::fs::write(&file, "[{}]").unwrap();
    for file in [file.to_str().unwrap(), "/nowhere.json"] {
        let run = local(&["--report", "page.html", "--beside", file]).output().unwrap();
        assert_eq!(code(&run), 2);
        assert!(err(&run).contains("--beside"), "{}", err(&run));
    }
}
