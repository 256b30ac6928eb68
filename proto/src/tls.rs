//! TLS between a satellite and its installation: who is believed, and how connections are made and cut.
//!
//! TLS 1.3 only, one provider, no session resumption: a peer that is no longer trusted must not come back with an old
//! ticket. Trust is swapped whole, for new handshakes; connections that exist are cut by [`Connections::cut`].
//!
//! **Invariant:** nothing here decides what a peer may do; it says who the peer is.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    RootCertStore, ServerConfig, SignatureScheme,
};

use crate::identity::{self, Identity, IdentityError, Pin, Role, role_of};

mod accept;
mod dial;

pub use accept::{Connection, Connections, Peer, ServerTls, incoming};
pub use dial::{DialError, Dialled, channel, channel_over, dial};

/// Label under which both ends draw the value from the TLS session that a pairing is bound to (RFC 8446 §7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-satellite-pairing-v1";

/// How often an idle connection is probed.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why a configuration could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Key, certificate or trust do not fit.
    #[error("the TLS configuration is refused")]
    Configuration(#[source] Error),
    /// The installation's certificate cannot be trusted.
    #[error("the installation's certificate is not usable")]
    Installation(#[source] rustls::server::VerifierBuilderError),
    /// A certificate cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Whom a satellite lets finish a handshake.
#[derive(Debug, Clone)]
pub enum Trust {
    /// No one: unpaired, and no pairing window is open.
    Nobody,
    /// Anyone who has the key of some certificate: a pairing window is open. Such a peer has no role.
    Anyone,
    /// As [`Trust::Installation`], but whoever finishes the handshake has no role: the satellite was disconnected, and only
    /// says so to the one it belonged to.
    Former {
        /// The installation's certificate.
        certificate: CertificateDer<'static>,
        /// Leaves that are refused all the same.
        revoked: BTreeSet<Pin>,
        /// A moment that has passed for sure.
        floor: SystemTime,
    },
    /// Holders of a leaf that the installation signed.
    Installation {
        /// The installation's certificate.
        certificate: CertificateDer<'static>,
        /// Leaves that are refused all the same.
        revoked: BTreeSet<Pin>,
        /// A moment that has passed for sure; a clock that shows an earlier one is wrong.
        floor: SystemTime,
    },
}

/// The one cryptographic provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The configuration of a satellite's side.
pub(crate) fn server_config(identity: &Identity, trust: &Trust) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let verifier = PeerVerifier::new(trust, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Configuration)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(identity.chain().to_vec(), identity.private_key())
        .map_err(TlsError::Configuration)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// Whom one who dials expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The satellite with this key.
    Pin(Pin),
    /// A server whose leaf carries the role admin and was issued by this installation.
    Installation {
        /// The installation's key.
        pin: Pin,
        /// A moment that has passed for sure; a clock that shows an earlier one is wrong.
        floor: SystemTime,
    },
    /// Anyone; only for pairing, which proves the other side itself.
    Anyone,
}

/// The configuration of the side that dials.
///
/// # Errors
/// [`TlsError::Configuration`] if the identity is unusable.
pub fn client_config(identity: &Identity, expect: Expect) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let verifier = PinVerifier {
        expect,
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Configuration)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(identity.chain().to_vec(), identity.private_key())
        .map_err(TlsError::Configuration)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// Whether `error`, or what caused it, is the other side's refusal of us during or right after the handshake.
#[must_use]
pub fn is_refusal(error: &(dyn StdError + 'static)) -> bool {
    alert(error).is_some()
}

/// Whether `error`, or what caused it, is that our certificate has run out by the other side's clock.
#[must_use]
pub fn is_expiry(error: &(dyn StdError + 'static)) -> bool {
    let expired = Error::AlertReceived(AlertDescription::CertificateExpired).to_string();
    alert(error).is_some_and(|alert| alert == expired)
}

/// With what the TLS library begins the text of an error that is an alert of the other side.
const ALERT: &str = "received fatal alert";

/// The alert of the other side that is `error`, or caused it, in the words of the TLS library: of one that comes when HTTP/2
/// already reads, only they are left.
fn alert(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(cause) = tls_cause(error) {
        return matches!(cause, Error::AlertReceived(_)).then(|| cause.to_string());
    }
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.downcast_ref::<io::Error>().map(ToString::to_string);
        if let Some(text) = text.filter(|text| text.starts_with(ALERT)) {
            return Some(text);
        }
        next = error.source();
    }
    None
}

/// Whether `error`, or what caused it, is that the other side has another key than expected.
#[must_use]
pub fn is_wrong_peer(error: &(dyn StdError + 'static)) -> bool {
    tls_cause(error).is_some_and(|cause| matches!(cause, Error::InvalidCertificate(_)))
}

/// The TLS error in a chain of errors. `io::Error` hides what it wraps from `source()`, so both ways are walked.
fn tls_cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(cause) = error.downcast_ref::<Error>() {
            return Some(cause);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(wrapped) = wrapped
            && let Some(cause) = tls_cause(wrapped)
        {
            return Some(cause);
        }
        next = error.source();
    }
    None
}

/// What both verifiers say about signatures: of TLS 1.3 those that the provider knows, of TLS 1.2 none. The two traits
/// have nothing in common but the shape of these methods.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not spoken".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

/// Verifies those who dial a satellite.
#[derive(Debug)]
struct PeerVerifier {
    trust: Believed,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Believed {
    Nobody,
    Anyone,
    Installation {
        chains: Arc<dyn ClientCertVerifier>,
        revoked: BTreeSet<Pin>,
        floor: UnixTime,
    },
}

impl PeerVerifier {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let trust = match trust {
            Trust::Nobody => Believed::Nobody,
            Trust::Anyone => Believed::Anyone,
            Trust::Installation {
                certificate,
                revoked,
                floor,
            }
            | Trust::Former {
                certificate,
                revoked,
                floor,
            } => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate.clone()).map_err(TlsError::Configuration)?;
                let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .map_err(TlsError::Installation)?;
                let floor = UnixTime::since_unix_epoch(floor.duration_since(UNIX_EPOCH).unwrap_or_default());
                Believed::Installation {
                    chains,
                    revoked: revoked.clone(),
                    floor,
                }
            }
        };
        Ok(Self {
            trust,
            provider: provider.clone(),
        })
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refused = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        match &self.trust {
            Believed::Nobody => Err(refused()),
            Believed::Anyone => Ok(ClientCertVerified::assertion()),
            Believed::Installation {
                chains,
                revoked,
                floor,
            } => {
                let now = time_for(leaf, now, *floor);
                let verified = chains.verify_client_cert(leaf, intermediates, now)?;
                let pin = Pin::of_certificate(leaf).map_err(|_| refused())?;
                if revoked.contains(&pin) {
                    return Err(Error::InvalidCertificate(CertificateError::Revoked));
                }
                role_of(leaf).ok_or_else(refused)?;
                Ok(verified)
            }
        }
    }

    signatures!();
}

/// The time by which a leaf is judged.
fn time_for(leaf: &CertificateDer<'_>, now: UnixTime, floor: UnixTime) -> UnixTime {
    let now = UNIX_EPOCH + Duration::from_secs(now.max(floor).as_secs());
    let time = identity::time_for(leaf, now).duration_since(UNIX_EPOCH);
    UnixTime::since_unix_epoch(time.unwrap_or_default())
}

/// Verifies whom we dialled: by the key alone. Names and times in the certificate mean nothing here.
#[derive(Debug)]
struct PinVerifier {
    expect: Expect,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    /// Whether `leaf` is an administrator's of the installation whose key has `pin`, which must have come with it.
    fn verify_server(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        pin: Pin,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let [installation] = intermediates else {
            return Err(refused());
        };
        if Pin::of_certificate(installation).map_err(|_| refused())? != pin {
            return Err(refused());
        }
        let mut roots = RootCertStore::empty();
        roots.add(installation.clone().into_owned())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf.try_into()?, &roots, &[], now, algorithms)?;
        if role_of(leaf) != Some(Role::Admin) {
            return Err(refused());
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Expect::Installation { pin, floor } = self.expect {
            let floor = UnixTime::since_unix_epoch(floor.duration_since(UNIX_EPOCH).unwrap_or_default());
            return self.verify_server(leaf, intermediates, pin, time_for(leaf, now, floor));
        }
        let pin = Pin::of_certificate(leaf)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        match self.expect {
            Expect::Pin(expected) if expected != pin => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
            Expect::Pin(_) | Expect::Anyone => Ok(ServerCertVerified::assertion()),
            Expect::Installation { .. } => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
        }
    }

    signatures!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_known_by_its_type_and_where_that_is_lost_by_its_words() {
        let alert = |of| Error::AlertReceived(of);
        let (expired, unknown) = (
            alert(AlertDescription::CertificateExpired),
            alert(AlertDescription::UnknownCA),
        );
        let in_words = |error: &Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        for (error, is_expired) in [(expired, true), (unknown, false)] {
            let text = in_words(&error);
            assert!(is_refusal(&error) && is_refusal(&text), "{error}");
            assert_eq!((is_expiry(&error), is_expiry(&text)), (is_expired, is_expired));
        }
        assert!(!is_refusal(&io::Error::other("connection reset")));
        assert!(!is_refusal(&Error::HandshakeNotComplete));
    }
}
