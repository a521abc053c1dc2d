//! The proxies that can be in front, by name.

use std::fmt;
use std::str::FromStr;

/// A proxy, and what it speaks to the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) program: Program,
    /// HTTP/2 without TLS instead of HTTP/1.1.
    pub(crate) http2: bool,
}

/// The programs that can be in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// In front of the Service's address: it takes new endpoints only by a reload, which closes idle clients.
    Nginx,
    /// Told of endpoints through its socket.
    Haproxy,
    /// Told of endpoints by a file.
    Envoy,
    /// Told of endpoints by a file.
    Traefik,
    /// In front of the Service's address: new endpoints are a new configuration, which closes idle clients.
    Caddy,
}

impl Proxy {
    /// Every proxy, with each version of HTTP that it speaks to the pods.
    pub(crate) const ALL: [Proxy; 9] = [
        Proxy { program: Program::Nginx, http2: false },
        Proxy { program: Program::Haproxy, http2: false },
        Proxy { program: Program::Haproxy, http2: true },
        Proxy { program: Program::Envoy, http2: false },
        Proxy { program: Program::Envoy, http2: true },
        Proxy { program: Program::Traefik, http2: false },
        Proxy { program: Program::Traefik, http2: true },
        Proxy { program: Program::Caddy, http2: false },
        Proxy { program: Program::Caddy, http2: true },
    ];
}

impl Program {
    /// The executable's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Program::Nginx => "nginx",
            Program::Haproxy => "haproxy",
            Program::Envoy => "envoy",
            Program::Traefik => "traefik",
            Program::Caddy => "caddy",
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.program.name(), if self.http2 { "-h2" } else { "" })
    }
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|proxy| proxy.to_string() == text).ok_or_else(|| {
            format!("`{text}` is none of {}", Self::ALL.map(|proxy| proxy.to_string()).join(", "))
        })
    }
}
