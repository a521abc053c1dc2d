//! The table of the lifecycle up to closing, cell by cell, as a cluster and its clients see it: real processes, real
//! signals.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    PATIENCE, eventually,
    http1::{Http1, post, request},
    http2::Http2,
    lifecycle::{assert_last, assert_phase, held, probes},
    process::{Process, testbed},
};

// Starting

#[test]
fn while_starting_only_livez_passes_and_the_listener_keeps_clients_waiting() {
    let process = testbed().set("TESTBED_START", "held").spawn();
    process.line("held");
    assert_eq!(probes(&process), [200, 503, 503]);
    assert_phase(&process, "starting");
    let mut early = process.connect();
    early.ask("/readyz");
    assert!(early.is_silent_for(Duration::from_millis(100)));

    process.release();
    assert_eq!(early.response().status, 200);
    assert_eq!(probes(&process), [200, 200, 200]);
}

#[test]
fn sigterm_during_the_start_ends_it_with_0() {
    let process = testbed().set("TESTBED_START", "held").spawn();
    process.line("held");
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    assert!(exit.messages().all(|message| message != "serving"));
}

/// Waits until the handlers of SIGTERM and SIGINT are installed, without a pause between looks.
fn wait_for_handlers(process: &Process) {
    // SIGINT's handler is installed after SIGTERM's, so that when Linux shows it, SIGTERM's is complete. While the
    // handler of a signal is being installed, for some microseconds, the library's own is there and drops it.
    const SIGINT_BIT: u64 = 1 << (2 - 1);
    let status = format!("/proc/{}/status", process.pid().as_raw_nonzero());
    let started = Instant::now();
    loop {
        let status = fs::read_to_string(&status).expect("it has not ended");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).expect("Linux says");
        if u64::from_str_radix(caught, 16).expect("a mask") & SIGINT_BIT != 0 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "signals are never caught");
    }
}

#[test]
fn sigterm_is_caught_from_the_first_moment() {
    for _ in 0..10 {
        let process = testbed().set("APP_DRAIN_DELAY", "0s").spawn();
        wait_for_handlers(&process);
        process.signal(Signal::TERM);
        process.exit().with_code(0);
    }
}

/// Takes a lease on a file, with which the kernel lets whoever opens it wait for the holder.
const HOLD: &str = r#"$| = 1; $SIG{IO} = "IGNORE"; open F, "<", shift or die; fcntl(F, 1024, 1) or die $!; print "held\n"; sleep 60"#;

#[test]
fn sigterm_ends_a_process_whose_configuration_can_not_be_read_to_its_end() {
    let path = format!("{}/token-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    fs::write(&path, "secret").expect("the directory is there");
    let mut holder =
        Command::new("perl").args(["-e", HOLD, &path]).stdout(Stdio::piped()).spawn().expect("perl is there");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut line).expect("it tells");
    assert_eq!(line, "held\n");

    let process = testbed().set("APP_API_TOKEN_FILE", &path).spawn();
    wait_for_handlers(&process);
    process.signal(Signal::TERM);
    let exit = process.exit();
    exit.with_code(0);
    exit.position("stopped: received a signal before anything was served");
    let process = testbed().command("config").set("APP_API_TOKEN_FILE", &path).spawn();
    wait_for_handlers(&process);
    process.signal(Signal::TERM);
    process.exit().with_code(1);
    // Not before: it would have gone on by itself.
    holder.kill().expect("it sleeps");
    holder.wait().expect("it was killed");
    fs::remove_file(path).expect("it is ours");
}

#[test]
fn a_variable_in_a_pipe_is_refused() {
    let pipe = format!("{}/pipe-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there");
    assert!(made.success());
    let exit = testbed().set("APP_API_TOKEN_FILE", &pipe).spawn().exit();
    exit.with_code(78);
    assert_eq!(exit.log[0]["variable"], "APP_API_TOKEN_FILE");
    fs::remove_file(pipe).expect("it is ours");
}

#[test]
fn bad_configuration_ends_it_with_78() {
    let exit = testbed()
        .set("APP_PORT", "eighty")
        .set("APP_DRAIN_DELY", "1s")
        .set("APP_STALL_TIMEOUT", "18446744073709551615s")
        .spawn()
        .exit();
    exit.with_code(78);
    let variables: Vec<_> = exit.log.iter().filter_map(|line| line["variable"].as_str()).collect();
    assert_eq!(variables, ["APP_DRAIN_DELY", "APP_PORT", "APP_STALL_TIMEOUT"]);
}

#[test]
fn a_port_that_is_taken_ends_it_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let exit = testbed().set("APP_PORT", &port).spawn().exit();
    exit.with_code(1);
    exit.position("the service could not start");
}

// Serving

#[test]
fn while_serving_all_probes_pass_and_connections_are_kept() {
    let process = testbed().start();
    assert_eq!(probes(&process), [200, 200, 200]);
    assert_phase(&process, "serving");
    let mut client = process.connect();
    for path in ["/", "/livez", "/readyz", "/nothing", "/"] {
        let response = client.get(path);
        assert_eq!(response.header("connection"), None, "{path}: {response:?}");
    }
    let mut h2 = Http2::connect(&process);
    h2.get("/");
    h2.get("/");
    assert_eq!(h2.goaways, []);
}

// Draining

#[test]
fn while_draining_readyz_fails_and_new_connections_are_served() {
    let process = testbed().start();
    process.drain();
    assert_eq!(probes(&process), [200, 503, 200]);
    assert_phase(&process, "draining");
    assert_last(&process.connect().get("/"), 200);
    assert_last(&process.connect().get("/livez"), 200);
    assert_last(&process.connect().get("/readyz"), 503);
    let mut h2 = Http2::connect(&process);
    h2.get("/");
    drop(h2);
    process.close();
    process.exit().with_code(0);
}

#[test]
fn every_http1_response_while_draining_says_close() {
    let process = testbed().start();
    let mut kept: Vec<_> = (0..8).map(|_| process.connect()).collect();
    for client in &mut kept {
        assert!(!client.get("/").says_close());
    }
    process.drain();
    let bad_json = post("/greetings", 3) + "{\"}";
    let greeting = post("/greetings", 14) + r#"{"name":"Ada"}"#;
    let asked = [
        (200, request("GET", "/")),
        (200, "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n".to_owned()),
        (200, "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\n\r\n".to_owned()),
        (200, request("GET", "/livez")),
        (503, request("GET", "/readyz")),
        (404, request("GET", "/nothing")),
        (400, bad_json),
        (201, greeting),
    ];
    for (mut client, (status, request)) in kept.into_iter().zip(asked) {
        client.send(&request);
        assert_last(&client.response(), status);
        client.ended();
        let mut fresh = process.connect();
        fresh.send(&request);
        assert_last(&fresh.response(), status);
        fresh.ended();
    }
    // The admin port is not going anywhere yet.
    let mut admin = process.connect_to_admin();
    assert!(!admin.get("/livez").says_close());
    assert!(!admin.get("/metrics").says_close());
}

#[test]
fn a_request_in_flight_longer_than_the_delay_finishes() {
    let process = testbed().start();
    let mut client = held(&process);
    process.drain();
    process.close();
    process.release();
    assert_last(&client.response(), 200);
    client.ended();
    process.exit().with_code(0);
}

#[test]
fn connections_in_the_accept_queue_at_the_signal_are_answered() {
    let process = testbed().start();
    process.signal(Signal::STOP);
    let mut queue = queue(&process, 50);
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    for client in &mut queue {
        // The first ones may be answered before the signal is heard, and be kept.
        assert_eq!(client.response().status, 200);
    }
    process.line("draining");
}

// Closing

/// Clients that have connected and asked, whether or not the process has accepted them.
fn queue(process: &Process, count: usize) -> Vec<Http1> {
    let asking = |_| {
        let mut client = process.connect();
        client.ask("/livez");
        client
    };
    (0..count).map(asking).collect()
}

#[test]
fn connections_in_the_accept_queue_at_closing_are_answered() {
    let process = testbed().start();
    process.drain();
    process.signal(Signal::STOP);
    let mut queue = queue(&process, 50);
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    for client in &mut queue {
        assert_last(&client.response(), 200);
        client.ended();
    }
    process.line("closing");
    process.exit().with_code(0);
}

#[test]
fn connections_kept_waiting_by_the_cap_are_answered_at_closing() {
    let process = testbed().set("APP_MAX_CONNECTIONS", "1").start();
    let mut first = held(&process);
    let mut queue = queue(&process, 20);
    process.drain();
    process.close();
    for client in &mut queue {
        assert_last(&client.response(), 200);
    }
    process.release();
    assert_last(&first.response(), 200);
    drop((first, queue));
    process.exit().with_code(0);
}

#[test]
fn after_the_delay_no_connection_is_taken() {
    let process = testbed().start();
    let mut client = held(&process);
    let address = process.address_of_service();
    process.drain();
    process.close();
    eventually("the listener closes", || Http1::try_connect(address).is_err());
    process.release();
    assert_last(&client.response(), 200);
}

#[test]
fn while_closing_livez_and_startupz_still_pass() {
    let process = testbed().start();
    let mut client = held(&process);
    process.drain();
    process.close();
    assert_eq!(probes(&process), [200, 503, 200]);
    assert_phase(&process, "closing");
    process.release();
    assert_last(&client.response(), 200);
    drop(client);
    process.exit().with_code(0);
}

#[test]
fn connections_idle_through_the_whole_delay_get_one_last_answer() {
    let process = testbed().set("APP_DRAIN_DELAY", "300ms").start();
    let mut used = process.connect();
    assert!(!used.get("/").says_close());
    let mut unused = process.connect();
    process.drain();
    let mut late = process.connect();
    process.line("closing");
    for client in [&mut used, &mut unused, &mut late] {
        assert_last(&client.get("/"), 200);
        client.ended();
    }
    process.exit().with_code(0);
}
