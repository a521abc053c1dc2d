//! Memory that clients can take: what the limits allow together is what the process takes, and no more.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use std::{fs, thread, time::Duration};

use support::{
    eventually,
    http1::{Http1, post},
    process::{Process, metric, testbed},
};

const COUNT: usize = 300;

/// What a client can make the process hold before its request is complete.
const READ_BUFFER: u64 = 16 * 1024;

fn resident(admin: &mut Http1) -> u64 {
    metric(admin, "process_resident_memory_bytes")
}

/// Resident memory is at most so much more than before, while clients have sent this and go on waiting.
fn assert_grows_by(process: &Process, most: u64, text: &str) {
    let mut admin = process.connect_to_admin();
    // What is allocated once, whatever comes.
    process.connect().get("/");
    let before = resident(&mut admin);
    let clients: Vec<_> = (0..COUNT)
        .map(|_| {
            let mut client = process.connect();
            // It fails when the server has closed already.
            let _ = client.try_send(text.as_bytes());
            client
        })
        .collect();
    let open = "server_connections_open{network_protocol_name=\"undecided\"}";
    eventually("all are known", || metric(&mut admin, open) == 0);
    // Resident memory says nothing of what is still to be read, so it is watched until it grows no more.
    let mut grown = 0;
    eventually("memory grows no more", || {
        let last = grown;
        thread::sleep(Duration::from_millis(200));
        grown = resident(&mut admin).saturating_sub(before);
        grown <= last
    });
    assert!(grown <= most, "{grown} bytes for {} clients, {most} are expected at most", clients.len());
}

#[test]
fn unfinished_heads_take_what_is_reckoned_for_them() {
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\nx-large: {}", "a".repeat(15_000));
    // As much again for the connections themselves.
    assert_grows_by(&testbed().start(), COUNT as u64 * READ_BUFFER * 2, &text);
}

#[test]
fn heads_that_are_too_large_take_no_more() {
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\nx-large: {}", "a".repeat(390_000));
    assert_grows_by(&testbed().start(), COUNT as u64 * READ_BUFFER * 2, &text);
}

#[test]
fn unfinished_bodies_take_what_is_reckoned_for_them() {
    let body = 64 * 1024;
    let text = post("/greetings", body) + &"a".repeat(body - 1);
    assert_grows_by(&testbed().start(), COUNT as u64 * (2 * body as u64 + READ_BUFFER), &text);
}

/// The most that has been resident, in bytes.
fn high_water(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid().as_raw_nonzero()));
    let status = status.expect("it has not ended");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    kib.expect("Linux says").trim().parse::<u64>().expect("a number") << 10
}

#[test]
fn a_body_in_chunks_of_one_byte_takes_what_is_reckoned_for_it() {
    let process = testbed().set("APP_REQUEST_TIMEOUT", "1m").start();
    let body = 64 * 1024;
    let head = "POST /greetings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let post = |chunk: &str| {
        let chunks = format!("{:x}\r\n{chunk}\r\n", chunk.len()).repeat(body / chunk.len());
        let mut client = process.connect();
        client.send(&format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"));
        // It is not JSON, as is seen when all of it has come.
        client.response().problem(400);
        high_water(&process)
    };
    let before = post(&"a".repeat(body));
    let grown = post("a") - before;
    // As much again for what the allocator keeps.
    assert!(grown <= 4 * body as u64, "{grown} bytes");
}

#[test]
fn idle_connections_take_little() {
    let process = testbed().start();
    let ask = |clients: &mut Vec<_>| {
        for _ in 0..COUNT {
            let mut client = process.connect();
            client.get("/");
            clients.push(client);
        }
        // Four times as long as it takes them to rest, which nothing tells.
        thread::sleep(Duration::from_secs(1));
        resident(&mut process.connect_to_admin())
    };
    let mut clients = Vec::new();
    // Those that follow take the memory that was theirs.
    let before = ask(&mut clients);
    let grown = (0..5).map(|_| ask(&mut clients)).last().map_or(0, |after| after.saturating_sub(before));
    let each = grown / (5 * COUNT as u64);
    assert!(each <= 12 * 1024, "{each} bytes for each, where hyper's buffers alone are 16 KiB");
}
