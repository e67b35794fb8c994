//! Whom a certificate names (RFC 5922 §7.1).

use rustls::pki_types::CertificateDer;

/// The SIP domains that a certificate is for: those of its SIP URIs, or if it has none, its DNS names.
///
/// The subject's common name counts for nothing: what names its subject there alone is older than RFC 2818.
pub(crate) fn domains_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    let sip: Vec<_> = certificate.valid_uri_names().filter_map(domain).collect();
    if sip.is_empty() { certificate.valid_dns_names().map(str::to_lowercase).collect() } else { sip }
}

/// The domain of a SIP URI; `None` for other URIs, and for one that names a user.
fn domain(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let host = rest.split([';', '?']).next().unwrap_or_default();
    Some(host.to_lowercase()).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sip_uri_without_a_user_names_a_domain() {
        assert_eq!(domain("sip:Example.com").as_deref(), Some("example.com"));
        assert_eq!(domain("SIP:example.com;transport=tls").as_deref(), Some("example.com"));
        for other in ["sip:bob@example.com", "sips:example.com", "https://example.com", "example.com", "sip:"]
        {
            assert_eq!(domain(other), None, "{other}");
        }
    }
}
