//! What the page shows to an authority that looks whether a name is ours (RFC 8737): a certificate that says what was agreed,
//! and not a byte more.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use satellite_proto::tls;

/// What an authority wants to speak.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The name for which an authority looks; none: it is a reader of the page.
pub(super) fn asked_for(hello: &ClientHello<'_>) -> Option<String> {
    let mut spoken = hello.alpn()?;
    let is_authority = spoken.next() == Some(PROTOCOL) && spoken.next().is_none();
    is_authority.then(|| hello.server_name().unwrap_or_default().to_ascii_lowercase())
}

/// How TLS is spoken with it; none: nothing could be made.
pub(super) fn tls(name: &str, digest: [u8; 32]) -> Option<Arc<ServerConfig>> {
    let mut params = CertificateParams::new([name.to_owned()]).ok()?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate().ok()?;
    let certificate = params.self_signed(&key).ok()?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = tls::provider();
    let key = provider.key_provider.load_private_key(key.into()).ok()?;
    // Not `with_single_cert`: that reads the certificate, and does not know what is critical in it.
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Some(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_authority_is_shown_can_be_made_for_every_name_that_can_be_configured() {
        for name in ["page.example.org", "a", "xn--bcher-kva.example"] {
            let shown = tls(name, [7; 32]).unwrap();
            assert_eq!(shown.alpn_protocols, [PROTOCOL.to_vec()]);
        }
    }
}
