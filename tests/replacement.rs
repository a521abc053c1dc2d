//! The process is replaced again and again under its clients, and not one of their requests is lost.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::{self, Runtime},
    sync::RwLock,
};

use support::{
    http1::Http1,
    process::{Process, testbed},
};

const REPLACEMENTS: usize = 12;

/// From the signal until the balancer leaves the old process out, and from there to the end of the delay.
const LAG: Duration = Duration::from_millis(300);

/// On a machine with little time for it, what is asked here is too much, and some would be shed.
fn start() -> Process {
    testbed().set("APP_MAX_WAIT", "1h").start()
}

/// Forwards each new connection to the next endpoint and, as kube-proxy does, leaves it there.
struct Balancer {
    address: SocketAddr,
    endpoints: Arc<RwLock<Vec<SocketAddr>>>,
    _runtime: Runtime,
}

impl Balancer {
    fn start() -> Self {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let endpoints = Arc::default();
        runtime.spawn(balance(listener, Arc::clone(&endpoints)));
        Self { address, endpoints, _runtime: runtime }
    }

    fn add(&self, process: &Process) {
        self.endpoints.blocking_write().push(process.address_of_service());
    }

    /// Returns when no connection to it is on its way any more.
    fn remove(&self, process: &Process) {
        let gone = process.address_of_service();
        self.endpoints.blocking_write().retain(|endpoint| *endpoint != gone);
    }
}

async fn balance(listener: TcpListener, endpoints: Arc<RwLock<Vec<SocketAddr>>>) {
    for turn in 0.. {
        let (client, _) = listener.accept().await.expect("there are descriptors");
        tokio::spawn(forward(client, endpoints.clone(), turn));
    }
}

async fn forward(
    mut client: TcpStream,
    endpoints: Arc<RwLock<Vec<SocketAddr>>>,
    turn: usize,
) -> io::Result<()> {
    let endpoints = endpoints.read_owned().await;
    let mut server = TcpStream::connect(endpoints[turn % endpoints.len()]).await?;
    drop(endpoints);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// What all clients of one kind saw.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

impl Tally {
    /// Asks until enough, with a pause of so many milliseconds after each request.
    fn ask(&self, enough: &AtomicBool, pause: Range<u64>, mut ask: impl FnMut() -> io::Result<()>) {
        while !enough.load(Relaxed) {
            let asked = Instant::now();
            match ask() {
                Ok(()) => _ = self.answered.fetch_add(1, Relaxed),
                Err(error) => {
                    let loss = format!("{error}, {:?} after it was asked", asked.elapsed());
                    self.lost.lock().expect("no client panics").push(loss);
                }
            }
            thread::sleep(Duration::from_millis(fastrand::u64(pause.clone())));
        }
    }

    fn assert_none_lost(&self, kind: &str, at_least: usize) {
        let lost = self.lost.lock().expect("no client panics");
        let answered = self.answered.load(Relaxed);
        assert!(lost.is_empty(), "{kind}: {} lost, {answered} answered: {lost:#?}", lost.len());
        assert!(answered >= at_least, "{kind}: only {answered} answered");
    }
}

/// Asks once, on the connection that there is or on a new one; keeps it unless told otherwise.
fn ask(address: SocketAddr, kept: &mut Option<Http1>) -> io::Result<()> {
    let mut client = match kept.take() {
        Some(client) => client,
        None => Http1::try_connect(address)?,
    };
    let response = client.try_get("/")?;
    if response.status != 200 {
        return Err(io::Error::other(format!("{response:?}")));
    }
    *kept = (!response.says_close()).then_some(client);
    Ok(())
}

#[test]
fn replacements_under_load_lose_no_request() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("up to the maximum it may be raised");
    let balancer = Balancer::start();
    let address = balancer.address;
    let mut current = start();
    balancer.add(&current);
    let [busy, idle, fresh] = <[Tally; 3]>::default();
    let enough = AtomicBool::new(false);

    let replaced = thread::scope(|scope| {
        for _ in 0..120 {
            scope.spawn(|| {
                let mut kept = None;
                busy.ask(&enough, 100..300, || ask(address, &mut kept));
            });
        }
        for _ in 0..80 {
            scope.spawn(|| {
                let mut kept = None;
                // Most of them say nothing from the signal to the end of the delay.
                idle.ask(&enough, 1000..2500, || ask(address, &mut kept));
            });
        }
        for _ in 0..4 {
            scope.spawn(|| fresh.ask(&enough, 20..60, || ask(address, &mut None)));
        }
        let _stop_in_any_case = StopOnDrop(&enough);
        let replace = |_| {
            thread::sleep(LAG);
            let next = start();
            balancer.add(&next);
            current.drain();
            thread::sleep(LAG);
            balancer.remove(&current);
            thread::sleep(LAG);
            current.close();
            std::mem::replace(&mut current, next)
        };
        let replaced: Vec<Process> = (0..REPLACEMENTS).map(replace).collect();
        let reports = replaced.into_iter().map(|process| process.exit().with_code(0).clone());
        reports.collect::<Vec<_>>()
    });

    busy.assert_none_lost("busy", 1000);
    idle.assert_none_lost("idle", 200);
    fresh.assert_none_lost("fresh", 200);
    // The test means nothing unless clients came late.
    for count in ["requests_while_draining", "connections_while_draining", "requests_while_closing"] {
        let came: u64 = replaced.iter().filter_map(|report| report[count].as_u64()).sum();
        assert!(came >= 50, "{count}: only {came}");
    }
}

/// Lets the clients end also when the test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
