//! Whose certificate is expected where (RFC 5922 §7.2, §7.3).

use super::names::domains_of;
use parking_lot::RwLock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The most addresses at which somebody is expected; of more, the later are held to the name of their address.
pub const TLS_PEERS_MAX: usize = 100_000;

/// How far a peer's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Signed by somebody trusted, and for the name that is expected.
    #[default]
    Full,
    /// Signed by somebody trusted, whatever its name.
    Chain,
    /// Not at all: whoever can redirect packets can listen in.
    None,
}

/// Who is expected at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// How far its certificate is verified.
    pub verify: Verify,
    /// The domain its certificate has to be for, whole and without wildcards; `None`: its address.
    pub name: Option<String>,
}

impl Expected {
    /// What the peer is asked for by, if it serves several.
    pub(super) fn server_name(&self, remote: SocketAddr) -> ServerName<'static> {
        let named = self.name.as_ref().and_then(|name| ServerName::try_from(name.clone()).ok());
        named.unwrap_or_else(|| ServerName::from(remote.ip()))
    }
}

/// By address and port, and by address for whoever is met at another port.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    peers: RwLock<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    by_address: HashMap<SocketAddr, Arc<Expected>>,
    by_host: HashMap<IpAddr, Arc<Expected>>,
}

impl Expectations {
    pub(crate) fn set(&self, remote: SocketAddr, expected: &Arc<Expected>) {
        let is_known = |peers: &Peers| peers.by_address.get(&remote).is_some_and(|known| known == expected);
        if is_known(&self.peers.read()) {
            return;
        }
        let mut peers = self.peers.write();
        if peers.by_address.len() < TLS_PEERS_MAX || peers.by_address.contains_key(&remote) {
            peers.by_address.insert(remote, expected.clone());
            peers.by_host.insert(remote.ip(), expected.clone());
        }
    }

    pub(super) fn of(&self, remote: SocketAddr) -> Arc<Expected> {
        let peers = self.peers.read();
        let known = peers.by_address.get(&remote).or_else(|| peers.by_host.get(&remote.ip()));
        known.cloned().unwrap_or_default()
    }
}

/// Verifies the certificate of one peer.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    expected: Arc<Expected>,
    roots: Arc<RootCertStore>,
    remote: IpAddr,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    pub(super) fn new(
        expected: Arc<Expected>,
        roots: Arc<RootCertStore>,
        remote: SocketAddr,
    ) -> PeerVerifier {
        let algorithms = super::files::provider().signature_verification_algorithms;
        PeerVerifier { expected, roots, remote: remote.ip(), algorithms }
    }

    fn check_name(
        &self,
        certificate: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
    ) -> Result<(), Error> {
        let address = match &self.expected.name {
            None => Some(self.remote),
            Some(name) => name.parse().ok(),
        };
        if let Some(address) = address {
            return verify_server_name(parsed, &ServerName::from(address));
        }
        let name = self.expected.name.as_deref().unwrap_or_default();
        let name = name.strip_suffix('.').unwrap_or(name);
        if domains_of(certificate).iter().any(|domain| domain.eq_ignore_ascii_case(name)) {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.expected.verify == Verify::None {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        if self.expected.verify == Verify::Full {
            self.check_name(end_entity, &parsed)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
