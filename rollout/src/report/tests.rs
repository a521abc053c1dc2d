//! What every form of a report makes of the same run, in which each thing that can be counted was counted differently often.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use super::chart::{self, Detail};
use super::summary::{Report, Setting, Verdict};
use super::{json, junit, losses, markdown, page, text};
use crate::args::{Args, Command};
use crate::record::kind::Kind;
use crate::record::outcome::Outcome;
use crate::record::pods::{End, PodHistory, Pods};
use crate::record::recorder::{Failure, Observations, Recorder};
use crate::record::tally::Tally;
use crate::session::{Ending, Session};
use crate::unable::Unable;

fn tally(counts: &[(Outcome, u64)]) -> Tally {
    let mut tally = Tally::new();
    for (outcome, times) in counts {
        (0..*times).for_each(|_| tally.count(*outcome));
    }
    tally
}

fn failure(at: f64, pods: &Pods, pod: Option<&str>) -> Failure {
    Failure {
        at,
        kind: Kind::Busy,
        outcome: Outcome::LostKept,
        answered_before: 7,
        bytes_received: 19,
        pod: pod.map(|name| pods.state(name)),
        detail: "it <broke> off".into(),
    }
}

fn history(name: &str, terminating: Option<f64>, gone: Option<f64>, end: Option<End>) -> PodHistory {
    let left_endpoints = terminating.map(|terminating| 1.2 * terminating);
    PodHistory { name: name.into(), started: 0.5, ready: Some(1.0), terminating, left_endpoints, gone, end }
}

fn report(observed: Observations, ending: Ending, histories: Vec<PodHistory>) -> Report {
    let Command::Drive(drive) =
        Args::parse_from(["rollout", "drive", "--url", "http://here", "--", "true"]).command
    else {
        panic!("it is `drive`");
    };
    let setting = Setting {
        name: "here".into(),
        sequence: None,
        steps: vec!["true".into()],
        rollouts: 1,
        chaos: false,
        scale: 1.0,
        timings: Some(json!({})),
        clients: drive.load.clients(drive.idle).unwrap_or_else(|Unable(why)| panic!("{why}")),
        load: drive.load,
    };
    Report::new(setting, Session { observed, loaded: Duration::from_secs(4), ending }, histories)
}

/// Two kinds of client and every outcome.
fn lossy() -> Report {
    let mut observed = Recorder::start().observations();
    let mut busy = tally(&[
        (Outcome::Ok, 1000),
        (Outcome::Status(404), 1),
        (Outcome::Status(503), 2),
        (Outcome::LostFirst, 4),
        (Outcome::LostKept, 8),
        (Outcome::Refused, 16),
        (Outcome::ConnectTimeout, 32),
        (Outcome::ResponseTimeout, 64),
        (Outcome::Cut, 128),
        (Outcome::StreamRefused, 256),
        (Outcome::LibraryError, 512),
        (Outcome::Killed, 1024),
    ]);
    (1..=1000).for_each(|micros| busy.latency.record(micros).unwrap());
    let mut idle = tally(&[
        (Outcome::Ok, 100_000),
        (Outcome::Status(503), 10),
        (Outcome::LostFirst, 1),
        (Outcome::LostKept, 2),
        (Outcome::Refused, 3),
        (Outcome::ConnectTimeout, 4),
        (Outcome::ResponseTimeout, 5),
        (Outcome::Cut, 6),
        (Outcome::StreamRefused, 7),
        (Outcome::LibraryError, 8),
        (Outcome::Killed, 9),
    ]);
    idle.latency.record(2000).unwrap();
    observed.tallies =
        [(Kind::Busy, busy), (Kind::Idle, idle), (Kind::Post, tally(&[(Outcome::Ok, 1)]))].into();
    (1..=100).for_each(|micros| observed.lateness.record(micros * 10).unwrap());
    let pods = Pods::new(std::time::Instant::now());
    observed.failures = vec![failure(3.0, &pods, Some("pod-1")), failure(2.1, &pods, None)];
    observed.failures.extend((0..12).map(|_| failure(9.0, &pods, Some("pod-9"))));
    observed.failures[2].kind = Kind::Idle;
    let histories = vec![
        history("pod-1", Some(2.0), Some(4.0), Some(End::Exit(0))),
        history("pod-2", Some(2.0), Some(5.0), Some(End::Exit(0))),
        history("pod-3", Some(3.0), Some(7.0), Some(End::Exit(3))),
        history("pod-4", Some(3.0), Some(13.0), Some(End::Killed)),
        history("pod-5", None, Some(4.0), Some(End::Crashed)),
        history("pod-6", Some(5.0), Some(10.0), Some(End::Unknown)),
        history("pod-7", None, None, None),
    ];
    report(observed, Ending::Finished, histories)
}

const TABLE: &str = "
here: 1 rollout in 4.0 s, 102 070 requests (25518 per second), 1 069 lost

client  requests       ok  non-2xx  lost first  lost kept  refused  no connect  no response  cut  h2 refused  error      p50      p99    p99.9      max
busy       2 023    1 000        3           4          8       16          32           64  128         256    512  0.50 ms  0.99 ms  1.00 ms  1.00 ms
idle     100 046  100 000       10           1          2        3           4            5    6           7      8  2.00 ms  2.00 ms  2.00 ms  2.00 ms
post           1        1        0           0          0        0           0            0    0           0      0  0.00 ms  0.00 ms  0.00 ms  0.00 ms
all      102 070  101 001       13           5         10       19          36           69  134         263    520  0.50 ms  0.99 ms  1.00 ms  2.00 ms

status     1 × 404 for busy
status     2 × 503 for busy
status     10 × 503 for idle
pods       2 exited cleanly, 1 exited with an error, 1 killed after the grace period, 1 exited without SIGTERM, 1 terminated, after 4.0 s (median), 10.0 s (longest)
endpoints  updated 0.6 s (median), 1.0 s (longest) after a pod began to terminate
chaos      1 033 requests lost their connection to this tool, and are not counted
schedule   kept; requests were sent 0.99 ms late (p99), 1.00 ms at most
lost       at 3.000 s, busy: it <broke> off (its connection had answered 7 before; 19 bytes came; pod-1)
lost       at 2.100 s, busy: it <broke> off (its connection had answered 7 before; 19 bytes came)
lost       at 9.000 s, idle: it <broke> off (its connection had answered 7 before; 19 bytes came; pod-9)
lost       at 9.000 s, busy: it <broke> off (its connection had answered 7 before; 19 bytes came; pod-9)
lost       at 9.000 s, busy: it <broke> off (its connection had answered 7 before; 19 bytes came; pod-9)
           and 1 064 more (--json and --report have the first 200)
";

#[test]
fn the_table_counts_each_thing_in_its_column() {
    assert_eq!(text::text(&lossy()), TABLE);
}

#[test]
fn the_chart_has_every_part() {
    let mut report = lossy();
    let timeline = &mut report.observed.timeline;
    timeline.record(Duration::from_millis(50), Kind::Busy, Outcome::Ok, Some(1000));
    timeline.record(Duration::from_millis(150), Kind::Busy, Outcome::Cut, None);
    timeline.advance(Duration::from_secs(6));
    let chart = chart::draw(&report, Detail::Full);
    for part in [
        ">here: 1 rollout, 102 070 requests, 1 069 lost</text>",
        ">lost requests, per 0.1 s</text>",
        "<g class=\"axis\">",
        "<g class=\"legend\">",
        "<path class=\"grid\"",
        "<path class=\"area\" d=\"M0 150L7.07 58.0 21.20 58.0 35.33 150.0 ",
        "<path class=\"line\" d=\"M7.07 58.0 21.20 58.0 ",
        "<path class=\"slow\" d=\"M7.07 188.0 21.20 280.0 ",
        "<title>busy: 1 lost",
        "<title>pod-4: killed, or exited by itself</title>",
        "<rect class=\"ready\"",
    ] {
        assert!(chart.contains(part), "{part}: {chart}");
    }
}

#[test]
fn a_chart_says_that_nothing_was_lost_and_has_no_row_for_pods_that_nobody_knows() {
    let of = |report: &Report| {
        let chart = chart::draw(report, Detail::Full);
        (chart.contains(">lost requests: none<"), chart.contains(">pods<"))
    };
    let observed = Recorder::start().observations();
    assert_eq!(of(&report(observed, Ending::Finished, vec![])), (true, false));
    assert_eq!(of(&lossy()), (false, true));
}

#[test]
fn the_json_counts_what_the_table_does() {
    let json = json::report(&lossy());
    assert_eq!(
        json["all"],
        json!({
            "requests": 102_070, "ok": 101_001, "lost": 1069, "statuses": {"404": 1, "503": 12}, "lost_first": 5,
            "lost_kept": 10, "refused": 19, "connect_timeout": 36, "response_timeout": 69, "cut": 134,
            "stream_refused": 263, "library_error": 520, "killed_by_chaos": 1033,
            "latency_us": {"p50": 501, "p99": 991, "p99_9": 1000, "max": 2000},
        })
    );
    assert_eq!((&json["clients"]["idle"]["lost"], &json["verdict"]), (&json!(46), &json!("lost")));
    assert_eq!(
        (
            &json["load"]["path"],
            &json["load"]["post"],
            &json["load"]["h2_streams"],
            &json["load"]["idle_seconds"]
        ),
        (&json!("/"), &json!("/greetings"), &json!(4), &json!([3.0, 12.0]))
    );
    assert_eq!(json["schedule"], json!({"kept": true, "late_p99_us": 990, "late_max_us": 1000}));
}

#[test]
fn junit_fails_each_kind_that_lost() {
    let xml = junit::suites(&[lossy()]);
    assert!(xml.contains("tests=\"4\" failures=\"2\" errors=\"0\" time=\"4.000\""), "{xml}");
    let idle = "name=\"idle loses nothing\">\n<failure message=\"46 of 100046 requests were lost\">\n\
                at 9.000 s: it &lt;broke&gt; off; pod-9\n</failure>\n";
    assert!(xml.contains(idle) && xml.contains("name=\"post loses nothing\"/>"), "{xml}");
}

#[test]
fn markdown_and_the_page_have_what_was_lost_in_one_column() {
    let markdown = markdown::summary(&[lossy()], &[]);
    let idle = "| idle | 100 046 | 46 | 100 000 | 10 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 2.00 ms |";
    assert!(markdown.starts_with("### ❌ here: 1 rollout") && markdown.contains(idle), "{markdown}");
    assert!(markdown.contains(&format!(" max |\n| --- |{}\n", " ---: |".repeat(16))), "{markdown}");
    let run = json::report(&lossy());
    let page = page::page(&[lossy()], std::slice::from_ref(&run), &[&run]);
    let row = |class: &str| {
        format!(
            "<tr{class}><th scope=\"row\">here</th><td class=\"some\">1 023 / 2 023</td>\
            <td class=\"some\">46 / 100 046</td><td>0 / 1</td><td class=\"some\">1 069 / 102 070</td>"
        )
    };
    assert!(page.contains(&row("")) && page.contains(&row(" class=\"earlier\"")), "{page}");
    let post = "<th scope=\"row\">post</th><td>1</td><td>0</td><td>1</td><td>0</td>";
    let idle = "<th scope=\"row\">idle</th><td>100 046</td><td class=\"some\">46</td><td>100 000</td><td class=\"some\">10</td>";
    assert!(page.contains(post) && page.contains(idle), "{page}");
    assert!(page.contains("<p class=\"verdict some\">1 069 requests were lost</p>\n<h1>here</h1>"), "{page}");
}

#[test]
fn a_loss_stands_beside_what_its_pod_went_through() {
    let mut html = String::new();
    losses::losses(&mut html, &lossy());
    let [first, second, ..] = &html.split("</article>").collect::<Vec<_>>()[..] else { panic!("{html}") };
    assert!(html.contains("<p>The first 14 of 1 069.</p>"), "{html}");
    assert_eq!(
        html.split("<summary>2 more</summary>")
            .map(|part| part.matches("<article>").count())
            .collect::<Vec<_>>(),
        [12, 2]
    );
    // From a quarter of two seconds before it began to terminate until a tenth after it was gone.
    let life = "<div class=\"life\"><i class=\"ready\" style=\"left:0.0%;width:18.5%\"></i>\
        <i class=\"terminating\" style=\"left:18.5%;width:14.8%\"></i>\
        <i class=\"draining\" style=\"left:33.3%;width:59.3%\"></i><b style=\"left:55.6%\"></b></div>";
    assert!(first.contains(life), "{first}");
    let events = "started at 0.500 s · ready at 1.000 s · began to terminate at 2.000 s · got no new connections at 2.400 s \
        · lost this request at 3.000 s · exited with 0 at 4.000 s";
    assert!(first.contains(events), "{first}");
    let then = "then: pod-1 terminating for 0.100 s, pod-2 terminating for 0.100 s.";
    assert!(second.contains(then), "{second}");
}

#[test]
fn how_a_pod_ended_is_said_beside_what_it_lost() {
    let pods = Pods::new(std::time::Instant::now());
    for (end, said) in [
        (End::Killed, "killed at 4.000 s"),
        (End::Crashed, "exited without SIGTERM at 4.000 s"),
        (End::Unknown, "gone at 4.000 s"),
    ] {
        let mut report = run(&[(Outcome::Cut, 1)], None, Ending::Finished);
        report.observed.failures = vec![failure(3.0, &pods, Some("pod-1"))];
        report.histories[0].end = Some(end);
        let mut html = String::new();
        losses::losses(&mut html, &report);
        assert!(html.contains(said) && !html.contains("<p>The first"), "{html}");
    }
}

#[test]
fn the_page_of_one_run_has_no_comparison_and_says_its_settings() {
    let report = run(&[(Outcome::Ok, 1)], None, Ending::Finished);
    let run = json::report(&report);
    let page = page::page(std::slice::from_ref(&report), std::slice::from_ref(&run), &[]);
    assert!(page.contains("<title>here: 1 rollout in 4.0 s") && !page.contains("The comparison"), "{page}");
    assert_eq!(page.matches("<header>").count(), 1);
    assert!(page.contains("<th scope=\"col\">client</th>"), "{page}");
    for setting in ["steps</dt><dd>true", "load h2 streams</dt><dd>4", "load idle seconds</dt><dd>3.0, 12.0"]
    {
        assert!(page.contains(&format!("<dt>{setting}</dd>")), "{setting}: {page}");
    }
    assert!(!page.contains("load headers"), "what is empty is not there");
    let markdown = markdown::summary(std::slice::from_ref(&report), std::slice::from_ref(&run));
    assert!(!markdown.contains("The comparison"), "{markdown}");
}

/// A run with these outcomes, of pods that all ended well.
fn run(counts: &[(Outcome, u64)], own_fault: Option<&str>, ending: Ending) -> Report {
    let mut observed = Recorder::start().observations();
    if !counts.is_empty() {
        observed.tallies = [(Kind::Busy, tally(counts))].into();
    }
    observed.own_fault = own_fault.map(str::to_owned);
    report(observed, ending, vec![history("pod-1", Some(2.0), Some(4.0), Some(End::Exit(0)))])
}

#[test]
fn a_run_proves_something_only_when_it_was_finished_and_answered() {
    let failed = || Ending::Failed(Unable("the script failed".into()));
    for (counts, own_fault, ending, verdict, exit) in [
        (&[(Outcome::Ok, 1)][..], None, Ending::Finished, Verdict::NothingLost, 0),
        (&[(Outcome::Ok, 1), (Outcome::Killed, 1)], None, Ending::Finished, Verdict::NothingLost, 0),
        (&[(Outcome::Ok, 1), (Outcome::Cut, 1)], None, Ending::Finished, Verdict::Lost, 1),
        (&[(Outcome::Refused, 1)], None, Ending::Interrupted, Verdict::Lost, 1),
        (&[(Outcome::Cut, 1)], Some("no more ports"), Ending::Finished, Verdict::Unfinished, 2),
        (&[(Outcome::Ok, 1)], None, Ending::Interrupted, Verdict::Unfinished, 2),
        (&[(Outcome::Ok, 1)], None, failed(), Verdict::Unfinished, 2),
        (&[], None, Ending::Finished, Verdict::Unfinished, 2),
    ] {
        let report = run(counts, own_fault, ending);
        assert_eq!(report.verdict(), verdict, "{counts:?}");
        assert_eq!(ExitCode::from(verdict), ExitCode::from(exit));
        let error = format!("errors=\"{}\"", u8::from(verdict == Verdict::Unfinished));
        let junit = junit::suites(&[report]);
        // A request that was lost fails its kind, and the run is an error besides when it was not finished.
        assert!(junit.contains(&error) || counts[0].0 == Outcome::Refused, "{counts:?}: {junit}");
    }
}

#[test]
fn what_kept_a_run_from_its_end_is_said() {
    let report = run(&[(Outcome::Ok, 1)], Some("no more ports"), Ending::Failed(Unable("no".into())));
    let text = text::text(&report);
    assert!(text.starts_with("\nhere: 1 rollout in 4.0 s (ended early), 1 requests"), "{text}");
    assert!(
        text.contains("\nunfinished no\n") && text.contains("so the run proves nothing: no more ports"),
        "{text}"
    );
    let markdown = markdown::summary(std::slice::from_ref(&report), &[]);
    assert!(
        markdown.contains("\n| busy | 1 | 0 | 1 | 0.00 ms |"),
        "what did not happen has no column: {markdown}"
    );
    assert!(!text.contains("\nchaos") && !text.contains(" more (") && !text.contains("0 exited"), "{text}");
    assert_eq!(json::report(&report)["unfinished"], "no");
    let mut html = String::new();
    losses::losses(&mut html, &report);
    assert!(html.ends_with("<p>None.</p>\n"), "{html}");
}

#[test]
fn a_schedule_is_kept_when_requests_are_less_than_20_ms_late() {
    for (late, kept) in [(19_900, true), (20_000, false), (30_000, false)] {
        let mut report = run(&[(Outcome::Ok, 1)], None, Ending::Finished);
        report.observed.lateness.record(late).unwrap();
        assert_eq!(report.kept_schedule(), kept, "{late} µs");
    }
}

#[test]
fn a_cluster_knows_of_new_connections_from_the_pods_themselves() {
    let endpoints = |histories: Vec<PodHistory>| {
        let mut report = run(&[(Outcome::Ok, 1)], None, Ending::Finished);
        (report.setting.timings, report.histories) = (None, histories);
        let notes = text::notes(&report);
        notes.into_iter().find(|(label, _)| *label == "endpoints").map(|(_, note)| note)
    };
    let known = history("pod-1", Some(2.0), Some(4.0), Some(End::Unknown));
    assert!(endpoints(vec![known.clone()]).unwrap().starts_with("sent the last new connection 0.4 s"));
    let unknown = PodHistory { left_endpoints: None, ..known };
    assert!(endpoints(vec![unknown.clone()]).unwrap().starts_with("not known"));
    assert_eq!(endpoints(vec![PodHistory { gone: None, ..unknown }]), None);
}
