//! What the whole service costs against bare axum, side by side in one run: requests per second, memory per idle
//! connection, and time to ready. `make bench`.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use axum::{Json, Router, routing::get};

const ROUNDS: usize = 41;
const ROUND: Duration = Duration::from_millis(500);
const CLIENTS: usize = 32;
const IDLE: usize = 4000;
const STARTS: usize = 21;

fn main() {
    if env::args().any(|argument| argument == "bare") {
        return bare();
    }
    let ours = || Server::start(Command::new(env!("CARGO_BIN_EXE_testbed")));
    let bare = || {
        let mut command = Command::new(env::current_exe().expect("a running program has a path"));
        command.arg("bare");
        Server::start(command)
    };

    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (one, other) = (ours(), bare());
    load(one.address);
    load(other.address);
    for _ in 0..ROUNDS {
        let (ours, bare) = (load(one.address), load(other.address));
        a.push(ours);
        b.push(bare);
        ratios.push(ours / bare);
    }
    drop((one, other));
    println!(
        "{ROUNDS} rounds of {ROUND:?} each in turn, {CLIENTS} kept connections; median [lowest, highest]"
    );
    println!("requests per second, landfall:  {}", spread(&mut a, 0));
    println!("requests per second, bare axum: {}", spread(&mut b, 0));
    println!("ratio landfall / bare axum:     {}", spread(&mut ratios, 3));

    let (ours_idle, ours_each) = memory(&ours());
    let (bare_idle, bare_each) = memory(&bare());
    println!("resident when idle, KiB:        landfall {ours_idle}, bare axum {bare_idle}");
    println!(
        "per idle connection, bytes:     landfall {ours_each}, bare axum {bare_each}  ({IDLE} connections)"
    );

    let mut starts: Vec<f64> = (0..STARTS).map(|_| time_to_ready()).collect();
    println!("from exec to ready, ms:         {}", spread(&mut starts, 1));
}

/// What one would write without landfall: the same answer, nothing around it.
#[tokio::main]
async fn bare() {
    let about = || async { Json(serde_json::json!({ "name": "testbed" })) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    println!("{{\"address\":\"{}\"}}", listener.local_addr().expect("it is bound"));
    axum::serve(listener, Router::new().route("/", get(about))).await.expect("it never ends");
}

/// A server process, ended when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    admin: Option<SocketAddr>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .envs([
                ("APP_HOST", "127.0.0.1"),
                ("APP_PORT", "0"),
                ("APP_ADMIN_PORT", "0"),
                ("APP_LOG_FORMAT", "json"),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built with this benchmark");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let line: serde_json::Value = serde_json::from_str(&line).expect("as JSON");
        let address = |key: &str| line[key].as_str().and_then(|text| text.parse().ok());
        Self {
            child,
            address: address("address").expect("in every first line"),
            admin: address("admin_address"),
        }
    }

    fn resident_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux tells");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("of every process");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("in KiB")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it has not been waited for");
        self.child.wait().expect("it was killed");
    }
}

/// One kept connection.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("it is a TCP socket");
        Self(stream)
    }

    /// Asks once and reads the answer; both servers send it in one piece on loopback.
    fn ask(&mut self) {
        self.0.write_all(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n").expect("it takes requests");
        let mut answer = [0; 1024];
        let mut filled = 0;
        while !answer[..filled].ends_with(b"}") {
            let read = self.0.read(&mut answer[filled..]).expect("it answers");
            assert!(read > 0, "the connection was closed");
            filled += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "every request succeeds");
    }
}

/// Requests per second over one round.
fn load(address: SocketAddr) -> f64 {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    client.ask();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// Resident KiB when idle, and bytes more for each connection that has asked once and is kept.
fn memory(server: &Server) -> (usize, usize) {
    Client::connect(server.address).ask();
    let before = server.resident_kib();
    let clients: Vec<Client> = (0..IDLE)
        .map(|_| {
            let mut client = Client::connect(server.address);
            client.ask();
            client
        })
        .collect();
    let after = server.resident_kib();
    (before, (after - before) * 1024 / clients.len())
}

/// Milliseconds from starting the process to `/readyz` answering 200.
fn time_to_ready() -> f64 {
    let began = Instant::now();
    let server = Server::start(Command::new(env!("CARGO_BIN_EXE_testbed")));
    let admin = server.admin.expect("landfall has one");
    loop {
        let mut probe = TcpStream::connect(admin).expect("it listens");
        probe
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
            .expect("it takes requests");
        let mut answer = String::new();
        probe.read_to_string(&mut answer).expect("it answers");
        if answer.starts_with("HTTP/1.1 200") {
            return began.elapsed().as_secs_f64() * 1e3;
        }
    }
}

fn spread(values: &mut [f64], digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let [low, median, high] = [values[0], values[values.len() / 2], values[values.len() - 1]];
    format!("{median:.digits$} [{low:.digits$}, {high:.digits$}]")
}
