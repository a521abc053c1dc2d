//! The proxies that can be in front, by name.

use std::fmt;
use std::str::FromStr;

/// A proxy, and what it speaks to the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) program: Program,
    /// HTTP/2 without TLS instead of HTTP/1.1.
    pub(crate) http2: bool,
    /// It knows every address that a pod can have, and finds out by asking them which take requests, instead of being told.
    pub(crate) checks: bool,
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
    /// In front of the Service's address: new endpoints are a new configuration, which closes idle clients. With checks in front
    /// of every address that a pod can have.
    Caddy,
}

impl Proxy {
    /// Every proxy, with each version of HTTP that it speaks to the pods, and with checks where it has them.
    pub(crate) const ALL: [Proxy; 13] = [
        Proxy::plain(Program::Nginx),
        Proxy::plain(Program::Haproxy),
        Proxy::http2(Program::Haproxy),
        Proxy::checks(Program::Haproxy),
        Proxy::plain(Program::Envoy),
        Proxy::http2(Program::Envoy),
        Proxy::checks(Program::Envoy),
        Proxy::plain(Program::Traefik),
        Proxy::http2(Program::Traefik),
        Proxy::checks(Program::Traefik),
        Proxy::plain(Program::Caddy),
        Proxy::http2(Program::Caddy),
        Proxy::checks(Program::Caddy),
    ];

    const fn plain(program: Program) -> Self {
        Self { program, http2: false, checks: false }
    }

    const fn http2(program: Program) -> Self {
        Self { program, http2: true, checks: false }
    }

    const fn checks(program: Program) -> Self {
        Self { program, http2: false, checks: true }
    }
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
        let (http2, checks) = (if self.http2 { "-h2" } else { "" }, if self.checks { "-checks" } else { "" });
        write!(f, "{}{http2}{checks}", self.program.name())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_as_it_is_written() {
        for proxy in Proxy::ALL {
            assert_eq!(proxy.to_string().parse(), Ok(proxy));
        }
        assert_eq!(Proxy::plain(Program::Nginx).to_string(), "nginx");
        assert!("apache".parse::<Proxy>().is_err());
    }
}
