//! The recipe, with certificates that are made here.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::Arc};

use harness::{Process, eventually};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

const RECIPE: &str = env!("CARGO_BIN_EXE_tls");

type Certificate = CertificateDer<'static>;

/// Writes a new certificate and its key as the kubelet does, and returns the certificate.
fn write_certificate(directory: &Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(["tls.test".to_owned()]).unwrap();
    fs::write(directory.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    fs::write(directory.join("tls.crt"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

struct Recipe {
    process: Process,
    address: String,
}

impl Recipe {
    async fn start(directory: &TempDir) -> Self {
        let vars =
            [("APP_TLS_DIRECTORY", directory.path().to_str().unwrap()), ("APP_TLS_RELOAD_INTERVAL", "50ms")];
        let mut process = Process::start(RECIPE, &vars).await;
        let address = process.service().await;
        Self { process, address }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    async fn connect(
        &self,
        certificate: &Certificate,
        protocol: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        handshake(self.tcp().await, certificate, protocol).await
    }
}

/// Trusts this certificate and no other.
async fn handshake(
    tcp: TcpStream,
    certificate: &Certificate,
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("tls.test").unwrap(), tcp).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    Ok(stream)
}

/// Asks, and reads the response, which is short.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: tls.test\r\n\r\n").await.unwrap();
    let mut response = String::new();
    while !response.ends_with("over TLS\n") {
        let mut part = [0; 1024];
        let count = stream.read(&mut part).await.unwrap();
        assert!(count > 0, "closed after {response:?}");
        response.push_str(std::str::from_utf8(&part[..count]).unwrap());
    }
    response
}

#[tokio::test]
async fn http1_and_http2_are_served_over_tls() {
    let directory = TempDir::new().unwrap();
    let certificate = write_certificate(directory.path());
    let recipe = Recipe::start(&directory).await;
    let response = ask(&mut recipe.connect(&certificate, "http/1.1").await.unwrap()).await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");

    let stream = recipe.connect(&certificate, "h2").await.unwrap();
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("https://tls.test/").body(Empty::<bytes::Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (hyper::Version::HTTP_2, 200));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "over TLS\n");
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let directory = TempDir::new().unwrap();
    let first = write_certificate(directory.path());
    let mut recipe = Recipe::start(&directory).await;
    let mut kept = recipe.connect(&first, "http/1.1").await.unwrap();
    ask(&mut kept).await;

    let second = write_certificate(directory.path());
    eventually("the second is served", async || recipe.connect(&second, "http/1.1").await.is_ok()).await;
    assert!(recipe.connect(&first, "http/1.1").await.is_err(), "the first is not any more");
    ask(&mut kept).await;

    fs::write(directory.path().join("tls.key"), "no key").unwrap();
    recipe.process.line("a new certificate can't be taken up").await;
    assert!(recipe.connect(&second, "http/1.1").await.is_ok());
}

#[tokio::test]
async fn what_came_before_the_closing_is_served_after_it() {
    let directory = TempDir::new().unwrap();
    let certificate = write_certificate(directory.path());
    let mut recipe = Recipe::start(&directory).await;
    let mut kept = recipe.connect(&certificate, "http/1.1").await.unwrap();
    assert!(!ask(&mut kept).await.contains("connection: close"));

    recipe.process.drain().await;
    let mut late = recipe.connect(&certificate, "http/1.1").await.unwrap();
    assert!(ask(&mut late).await.contains("connection: close"));
    let later = recipe.tcp().await;
    let connections = "lifecycle_connections_total{phase=\"draining\"}";
    eventually("it has come through", async || recipe.process.metric(connections).await == Some(2)).await;
    recipe.process.close().await;
    eventually("nobody listens any more", async || TcpStream::connect(&recipe.address).await.is_err()).await;

    let mut later = handshake(later, &certificate, "http/1.1").await.unwrap();
    for stream in [&mut kept, &mut later] {
        assert!(ask(stream).await.contains("connection: close"));
    }
    for mut stream in [kept, late, later] {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it is closed as TLS asks for");
    }
    recipe.process.exit().await.assert_clean();
}

#[tokio::test]
async fn a_client_that_holds_a_connection_is_not_waited_for() {
    let directory = TempDir::new().unwrap();
    let certificate = write_certificate(directory.path());
    let mut recipe = Recipe::start(&directory).await;
    let mut kept = recipe.connect(&certificate, "http/1.1").await.unwrap();
    recipe.process.drain().await;
    assert!(ask(&mut kept).await.contains("connection: close"));
    recipe.process.close().await;
    // Still open on this side.
    recipe.process.exit().await.assert_clean();
    drop(kept);
}

#[tokio::test]
async fn a_bad_certificate_stops_the_start() {
    let directory = TempDir::new().unwrap();
    write_certificate(directory.path());
    fs::write(directory.path().join("tls.crt"), "no certificate").unwrap();
    let vars = [("APP_TLS_DIRECTORY", directory.path().to_str().unwrap())];
    let exit = Process::spawn(RECIPE, &vars).exit().await;
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    exit.position("the service could not start");
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_closed() {
    let directory = TempDir::new().unwrap();
    write_certificate(directory.path());
    let vars =
        [("APP_TLS_DIRECTORY", directory.path().to_str().unwrap()), ("APP_FIRST_BYTE_TIMEOUT", "100ms")];
    let mut process = Process::start(RECIPE, &vars).await;
    let mut client = TcpStream::connect(process.service().await).await.unwrap();
    client.write_all(&[22]).await.unwrap();
    let read = client.read(&mut [0]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let closed = "server_connections_closed_total{reason=\"first_byte\"}";
    eventually("it is counted", async || process.metric(closed).await == Some(1)).await;
}
