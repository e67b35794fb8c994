//! Certificates and keys in files.

use super::Server;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// TLS 1.2 and 1.3 (RFC 8996 forbids what is older).
pub(super) static VERSIONS: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The longest file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// The files of one listener, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, followed by those that lead to its root. It is also what we show a peer that we connect to, if it
    /// asks.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who may have signed the certificates of peers that connect to us; `None`: they are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a peer that connects to us must have a certificate.
    pub require_client_cert: bool,
    /// Who may have signed the certificates of peers that we connect to; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A certificate and a key that do not go together, or that TLS cannot use.
    #[error("{} and {} cannot be used: {source}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What TLS says.
        source: rustls::Error,
    },
    /// The system trusts nobody, and no `ca` says whom to trust.
    #[error("the system has no root certificates; set ca")]
    NoSystemRoots,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// What a file was when it was looked at: whichever of it changes, the file is another one.
pub(super) type Stamp = Vec<Option<(SystemTime, u64)>>;

/// What was read.
pub(super) struct Loaded {
    pub(super) server: Server,
    /// Our certificate, for peers that we connect to.
    pub(super) own: Arc<SingleCertAndKey>,
    /// From `ca`, or the system's once they are needed.
    roots: OnceLock<Arc<RootCertStore>>,
}

/// The cryptography: ring, since it builds with a C compiler alone.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl TlsFiles {
    /// Whether all of it can be used.
    ///
    /// # Errors
    /// Says what cannot.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load().map(|_| ())
    }

    pub(super) fn stamp(&self) -> Stamp {
        let of = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let optional = [&self.client_ca, &self.ca].into_iter().flatten();
        [&self.cert, &self.key].into_iter().chain(optional).map(of).collect()
    }

    pub(super) fn load(&self) -> Result<Loaded, TlsError> {
        let chain = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| TlsError::Content {
            path: self.key.clone(),
            problem: format!("no private key: {error}"),
        })?;
        let pair = |source| TlsError::Pair { cert: self.cert.clone(), key: self.key.clone(), source };
        let own = CertifiedKey::from_der(chain, key, &provider()).map_err(pair)?;
        let own = Arc::new(SingleCertAndKey::from(own));
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(TlsError::Setup)?
            .with_client_cert_verifier(self.client_verifier()?)
            .with_cert_resolver(own.clone());
        // A resumed session would keep a certificate in use that has been replaced.
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let roots = match &self.ca {
            Some(ca) => OnceLock::from(Arc::new(root_store(ca)?)),
            None => OnceLock::new(),
        };
        Ok(Loaded { server: Arc::new(server), own, roots })
    }

    fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let Some(client_ca) = &self.client_ca else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let roots = Arc::new(root_store(client_ca)?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let builder = if self.require_client_cert { builder } else { builder.allow_unauthenticated() };
        builder
            .build()
            .map_err(|error| TlsError::Content { path: client_ca.clone(), problem: error.to_string() })
    }
}

impl Loaded {
    /// Who may have signed the certificates of peers that we connect to.
    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots.clone());
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoSystemRoots);
        }
        Ok(self.roots.get_or_init(|| Arc::new(roots)).clone())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_MAX_BYTES {
        let problem = format!("{length} bytes are too many");
        return Err(TlsError::Content { path: path.to_owned(), problem });
    }
    fs::read(path).map_err(failed)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem: String| TlsError::Content { path: path.to_owned(), problem };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong("no certificate in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn root_store(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let wrong =
            |error: rustls::Error| TlsError::Content { path: path.to_owned(), problem: error.to_string() };
        roots.add(certificate).map_err(wrong)?;
    }
    Ok(roots)
}
