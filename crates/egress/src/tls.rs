//! The TLS client: rustls with ring, TLS 1.2 and 1.3, certificates checked against the host's
//! authorities (those that its administrator manages) and the configured further ones.
//!
//! Refuses session resumption: tickets would let two functions of one node be recognised as such, and
//! carry state from one to the other.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::EgressConfig;
use crate::target::Host;

/// Makes TLS connections; reads the host's certificates at the first one.
pub(crate) struct Tls {
    trust_system_roots: bool,
    extra_roots_der: Vec<Vec<u8>>,
    connector: OnceCell<TlsConnector>,
}

impl Tls {
    pub(crate) fn new(config: &EgressConfig) -> Self {
        Self {
            trust_system_roots: config.trust_system_roots,
            extra_roots_der: config.extra_roots_der.clone(),
            connector: OnceCell::new(),
        }
    }

    /// The handshake with `host` over a fresh connection.
    pub(crate) async fn handshake(
        &self,
        host: &Host,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let connector = self.connector.get_or_try_init(|| self.build()).await?;
        let name = match host {
            Host::Name(name) => ServerName::try_from(name.clone())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
            Host::Address(IpAddr::V4(ip)) => ServerName::from(IpAddr::V4(*ip)),
            Host::Address(IpAddr::V6(ip)) => ServerName::from(IpAddr::V6(*ip)),
        };
        connector.connect(name, stream).await
    }

    /// A failure is not kept: certificates that are installed later are found by the next request.
    async fn build(&self) -> io::Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        if self.trust_system_roots {
            let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
                .await
                .map_err(io::Error::other)?;
            // Single unreadable certificates are normal in the wild; none at all is told below.
            roots.add_parsable_certificates(loaded.certs);
        }
        for der in &self.extra_roots_der {
            roots
                .add(CertificateDer::from(der.as_slice()))
                .map_err(io::Error::other)?;
        }
        if roots.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no certificate authorities on this host: install the package `ca-certificates`",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
