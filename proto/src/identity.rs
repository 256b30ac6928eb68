//! Keys, the certificates that wrap them, and the pins by which a peer knows them.
//!
//! An identity is a key. A certificate only carries it through TLS: the pin, the SHA-256 of the public key, is what
//! is trusted, so an expired certificate never strands a satellite.
//!
//! **Invariant:** a private key leaves this module only as PEM text that wipes itself, never through `Debug` or an error.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

/// A certificate is made valid from this long before now, so that clocks that are a little slow accept it.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// How long the certificates of a satellite and of an installation claim to hold. Pins count, not this.
const LONG: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

const ROLE_PREFIX: &str = "urn:satellite:role:";

/// What went wrong with a key or a certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The library could not make a key or a certificate.
    #[error("cannot make a {what}")]
    Make {
        /// Key or certificate.
        what: &'static str,
        /// What the library says.
        #[source]
        source: rcgen::Error,
    },
    /// PEM text that holds something else than expected.
    #[error("the {what} is not readable PEM")]
    Pem {
        /// Key or certificate.
        what: &'static str,
    },
    /// A certificate that cannot be read.
    #[error("the certificate is malformed")]
    Certificate,
    /// Key and certificate do not belong together.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}

/// The SHA-256 of a public key in its SubjectPublicKeyInfo encoding (RFC 7469 §2.4), written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of the key in `certificate`.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if it cannot be parsed.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Certificate)?;
        Ok(Self::of_spki(parsed.public_key().raw))
    }

    /// The pin of an encoded SubjectPublicKeyInfo.
    #[must_use]
    pub fn of_spki(spki: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
        Self(bytes)
    }

    /// The pin with these 32 bytes; none if there are more or fewer.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().map(Self).ok()
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        pin.to_string()
    }
}

/// Text that is not a pin.
#[derive(Debug, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits")]
pub struct NotAPin;

impl FromStr for Pin {
    type Err = NotAPin;

    fn from_str(text: &str) -> Result<Self, NotAPin> {
        let bytes = HEXLOWER
            .decode(text.to_ascii_lowercase().as_bytes())
            .map_err(|_| NotAPin)?;
        Ok(Self(bytes.try_into().map_err(|_| NotAPin)?))
    }
}

impl TryFrom<String> for Pin {
    type Error = NotAPin;

    fn try_from(text: String) -> Result<Self, NotAPin> {
        text.parse()
    }
}

/// What a member of an installation may do on a satellite. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Starts, stops, backs up.
    Operator,
    /// Changes what is installed, the firewall and the membership.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// Text that is not a role.
#[derive(Debug, thiserror::Error)]
#[error("a role is viewer, operator or admin")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            _ => Err(NotARole),
        }
    }
}

/// The role that a leaf of an installation carries in its URI subject alternative name, if it carries exactly one.
///
/// The caller has verified the certificate.
#[must_use]
pub fn role_of(certificate: &CertificateDer<'_>) -> Option<Role> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut roles = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(ROLE_PREFIX),
        _ => None,
    });
    let role = roles.next()?.parse().ok()?;
    roles.next().is_none().then_some(role)
}

/// The time by which to judge whether the leaf of an installation has run out: `now`, by a clock that may be wrong, and never
/// before the leaf was issued.
///
/// That it was issued, which its signature proves and the caller verifies, shows that this time has come. So a clock
/// that is behind refuses nobody whom one that is right would take.
#[must_use]
pub fn time_for(leaf: &CertificateDer<'_>, now: SystemTime) -> SystemTime {
    let issued = X509Certificate::from_der(leaf)
        .ok()
        .and_then(|(_, parsed)| u64::try_from(parsed.validity().not_before.timestamp()).ok())
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    issued.map_or(now, |issued| now.max(issued))
}

/// How long a certificate holds from now on, by the clock of this machine; nothing if it cannot be read.
#[must_use]
pub fn lifetime_of(certificate: &CertificateDer<'_>) -> Option<Duration> {
    lifetime_after(certificate, SystemTime::now())
}

/// How long a certificate holds after `now`; nothing if it cannot be read.
///
/// Whoever measures that time with a clock that nobody sets is not fooled by one that is set later.
#[must_use]
pub fn lifetime_after(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<Duration> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let until = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Duration::from_secs(until).saturating_sub(now))
}

/// A private key and the certificates that carry its public half, the leaf first.
pub struct Identity {
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
    pin: Pin,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// A new P-256 key in a certificate signed by itself: what a satellite makes at its first start.
    ///
    /// # Errors
    /// [`IdentityError::Make`].
    pub fn generate(name: &str) -> Result<Self, IdentityError> {
        Self::wrap(new_key()?, name)
    }

    /// The same key in a new certificate signed by itself.
    ///
    /// # Errors
    /// [`IdentityError::Pem`], [`IdentityError::Make`].
    pub fn rewrap(key_pem: &str, name: &str) -> Result<Self, IdentityError> {
        Self::wrap(read_key(key_pem)?, name)
    }

    fn wrap(key: KeyPair, name: &str) -> Result<Self, IdentityError> {
        let mut params = params(name, LONG)?;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.self_signed(&key).map_err(|source| IdentityError::Make {
            what: "certificate",
            source,
        })?;
        Self::new(key, vec![certificate.der().clone()])
    }

    fn new(key: KeyPair, chain: Vec<CertificateDer<'static>>) -> Result<Self, IdentityError> {
        let pin = Pin::of_certificate(chain.first().ok_or(IdentityError::Pem { what: "certificate" })?)?;
        if pin != Pin::of_spki(&rcgen::PublicKeyData::subject_public_key_info(&key)) {
            return Err(IdentityError::Mismatch);
        }
        Ok(Self { key, chain, pin })
    }

    /// Reads what [`Self::key_pem`] and [`Self::chain_pem`] wrote.
    ///
    /// # Errors
    /// [`IdentityError::Pem`], [`IdentityError::Certificate`], [`IdentityError::Mismatch`].
    pub fn from_pem(key_pem: &str, chain_pem: &str) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| IdentityError::Pem { what: "certificate" })?;
        Self::new(read_key(key_pem)?, chain)
    }

    /// The private key as PKCS #8 in PEM. Whoever has it is this peer.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// The certificates in PEM, the leaf first.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|certificate| certificate_pem(certificate))
            .collect()
    }

    /// The certificates, the leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The pin of the leaf.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}

/// The installation key: what a satellite pins, and what signs the leaves of the server's replicas.
pub struct Installation {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pin: Pin,
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl Installation {
    /// A new installation key.
    ///
    /// # Errors
    /// [`IdentityError::Make`].
    pub fn generate() -> Result<Self, IdentityError> {
        let key = new_key()?;
        let mut params = params("satellite installation", LONG)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(|source| IdentityError::Make {
            what: "certificate",
            source,
        })?;
        let certificate = certificate.der().clone();
        let pin = Pin::of_certificate(&certificate)?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
            pin,
        })
    }

    /// Reads what [`Self::key_pem`] and [`Self::certificate_pem`] wrote.
    ///
    /// # Errors
    /// [`IdentityError::Pem`], [`IdentityError::Certificate`], [`IdentityError::Mismatch`].
    pub fn from_pem(key_pem: &str, certificate_pem: &str) -> Result<Self, IdentityError> {
        let key = read_key(key_pem)?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| IdentityError::Pem { what: "certificate" })?;
        let pin = Pin::of_certificate(&certificate)?;
        if pin != Pin::of_spki(&rcgen::PublicKeyData::subject_public_key_info(&key)) {
            return Err(IdentityError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| IdentityError::Certificate)?;
        Ok(Self {
            issuer,
            certificate,
            pin,
        })
    }

    /// The private key as PKCS #8 in PEM. Whoever has it commands every satellite of the installation.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        certificate_pem(&self.certificate)
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The pin that satellites keep.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// A new key for `replica`, with `role`, valid from a day ago until `validity` from now.
    ///
    /// Every field of the certificate comes from these arguments, none from a request of the one who will hold it.
    ///
    /// # Errors
    /// [`IdentityError::Make`].
    pub fn issue(&self, role: Role, replica: &str, validity: Duration) -> Result<Identity, IdentityError> {
        let now = SystemTime::now();
        self.issue_between(role, replica, now - BACKDATE..now + validity)
    }

    /// As [`Self::issue`], for a time that may lie in the past or in the future.
    ///
    /// # Errors
    /// [`IdentityError::Make`].
    pub fn issue_between(
        &self,
        role: Role,
        replica: &str,
        validity: Range<SystemTime>,
    ) -> Result<Identity, IdentityError> {
        let key = new_key()?;
        let mut params = params(replica, Duration::ZERO)?;
        params.not_before = moment(validity.start);
        params.not_after = moment(validity.end);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let uri = format!("{ROLE_PREFIX}{role}");
        let uri = uri.try_into().map_err(|source| IdentityError::Make {
            what: "certificate",
            source,
        })?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.use_authority_key_identifier_extension = true;
        let leaf = params
            .signed_by(&key, &self.issuer)
            .map_err(|source| IdentityError::Make {
                what: "certificate",
                source,
            })?;
        Identity::new(key, vec![leaf.der().clone(), self.certificate.clone()])
    }
}

fn new_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|source| IdentityError::Make { what: "key", source })
}

fn read_key(pem: &str) -> Result<KeyPair, IdentityError> {
    KeyPair::from_pem(pem).map_err(|_| IdentityError::Pem { what: "key" })
}

fn params(name: &str, validity: Duration) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(|source| IdentityError::Make {
        what: "certificate",
        source,
    })?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = moment(now - BACKDATE);
    params.not_after = moment(now + validity);
    Ok(params)
}

/// Certificates count whole seconds, and a machine without a clock may be before 1970 plus a day.
fn moment(time: SystemTime) -> time::OffsetDateTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs())
}

fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    let body = data_encoding::BASE64.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_files() {
        let made = Identity::generate("s1").unwrap();
        let read = Identity::from_pem(&made.key_pem(), &made.chain_pem()).unwrap();
        assert_eq!(read.pin(), made.pin());
        assert_eq!(read.chain(), made.chain());
    }

    #[test]
    fn a_new_certificate_around_the_same_key_keeps_the_pin() {
        let made = Identity::generate("s1").unwrap();
        let again = Identity::rewrap(&made.key_pem(), "renamed").unwrap();
        assert_eq!(again.pin(), made.pin());
        assert_ne!(again.chain(), made.chain());
    }

    #[test]
    fn a_key_with_the_certificate_of_another_is_refused() {
        let (one, other) = (Identity::generate("a").unwrap(), Identity::generate("b").unwrap());
        let result = Identity::from_pem(&one.key_pem(), &other.chain_pem());
        assert!(matches!(result, Err(IdentityError::Mismatch)));
    }

    #[test]
    fn an_installation_survives_its_files_and_issues_leaves_with_roles() {
        let made = Installation::generate().unwrap();
        let read = Installation::from_pem(&made.key_pem(), &made.certificate_pem()).unwrap();
        assert_eq!(read.pin(), made.pin());
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            let leaf = read.issue(role, "replica-1", Duration::from_secs(60)).unwrap();
            assert_eq!(role_of(&leaf.chain()[0]), Some(role));
            assert_eq!(leaf.chain()[1], *made.certificate());
        }
    }

    #[test]
    fn a_self_made_certificate_carries_no_role() {
        let identity = Identity::generate("urn:satellite:role:admin").unwrap();
        assert_eq!(role_of(&identity.chain()[0]), None);
    }

    #[test]
    fn debug_output_hides_the_key() {
        let identity = Identity::generate("s1").unwrap();
        let key = identity.key_pem();
        let secret = key.lines().nth(1).unwrap();
        assert!(!format!("{identity:?}").contains(secret));
    }

    #[test]
    fn a_pin_is_read_back_from_its_text_and_nothing_else_is_one() {
        let pin = Identity::generate("s1").unwrap().pin();
        assert_eq!(pin.to_string().to_uppercase().parse::<Pin>().unwrap(), pin);
        for text in ["", "00", &"g".repeat(64), &"0".repeat(66)] {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
    }
}
