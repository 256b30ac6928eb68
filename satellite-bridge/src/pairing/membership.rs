//! The installation that the satellite belongs to, as it lies on the disk.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use data_encoding::BASE64;
use jiff::Timestamp;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, UnixTime},
    server::WebPkiClientVerifier,
};
use satellite_proto::{
    identity::{Pin, Role, role_of, time_for},
    tls::{Trust, provider},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment that has passed for sure, in seconds since 1970: no clock that shows an earlier one is right.
const FLOOR_SECONDS: u64 = 1_793_491_200;

/// A moment that has passed for sure.
pub(super) fn floor() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(FLOOR_SECONDS)
}

/// The time of day, and never one that has passed for sure.
pub(crate) fn time_of_day() -> Timestamp {
    let floor = Timestamp::try_from(floor()).unwrap_or(Timestamp::MIN);
    satellite_host::clock::now().max(floor)
}

/// What is kept of an installation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Membership {
    #[serde(serialize_with = "write_certificate", deserialize_with = "read_certificate")]
    pub(super) installation: CertificateDer<'static>,
    pub(super) server_name: String,
    /// While set, the installation has not made a call of its own yet.
    #[serde(default)]
    pub(super) candidate_until: Option<Timestamp>,
    #[serde(default)]
    pub(super) revoked: BTreeSet<Pin>,
}

impl Membership {
    pub(super) fn trust(&self) -> Trust {
        Trust::Installation {
            certificate: self.installation.clone(),
            revoked: self.revoked.clone(),
            floor: floor(),
        }
    }
}

/// The installation's certificate in the chain of a manager, if its leaf was issued by it, holds now, and is an
/// administrator's.
pub(super) fn installation_of(chain: &[CertificateDer<'static>]) -> Option<CertificateDer<'static>> {
    let [leaf, installation] = chain else { return None };
    let mut roots = RootCertStore::empty();
    roots.add(installation.clone()).ok()?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
        .build()
        .ok()?;
    let now = time_for(leaf, SystemTime::now().max(floor()))
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    verifier
        .verify_client_cert(leaf, &[], UnixTime::since_unix_epoch(now))
        .ok()?;
    let is_admin = role_of(leaf) == Some(Role::Admin);
    is_admin.then(|| installation.clone())
}

fn write_certificate<S: Serializer>(der: &CertificateDer<'_>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&BASE64.encode(der))
}

fn read_certificate<'de, D: Deserializer<'de>>(from: D) -> Result<CertificateDer<'static>, D::Error> {
    let text = String::deserialize(from)?;
    BASE64
        .decode(text.as_bytes())
        .map(CertificateDer::from)
        .map_err(D::Error::custom)
}
