//! Addresses and ports on this machine's loopback network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

use crate::unable::{OrUnable, Unable};

const ADDRESSES: u32 = 250;

/// A part of 127.0.0.0/8 that this run has for itself; each pod gets an address of its own.
pub(crate) struct Network {
    base: u32,
    used: u32,
    ports: [u16; 2],
}

impl Network {
    /// Picks a part at random; the ports on each address are then looked for.
    pub(crate) fn pick() -> Result<Self, Unable> {
        for _ in 0..100 {
            let base = u32::from(Ipv4Addr::new(127, fastrand::u8(1..=254), fastrand::u8(..), 0));
            let mut network = Self { base, used: 0, ports: [0; 2] };
            if bind(network.address(1), 0).is_ok() {
                network.ports = network.next()?.1;
                return Ok(network);
            }
        }
        Err(Unable("no address of 127.0.0.0/8 can be bound; `rollout local` needs Linux's loopback".into()))
    }

    /// The first two ports of every address, unless one is taken there.
    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// Every address.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        (1..=ADDRESSES).map(|n| self.address(n))
    }

    /// The next address, and this many ports that are free on it: those of the others where they are.
    pub(crate) fn next<const N: usize>(&mut self) -> Result<(IpAddr, [u16; N]), Unable> {
        self.used = self.used % ADDRESSES + 1;
        let address = self.address(self.used);
        let tried = "finding a free port";
        let mut held = Vec::new();
        let mut ports = [0; N];
        for (n, port) in ports.iter_mut().enumerate() {
            let wanted = self.ports.get(n).copied().unwrap_or(0);
            let socket = bind(address, wanted).or_else(|_| bind(address, 0)).or_unable(tried)?;
            *port = socket.local_addr().or_unable(tried)?.port();
            held.push(socket);
        }
        Ok((address, ports))
    }

    fn address(&self, n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self.base + n))
    }
}

/// Takes a port without listening on it: a process that is being started meanwhile has a copy of each socket until it
/// becomes its program, and a copy that listens keeps the port from the one that it was looked for.
fn bind(address: IpAddr, port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(address, port))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_has_the_next_address_and_the_ports_of_all() {
        let mut network = Network { ports: [0; 2], used: 0, base: u32::from(Ipv4Addr::new(127, 77, 5, 0)) };
        network.ports = network.next().unwrap().1;
        let ports = network.ports();
        assert!(ports.iter().all(|port| *port > 1) && ports[0] != ports[1], "{ports:?}");
        for n in (2..=250).chain(1..3) {
            let (address, next) = network.next::<2>().unwrap();
            assert_eq!((address, next), (Ipv4Addr::new(127, 77, 5, n).into(), ports));
        }
        let all: Vec<IpAddr> = network.addresses().collect();
        assert_eq!((all.len(), all[249]), (250, Ipv4Addr::new(127, 77, 5, 250).into()));
    }
}
