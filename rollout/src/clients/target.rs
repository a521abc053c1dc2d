//! What the clients send, and where.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::tls::{Tls, Transport, Trust};
use crate::record::kind::Kind;
use crate::unable::{OrUnable, Unable};

/// How many spaces precede what upload posts: JSON may begin with them.
pub(super) const UPLOAD_PADDING: usize = 160;

/// The requests of every kind of client, and the address they go to.
#[derive(Clone)]
pub(crate) struct Target {
    /// Tried in order for each connection, as a resolver gave them.
    pub(crate) addresses: Vec<SocketAddr>,
    /// `host:port` as the URL has it, for the `Host` header.
    pub(crate) authority: String,
    /// The URL's own path, put before each of the others; no slash at its end.
    pub(crate) base: String,
    pub(crate) path: String,
    pub(crate) post: String,
    pub(crate) post_body: String,
    pub(crate) stream: String,
    pub(crate) download: String,
    pub(crate) websocket: String,
    /// Headers of every request, `Name: value`.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) trust: Trust,
    /// What an `https://` URL needs.
    pub(crate) tls: Option<Tls>,
}

impl Target {
    /// Points the requests at an `http://` or `https://` URL, resolving its host once.
    pub(crate) async fn aim(&mut self, url: &str) -> Result<(), Unable> {
        let uri: http::Uri = url.parse().or_unable(format!("the URL `{url}`"))?;
        let port = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(Unable(format!("the URL `{url}` begins with neither http:// nor https://"))),
        };
        let authority = uri.authority().ok_or_else(|| Unable(format!("`{url}` has no host")))?;
        let port = authority.port_u16().unwrap_or(port);
        let host = authority.host().trim_matches(['[', ']']);
        self.addresses = tokio::net::lookup_host((host, port))
            .await
            .or_unable(format!("no route to {url}: looking up `{host}`"))?
            .collect();
        self.tls = (uri.scheme_str() == Some("https")).then(|| Tls::new(host, &self.trust)).transpose()?;
        self.authority = authority.to_string();
        self.base = uri.path().trim_end_matches('/').to_string();
        Ok(())
    }

    /// The path of this kind's request.
    pub(crate) fn path_of(&self, kind: Kind) -> String {
        let path = match kind {
            Kind::Post | Kind::Upload => &self.post,
            Kind::Download => &self.download,
            Kind::Websocket => &self.websocket,
            Kind::Stream => &self.stream,
            _ => &self.path,
        };
        format!("{}{path}", self.base)
    }

    /// The URL of this kind's request.
    pub(crate) fn url_of(&self, kind: Kind) -> String {
        format!("{}{}", self.origin(), self.path_of(kind))
    }

    /// The URL without its path.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.authority)
    }

    /// Connects, with HTTP/2 or HTTP/1.1 inside where there is TLS.
    pub(super) async fn connect(&self, http2: bool) -> io::Result<Transport> {
        let stream = TcpStream::connect(&self.addresses[..]).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Transport::Left(stream),
            Some(tls) => Transport::Right(tls.connect(stream, http2).await?),
        })
    }

    /// The bytes of this kind's request, in HTTP/1.1.
    pub(crate) fn http1(&self, kind: Kind) -> Vec<u8> {
        let method = method_of(kind);
        let mut text = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", self.path_of(kind), self.authority);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if kind == Kind::Websocket {
            text += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
            // Any 16 bytes in base64 will do.
            text += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        }
        if method == "POST" {
            let padding = if kind == Kind::Upload { UPLOAD_PADDING } else { 0 };
            let body = format!("{:padding$}{}", "", self.post_body);
            text +=
                &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        } else {
            text += "\r\n";
        }
        text.into_bytes()
    }

    /// The request of the HTTP/2 clients; fails when a header is not one.
    pub(crate) fn http2(&self) -> Result<http::Request<()>, Unable> {
        let mut request = http::Request::get(self.url_of(Kind::H2));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(()).or_unable("the HTTP/2 request")
    }
}

/// The method of this kind's request.
pub(crate) fn method_of(kind: Kind) -> &'static str {
    if matches!(kind, Kind::Post | Kind::Upload) { "POST" } else { "GET" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_asks_for_its_path_under_the_urls_own() {
        let target = Target {
            addresses: Vec::new(),
            authority: "shop:80".into(),
            base: "/v1".into(),
            path: "/orders".into(),
            post: "/carts".into(),
            post_body: "{}".into(),
            stream: "/feed".into(),
            download: "/export".into(),
            websocket: "/live".into(),
            headers: vec![("X-Key".into(), "k".into())],
            connect_timeout: Duration::ZERO,
            response_timeout: Duration::ZERO,
            trust: Trust::System,
            tls: None,
        };
        let http1 = |kind| String::from_utf8(target.http1(kind)).unwrap();
        let get = "GET /v1/orders HTTP/1.1\r\nHost: shop:80\r\nX-Key: k\r\n\r\n";
        assert_eq!([http1(Kind::Busy), http1(Kind::Idle), http1(Kind::Fresh)], [get; 3]);
        assert!(http1(Kind::Stream).starts_with("GET /v1/feed HTTP/1.1\r\n"));
        let post = http1(Kind::Post);
        assert!(
            post.starts_with("POST /v1/carts HTTP/1.1\r\n") && post.ends_with("Content-Length: 2\r\n\r\n{}")
        );
        let upload = http1(Kind::Upload);
        assert!(upload.contains("Content-Length: 162\r\n\r\n  ") && upload.ends_with("  {}"), "{upload}");
        assert!(http1(Kind::Download).starts_with("GET /v1/export HTTP/1.1\r\n"));
        assert!(http1(Kind::Websocket).starts_with("GET /v1/live HTTP/1.1\r\n"));
        assert_eq!(target.url_of(Kind::Post), "http://shop:80/v1/carts");
        let http2 = target.http2().unwrap();
        assert_eq!((http2.uri().path(), &http2.headers()["x-key"]), ("/v1/orders", &"k".parse().unwrap()));
    }
}
