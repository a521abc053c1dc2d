//! What the admin port shows of the process itself.

use serde_json::Value;

use crate::support::{
    eventually,
    http1::{Http1, Response, request},
    process::testbed,
};

fn json(admin: &mut Http1, path: &str) -> Value {
    admin.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\naccept: application/json\r\n\r\n"));
    let response = admin.response();
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_str(&response.body).expect("it is JSON")
}

#[test]
fn statusz_tells_build_phase_checks_connections_and_the_requests_of_each_route_with_their_age() {
    let process = testbed().start();
    let mut admin = process.connect_to_admin();
    let [mut first, mut second] = [process.connect(), process.connect()];
    first.ask("/held");
    second.send(&request("POST", "/held"));
    let route = |name: &str| format!("http_server_route_{name}{{http_route=\"/held\"}}");
    eventually("both are in flight, for a second", || {
        let traffic = &json(&mut admin, "/statusz")["traffic"];
        traffic[route("active_requests")] == 2 && traffic[route("oldest_request_seconds")] == 1
    });
    let status = json(&mut admin, "/statusz");
    let here = &status["process"];
    assert_eq!((&here["name"], &here["revision"]), (&"testbed".into(), &"unknown".into()));
    assert_eq!(here["phase"], "serving");
    assert!(here["uptime_s"].as_u64() >= here["phase_s"].as_u64());
    assert_eq!(status["checks"]["readyz/listener"], "ok");
    assert_eq!(status["traffic"]["server_connections_open{network_protocol_name=\"http1\"}"], 2);
    assert_eq!(status["admission"]["http_server_requests_shed_total{reason=\"wait\"}"], 0);
    assert!(status["runtime"]["tokio_workers"].as_u64() > Some(0));
    process.release();
    assert_eq!((first.response().status, second.response().status), (200, 200));
    let left = json(&mut admin, "/statusz")["traffic"][route("active_requests")].clone();
    assert_eq!(left, 0);
    process.drain();
    assert_eq!(json(&mut admin, "/statusz")["process"]["phase"], "draining");
    assert_eq!(json(&mut admin, "/statusz")["checks"]["readyz/lifecycle"], "draining");
    let Response { body, .. } = admin.get("/statusz");
    assert!(body.starts_with("process\n") && body.contains("\n  phase draining\n"), "{body}");
}

#[test]
fn flagz_tells_each_value_and_its_source_and_no_secret() {
    let process = testbed().set("APP_API_TOKEN", "do-not-tell").set("APP_DRAIN_DELAY", "7s").start();
    let mut admin = process.connect_to_admin();
    let flags = json(&mut admin, "/flagz");
    let flag = |name: &str| {
        let flags = flags.as_array().expect("it is a list");
        flags.iter().find(|flag| flag["name"] == name).expect("each variable is there")
    };
    assert_eq!(
        (&flag("APP_DRAIN_DELAY")["value"], &flag("APP_DRAIN_DELAY")["source"]),
        (&"7s".into(), &"env".into())
    );
    assert_eq!(flag("APP_BODY_LIMIT")["source"], "default");
    assert_eq!(flag("APP_API_TOKEN")["value"], "[redacted]");
    let text = admin.get("/flagz").body;
    assert!(text.lines().any(|line| line.starts_with("APP_DRAIN_DELAY") && line.contains(" 7s ")), "{text}");
    for shown in [text, flags.to_string(), admin.get("/statusz").body] {
        assert!(!shown.contains("do-not-tell"), "{shown}");
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let process = testbed().start();
    let page = process.connect_to_admin().get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for needed in
        ["<!doctype html>", "default-src 'none'; connect-src 'self';", "get(\"statusz\")", "get(\"flagz\")"]
    {
        assert!(page.body.contains(needed), "{needed}");
    }
    for elsewhere in ["//", "src=", "import ", "innerHTML"] {
        let line = page.body.lines().find(|line| line.contains(elsewhere) && !line.starts_with("// "));
        assert_eq!(line, None);
    }
    assert_eq!(process.connect().get("/statusz").status, 404, "the port of the service tells nothing");
}
