//! TLS: what we show, whom we believe (RFC 5922), and reading that anew without a restart.

mod expected;
mod files;
mod names;

pub use expected::{Expected, TLS_PEERS_MAX, Verify};
pub use files::{TlsError, TlsFiles};
pub(crate) use names::domains_of;

use arc_swap::ArcSwap;
use expected::{Expectations, PeerVerifier};
use files::{Loaded, Stamp};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What became of an attempt to read certificates anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are the ones that are in use.
    Unchanged,
    /// New handshakes use what was read.
    Changed,
}

/// The certificates of one listener, and whom it expects where.
pub(crate) struct Tls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
    /// What the files were when they were last read, well or not.
    seen: Mutex<Stamp>,
    pub(crate) expectations: Expectations,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let seen = Mutex::new(files.stamp());
        let current = ArcSwap::from_pointee(files.load()?);
        Ok(Tls { files, current, seen, expectations: Expectations::default() })
    }

    /// Reads the files anew if they have changed since they were last read. What cannot be used is told once, and what
    /// is in use stays.
    pub(crate) fn reload(&self) -> Result<Reloaded, TlsError> {
        let stamp = self.files.stamp();
        let mut seen = self.seen.lock();
        if *seen == stamp {
            return Ok(Reloaded::Unchanged);
        }
        *seen = stamp;
        self.current.store(Arc::new(self.files.load()?));
        Ok(Reloaded::Changed)
    }

    /// For a handshake with a peer that connects to us.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load().server.clone())
    }

    /// For a handshake with a peer that we connect to, and the name it is asked for by.
    ///
    /// # Errors
    /// There is nothing to verify the peer by.
    pub(crate) fn connector(
        &self,
        remote: SocketAddr,
    ) -> Result<(TlsConnector, ServerName<'static>), TlsError> {
        let expected = self.expectations.of(remote);
        let current = self.current.load();
        let name = expected.server_name(remote);
        let roots = match expected.verify {
            Verify::Full | Verify::Chain => current.roots()?,
            Verify::None => Arc::new(RootCertStore::empty()),
        };
        let verifier = PeerVerifier::new(expected, roots, remote);
        let config = ClientConfig::builder_with_provider(files::provider())
            .with_protocol_versions(files::VERSIONS)
            .map_err(TlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(current.own.clone());
        Ok((TlsConnector::from(Arc::new(config)), name))
    }
}

/// A handshake as a server.
pub(crate) type Server = Arc<ServerConfig>;
