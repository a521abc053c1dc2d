//! Addresses and ports on this machine's loopback network.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use crate::unable::{OrUnable, Unable};

/// A part of 127.0.0.0/8 that this run has for itself; each pod gets an address of its own.
pub(crate) struct Network {
    base: u32,
    used: u32,
}

impl Network {
    /// Picks a part at random; the ports on each address are then looked for.
    pub(crate) fn pick() -> Result<Self, Unable> {
        for _ in 0..100 {
            let base = u32::from(Ipv4Addr::new(127, fastrand::u8(1..=254), fastrand::u8(..), 0));
            let network = Self { base, used: 0 };
            if TcpListener::bind((network.address(1), 0)).is_ok() {
                return Ok(network);
            }
        }
        Err(Unable("no address of 127.0.0.0/8 can be bound; `rollout local` needs Linux's loopback".into()))
    }

    /// The next address, and this many ports that are free on it.
    pub(crate) fn next<const N: usize>(&mut self) -> Result<(IpAddr, [u16; N]), Unable> {
        self.used = self.used % 250 + 1;
        let address = self.address(self.used);
        let tried = "finding a free port";
        let mut held = Vec::new();
        let mut ports = [0; N];
        for port in &mut ports {
            let listener = TcpListener::bind((address, 0)).or_unable(tried)?;
            *port = listener.local_addr().or_unable(tried)?.port();
            held.push(listener);
        }
        Ok((address, ports))
    }

    fn address(&self, n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self.base + n))
    }
}
