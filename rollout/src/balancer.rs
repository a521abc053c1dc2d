//! A TCP balancer that behaves like kube-proxy: it picks an endpoint per connection, keeps the
//! connection there for life, hears of endpoints late, and never looks inside.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::pods::Pods;

/// The balancer at work; it ends when dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    routes: Arc<Routes>,
    changes: mpsc::UnboundedSender<Change>,
    tasks: [JoinHandle<()>; 2],
}

/// How an endpoint stands, as an EndpointSlice has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Ready,
    /// Asked to end; used only when no endpoint is ready, as kube-proxy does.
    Terminating,
    /// Failing its probe.
    Out,
    Gone,
}

/// Passes an endpoint's changes on to the balancer, which hears of them late.
pub(crate) struct Announcer {
    pod: String,
    changes: mpsc::UnboundedSender<Change>,
}

struct Change {
    at: Instant,
    pod: String,
    standing: Standing,
}

/// What the balancer did with a client's connection.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// There was no endpoint, or it refused.
    Refused { pod: Option<String> },
    /// It was carried to this pod.
    Carried { pod: String },
    /// It was carried, then killed on purpose.
    Killed { pod: String },
}

/// The fate of each connection, by its client's port: as many as there are ports, and no more.
pub(crate) struct Fates {
    by_client: Mutex<HashMap<SocketAddr, Fate>>,
    pods: Arc<Pods>,
}

struct Routes {
    endpoints: Mutex<Vec<Endpoint>>,
    live: Mutex<HashMap<SocketAddr, Arc<Notify>>>,
    fates: Arc<Fates>,
    lag: Duration,
}

struct Endpoint {
    pod: String,
    address: SocketAddr,
    standing: Standing,
}

impl Balancer {
    /// Listens at `address`; each change of an endpoint is heard of after 0 to `lag`, evenly drawn.
    pub(crate) async fn start(address: SocketAddr, lag: Duration, pods: Arc<Pods>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let fates = Arc::new(Fates { by_client: Mutex::default(), pods });
        let routes = Arc::new(Routes { endpoints: Mutex::default(), live: Mutex::default(), fates, lag });
        let (changes, heard) = mpsc::unbounded_channel();
        let tasks =
            [tokio::spawn(accept(listener, routes.clone())), tokio::spawn(hear(heard, routes.clone()))];
        Ok(Self { address, routes, changes, tasks })
    }

    /// Makes an endpoint known, out until its announcer says otherwise.
    pub(crate) fn register(&self, pod: &str, address: SocketAddr) -> Announcer {
        let endpoint = Endpoint { pod: pod.to_string(), address, standing: Standing::Out };
        self.routes.endpoints().push(endpoint);
        Announcer { pod: pod.to_string(), changes: self.changes.clone() }
    }

    /// What became of each connection.
    pub(crate) fn fates(&self) -> Arc<Fates> {
        self.routes.fates.clone()
    }

    /// The pods that new connections are sent to.
    pub(crate) fn ready(&self) -> usize {
        let endpoints = self.routes.endpoints();
        endpoints.iter().filter(|endpoint| endpoint.standing == Standing::Ready).count()
    }

    /// Resets one connection, chosen at random, at both ends.
    pub(crate) fn kill_one(&self) {
        let live = locked(&self.routes.live);
        if !live.is_empty()
            && let Some(kill) = live.values().nth(fastrand::usize(..live.len()))
        {
            kill.notify_one();
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Announcer {
    /// Says how the endpoint stands now; the balancer hears of it later.
    pub(crate) fn say(&self, standing: Standing) {
        // A balancer that has ended needs no news.
        let _ = self.changes.send(Change { at: Instant::now(), pod: self.pod.clone(), standing });
    }
}

impl Fates {
    /// What became of this client's connection.
    pub(crate) fn of(&self, client: SocketAddr) -> Option<Fate> {
        locked(&self.by_client).get(&client).cloned()
    }

    /// Says in words what a pod is doing now.
    pub(crate) fn describe(&self, pod: &str) -> String {
        self.pods.describe(pod)
    }

    fn set(&self, client: SocketAddr, fate: Fate) {
        locked(&self.by_client).insert(client, fate);
    }
}

impl Routes {
    fn endpoints(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        locked(&self.endpoints)
    }

    fn pick(&self) -> Option<(String, SocketAddr)> {
        let endpoints = self.endpoints();
        let standing = |wanted| endpoints.iter().filter(move |endpoint| endpoint.standing == wanted);
        let usable = match standing(Standing::Ready).count() {
            0 => Standing::Terminating,
            _ => Standing::Ready,
        };
        let count = standing(usable).count();
        if count == 0 {
            return None;
        }
        let chosen = standing(usable).nth(fastrand::usize(..count))?;
        Some((chosen.pod.clone(), chosen.address))
    }
}

/// Hears of one change after another, never of a later one first: so does kube-proxy.
async fn hear(mut changes: mpsc::UnboundedReceiver<Change>, routes: Arc<Routes>) {
    while let Some(Change { at, pod, standing }) = changes.recv().await {
        sleep_until(at + routes.lag.mul_f64(fastrand::f64())).await;
        let mut endpoints = routes.endpoints();
        if standing == Standing::Gone {
            endpoints.retain(|endpoint| endpoint.pod != pod);
        } else if let Some(endpoint) = endpoints.iter_mut().find(|endpoint| endpoint.pod == pod) {
            endpoint.standing = standing;
        }
        drop(endpoints);
        if standing != Standing::Ready {
            routes.fates.pods.left_endpoints(&pod);
        }
    }
}

async fn accept(listener: TcpListener, routes: Arc<Routes>) {
    loop {
        match listener.accept().await {
            Ok((client, peer)) => _ = tokio::spawn(carry(client, peer, routes.clone())),
            // Out of descriptors: the next one may fit again.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn carry(mut client: TcpStream, peer: SocketAddr, routes: Arc<Routes>) {
    let Some((pod, address)) = routes.pick() else {
        routes.fates.set(peer, Fate::Refused { pod: None });
        return reset(&client);
    };
    let Ok(mut server) = TcpStream::connect(address).await else {
        routes.fates.set(peer, Fate::Refused { pod: Some(pod) });
        return reset(&client);
    };
    routes.fates.set(peer, Fate::Carried { pod: pod.clone() });
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let kill = Arc::new(Notify::new());
    locked(&routes.live).insert(peer, kill.clone());
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut server, 4096, 4096) => {
            // What ended with a reset on one side ends with a reset on the other.
            if copied.is_err() {
                reset(&client);
                reset(&server);
            }
        }
        () = kill.notified() => {
            routes.fates.set(peer, Fate::Killed { pod });
            reset(&client);
            reset(&server);
        }
    }
    locked(&routes.live).remove(&peer);
}

/// Makes the close that follows a reset instead of a polite end.
fn reset(stream: &TcpStream) {
    // A socket that is already gone needs no reset.
    let _ = stream.set_zero_linger();
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds a lock")
}
