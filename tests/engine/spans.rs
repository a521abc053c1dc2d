//! A tracing layer of the service's own sees the spans that the log lines and the problems name, whatever the log
//! filter leaves out.

use std::process::Stdio;

use crate::support::{
    http1::request,
    process::{Process, testbed},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traced(path: &str) -> String {
    let header = format!("\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n\r\n");
    request("GET", path).replace("\r\n\r\n", &header)
}

/// What the layer has printed when the process has ended.
fn spans(process: Process) -> Vec<String> {
    process.drain();
    process.close();
    let stderr = process.exit().stderr;
    stderr.lines().map(str::to_owned).collect()
}

#[test]
fn log_lines_problems_and_spans_carry_the_same_ids() {
    let process = testbed().set("TESTBED_SPANS", "1").stderr(Stdio::piped()).start();
    let mut client = process.connect();
    client.send(&traced("/panic"));
    let problem = client.response().problem(500);
    let line = process.line("panicked");
    assert_eq!(problem["trace_id"], TRACE);
    assert_eq!(line["span"]["trace_id"], TRACE);
    drop(client);
    let span = format!("{TRACE} {}", line["span"]["span_id"].as_str().expect("each line has it"));
    assert_eq!(spans(process), [span]);
}

#[test]
fn the_log_filter_takes_no_span_from_the_services_layer() {
    let process = testbed().set("TESTBED_SPANS", "1").stderr(Stdio::piped()).start();
    let mut admin = process.connect_to_admin();
    admin.send("PUT /log HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\noff");
    assert_eq!(admin.response().status, 200);
    let mut client = process.connect();
    client.send(&traced("/"));
    assert_eq!(client.response().status, 200);
    admin.send("PUT /log HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\ninfo");
    assert_eq!(admin.response().status, 200);
    drop(client);
    let spans = spans(process);
    assert!(spans.len() == 1 && spans[0].starts_with(TRACE), "{spans:?}");
}

#[test]
fn every_line_of_a_request_carries_its_ids_whatever_needed_the_span_first() {
    for layers in [false, true] {
        let process = if layers { testbed().set("TESTBED_SPANS", "1") } else { testbed() }.start();
        let mut client = process.connect();
        let mut logged = 0;
        for (how, lines) in [("plainly", 1), ("after", 1), ("current", 2), ("task", 2)] {
            let path = format!("/log/{how}");
            client.send(&traced(&path));
            let response = client.response();
            assert_eq!(response.status, 200);
            for line in process.lines("logged", logged + lines).split_off(logged) {
                assert_eq!(line["span"]["path"], path, "{line}");
                assert_eq!(line["span"]["trace_id"], TRACE, "{line}");
                assert_eq!(line["span"]["request_id"], response.header("x-request-id").unwrap(), "{line}");
            }
            logged += lines;
        }
    }
}
