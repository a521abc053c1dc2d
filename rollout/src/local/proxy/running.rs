//! A proxy at work: its process, its files, and how it hears of endpoints.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::configuration::{Checks, SLOTS, Settings};
use crate::local::process::Process;
use crate::proxies::{Program, Proxy};
use crate::unable::{OrUnable, Unable};

/// Where `make proxies` puts them.
const FETCHED: &str = ".tools/bin";

/// At most this often Traefik takes a new configuration, by its own default.
const TRAEFIK_THROTTLE: Duration = Duration::from_secs(2);

const START: Duration = Duration::from_secs(30);

/// A running proxy; it is killed, and its files are removed, when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    updates: JoinHandle<()>,
    directory: PathBuf,
}

/// How a proxy is to treat the pods.
pub(crate) struct How {
    /// How long it keeps an idle connection to one.
    pub(crate) keep_alive: Duration,
    /// How it asks them whether they take requests, if it does.
    pub(crate) checks: Option<Checks>,
    /// What the timings of its own are multiplied by.
    pub(crate) scale: f64,
}

/// What hears of endpoints.
struct Follower {
    proxy: Proxy,
    process: Process,
    settings: Settings,
    /// Which endpoint each of haproxy's slots has.
    slots: Vec<Option<SocketAddr>>,
}

impl Running {
    /// Starts a proxy that listens at the first address, and follows the endpoints or stays with the Service, which has
    /// the second.
    pub(crate) async fn start(
        proxy: Proxy,
        [address, service]: [SocketAddr; 2],
        how: How,
        log: Option<&Path>,
        endpoints: watch::Receiver<Vec<SocketAddr>>,
    ) -> Result<Self, Unable> {
        let program = find(proxy.program)?;
        let directory = std::env::temp_dir().join(format!("rollout-{}-{address}", std::process::id()));
        fs::create_dir_all(&directory).or_unable(directory.display())?;
        let How { keep_alive, checks, scale } = how;
        let http2 = proxy.http2;
        let settings = Settings { address, service, http2, keep_alive, checks, directory: directory.clone() };
        let tried = format!("starting {}", program.display());
        let arguments = arguments(proxy.program, &settings, scale).or_unable(&tried)?;
        // Caddy keeps what it knows at home.
        let home = [("HOME".to_string(), directory.display().to_string())];
        let process = Process::start(&program, &arguments, &home, log).or_unable(&tried)?;
        let mut follower = Follower { proxy, process, settings, slots: vec![None; SLOTS] };
        follower.listening().await?;
        let updates = tokio::spawn(follower.follow(endpoints));
        Ok(Self { address, updates, directory })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.updates.abort();
        // What stays behind is small, and in the directory for such.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Follower {
    /// Waits until the proxy accepts connections.
    async fn listening(&mut self) -> Result<(), Unable> {
        let accepted = async {
            while tokio::net::TcpStream::connect(self.settings.address).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::select! {
            () = accepted => return Ok(()),
            _ = self.process.ended() => "has ended",
            () = sleep(START) => "does not listen",
        };
        let output = self.process.output_tail().await;
        Err(Unable(format!("{} {ended}; its last output:\n{output}", self.proxy)))
    }

    /// Tells the proxy of each change of endpoints.
    async fn follow(mut self, mut endpoints: watch::Receiver<Vec<SocketAddr>>) {
        loop {
            let now = endpoints.borrow_and_update().clone();
            if let Err(error) = self.tell(&now).await {
                eprintln!("rollout: telling {} of endpoints: {error}", self.proxy);
            }
            tokio::select! {
                changed = endpoints.changed() => if changed.is_err() { return },
                _ = self.process.ended() => {
                    let output = self.process.output_tail().await;
                    eprintln!("rollout: {} has ended; its last output:\n{output}", self.proxy);
                    return;
                }
            }
        }
    }

    async fn tell(&mut self, endpoints: &[SocketAddr]) -> io::Result<()> {
        let settings = &self.settings;
        if self.proxy.checks {
            return Ok(());
        }
        match self.proxy.program {
            Program::Envoy => {
                replace(&settings.directory.join("endpoints.json"), &settings.envoy_endpoints(endpoints))
            }
            Program::Traefik => {
                replace(&settings.directory.join("endpoints.yaml"), &settings.traefik_endpoints(endpoints))
            }
            Program::Haproxy => self.tell_haproxy(endpoints).await,
            Program::Nginx | Program::Caddy => Ok(()),
        }
    }

    /// Gives each new endpoint a slot, and empties those of the ones that have left.
    async fn tell_haproxy(&mut self, endpoints: &[SocketAddr]) -> io::Result<()> {
        let socket = self.settings.directory.join("socket");
        for endpoint in endpoints {
            if self.slots.contains(&Some(*endpoint)) {
                continue;
            }
            let Some(free) = self.slots.iter().position(Option::is_none) else {
                return Err(io::Error::other("more endpoints than slots"));
            };
            let (server, ip, port) = (format!("pods/pod{}", free + 1), endpoint.ip(), endpoint.port());
            command(&socket, &format!("set server {server} addr {ip} port {port}")).await?;
            command(&socket, &format!("set server {server} state ready")).await?;
            self.slots[free] = Some(*endpoint);
        }
        for (n, slot) in self.slots.iter_mut().enumerate() {
            if slot.is_some_and(|endpoint| !endpoints.contains(&endpoint)) {
                command(&socket, &format!("set server pods/pod{} state maint", n + 1)).await?;
                *slot = None;
            }
        }
        Ok(())
    }
}

/// The program on the PATH or where `make proxies` puts it.
pub(crate) fn find(program: Program) -> Result<PathBuf, Unable> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let name = program.name();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from(FETCHED)])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file());
    let found = found.ok_or_else(|| {
        Unable(format!(
            "--through {name}: there is no {name} on the PATH or in {FETCHED}; `make proxies` fetches it"
        ))
    })?;
    std::path::absolute(found).or_unable(name)
}

/// Writes the configuration, and says what starts the program with it.
fn arguments(program: Program, settings: &Settings, scale: f64) -> io::Result<Vec<String>> {
    let file = |name: &str, text: String| {
        let path = settings.directory.join(name);
        fs::write(&path, text)?;
        Ok::<_, io::Error>(path.display().to_string())
    };
    Ok(match program {
        Program::Nginx => {
            let stderr = ["-e".into(), "stderr".into()];
            [&stderr[..], &["-c".into(), file("nginx.conf", settings.nginx())?]].concat()
        }
        Program::Haproxy => vec!["-db".into(), "-f".into(), file("haproxy.cfg", settings.haproxy())?],
        Program::Envoy => {
            file("endpoints.json", settings.envoy_endpoints(settings.pool()))?;
            let configuration = file("envoy.json", settings.envoy())?;
            let quiet = ["--disable-hot-restart", "--log-level", "error", "--concurrency", "2", "-c"];
            quiet.into_iter().map(String::from).chain([configuration]).collect()
        }
        Program::Traefik => {
            file("endpoints.yaml", settings.traefik_endpoints(settings.pool()))?;
            settings.traefik(TRAEFIK_THROTTLE.mul_f64(scale))
        }
        Program::Caddy => vec!["run".into(), "--config".into(), file("caddy.json", settings.caddy())?],
    })
}

/// Replaces a file at once: who reads it sees the old or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

/// Sends haproxy a command; its answer is empty unless it is an error.
async fn command(socket: &Path, command: &str) -> io::Result<()> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        // A changed address is said, and no error.
        match answer.trim() {
            said if said.is_empty() || said.contains("changed") || said.contains("no need to change") => {
                Ok(())
            }
            error => Err(io::Error::other(format!("`{command}`: {error}"))),
        }
    };
    timeout(Duration::from_secs(5), exchange).await?
}
