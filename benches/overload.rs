//! What is answered in time when more is asked than one core can do, beside bare axum in one run: `make bench-overload`.
//!
//! The load is open: requests come at their rate whether others were answered or not, each on a connection of its own,
//! from callers that give up after a second.

use std::{
    env,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use landfall::{App, Build, Program, Service, Signals, StartError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

/// What a burning handler takes of its core.
const BURN: Duration = Duration::from_millis(5);

/// What the slow dependency takes, and how many it takes at once.
const DEPENDENCY: (Duration, usize) = (Duration::from_millis(50), 10);

/// When a caller gives up.
const PATIENCE: Duration = Duration::from_secs(1);

const SECONDS: u64 = 5;

/// What a server process of this benchmark is told by.
const SERVER: &str = "OVERLOAD_SERVER";

fn main() -> ExitCode {
    match env::var(SERVER).as_deref() {
        Ok("landfall") => landfall_server(),
        Ok(_) => bare(),
        Err(_) => compare(),
    }
}

fn routes() -> Router {
    let dependency = Arc::new(Semaphore::new(DEPENDENCY.1));
    let ask = async move || {
        let _one_of_few = dependency.acquire().await.expect("it is never closed");
        sleep(DEPENDENCY.0).await;
        "done"
    };
    Router::new().route("/", get(async || burn(BURN))).route("/dependency", get(ask))
}

fn burn(time: Duration) -> &'static str {
    let began = std::time::Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
    "done"
}

#[tokio::main(flavor = "current_thread")]
async fn landfall_server() -> ExitCode {
    let signals = Signals::register().expect("signals can be caught");
    let build = Build { name: "overload", version: "0.0.0", revision: "unknown" };
    let start = async |_: App| Ok::<_, StartError>(Service::new(routes()));
    Program::new(build).run(signals, start).await
}

#[tokio::main]
async fn bare() -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    println!("{{\"address\":\"{}\"}}", listener.local_addr().expect("it is bound"));
    axum::serve(listener, routes()).await.expect("it never ends");
    ExitCode::SUCCESS
}

/// A server process on the first core, ended when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Self {
        let mut child = Command::new("taskset")
            .args(["--cpu-list", "0"])
            .arg(env::current_exe().expect("a running program has a path"))
            .envs([(SERVER, name), ("APP_HOST", "127.0.0.1"), ("APP_PORT", "0"), ("APP_ADMIN_PORT", "0")])
            .envs([("APP_LOG_FORMAT", "json"), ("APP_ACCESS_LOG", "off")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset is part of util-linux");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let line: serde_json::Value = serde_json::from_str(&line).expect("as JSON");
        let address = line["address"].as_str().and_then(|text| text.parse().ok());
        let admin = line["admin_address"].as_str().and_then(|text| text.parse().ok());
        Self {
            child,
            address: address.expect("in every first line"),
            admin: admin.unwrap_or(address.unwrap()),
        }
    }
}

impl Server {
    fn debug(&self) {
        use std::io::{Read, Write};
        let port = self.admin;
        let mut stream = std::net::TcpStream::connect(port).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        for line in text.lines().filter(|l| {
            !l.starts_with('#')
                && !l.ends_with(" 0")
                && (l.contains("shed")
                    || l.contains("connections")
                    || l.contains("duration")
                    || l.contains("cpu")
                    || l.contains("accept")
                    || l.contains("queue")
                    || l.contains("tokio"))
        }) {
            println!("   {line}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it has not been waited for");
        self.child.wait().expect("it was killed");
    }
}

/// What became of one request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Answered(Duration),
    Shed,
    GivenUp,
}

async fn ask(address: SocketAddr, path: &str, from: u8) -> End {
    let began = Instant::now();
    let asked = async {
        let socket = TcpSocket::new_v4()?;
        // Other addresses of loopback have ports of their own.
        socket.bind((Ipv4Addr::new(127, 0, 1, from), 0).into())?;
        let mut stream = socket.connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").as_bytes()).await?;
        let mut head = [0; 1024];
        let read = stream.read(&mut head).await?;
        std::io::Result::Ok(head[..read].get(9..12) == Some(b"200"))
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(true)) => End::Answered(began.elapsed()),
        Ok(Ok(false)) => End::Shed,
        _ => End::GivenUp,
    }
}

/// Asks at this rate, and tells what became of what was asked after the first second.
async fn load(address: SocketAddr, path: &'static str, rate: f64) -> Vec<End> {
    let mut tasks = JoinSet::new();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let all = (rate * SECONDS as f64) as usize;
    for number in 0..all {
        ticks.tick().await;
        tasks.spawn(async move { (number, ask(address, path, number as u8).await) });
    }
    let mut ends = tasks.join_all().await;
    ends.retain(|(number, _)| *number >= rate as usize);
    ends.into_iter().map(|(_, end)| end).collect()
}

#[tokio::main]
async fn compare() -> ExitCode {
    let rates: Vec<f64> = env::var("RATES").map_or(vec![160.0, 300.0, 600.0, 1200.0, 4000.0], |list| {
        list.split(',').map(|rate| rate.parse().expect("a number")).collect()
    });
    let servers = env::var("SERVERS").unwrap_or_else(|_| "bare,landfall".into());
    for path in ["/", "/dependency"] {
        if env::var("ONLY").is_ok_and(|only| only != path) {
            continue;
        }
        println!("{path}");
        for &rate in &rates {
            for name in servers.split(',') {
                let server = Server::start(name);
                let ends = load(server.address, path, rate).await;
                if env::var("DEBUG").is_ok() {
                    server.debug();
                }
                let seconds = (SECONDS - 1) as f64;
                let mut times: Vec<f64> = ends
                    .iter()
                    .filter_map(|end| match end {
                        End::Answered(time) => Some(time.as_secs_f64() * 1e3),
                        _ => None,
                    })
                    .collect();
                times.sort_by(f64::total_cmp);
                let count = |kind: End| ends.iter().filter(|end| **end == kind).count() as f64 / seconds;
                println!(
                    "{rate:>6} {name:>9}: {:>6.0}/s in time, {:>6.0}/s shed, {:>6.0}/s given up, p99 {:.0} ms",
                    times.len() as f64 / seconds,
                    count(End::Shed),
                    count(End::GivenUp),
                    times.get(times.len() * 99 / 100).copied().unwrap_or(0.0)
                );
            }
        }
    }
    ExitCode::SUCCESS
}
