//! A collector that decodes what a real process sends it: nothing is missing after a drain, and one that hangs costs
//! nothing.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the failure")]

#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use rustix::process::Signal;

use self::support::{
    eventually,
    http1::request,
    process::{Process, Setup},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What the collector got.
#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    resource: Vec<KeyValue>,
}

/// A collector on a free port.
struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Received::default()));
        let collector = Self { address, received: received.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let received = received.clone();
                thread::spawn(move || while take(stream.as_ref().unwrap(), &received).is_some() {});
            }
        });
        collector
    }

    fn service(&self) -> Setup {
        service().set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", self.address))
    }

    /// Every span, when the process has ended as it should.
    fn spans_of(&self, process: Process) -> Vec<Span> {
        process.signal(Signal::TERM);
        process.exit().with_code(0);
        std::mem::take(&mut self.received.lock().unwrap().spans)
    }
}

/// Takes one export of a connection and answers it; `None` at its end.
fn take(stream: &TcpStream, received: &Mutex<Received>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_lowercase());
    }
    assert_eq!(head[0], "post /v1/traces http/1.1");
    assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    reader.read_exact(&mut body).ok()?;
    let export = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let mut received = received.lock().unwrap();
    for resource in export.resource_spans {
        received.resource = resource.resource.unwrap().attributes;
        received.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    drop(received);
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

fn service() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_traced"))
        .set("APP_DRAIN_DELAY", "300ms")
        .set("APP_DRAIN_TIMEOUT", "5s")
        .set("APP_REQUEST_TIMEOUT", "5s")
        .set("APP_FLUSH_TIMEOUT", "8s")
}

fn traced(path: &str, trace: &str, flags: &str) -> String {
    let headers =
        format!("\r\ntraceparent: 00-{trace}-{PARENT}-{flags}\r\ntracestate: vendor=opaque\r\n\r\n");
    request("GET", path).replace("\r\n\r\n", &headers)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone();
    match value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn a_span_has_the_ids_of_the_log_line_and_of_the_problem_and_what_the_convention_asks() {
    let collector = Collector::start();
    let setup = collector.service().set("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    let process = setup.set("APP_POD_NAME", "traced-0").start();
    let mut client = process.connect();
    client.send(&traced("/panic", TRACE, "01"));
    let problem = client.response().problem(500);
    let line = process.line("responded");
    drop(client);
    let spans = collector.spans_of(process);
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(problem["trace_id"], TRACE);
    assert_eq!(line["span"]["trace_id"], TRACE);
    assert_eq!(line["span"]["span_id"], hex(&span.span_id));
    assert_eq!(span.trace_state, "vendor=opaque");
    assert_eq!((span.name.as_str(), span.kind()), ("GET /panic", SpanKind::Server));
    assert_eq!(span.status.as_ref().map(|status| status.code()), Some(StatusCode::Error));
    assert!(span.start_time_unix_nano < span.end_time_unix_nano);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/panic"),
        ("url.path", "/panic"),
        ("url.scheme", "http"),
        ("http.response.status_code", "500"),
        ("error.type", "500"),
    ] {
        assert_eq!(text(&span.attributes, key).as_deref(), Some(value), "{key}");
    }
    let resource = &collector.received.lock().unwrap().resource;
    for (key, value) in [
        ("service.name", "traced"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("k8s.pod.name", "traced-0"),
        ("deployment.environment.name", "test"),
        ("telemetry.sdk.name", "opentelemetry"),
    ] {
        assert_eq!(text(resource, key).as_deref(), Some(value), "{key}");
    }
}

#[test]
fn the_log_filter_takes_no_span_and_probes_have_none() {
    let collector = Collector::start();
    let process = collector.service().set("OTEL_SERVICE_NAME", "other").start();
    let mut admin = process.connect_to_admin();
    admin.send("PUT /log HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\noff");
    assert_eq!(admin.response().status, 200);
    assert_eq!(admin.get("/metrics").status, 200);
    let mut client = process.connect();
    assert_eq!((client.get("/livez").status, admin.get("/readyz").status), (200, 200));
    assert_eq!(client.get("/items/7?secret=1").status, 200);
    admin.send("PUT /log HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\ninfo");
    assert_eq!(admin.response().status, 200);
    drop((client, admin));
    let spans = collector.spans_of(process);
    let [part, request] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((request.name.as_str(), part.name.as_str()), ("GET /items/{id}", "item"));
    assert_eq!(text(&request.attributes, "url.path").as_deref(), Some("/items/7"));
    assert_eq!((&part.trace_id, &part.parent_span_id), (&request.trace_id, &request.span_id));
    assert!(request.parent_span_id.is_empty());
    let resource = &collector.received.lock().unwrap().resource;
    assert_eq!(text(resource, "service.name").as_deref(), Some("other"));
}

#[test]
fn sampling_is_the_callers_or_as_the_variable_says_and_goes_on_with_outgoing_calls() {
    let flags = |sampler: &str, sent: &str| {
        let collector = Collector::start();
        let process = collector.service().set("OTEL_TRACES_SAMPLER", sampler).start();
        let mut client = process.connect();
        match sent {
            "" => client.ask("/outgoing"),
            flags => client.send(&traced("/outgoing", TRACE, flags)),
        }
        let body = client.response().body;
        drop(client);
        let spans = collector.spans_of(process);
        let (header, state) = body.split_once(' ').unwrap();
        assert_eq!(state, if sent.is_empty() { "" } else { "vendor=opaque" });
        if let [span] = spans.as_slice() {
            assert_eq!(header, format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id)));
        }
        (spans.len(), header[53..].to_owned())
    };
    assert_eq!(flags("parentbased_always_on", ""), (1, "01".to_owned()));
    assert_eq!(flags("parentbased_always_on", "01"), (1, "01".to_owned()));
    assert_eq!(flags("parentbased_always_on", "00"), (0, "00".to_owned()));
    assert_eq!(flags("parentbased_always_off", ""), (0, "00".to_owned()));
    assert_eq!(flags("parentbased_always_off", "01"), (1, "01".to_owned()));
    assert_eq!(flags("always_off", "01"), (0, "00".to_owned()));
}

#[test]
fn through_a_drain_no_span_of_an_answered_request_is_missing() {
    let collector = Collector::start();
    let process = collector.service().start();
    let address = process.address_of_service();
    let clients: Vec<_> = (1..=4_u64)
        .map(|client| {
            thread::spawn(move || {
                let mut answered = Vec::new();
                // Until the port is closed; a connection ends with the response that says so.
                while let Ok(mut connection) = support::http1::Http1::try_connect(address) {
                    loop {
                        let trace = format!("{client:016x}{:016x}", answered.len() + 1);
                        connection.send(&traced("/items/1", &trace, "01"));
                        let response = connection.response();
                        assert_eq!(response.status, 200);
                        answered.push(trace);
                        thread::sleep(Duration::from_millis(2));
                        if response.header("connection") == Some("close") {
                            break;
                        }
                    }
                }
                answered
            })
        })
        .collect();
    eventually("requests", || process.metric("lifecycle_requests_total{phase=\"serving\"}") > 200);
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    let answered: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let received = collector.received.lock().unwrap();
    let requests = received.spans.iter().filter(|span| span.kind() == SpanKind::Server);
    let exported: HashSet<String> = requests.map(|span| hex(&span.trace_id)).collect();
    let missing: Vec<_> = answered.iter().filter(|trace| !exported.contains(*trace)).collect();
    assert!(answered.len() > 100, "{}", answered.len());
    assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), answered.len());
    assert_eq!(exported.len(), answered.len());
}

#[test]
fn a_collector_that_hangs_costs_neither_requests_nor_the_exit_code() {
    // Its queue takes connections, and nobody answers them.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    let setup = service().set("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).set("OTEL_BSP_SCHEDULE_DELAY", "50");
    let process = setup.start();
    let mut client = process.connect();
    for _ in 0..5000 {
        assert_eq!(client.get("/items/1").status, 200);
    }
    drop(client);
    hanging.accept().expect("the exporter has come");
    let asked = Instant::now();
    process.signal(Signal::TERM);
    let exit = process.exit();
    let report = exit.with_code(0);
    assert_eq!((&report["clean"], &report["cleaned_up"]), (&true.into(), &true.into()));
    exit.position("the service's own clean-up");
    let flush_ms = report["flush_ms"].as_u64().unwrap();
    // A quarter of the flush timeout.
    assert!((2000..6000).contains(&flush_ms), "{flush_ms}");
    assert!(asked.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_request_whose_caller_left_has_a_span_that_says_so() {
    let collector = Collector::start();
    let process = collector.service().start();
    let mut client = process.connect();
    client.ask("/never");
    let active = "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"}";
    eventually("the handler runs", || process.metric(active) == 1);
    client.reset();
    eventually("it does no more", || process.metric(active) == 0);
    let spans = collector.spans_of(process);
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(text(&span.attributes, "error.type").as_deref(), Some("cancelled"));
    assert_eq!(text(&span.attributes, "http.response.status_code"), None);
}

#[test]
fn without_an_endpoint_nothing_is_exported_and_one_that_cannot_be_used_stops_the_start() {
    let collector = Collector::start();
    for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let process = collector.service().set(name, value).start();
        let body = process.connect().get("/outgoing").body;
        assert!(body.ends_with("-00 "), "{body}");
        assert!(collector.spans_of(process).is_empty(), "{name}");
    }
    let exit = service().set("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318").spawn().exit();
    assert_eq!(exit.code, Some(1));
}
