//! Clients that read slowly, in steps that take longer than a peer may stall: each gets all of its response.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::support::{
    http1::request,
    http2::Http2,
    process::{Process, Setup, testbed},
};

const KIB: usize = 1 << 10;

/// RFC 9113 section 6.5.2.
const INITIAL_WINDOW_SIZE: u16 = 4;

fn with_stall_limit() -> Setup {
    testbed().set("APP_STALL_TIMEOUT", "300ms")
}

/// A client whose kernel holds 1 MiB for it, and says that there is room again when a third of that is free.
fn ask(process: &Process, path: &str) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(KIB * KIB / 2)?;
    socket.connect(&process.address_of_service().into())?;
    let mut client = TcpStream::from(socket);
    client.write_all(request("GET", path).as_bytes())?;
    client.set_nonblocking(true)?;
    Ok(client)
}

/// Reads so many bytes a second until nothing comes for a while; tells how many there were.
fn read(client: &mut TcpStream, rate: usize) -> io::Result<usize> {
    const TICK: Duration = Duration::from_millis(50);
    let mut buffer = vec![0; rate / 20];
    let (mut count, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_secs(2) {
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => (count, last) = (count + read, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        thread::sleep(TICK);
    }
    Ok(count)
}

#[test]
fn a_client_that_takes_a_third_of_its_buffer_at_a_time_gets_all_of_its_response() {
    let process = with_stall_limit().start();
    let mut client = ask(&process, "/large/3072").expect("the port takes connections");
    let count = read(&mut client, 400 * KIB).expect("nothing is cut off");
    assert!(count > 3072 * KIB, "{count} bytes");
}

#[test]
fn a_client_that_opens_the_window_of_its_stream_a_half_at_a_time_gets_all_of_its_response() {
    let process = with_stall_limit().start();
    let mut client = Http2::connect_with(&process, &[(INITIAL_WINDOW_SIZE, 1 << 20)]);
    client.allow(0, 1 << 30);
    let stream = client.ask("/large/3072");
    let is_over = |client: &Http2| client.is_complete(stream) || client.resets.contains_key(&stream);
    while !is_over(&client) {
        let half = client.data + 512 * KIB;
        client.hear(|client| client.data >= half || is_over(client));
        thread::sleep(Duration::from_millis(600));
        client.allow(stream, 512 << 10);
    }
    client.response(stream);
}

#[test]
fn a_client_that_takes_a_lot_and_then_nothing_is_cut_off() {
    let process = with_stall_limit().start();
    let client = ask(&process, "/endless").expect("the port takes connections");
    process.closed("stalled", 1);
    drop(client);
}
