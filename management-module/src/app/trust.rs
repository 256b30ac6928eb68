//! Whose releases are taken: the anchor of this server's configuration and the sets of keys that were published here.
//!
//! **Invariant:** this only carries. Each satellite verifies everything from its own image's anchor on; what is refused
//! here is refused early, and what is taken here gives nobody a right there.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use satellite_proto::bundle::{
    Anchor, BundleError, Digest, Downgrade, Manifest, Signed, Trust, TrustAnchors, TrustRecord,
};
use satellite_proto::wire::bridge::v1::trust_service_client::TrustServiceClient;
use satellite_proto::wire::bridge::v1::{self as bridge, TrustState};
use tonic::Code;

use super::remote::{call, new_key};
use super::{App, AppError};
use crate::names::SatelliteName;
use crate::plan::TrustPlace;
use crate::store::StoreError;

/// Takes sets of keys that follow from what is in force, and brings them to all satellites. Answers whether anything is new.
///
/// # Errors
/// A document is refused, or the anchor of this server is release keys.
pub async fn publish(app: &App, offered: &TrustRecord) -> Result<(TrustState, bool), AppError> {
    let anchor = anchor(&app.config.trust_anchors)?;
    let record = app.store.trust_record().await?;
    let next = anchor
        .advance(&record, offered, Timestamp::now())
        .map_err(refused)?;
    let changed = next.is_some();
    if let Some(next) = next {
        app.store.set_trust_record(&next).await?;
        app.reconciler.wake_all();
    }
    Ok((own(app).await?, changed))
}

/// Whom this server trusts.
///
/// # Errors
/// The anchor cannot be read, or what was published does not follow from it.
pub async fn own(app: &App) -> Result<TrustState, AppError> {
    Ok(established(app).await?.describe(Timestamp::now()))
}

/// Whom a satellite trusts.
///
/// # Errors
/// It does not answer, or its bridge is too old.
pub async fn of_satellite(app: &App, satellite: &SatelliteName) -> Result<TrustState, AppError> {
    let mut client = TrustServiceClient::new(app.fleet.channel(satellite)?);
    let asked = client.get_trust(bridge::GetTrustRequest {});
    let answer = call(satellite, app.config.call_deadline, asked).await?;
    Ok(answer.trust.unwrap_or_default())
}

/// The release keys that count here now.
///
/// # Errors
/// None are known, or they have expired.
pub async fn release_keys(app: &App) -> Result<TrustAnchors, AppError> {
    let trust = established(app).await?;
    let keys = trust.release(Timestamp::now());
    keys.cloned().map_err(|error| {
        AppError::Precondition(format!(
            "{}. Publish a set of release keys (`management-module bundle trust publish`)",
            crate::error_chain(&error)
        ))
    })
}

/// Keeps a permit to go back to a bundle of the store, once it was found to be signed by enough release keys.
///
/// # Errors
/// It is refused, or there is no such bundle.
pub async fn add_permit(app: &App, permit: &Signed) -> Result<Digest, AppError> {
    let keys = release_keys(app).await?;
    let parsed = Downgrade::verify(permit, &keys, Timestamp::now()).map_err(refused)?;
    let row = app.store.bundle(&parsed.manifest).await?.ok_or_else(|| {
        AppError::no(
            "bundle with the manifest",
            format!(
                "{} that the permit names; add it with `management-module bundle add`",
                parsed.manifest
            ),
        )
    })?;
    let manifest = Manifest::parse(&row.manifest).map_err(refused)?;
    if !parsed.is_for(&manifest, row.manifest_digest) {
        return Err(AppError::Invalid(
            "the permit names another release than its manifest".to_owned(),
        ));
    }
    app.store.add_permit(&row.manifest_digest, permit).await?;
    Ok(row.manifest_digest)
}

/// Brings what was published to a satellite.
pub(super) async fn bring(app: &App, satellite: &SatelliteName) -> Result<(), AppError> {
    let record = app.store.trust_record().await?;
    let request = bridge::SetTrustRequest {
        roots: record.roots.into_iter().map(wire_of).collect(),
        keys: record.keys.map(wire_of),
        idempotency_key: new_key(),
    };
    let mut client = TrustServiceClient::new(app.fleet.channel(satellite)?);
    call(satellite, app.config.call_deadline, client.set_trust(request)).await?;
    Ok(())
}

/// How far what was published goes; none if nothing was.
pub(super) async fn published_place(app: &App) -> Result<Option<TrustPlace>, StoreError> {
    let record = app.store.trust_record().await?;
    if record == TrustRecord::default() {
        return Ok(None);
    }
    // What no longer follows from this server's anchor is not brought anywhere.
    let established = anchor(&app.config.trust_anchors).ok();
    let trust = established.and_then(|anchor| anchor.establish(&record).ok());
    Ok(trust
        .filter(|trust| trust.root.is_some())
        .map(|trust| TrustPlace {
            root: trust.root_sequence,
            keys: trust.keys_sequence,
        }))
}

/// How far a satellite follows; not asked where nothing was published.
pub(super) async fn place_of_satellite(
    app: &App,
    satellite: &SatelliteName,
) -> Result<Option<TrustPlace>, AppError> {
    if published_place(app).await?.is_none() {
        return Ok(None);
    }
    match of_satellite(app, satellite).await {
        Ok(trust) => Ok(trust.rooted.then_some(TrustPlace {
            root: trust.root_sequence,
            keys: trust.keys_sequence,
        })),
        // A bridge from before there were sets of keys has no such method.
        Err(error) if matches!(error.code(), Code::PermissionDenied | Code::Unimplemented) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn established(app: &App) -> Result<Trust, AppError> {
    let record = app.store.trust_record().await?;
    let anchor = anchor(&app.config.trust_anchors)?;
    anchor.establish(&record).map_err(|error| {
        AppError::Precondition(format!(
            "the published sets of keys do not follow from {}: {}",
            app.config.trust_anchors.display(),
            crate::error_chain(&error)
        ))
    })
}

fn anchor(path: &Path) -> Result<Anchor, AppError> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        if source.kind() != io::ErrorKind::NotFound {
            return AppError::machine(format!("read {}", path.display()), source);
        }
        AppError::Precondition(format!(
            "no release keys are trusted: {} is not there. Write `threshold = 1` and `keys = [\"<public key>\"]` into it, \
             with the key that `management-module bundle keygen` printed or that came with the release",
            path.display()
        ))
    })?;
    Anchor::from_toml(&text).map_err(|error| {
        AppError::Precondition(format!("{}: {}", path.display(), crate::error_chain(&error)))
    })
}

fn refused(error: BundleError) -> AppError {
    let text = crate::error_chain(&error);
    match error {
        BundleError::Untrusted { .. } | BundleError::Unsigned { .. } => AppError::Refused(text),
        BundleError::Expired { .. } | BundleError::NoReleaseKeys(_) | BundleError::Key(_) => {
            AppError::Precondition(text)
        }
        _ => AppError::Invalid(text),
    }
}

fn wire_of(signed: Signed) -> bridge::SignedDocument {
    bridge::SignedDocument {
        document: signed.document,
        signatures: signed.signatures,
    }
}
