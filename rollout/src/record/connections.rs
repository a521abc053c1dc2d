//! What a balancer did with each client's connection, to tell a loss from the tool's own doing.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::pods::{PodState, Pods};

/// More often than this no port is given away while a client still holds what it had.
const CONNECTIONS_PER_PORT: usize = 4;

/// What the balancer did with a client's connection.
#[derive(Clone, Debug)]
pub(crate) enum ConnectionOutcome {
    /// There was no endpoint, or it refused.
    Refused { pod: Option<String> },
    /// It was carried to this pod.
    Proxied { pod: String },
    /// It was carried, then killed on purpose.
    Killed { pod: String },
}

/// A client's end of a connection. Its port may have been another's before and be another's after:
/// the kernel gives it away as soon as a connection is reset, known to its client or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    /// When it began to connect.
    pub(crate) since: Instant,
}

/// The last few connections of each client's port.
pub(crate) struct Connections {
    by_client: Mutex<HashMap<SocketAddr, OfPort>>,
    pods: Arc<Pods>,
}

/// The last few connections from one port, each with when it was accepted.
type OfPort = VecDeque<(Instant, ConnectionOutcome)>;

impl Connections {
    /// No connections yet, to any of these pods.
    pub(crate) fn new(pods: Arc<Pods>) -> Self {
        Self { by_client: Mutex::default(), pods }
    }

    /// What became of this client's connection: the first that came from there since.
    pub(crate) fn of(&self, caller: Caller) -> Option<ConnectionOutcome> {
        let connections = self.lock();
        let mut ours =
            connections.get(&caller.address)?.iter().filter(|(accepted, _)| *accepted >= caller.since);
        ours.next().map(|(_, outcome)| outcome.clone())
    }

    /// What a pod is doing now.
    pub(crate) fn describe(&self, pod: &str) -> PodState {
        self.pods.state(pod)
    }

    /// A connection has begun.
    pub(crate) fn begin(&self, client: SocketAddr, accepted: Instant, outcome: ConnectionOutcome) {
        let mut connections = self.lock();
        let of_port = connections.entry(client).or_default();
        if of_port.len() == CONNECTIONS_PER_PORT {
            of_port.pop_front();
        }
        of_port.push_back((accepted, outcome));
    }

    /// A connection that had begun was killed on purpose.
    pub(crate) fn killed(&self, client: SocketAddr, accepted: Instant, pod: String) {
        let mut connections = self.lock();
        let mut of_port = connections.entry(client).or_default().iter_mut();
        if let Some((_, outcome)) = of_port.find(|(at, _)| *at == accepted) {
            *outcome = ConnectionOutcome::Killed { pod };
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, OfPort>> {
        self.by_client.lock().expect("nothing panics while it holds the map")
    }
}
