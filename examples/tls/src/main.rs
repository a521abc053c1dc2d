//! TLS on the service's port: a new certificate is taken up while it runs, and the drain is the engine's.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use axum::{Router, routing::get};
use landfall::{App, Build, Program, Service, Signals, StartError, config::HumanDuration};
use tokio::{fs, sync::watch, time::sleep};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tracing::{info, warn};

landfall::variables! {
    /// What the service reads from its environment.
    struct Variables {
        /// Directory with `tls.crt` and `tls.key`, as a Secret of type kubernetes.io/tls is mounted.
        tls_directory: PathBuf, "the path of a directory";
        /// From one look for a new certificate to the next.
        tls_reload_interval: HumanDuration = HumanDuration::secs(60), "a duration such as 500ms, 10s or 1m";
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<ExitCode> {
    const BUILD: Build =
        Build { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), revision: "unknown" };
    let signals = Signals::register()?;
    Ok(Program::new(BUILD).run(signals, start).await)
}

async fn start(app: App<Variables>) -> Result<Service, StartError> {
    let pair = Pair::read(&app.variables.tls_directory).await?;
    let (sender, config) = watch::channel(Arc::new(pair.config()?));
    let (variables, drain) = (app.variables, app.drain.clone());
    app.drain.spawn(async move {
        tokio::select! {
            () = drain.closing() => {}
            () = reload(&variables, pair, &sender) => {}
        }
    });
    let router = Router::new().route("/", get(async || "over TLS\n"));
    // A connection has the certificate that is in force when it comes.
    let accept = move |tcp| TlsAcceptor::from(config.borrow().clone()).accept(tcp);
    Ok(Service::new(router).with_transport(accept))
}

/// A certificate and its key, as their files have them.
#[derive(PartialEq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    async fn read(directory: &Path) -> io::Result<Self> {
        let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        Ok(Self { certificate: fs::read(certificate).await?, key: fs::read(key).await? })
    }

    /// Fails also when the key is another certificate's.
    fn config(&self) -> Result<ServerConfig, StartError> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Takes up a new certificate when there is one; what is not right leaves the old one in force.
async fn reload(variables: &Variables, mut last: Pair, config: &watch::Sender<Arc<ServerConfig>>) {
    loop {
        sleep(variables.tls_reload_interval.0).await;
        let taken_up = async {
            let pair = Pair::read(&variables.tls_directory).await?;
            if pair != last {
                last = pair;
                config.send_replace(Arc::new(last.config()?));
                info!("took up a new certificate");
            }
            Ok::<_, StartError>(())
        };
        if let Err(error) = taken_up.await {
            warn!(error, "a new certificate can't be taken up; the old one stays in force");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_has_the_table() {
        landfall::testing::assert_documented::<super::Variables>(include_str!("../README.md"));
    }
}
