//! A TCP balancer that behaves like kube-proxy: it picks an endpoint per connection, keeps the
//! connection there for life, sees changes of endpoints late, and never looks inside.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::record::connections::{ConnectionOutcome, Connections};
use crate::record::pods::Pods;

/// The balancer at work; it ends when dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    routes: Arc<Routes>,
    changes: mpsc::UnboundedSender<Change>,
    tasks: [JoinHandle<()>; 2],
}

/// The state of an endpoint, as an EndpointSlice has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointState {
    Ready,
    /// Used only when no endpoint is ready, as kube-proxy does.
    Terminating,
    /// Failing its probe.
    NotReady,
    Removed,
}

/// Sets an endpoint's state; the balancer sees the change late.
pub(crate) struct EndpointHandle {
    pod: String,
    changes: mpsc::UnboundedSender<Change>,
}

struct Change {
    at: Instant,
    pod: String,
    state: EndpointState,
}

struct Routes {
    endpoints: Mutex<Vec<Endpoint>>,
    live: Mutex<HashMap<SocketAddr, Arc<Notify>>>,
    connections: Arc<Connections>,
    pods: Arc<Pods>,
    lag: Duration,
    usable: watch::Sender<Vec<SocketAddr>>,
}

struct Endpoint {
    pod: String,
    address: SocketAddr,
    state: EndpointState,
}

impl Balancer {
    /// Listens at `address`; each change of an endpoint takes effect after 0 to `lag`, evenly drawn.
    pub(crate) async fn start(address: SocketAddr, lag: Duration, pods: Arc<Pods>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let connections = Arc::new(Connections::new(pods.clone()));
        let routes = Arc::new(Routes {
            endpoints: Mutex::default(),
            live: Mutex::default(),
            connections,
            pods,
            lag,
            usable: watch::Sender::default(),
        });
        let (changes, received) = mpsc::unbounded_channel();
        let tasks =
            [tokio::spawn(accept(listener, routes.clone())), tokio::spawn(apply(received, routes.clone()))];
        Ok(Self { address, routes, changes, tasks })
    }

    /// Makes an endpoint known, not ready until its handle says otherwise.
    pub(crate) fn register(&self, pod: &str, address: SocketAddr) -> EndpointHandle {
        let endpoint = Endpoint { pod: pod.to_string(), address, state: EndpointState::NotReady };
        self.routes.endpoints().push(endpoint);
        EndpointHandle { pod: pod.to_string(), changes: self.changes.clone() }
    }

    /// What became of each connection.
    pub(crate) fn connections(&self) -> Arc<Connections> {
        self.routes.connections.clone()
    }

    /// The pods that new connections are sent to.
    pub(crate) fn ready(&self) -> usize {
        let endpoints = self.routes.endpoints();
        endpoints.iter().filter(|endpoint| endpoint.state == EndpointState::Ready).count()
    }

    /// Where new connections are sent, for a proxy that does so by itself.
    pub(crate) fn usable(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.routes.usable.subscribe()
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

impl EndpointHandle {
    /// Sets the endpoint's state; the balancer sees it later.
    pub(crate) fn set(&self, state: EndpointState) {
        // A balancer that has ended needs no changes.
        let _ = self.changes.send(Change { at: Instant::now(), pod: self.pod.clone(), state });
    }
}

impl Routes {
    fn endpoints(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        locked(&self.endpoints)
    }

    fn pick(&self) -> Option<(String, SocketAddr)> {
        let endpoints = self.endpoints();
        let usable: Vec<&Endpoint> = usable(&endpoints).collect();
        let chosen = usable.get(fastrand::usize(..usable.len().max(1)))?;
        Some((chosen.pod.clone(), chosen.address))
    }
}

/// The ready endpoints, or the terminating ones where none is ready.
fn usable(endpoints: &[Endpoint]) -> impl Iterator<Item = &Endpoint> {
    let any_ready = endpoints.iter().any(|endpoint| endpoint.state == EndpointState::Ready);
    let wanted = if any_ready { EndpointState::Ready } else { EndpointState::Terminating };
    endpoints.iter().filter(move |endpoint| endpoint.state == wanted)
}

/// Applies one change after another, never a later one first: so does kube-proxy.
async fn apply(mut changes: mpsc::UnboundedReceiver<Change>, routes: Arc<Routes>) {
    while let Some(Change { at, pod, state }) = changes.recv().await {
        sleep_until(at + routes.lag.mul_f64(fastrand::f64())).await;
        let mut endpoints = routes.endpoints();
        if state == EndpointState::Removed {
            endpoints.retain(|endpoint| endpoint.pod != pod);
        } else if let Some(endpoint) = endpoints.iter_mut().find(|endpoint| endpoint.pod == pod) {
            endpoint.state = state;
        }
        let usable = usable(&endpoints).map(|endpoint| endpoint.address).collect();
        drop(endpoints);
        routes.usable.send_replace(usable);
        if state != EndpointState::Ready {
            routes.pods.left_endpoints(&pod);
        }
    }
}

async fn accept(listener: TcpListener, routes: Arc<Routes>) {
    loop {
        match listener.accept().await {
            Ok((client, peer)) => _ = tokio::spawn(proxy(client, peer, routes.clone())),
            // Out of descriptors: the next one may fit again.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn proxy(mut client: TcpStream, peer: SocketAddr, routes: Arc<Routes>) {
    let accepted = std::time::Instant::now();
    let Some((pod, address)) = routes.pick() else {
        routes.connections.begin(peer, accepted, ConnectionOutcome::Refused { pod: None });
        return reset(&client);
    };
    let Ok(mut server) = TcpStream::connect(address).await else {
        routes.connections.begin(peer, accepted, ConnectionOutcome::Refused { pod: Some(pod) });
        return reset(&client);
    };
    routes.connections.begin(peer, accepted, ConnectionOutcome::Proxied { pod: pod.clone() });
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let kill = Arc::new(Notify::new());
    locked(&routes.live).insert(peer, kill.clone());
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut server, 4096, 4096) => {
            // A reset on one side becomes a reset on the other.
            if copied.is_err() {
                reset(&client);
                reset(&server);
            }
        }
        () = kill.notified() => {
            routes.connections.killed(peer, accepted, pod);
            reset(&client);
            reset(&server);
        }
    }
    locked(&routes.live).remove(&peer);
}

/// Makes the close that follows a reset instead of a FIN.
fn reset(stream: &TcpStream) {
    // A socket that is already gone needs no reset.
    let _ = stream.set_zero_linger();
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds a lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::connections::Caller;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A balancer without lag.
    async fn balancer() -> Balancer {
        let pods = Arc::new(Pods::new(std::time::Instant::now()));
        Balancer::start(([127, 0, 0, 1], 0).into(), Duration::ZERO, pods).await.unwrap()
    }

    /// A server that answers each byte with its own.
    async fn endpoint(balancer: &Balancer, own: u8) -> EndpointHandle {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = balancer.register(&format!("pod-{own}"), listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).await.is_ok() {
                        stream.write_all(&[own]).await.unwrap();
                    }
                });
            }
        });
        endpoint
    }

    async fn asks(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(b"?").await?;
        stream.read_u8().await
    }

    async fn until_ready(balancer: &Balancer, ready: usize) {
        let seen = async {
            while balancer.ready() != ready {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_stays_on_its_endpoint_when_that_leaves() {
        let balancer = balancer().await;
        let first = endpoint(&balancer, 1).await;
        first.set(EndpointState::Ready);
        until_ready(&balancer, 1).await;
        let mut kept = TcpStream::connect(balancer.address).await.unwrap();
        assert_eq!(asks(&mut kept).await.unwrap(), 1);
        let second = endpoint(&balancer, 2).await;
        second.set(EndpointState::Ready);
        until_ready(&balancer, 2).await;
        let pods = &balancer.routes.pods;
        pods.started("pod-1");
        pods.terminating("pod-1");
        first.set(EndpointState::Terminating);
        until_ready(&balancer, 1).await;
        assert_eq!(asks(&mut kept).await.unwrap(), 1);
        let mut fresh = TcpStream::connect(balancer.address).await.unwrap();
        assert_eq!(asks(&mut fresh).await.unwrap(), 2);
        let left = async {
            while pods.histories()[0].left_endpoints.is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), left).await.unwrap();
    }

    #[tokio::test]
    async fn a_change_takes_effect_late() {
        let pods = Arc::new(Pods::new(std::time::Instant::now()));
        let lag = Duration::from_secs(3600);
        let balancer = Balancer::start(([127, 0, 0, 1], 0).into(), lag, pods).await.unwrap();
        endpoint(&balancer, 1).await.set(EndpointState::Ready);
        let ready = until_ready(&balancer, 1);
        assert!(tokio::time::timeout(Duration::from_millis(50), ready).await.is_err());
    }

    #[tokio::test]
    async fn leaving_endpoints_are_used_when_no_other_is_there() {
        let balancer = balancer().await;
        let only = endpoint(&balancer, 1).await;
        only.set(EndpointState::Ready);
        until_ready(&balancer, 1).await;
        only.set(EndpointState::Terminating);
        until_ready(&balancer, 0).await;
        let mut stream = TcpStream::connect(balancer.address).await.unwrap();
        assert_eq!(asks(&mut stream).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_balancer_that_is_dropped_listens_no_more() {
        let balancer = balancer().await;
        let address = balancer.address;
        drop(balancer);
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
    }

    #[tokio::test]
    async fn without_an_endpoint_a_connection_is_refused_and_known_to_be() {
        let balancer = balancer().await;
        let since = std::time::Instant::now();
        let mut stream = TcpStream::connect(balancer.address).await.unwrap();
        assert!(asks(&mut stream).await.is_err());
        let outcome = balancer.connections().of(Caller { address: stream.local_addr().unwrap(), since });
        assert!(matches!(outcome, Some(ConnectionOutcome::Refused { pod: None })), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_killed_connection_is_reset_and_known_to_be() {
        let balancer = balancer().await;
        let only = endpoint(&balancer, 1).await;
        only.set(EndpointState::Ready);
        until_ready(&balancer, 1).await;
        let since = std::time::Instant::now();
        let mut stream = TcpStream::connect(balancer.address).await.unwrap();
        assert_eq!(asks(&mut stream).await.unwrap(), 1);
        balancer.kill_one();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let caller = Caller { address: stream.local_addr().unwrap(), since };
        let outcome = balancer.connections().of(caller);
        assert!(matches!(outcome, Some(ConnectionOutcome::Killed { .. })), "{outcome:?}");

        // Its port goes to another while it holds on to what it had.
        let later = std::time::Instant::now();
        balancer.connections().begin(
            caller.address,
            later,
            ConnectionOutcome::Proxied { pod: "other".into() },
        );
        assert!(matches!(balancer.connections().of(caller), Some(ConnectionOutcome::Killed { .. })));
        let other = Caller { since: later, ..caller };
        assert!(matches!(balancer.connections().of(other), Some(ConnectionOutcome::Proxied { .. })));
    }
}
