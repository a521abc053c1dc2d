//! Sockets as the kernel sees them: which runtime drives them, and how they find out that a peer is dead.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    eventually,
    http1::{Http1, request},
    process::{Process, testbed},
};
use socket2::{Domain, Socket as Socket2, Type};

/// A TCP socket of a process, by its inode.
#[derive(Debug)]
struct Socket {
    inode: u64,
    listens: bool,
    /// Which timer is running; 2 is keep-alive.
    timer: u8,
    timer_jiffies: u64,
}

fn file(process: &Process, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{name}", process.pid().as_raw_nonzero()))
}

/// The server's side of what is bound to a port, proc(5) `/proc/net/tcp`.
fn sockets(process: &Process, port: u16) -> Vec<Socket> {
    let table = fs::read_to_string(file(process, "net/tcp")).expect("the process runs");
    let local = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row[1].ends_with(&local) && row[9] != "0");
    ours.map(|row| {
        let (timer, jiffies) = row[5].split_once(':').expect("it is tr:tm->when");
        Socket {
            inode: row[9].parse().expect("an inode is a number"),
            listens: row[3] == "0A",
            timer: timer.parse().expect("a timer is a number"),
            timer_jiffies: u64::from_str_radix(jiffies, 16).expect("a time is a number"),
        }
    })
    .collect()
}

/// The descriptors of a process, and what each of them is.
fn descriptors(process: &Process) -> Vec<(u32, String)> {
    let entries = fs::read_dir(file(process, "fd")).expect("the process runs").flatten();
    let target = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
    };
    entries.filter_map(target).collect()
}

/// The epoll descriptors that hear of a socket, proc(5) `/proc/pid/fdinfo`.
fn epolls(process: &Process, socket: &Socket) -> BTreeSet<u32> {
    let descriptors = descriptors(process);
    let name = format!("socket:[{}]", socket.inode);
    let (number, _) = descriptors.iter().find(|(_, target)| *target == name).expect("the process has it");
    let epolls = descriptors.iter().filter(|(_, target)| target == "anon_inode:[eventpoll]");
    let hears = |epoll: &u32| {
        let info = fs::read_to_string(file(process, &format!("fdinfo/{epoll}"))).expect("it is open");
        let mut targets =
            info.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next());
        targets.any(|target| target == number.to_string())
    };
    epolls.map(|(epoll, _)| *epoll).filter(hears).collect()
}

/// The listener of a port and the one connection that it has taken.
fn listener_and_connection(process: &Process, client: &mut Http1, port: u16) -> (Socket, Socket) {
    assert_eq!(client.get("/livez").status, 200);
    let (mut listeners, mut connections): (Vec<_>, Vec<_>) =
        sockets(process, port).into_iter().partition(|socket| socket.listens);
    assert_eq!((listeners.len(), connections.len()), (1, 1), "{listeners:?} {connections:?}");
    (listeners.remove(0), connections.remove(0))
}

#[test]
fn each_port_is_driven_by_a_runtime_of_its_own() {
    let process = testbed().start();
    let (mut client, mut scraper) = (process.connect(), process.connect_to_admin());
    let (listener, connection) =
        listener_and_connection(&process, &mut client, process.address_of_service().port());
    let main = epolls(&process, &listener);
    assert!(!main.is_empty());
    assert_eq!(main, epolls(&process, &connection), "the listener is not where its connections are");
    let (listener, connection) =
        listener_and_connection(&process, &mut scraper, process.address_of_admin().port());
    let admin = epolls(&process, &listener);
    assert_eq!(admin, epolls(&process, &connection), "the listener is not where its connections are");
    assert!(main.is_disjoint(&admin), "{main:?} {admin:?}");
}

#[test]
fn connections_find_out_when_their_peer_is_dead_and_still_do_when_upgraded() {
    let process = testbed().start();
    let port = process.address_of_service().port();
    let mut client = process.connect();
    let (_, connection) = listener_and_connection(&process, &mut client, port);
    asked_for_a_sign_of_life(&process, port, &connection);
    client.send("GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    assert_eq!(client.head().status, 101);
    client.send("hello\n");
    assert_eq!(client.line(), "hello");
    asked_for_a_sign_of_life(&process, port, &connection);
}

/// Waits until the peer is about to be asked for a sign of life, within half a minute.
fn asked_for_a_sign_of_life(process: &Process, port: u16, connection: &Socket) {
    // Until the peer has acknowledged what it was sent, another timer runs. Times are hundredths of a second.
    eventually("the keep-alive timer runs", || {
        let mut sockets = sockets(process, port).into_iter();
        let now = sockets.find(|socket| socket.inode == connection.inode).expect("it is open");
        now.timer == 2 && now.timer_jiffies <= 3000
    });
}

#[test]
fn a_client_that_reads_slowly_but_steadily_is_not_stalled() {
    let process = testbed().set("APP_STALL_TIMEOUT", "1s").start();
    let socket = Socket2::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    socket.set_recv_buffer_size(8192).expect("a socket can be set");
    socket.connect(&process.address_of_service().into()).expect("the port takes connections");
    let mut client = TcpStream::from(socket);
    client.write_all(request("GET", "/endless").as_bytes()).expect("the peer takes what is sent");
    // 200 KiB a second: a third of the megabytes that the kernel would hold takes longer than the limit.
    let (since, mut part) = (Instant::now(), [0; 4096]);
    while since.elapsed() < Duration::from_secs(4) {
        client.read_exact(&mut part).expect("the body goes on");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(process.metric("server_connections_closed_total{reason=\"stalled\"}"), 0);
    eventually("it has stopped reading", || {
        process.metric("server_connections_closed_total{reason=\"stalled\"}") == 1
    });
}
