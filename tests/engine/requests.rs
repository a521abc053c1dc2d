//! What HTTP asks of a server, whatever the service does.

use crate::support::{
    http1::request,
    http2::Http2,
    process::{Process, testbed},
};

#[test]
fn a_request_names_one_host() {
    let process = testbed().start();
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\n\r\n", 200),
    ] {
        let mut client = process.connect();
        client.send(head);
        let response = client.response();
        assert_eq!(response.status, status, "{head:?}: {response:?}");
        if status == 400 {
            response.problem(400);
            assert!(response.says_close(), "{response:?}");
            client.ended();
        }
    }
}

/// Paths that are answered in different places: by a handler, without one, by a layer, by the
/// probes, by a service that is nested.
const PATHS: [&str; 7] = ["/", "/nowhere", "/greetings", "/held", "/panic", "/livez", "/nested/plain"];

fn start() -> Process {
    testbed().set("APP_REQUEST_TIMEOUT", "50ms").start()
}

#[test]
fn head_is_answered_as_get_is_without_the_body() {
    let process = start();
    let mut client = process.connect();
    for path in PATHS {
        let get = client.get(path);
        client.send(&request("HEAD", path));
        let head = client.head();
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        // RFC 9110 section 8.6: the length of GET's body or none at all.
        let length = head.header("content-length");
        assert!(
            length == get.header("content-length") || path == "/nested/plain" && length.is_none(),
            "{path}: {head:?}"
        );
    }
    assert_eq!(client.get("/").status, 200, "what came was all that was due");
}

#[test]
fn head_is_answered_without_a_body_on_http2_too() {
    let process = start();
    let mut client = Http2::connect(&process);
    for path in PATHS {
        let stream = client.ask_head(path);
        client.ended(stream);
        assert_eq!(client.data, 0, "{path}");
    }
}
