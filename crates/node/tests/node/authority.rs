//! Certificates of a test's own.

use crate::line::{Gate, Line};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub(crate) pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test's authority");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these DNS names, addresses and `sip:` URIs.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let (uris, others): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with("sip:"));
        let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(others).expect("names");
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
        }
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { cert, key: key.serialize_pem() }
    }

    /// Whom it has signed for is believed.
    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.pem_der()).expect("a certificate");
        roots
    }

    fn pem_der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("a certificate")
    }

    /// A TLS connection to the switch, with a certificate of ours if it asks. An error is the handshake's.
    pub(crate) async fn connect(
        &self,
        switch: SocketAddr,
        own: Option<&Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots());
        let config = match own {
            Some(own) => config.with_client_auth_cert(own.chain(), own.key()).expect("a pair"),
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(switch).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::from(switch.ip()), stream).await
    }

    /// The same, for messages.
    pub(crate) async fn line(&self, switch: SocketAddr, own: Option<&Identity>) -> std::io::Result<Line> {
        let stream = self.connect(switch, own).await?;
        let local = stream.get_ref().0.local_addr()?;
        Ok(Line::over(stream, (local, switch)))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Identity {
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate")]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key")
    }

    /// Writes both to files, and gives the lines that name them in a configuration.
    pub(crate) fn write(&self, folder: &Path) -> String {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&cert, &self.cert).expect("the test's folder is writable");
        fs::write(&key, &self.key).expect("the test's folder is writable");
        format!("cert = {cert:?}\nkey = {key:?}\n")
    }

    /// Takes a connection of the switch at that gate.
    pub(crate) async fn accept(&self, gate: &Gate) -> std::io::Result<Line> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.key())
            .expect("a pair");
        let stream = gate.stream().await;
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        Ok(Line::over(TlsAcceptor::from(Arc::new(config)).accept(stream).await?, ends))
    }
}

/// Writes text to a file of a test, and gives its path.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("the test's folder is writable");
    path
}
