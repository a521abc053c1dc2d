//! TLS to the target: whom it trusts, and which HTTP is spoken inside.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version,
};
use tokio_util::either::Either;

use crate::unable::{OrUnable, Unable};

/// A connection, under TLS or not.
pub(crate) type Transport = Either<TcpStream, TlsStream<TcpStream>>;

/// Who may sign the server's certificate.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// Whom this machine trusts.
    System,
    /// Whoever is in this file of PEM certificates.
    File(PathBuf),
    /// Anybody, for any name.
    Anybody,
}

/// What connections to one host need.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// TLS 1.2 and 1.3 to this host, whose name is sent and checked.
    pub(crate) fn new(host: &str, trust: &Trust) -> Result<Self, Unable> {
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .or_unable("TLS")?;
        let builder = match trust {
            Trust::Anybody => {
                let verifier = Arc::new(Unverified(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
            trusted => builder.with_root_certificates(roots(trusted)?),
        };
        let name = ServerName::try_from(host.to_string()).or_unable(format!("the host `{host}`"))?;
        Ok(Self { config: Arc::new(builder.with_no_client_auth()), name })
    }

    /// Makes a connection one of TLS, with HTTP/2 or HTTP/1.1 inside; fails where the server chooses the other.
    pub(crate) async fn connect(&self, stream: TcpStream, http2: bool) -> io::Result<TlsStream<TcpStream>> {
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector.with_alpn(vec![protocol.to_vec()]).connect(self.name.clone(), stream).await?;
        // A server without ALPN speaks HTTP/1.1; what was not offered, rustls does not let it choose.
        match http2 && stream.get_ref().1.alpn_protocol().is_none() {
            true => Err(io::Error::other("the server does not choose HTTP/2 in its TLS")),
            false => Ok(stream),
        }
    }
}

/// The socket below.
pub(crate) fn socket(transport: &Transport) -> &TcpStream {
    match transport {
        Either::Left(stream) => stream,
        Either::Right(stream) => stream.get_ref().0,
    }
}

fn roots(trust: &Trust) -> Result<RootCertStore, Unable> {
    let mut roots = RootCertStore::empty();
    if let Trust::File(path) = trust {
        let tried = format!("--ca {}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).or_unable(&tried)? {
            roots.add(certificate.or_unable(&tried)?).or_unable(&tried)?;
        }
        if roots.is_empty() {
            return Err(Unable(format!("{tried}: there is no certificate in it")));
        }
    } else {
        // Some that a machine has are none; those that remain have to do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Unable("this machine trusts nobody; name whom to trust with --ca FILE".into()));
        }
    }
    Ok(roots)
}

/// Takes whatever certificate the server has; its signatures are checked all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
