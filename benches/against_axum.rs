//! What the whole service costs against bare axum, side by side in one run: requests per second on one core and on two,
//! memory per idle connection, and time to ready. `make bench`.

mod clients;

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    routing::{get, post},
};
use clients::{CLIENTS, Http1, Load};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const ROUNDS: usize = 41;
const ROUND: Duration = Duration::from_millis(500);
const IDLE: usize = 10_000;
/// How long it takes to open them: those of a moment ago are not idle yet.
const OPENING: Duration = Duration::from_secs(2);
const STARTS: usize = 21;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare"] => return bare(),
        ["load", load, address] => {
            let load = Load::ALL[load.parse::<usize>().expect("a number")];
            return println!("{}", load.run(address.parse().expect("an address"), ROUND));
        }
        ["memory", ..] => return compare_memory(),
        _ => {}
    }
    println!(
        "{ROUNDS} rounds of {ROUND:?} each in turn, {CLIENTS} kept connections; medians [lowest, highest]"
    );
    println!("requests per second                     landfall   bare axum  ratio");
    for (cores, server, client) in [("one core", "0", "1"), ("two cores, shared", "0-1", "0-1")] {
        for (number, name) in Load::NAMES.into_iter().enumerate() {
            let (ours, bare) = (ours(server), Server::start(bare_command(server)));
            let load = |server: &Server| load(number, server.address, client);
            load(&ours);
            load(&bare);
            let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let (ours, bare) = (load(&ours), load(&bare));
                a.push(ours);
                b.push(bare);
                ratios.push(ours / bare);
            }
            let [a, b] = [a, b].map(median);
            println!("{:<38} {a:>9.0}  {b:>10.0}  {}", format!("{name}, {cores}"), spread(&mut ratios, 3));
        }
    }

    compare_memory();
    let mut starts: Vec<f64> = (0..STARTS).map(|_| time_to_ready()).collect();
    println!("from exec to ready, ms:         {}", spread(&mut starts, 1));
}

fn compare_memory() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("it may be raised to its maximum");
    let (ours_idle, ours_each) = memory(&ours("0-1"));
    let (bare_idle, bare_each) = memory(&Server::start(bare_command("0-1")));
    println!("resident when idle, KiB:        landfall {ours_idle}, bare axum {bare_idle}");
    println!(
        "per idle connection, bytes:     landfall {ours_each}, bare axum {bare_each}  ({IDLE}, opened within {OPENING:?})"
    );
}

fn ours(cores: &str) -> Server {
    Server::start(pinned(cores, env!("CARGO_BIN_EXE_testbed")))
}

fn bare_command(cores: &str) -> Command {
    let mut command = pinned(cores, &this_program());
    command.arg("bare");
    command
}

fn this_program() -> String {
    let path = env::current_exe().expect("a running program has a path");
    path.into_os_string().into_string().expect("cargo's paths are text")
}

/// A program that may use these cores alone.
fn pinned(cores: &str, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cores, program]);
    command
}

/// Requests per second of a process with clients, on these cores.
fn load(number: usize, address: SocketAddr, cores: &str) -> f64 {
    let mut command = pinned(cores, &this_program());
    let output = command.args(["load", &number.to_string(), &address.to_string()]).output();
    let output = String::from_utf8(output.expect("taskset is part of util-linux").stdout);
    output.expect("it writes a number").trim().parse().expect("every request succeeds")
}

/// What one would write without landfall: the same responses, nothing around them.
#[tokio::main]
async fn bare() {
    let about = || async { Json(serde_json::json!({ "name": "testbed" })) };
    let copy = async |body: Bytes| body;
    let routes = Router::new().route("/", get(about)).route("/copy", post(copy));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    println!("{{\"address\":\"{}\"}}", listener.local_addr().expect("it is bound"));
    axum::serve(listener, routes).await.expect("it never ends");
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
                ("APP_MAX_CONNECTIONS", "20000"),
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

/// Resident KiB when idle, and bytes more for each connection that has asked once and is kept.
fn memory(server: &Server) -> (usize, usize) {
    let ask = || {
        let mut client = Http1::connect(server.address);
        client.ask(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n", b"}");
        client
    };
    ask();
    let before = server.resident_kib();
    let began = Instant::now();
    let open = |number: usize| {
        let due = began + OPENING.mul_f64(number as f64 / IDLE as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        ask()
    };
    let clients: Vec<Http1> = (0..IDLE).map(open).collect();
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spread(values: &mut [f64], digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let [low, median, high] = [values[0], values[values.len() / 2], values[values.len() - 1]];
    format!("{median:.digits$} [{low:.digits$}, {high:.digits$}]")
}
