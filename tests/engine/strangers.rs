//! Bytes of any kind: each connection ends, what is answered is HTTP, and nothing panics.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    process::Stdio,
};

use proptest::prelude::*;

use crate::{
    fuzz_tests::{Input, holds},
    support::{
        PATIENCE, eventually,
        process::{Process, testbed},
    },
};

/// Sends the pieces, says that no more comes, and reads to the end.
fn response(process: &Process, input: &Input) -> Vec<u8> {
    let mut client = TcpStream::connect(process.address_of_service()).expect("the port takes connections");
    client.set_nodelay(true).expect("a socket can be set");
    client.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    // It may have heard enough, and then writing and reading end with a reset.
    let sent = input.pieces().try_for_each(|piece| client.write_all(piece));
    let _ = sent.and_then(|()| client.shutdown(Shutdown::Write));
    let mut response = Vec::new();
    if let Err(error) = client.read_to_end(&mut response) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{input:?}");
    }
    response
}

fn serves_strangers(folder: &str, is_fine: impl Fn(&Input, &[u8]) -> bool) {
    let process = testbed().stderr(Stdio::piped()).start();
    holds(folder, |input| {
        let response = response(&process, input);
        prop_assert!(response.is_empty() || is_fine(input, &response), "{}", response.escape_ascii());
        Ok(())
    });
    assert_eq!(process.connect().get("/").status, 200);
    let open = ["undecided", "http1", "http2"]
        .map(|name| format!("server_connections_open{{network_protocol_name=\"{name}\"}}"));
    eventually("nothing is left of them", || open.iter().map(|name| process.metric(name)).sum::<u64>() == 0);
    process.drain();
    process.close();
    let exit = process.exit();
    exit.with_code(0);
    assert_eq!(exit.stderr, "");
}

#[test]
fn any_bytes_over_http1_come_to_an_end_and_hurt_nobody() {
    serves_strangers("http1", |_, response| response.starts_with(b"HTTP/1."));
}

#[test]
fn any_bytes_over_http2_come_to_an_end_and_hurt_nobody() {
    serves_strangers("http2", |input, response| {
        match input.bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
            // SETTINGS is the first frame of either side, RFC 9113 section 3.4.
            true => response.get(3) == Some(&4),
            false => response.starts_with(b"HTTP/1."),
        }
    });
}
