//! The record of an archive: what is answered about it without opening it. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::archive::index::Totals;
use crate::archive::manifest::Manifest;
use crate::archive::names::Label;

/// What the catalogue knows of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: Uuid,
    /// Name of the file.
    pub file_name: String,
    /// Directory of the file, below the configured one.
    pub directory: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The moment of the backup.
    pub create_time: Timestamp,
    /// Name of the central.
    pub central: Label,
    /// Its address.
    pub central_address: String,
    /// Its tenant.
    pub tenant: String,
    /// The backup configuration, if there was one.
    pub configuration: Option<Label>,
    /// What is in it.
    pub data_sets: Vec<Totals>,
    /// Things that its run could not bring.
    #[serde(default)]
    pub left_out: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// When all digests were last found right.
    pub verify_time: Option<Timestamp>,
    /// Key of the run that made it.
    pub idempotency_key: String,
}

impl Record {
    /// A record of an archive that was just verified.
    #[must_use]
    pub fn new(manifest: &Manifest, data_sets: Vec<Totals>, size_bytes: u64, sha256: String) -> Self {
        Self {
            id: manifest.id,
            file_name: manifest.file_name(),
            directory: manifest.directory().to_owned(),
            size_bytes,
            create_time: manifest.create_time,
            central: manifest.central.clone(),
            central_address: manifest.central_address.clone(),
            tenant: manifest.tenant.clone(),
            configuration: manifest.configuration.clone(),
            data_sets,
            left_out: 0,
            sha256,
            verify_time: Some(Timestamp::now()),
            idempotency_key: manifest.idempotency_key.clone(),
        }
    }

    /// As it is kept.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers only: there is nothing that could fail.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Whether file and directory are plain names.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        plain(&self.file_name) && plain(&self.directory)
    }
}
