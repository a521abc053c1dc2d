//! https:// URLs: a server with a certificate of its own, in front of a naive service.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use common::{Service, code, err, json, out, rollout, scratch};
use rcgen::generate_simple_self_signed;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto, version};

/// A server of TLS that passes on what is inside.
struct Tls {
    url: String,
    certificate: PathBuf,
    /// It ends with this.
    _runtime: Runtime,
}

/// Offers these protocols for a name that is this machine's.
fn tls(to: SocketAddr, protocols: &[&str], name: &str) -> Tls {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = scratch(name);
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client may refuse the certificate.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                // The name is sent, or the server could not know which certificate is meant.
                assert_eq!(client.get_ref().1.server_name(), Some("localhost"));
                let mut server = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    Tls { url: format!("https://localhost:{port}"), certificate, _runtime: runtime }
}

fn drive(url: &str, more: &[&str]) -> std::process::Output {
    let drive = ["drive", "--url", url, "--pause", "300ms", "--idle", "50ms-200ms"];
    rollout(&[&drive[..], more, &["--", "true"]].concat())
}

#[test]
fn every_kind_of_client_speaks_tls() {
    let service = Service::naive();
    let tls = tls(service.address, &["h2", "http/1.1"], "every.pem");
    let file = scratch("tls.json");
    let certificate = tls.certificate.to_str().unwrap();
    let mix = "busy=2,idle=2,fresh=2,h2=1,h2-idle=2,h2-blocking=2,post=2,stream=1,pipeline=1,upload=1";
    let run = drive(&tls.url, &["--ca", certificate, "--clients", mix, "--json", file.to_str().unwrap()]);
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    let clients = &json(&file)["clients"];
    assert_eq!(clients.as_object().unwrap().len(), 10);
    assert!(
        clients.as_object().unwrap().values().all(|kind| kind["ok"].as_u64().unwrap() > 0),
        "{clients:#}"
    );
}

#[test]
fn who_is_not_trusted_is_not_asked() {
    let service = Service::naive();
    let tls = tls(service.address, &["http/1.1"], "own.pem");
    let run = drive(&tls.url, &["--clients", "busy=1"]);
    assert_eq!(code(&run), 2, "{}", out(&run));
    assert!(err(&run).contains("invalid peer certificate: UnknownIssuer"), "{}", err(&run));
    let run = drive(&tls.url, &["--insecure", "--clients", "busy=1"]);
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
    // The certificate is not for this name.
    let by_address = tls.url.replace("localhost", "127.0.0.1");
    let run = drive(&by_address, &["--ca", tls.certificate.to_str().unwrap(), "--clients", "busy=1"]);
    assert!(
        code(&run) == 2 && err(&run).contains("invalid peer certificate: certificate not valid for name"),
        "{}",
        err(&run)
    );
    let run = drive(&tls.url, &["--ca", "/nowhere.pem", "--clients", "busy=1"]);
    assert!(code(&run) == 2 && err(&run).contains("--ca /nowhere.pem: "), "{}", err(&run));
}

#[test]
fn a_server_that_offers_no_http2_is_named() {
    let service = Service::naive();
    let tls = tls(service.address, &[], "one.pem");
    let certificate = tls.certificate.to_str().unwrap();
    let run = drive(&tls.url, &["--ca", certificate, "--clients", "h2=1"]);
    let because = "the server does not choose HTTP/2 in its TLS";
    assert!(code(&run) == 2 && err(&run).contains(because), "{}{}", out(&run), err(&run));
    let run = drive(&tls.url, &["--ca", certificate, "--clients", "busy=1"]);
    assert_eq!(code(&run), 0, "{}{}", out(&run), err(&run));
}
