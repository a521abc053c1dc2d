//! What a balancer did with each client's connection, so that a loss is told from the tool's own doing.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::pods::Pods;

/// More often than this no port is given away while a client still holds what it had.
const FATES_KEPT: usize = 4;

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

/// A client's end of a connection. Its port may have been another's before and be another's after:
/// the kernel gives it away as soon as a connection is reset, known to its client or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    /// When it began to connect.
    pub(crate) since: Instant,
}

/// The fates of the last few connections of each client's port.
pub(crate) struct Fates {
    by_client: Mutex<HashMap<SocketAddr, Connections>>,
    pods: Arc<Pods>,
}

/// The last few connections from one port, each with when it was accepted.
type Connections = VecDeque<(Instant, Fate)>;

impl Fates {
    /// No connections yet, to any of these pods.
    pub(crate) fn new(pods: Arc<Pods>) -> Self {
        Self { by_client: Mutex::default(), pods }
    }

    /// What became of this client's connection: the first that came from there since.
    pub(crate) fn of(&self, caller: Caller) -> Option<Fate> {
        let fates = self.lock();
        let mut ours = fates.get(&caller.address)?.iter().filter(|(accepted, _)| *accepted >= caller.since);
        ours.next().map(|(_, fate)| fate.clone())
    }

    /// Says in words what a pod is doing now.
    pub(crate) fn describe(&self, pod: &str) -> String {
        self.pods.describe(pod)
    }

    /// A connection has begun.
    pub(crate) fn begin(&self, client: SocketAddr, accepted: Instant, fate: Fate) {
        let mut fates = self.lock();
        let of_port = fates.entry(client).or_default();
        if of_port.len() == FATES_KEPT {
            of_port.pop_front();
        }
        of_port.push_back((accepted, fate));
    }

    /// A connection that had begun was killed on purpose.
    pub(crate) fn killed(&self, client: SocketAddr, accepted: Instant, pod: String) {
        let mut fates = self.lock();
        let mut of_port = fates.entry(client).or_default().iter_mut();
        if let Some((_, fate)) = of_port.find(|(at, _)| *at == accepted) {
            *fate = Fate::Killed { pod };
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Connections>> {
        self.by_client.lock().expect("nothing panics while it holds the map")
    }
}
