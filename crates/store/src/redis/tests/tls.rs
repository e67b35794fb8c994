//! A server that is reached over TLS.

use super::away::write;
use super::{PATIENT, client, subscribed, until};
use crate::redis::{Address, Certificates, RedisSettings, RedisStore};
use crate::{Committed, Store, StoreError};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::Path;
use tandem_testredis::{Server, free_port};

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // One who is called as those it signs for are would be taken for them.
        params.distinguished_name.push(DnType::CommonName, "a test's authority");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for the loopback address, and its key.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }
}

/// What makes a server speak TLS at a further port, and ask for certificates.
fn options(folder: &Path, authority: &Authority) -> (u16, Vec<String>) {
    let (port, (cert, key)) = (free_port(), authority.issue());
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let options = [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", file("cert.pem", &cert)),
        ("--tls-key-file", file("key.pem", &key)),
        ("--tls-ca-cert-file", file("ca.pem", &authority.pem)),
        ("--tls-auth-clients", "yes".to_owned()),
    ];
    (port, options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect())
}

fn open(url: &str, ca: Option<&str>, identity: Option<(String, String)>) -> RedisStore {
    let address: Address = url.parse().expect("an address");
    let identity = identity.map(|(cert, key)| (cert.into_bytes(), key.into_bytes()));
    let address = address.with(Certificates { ca: ca.map(|ca| ca.as_bytes().to_vec()), identity });
    let settings = RedisSettings { timeout: PATIENT, ..RedisSettings::default() };
    RedisStore::open(&address, "test", settings).expect("opened")
}

#[tokio::test]
async fn a_server_over_tls_is_asked_with_our_certificate_if_its_own_is_of_whom_we_trust() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let (port, options) = options(folder.path(), &authority);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let _server = Server::start(&options);
    let url = format!("rediss://127.0.0.1:{port}");
    let store = open(&url, Some(&authority.pem), Some(authority.issue()));
    subscribed(&store).await;
    assert_eq!(store.commit(write(1)).await, Ok(Committed::Stored));

    let away = Err(StoreError::Away { step: "commit" });
    let nameless = open(&url, Some(&authority.pem), None);
    assert_eq!(nameless.commit(write(2)).await, away, "it has not shown a certificate");
    let trusting_others = open(&url, Some(&Authority::new().pem), Some(authority.issue()));
    assert_eq!(trusting_others.commit(write(2)).await, away, "the server is of somebody else");
    let trusting_the_system = open(&url, None, Some(authority.issue()));
    assert_eq!(trusting_the_system.commit(write(2)).await, away, "the system does not know the authority");
}

#[tokio::test]
async fn a_cluster_over_tls_is_asked_with_our_certificate_at_each_of_its_nodes() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let (port, mut options) = options(folder.path(), &authority);
    options.extend(["--cluster-enabled", "yes", "--tls-cluster", "yes"].map(str::to_owned));
    options.extend(["--cluster-port".to_owned(), free_port().to_string()]);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let server = Server::start(&options);
    let mut admin = client(server.port).await;
    let mut slots = redis::cmd("CLUSTER");
    let () = slots.arg("ADDSLOTSRANGE").arg(0).arg(16_383).query_async(&mut admin).await.expect("slots");
    until(server.port, &["CLUSTER", "INFO"], |said| said.contains("cluster_state:ok")).await;
    let store =
        open(&format!("rediss+cluster://127.0.0.1:{port}"), Some(&authority.pem), Some(authority.issue()));
    assert_eq!(store.commit(write(1)).await, Ok(Committed::Stored));
}

#[test]
fn certificates_that_are_none_are_refused_before_anybody_is_asked() {
    let address: Address = "rediss://127.0.0.1".parse().expect("an address");
    let wrong = || Some((b"no certificate".to_vec(), b"no key".to_vec()));
    let with = |identity| address.clone().with(Certificates { ca: None, identity });
    assert!(RedisStore::check(&with(None)).is_ok());
    assert!(RedisStore::check(&with(wrong())).is_err());
    let plain: Address = "redis://127.0.0.1".parse().expect("an address");
    assert!(RedisStore::check(&plain.with(Certificates { ca: None, identity: wrong() })).is_ok(), "not used");
}
