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

/// What one core, and the dependency, can do in a second.
const EACH: f64 = 200.0;

/// What is offered, in capacities.
const TIMES: [f64; 6] = [0.5, 0.8, 1.5, 3.0, 6.0, 20.0];

/// What is asked for, and how much of it can be done in a second.
const PATHS: [(&str, f64, &str); 3] = [
    ("/", EACH, "Handlers that burn 5 ms of one core"),
    ("/dependency", EACH, "Handlers that wait for a dependency, which takes 50 ms for each of 10 at once"),
    ("/mix", 2.0 * EACH, "As many of these as of those"),
];

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
        Self { child, address: address.expect("in every first line") }
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

impl End {
    fn answered(&self) -> Option<Duration> {
        match self {
            Self::Answered(took) => Some(*took),
            Self::Shed | Self::GivenUp => None,
        }
    }
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
        let path = match path {
            "/mix" => PATHS[number % 2].0,
            path => path,
        };
        tasks.spawn(async move { (number, ask(address, path, number as u8).await) });
    }
    let mut ends = tasks.join_all().await;
    ends.retain(|(number, _)| *number >= rate as usize);
    ends.into_iter().map(|(_, end)| end).collect()
}

/// What was answered in time, per second, and how long the 99th of a hundred took.
struct Goodput {
    per_second: f64,
    p99: Duration,
}

async fn measure(server: &str, path: &'static str, offered: f64) -> Goodput {
    let server = Server::start(server);
    let ends = load(server.address, path, offered).await;
    let mut answered: Vec<Duration> = ends.iter().filter_map(End::answered).collect();
    answered.sort();
    Goodput {
        per_second: answered.len() as f64 / (SECONDS - 1) as f64,
        p99: answered.get(answered.len() * 99 / 100).copied().unwrap_or_default(),
    }
}

#[tokio::main]
async fn compare() -> ExitCode {
    let mut curves = [Vec::new(), Vec::new()];
    for (path, capacity, what) in PATHS {
        println!("\n{what}: {capacity}/s at most. Answered within {PATIENCE:?}, per second; p99\n");
        println!("| offered | bare axum | landfall |\n| --- | --- | --- |");
        for times in TIMES {
            let mut row = format!("| {:.0} |", capacity * times);
            for (curve, server) in curves.iter_mut().zip(["bare", "landfall"]) {
                let Goodput { per_second, p99 } = measure(server, path, capacity * times).await;
                row += &format!(" {per_second:.0}; {} ms |", p99.as_millis());
                if path == PATHS[0].0 {
                    curve.push(per_second / capacity);
                }
            }
            println!("{row}");
        }
    }
    let drawn = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images/overload.svg");
    std::fs::write(drawn, curve(&curves)).expect("the repository is writable");
    ExitCode::SUCCESS
}

/// What was answered in time over what was offered, both in parts of the capacity; the loads stand side by side.
fn curve([bare, landfall]: &[Vec<f64>; 2]) -> String {
    let at = |column: usize, share: f64| format!("{},{:.0}", 90 + column * 90, 230.0 - share * 170.0);
    let line = |shares: &[f64]| {
        let points = shares.iter().enumerate().map(|(column, share)| at(column, *share));
        points.collect::<Vec<_>>().join(" ")
    };
    let labels: String = TIMES
        .iter()
        .enumerate()
        .map(|(column, times)| {
            format!("<text x='{}' y='252' text-anchor='middle'>{times}</text>", 90 + column * 90)
        })
        .collect();
    let ends = [bare, landfall].map(|shares| 234.0 - shares.last().expect("there are loads") * 170.0);
    let [bare_end, landfall_end] = ends;
    let right = 100 + (TIMES.len() - 1) * 90;
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} 285' font-family='sans-serif' font-size='13'>\n\
         <style>text{{fill:#57606a}}.ours{{fill:#0969da}}line{{stroke:#8c959f}}polyline{{fill:none;stroke-width:2.5}}\
         @media(prefers-color-scheme:dark){{text{{fill:#9198a1}}.ours{{fill:#4493f8}}}}</style>\n\
         <text x='14' y='28'>answered in time, as a share of the capacity</text>\n\
         <line x1='60' y1='230' x2='{right}' y2='230'/><line x1='60' y1='60' x2='{right}' y2='60' stroke-dasharray='3'/>\n\
         <text x='52' y='65' text-anchor='end'>1</text><text x='52' y='234' text-anchor='end'>0</text>\n\
         {labels}<text x='60' y='276'>offered, in capacities</text>\n\
         <polyline points='{bare_points}' stroke='#8c959f'/>\n\
         <polyline points='{points}' stroke='#0969da'/>\n\
         <text x='{label}' y='{bare_end:.0}'>bare axum</text>\n\
         <text x='{label}' y='{landfall_end:.0}' class='ours'>landfall</text>\n</svg>\n",
        width = right + 90,
        bare_points = line(bare),
        points = line(landfall),
        label = right + 6,
    )
}
