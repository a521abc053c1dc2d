//! What systemd does, done by the test: it holds the sockets, hands them over and listens to what it is told.

use std::{
    fs,
    net::TcpListener,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use crate::support::{PATIENCE, eventually, process::testbed};

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("there is a free port")
}

#[test]
fn sockets_that_are_handed_over_are_served_by_one_process_after_the_other() {
    let (service, admin) = (listener(), listener());
    let start = || testbed().set("APP_DRAIN_DELAY", "0s").with_sockets([&service, &admin]).start();
    let mut running = start();
    assert_eq!(running.address_of_service(), service.local_addr().expect("it is bound"));
    assert_eq!(running.address_of_admin(), admin.local_addr().expect("it is bound"));
    for _ in 0..3 {
        let mut kept = running.connect();
        assert_eq!(kept.get("/").status, 200);
        let next = start();
        running.drain();
        running.line("closing");
        // Nobody was told to go anywhere else, and the port was never closed.
        for _ in 0..20 {
            assert_eq!(running.connect().get("/").status, 200);
        }
        let last = kept.get("/");
        assert_eq!((last.status, last.says_close()), (200, true));
        running.exit().with_code(0);
        running = next;
    }
    assert_eq!(running.probe("/readyz"), 200);
}

#[test]
fn connections_wait_for_the_next_process_while_there_is_none() {
    let (service, admin) = (listener(), listener());
    let start = || testbed().set("APP_DRAIN_DELAY", "0s").with_sockets([&service, &admin]).start();
    let first = start();
    first.drain();
    let address = first.address_of_service();
    first.exit().with_code(0);
    let mut client = crate::support::http1::Http1::connect(address);
    client.ask("/");
    let _next = start();
    assert_eq!(client.response().status, 200);
}

/// Where systemd listens for a process; and what it hears next.
struct Notified(UnixDatagram, String);

impl Notified {
    fn listen(name: &str) -> Self {
        let path = format!("{}/{name}-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("the directory is there");
        socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
        Self(socket, path)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.0.recv(&mut buffer).expect("it says more");
        String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.1);
    }
}

#[test]
fn systemd_hears_of_the_stop_alone_where_the_process_was_never_ready() {
    let notified = Notified::listen("never-ready");
    let process = testbed()
        .set("NOTIFY_SOCKET", &notified.1)
        .set("TESTBED_UNREADY", "always")
        .set("APP_DRAIN_DELAY", "0s")
        .start();
    assert_eq!(process.probe("/readyz"), 503);
    process.drain();
    assert_eq!(notified.next(), "STOPPING=1");
    process.exit().with_code(0);
    notified.0.set_nonblocking(true).expect("it is a socket");
    assert!(notified.0.recv(&mut [0; 256]).is_err(), "it says that it is ready");
}

#[test]
fn systemd_is_told_when_it_is_ready_when_it_stops_and_that_it_is_alive() {
    let notified = Notified::listen("notify");
    let (socket, next) = (&notified.0, || notified.next());
    let process = testbed()
        .set("NOTIFY_SOCKET", &notified.1)
        .set("WATCHDOG_USEC", "400000")
        .set("APP_WORKER_THREADS", "1")
        .set("APP_HEARTBEAT_LIMIT", "500ms")
        .start();
    assert_eq!(next(), "READY=1");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    // A runtime that is stuck is not alive, and systemd hears nothing for longer than it waits.
    let mut client = process.connect();
    client.ask("/block/4000");
    eventually("/livez fails", || process.probe("/livez") == 503);
    socket.set_nonblocking(true).expect("it is a socket");
    while socket.recv(&mut [0; 256]).is_ok() {}
    let stuck = Instant::now();
    eventually("the watchdog's time has passed", || stuck.elapsed() > Duration::from_millis(800));
    assert!(socket.recv(&mut [0; 256]).is_err(), "it says that it is alive");
    socket.set_nonblocking(false).expect("it is a socket");
    assert_eq!(client.response().status, 200);
    assert_eq!(next(), "WATCHDOG=1");

    process.drain();
    while next() != "STOPPING=1" {}
}
