//! Who is trusted to release: the anchor of the image, and the signed documents that lead on from it.
//!
//! **Invariants:** the record is written whole or not at all, and verified from the anchor on each time it is read, so that
//! nothing on the data partition is trusted for lying there; a server takes the sequence forward and does nothing else.

pub(crate) mod floor;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use satellite_host::fail_point;
use satellite_host::files;
use satellite_proto::bundle::{Anchor, BundleError, Signed, Trust, TrustAnchors, TrustRecord};
use satellite_proto::wire::bridge::v1 as wire;
use tonic::{Code, Status};
use tracing::{error, info, warn};

use crate::journal::{self, JournalError};
use crate::pairing::time_of_day;
use crate::workload::Places;
use crate::workload::record::chain;

/// The longest file of trusted keys that is read, in bytes.
const ANCHORS_MOST: u64 = 64 * 1024;

/// Every point at which a test may kill the daemon while it changes whom it trusts.
pub const FAIL_POINTS: &[&str] = &["trust.checked", "trust.recorded"];

/// Why it is not known who is trusted, or why it stays as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The anchor cannot be read.
    #[error("the satellite has no usable list of trusted keys: put one in place")]
    Anchor(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was recorded cannot be read or written.
    #[error("the record of trusted keys cannot be used: check the disk of the satellite")]
    Record(#[source] JournalError),
    /// A document, or what follows from them.
    #[error(transparent)]
    Refused(BundleError),
}

impl From<TrustError> for Status {
    fn from(error: TrustError) -> Self {
        let code = match &error {
            TrustError::Anchor(_) => Code::Unavailable,
            TrustError::Record(_) => Code::Internal,
            TrustError::Refused(error) => code_of(error),
        };
        Self::new(code, chain(&error))
    }
}

/// What a refusal of a document says to a server: a clock that is wrong and keys that come later are nobody's fault.
pub(crate) fn code_of(error: &BundleError) -> Code {
    match error {
        BundleError::Expired { .. } | BundleError::NoReleaseKeys(_) => Code::Unavailable,
        BundleError::Io { .. } => Code::Internal,
        BundleError::Untrusted { .. } | BundleError::Unsigned { .. } | BundleError::Key(_) => {
            Code::FailedPrecondition
        }
        _ => Code::InvalidArgument,
    }
}

/// The keeper of the record.
#[derive(Debug)]
pub struct Truster {
    anchors: Vec<PathBuf>,
    record: PathBuf,
    /// Held while the record changes.
    turn: Mutex<()>,
}

impl Truster {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(places: &Places) -> Self {
        Self {
            anchors: places.trust_anchors.clone(),
            record: places.trust().join("record.json"),
            turn: Mutex::default(),
        }
    }

    /// Who is trusted now. Read anew each time, so that a new list counts at once.
    ///
    /// # Errors
    ///
    /// [`TrustError::Anchor`].
    pub fn now(&self) -> Result<Trust, TrustError> {
        let anchor = self.anchor()?;
        let record = self.followed(&anchor)?;
        anchor.establish(&record).map_err(TrustError::Refused)
    }

    /// The release keys that count now.
    ///
    /// # Errors
    ///
    /// [`TrustError`]; none are known, or they have expired.
    pub fn release_keys(&self) -> Result<TrustAnchors, TrustError> {
        let trust = self.now()?;
        trust.release(time_of_day()).cloned().map_err(TrustError::Refused)
    }

    /// Follows what is offered, all of it or nothing. Answers whether anything changed.
    ///
    /// # Errors
    ///
    /// [`TrustError`]: all is as it was.
    pub fn follow(&self, offered: &TrustRecord) -> Result<bool, TrustError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let anchor = self.anchor()?;
        let record = self.followed(&anchor)?;
        let next = anchor.advance(&record, offered, time_of_day());
        let Some(next) = next.map_err(TrustError::Refused)? else {
            return Ok(false);
        };
        fail_point("trust.checked");
        journal::write(&self.record, &next).map_err(TrustError::Record)?;
        fail_point("trust.recorded");
        let trust = anchor.establish(&next).map_err(TrustError::Refused)?;
        info!(
            root = trust.root_sequence,
            keys = trust.keys_sequence,
            "Other keys are trusted from now on"
        );
        Ok(true)
    }

    fn anchor(&self) -> Result<Anchor, TrustError> {
        for path in &self.anchors {
            let bytes = files::read(path, ANCHORS_MOST).map_err(|err| TrustError::Anchor(err.into()))?;
            let Some(bytes) = bytes else { continue };
            let text = String::from_utf8(bytes).map_err(|err| TrustError::Anchor(err.into()))?;
            return Anchor::from_toml(&text).map_err(|err| TrustError::Anchor(err.into()));
        }
        Err(TrustError::Anchor("none of the configured files exists".into()))
    }

    /// What was followed so far. What does not follow from the anchor, or cannot be read, is as good as nothing: a server
    /// brings it again.
    fn followed(&self, anchor: &Anchor) -> Result<TrustRecord, TrustError> {
        let record = match journal::read::<TrustRecord>(&self.record) {
            Ok(record) => record.unwrap_or_default(),
            Err(err @ JournalError::Damaged { .. }) => {
                error!(error = %chain(&err), "Record of trusted keys is damaged and not used");
                TrustRecord::default()
            }
            Err(err) => return Err(TrustError::Record(err)),
        };
        if let Err(err) = anchor.establish(&record) {
            warn!(error = %chain(&err), "Record of trusted keys does not follow from the image's and is not used");
            return Ok(TrustRecord::default());
        }
        Ok(record)
    }
}

/// A document as the wire has it.
pub(crate) fn signed_of(document: wire::SignedDocument) -> Signed {
    Signed {
        document: document.document,
        signatures: document.signatures,
    }
}

#[cfg(test)]
mod tests;
