//! `manifest.json`, the first member: what the archive is. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::names::{DataSet, Label};

/// What an archive says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format: 1.
    pub format: u32,
    /// The archive's id.
    pub id: Uuid,
    /// Name of the central.
    pub central: Label,
    /// Its address.
    pub central_address: String,
    /// Its tenant; `default` if it has none.
    pub tenant: String,
    /// Backup configuration, if it was made by one.
    pub configuration: Option<Label>,
    /// Data sets in the order in which they come.
    pub data_sets: Vec<DataSet>,
    /// The moment of the backup.
    pub create_time: Timestamp,
    /// Version of the software that read the central.
    pub creator_version: String,
    /// Version of the software that wrote the archive.
    pub writer_version: String,
    /// Key of the run that made it.
    pub idempotency_key: String,
}

/// The only format there is.
pub const FORMAT: u32 = 1;

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// If it is not JSON, misses a field, or has names that are not safe.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.format != FORMAT {
            return Err(serde::de::Error::custom(format!(
                "format {} is newer than this software, which reads {FORMAT}: update it",
                manifest.format
            )));
        }
        Ok(manifest)
    }

    /// Name of the archive's file: `<central>_<moment in UTC>_<end of the id>.sar`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let id = self.id.simple().to_string();
        format!(
            "{}_{}_{}.sar",
            self.central,
            self.create_time.strftime("%Y%m%dT%H%M%SZ"),
            &id[24..]
        )
    }

    /// Name of the directory in which it lies.
    #[must_use]
    pub fn directory(&self) -> &str {
        self.configuration.as_ref().map_or("manual", Label::as_str)
    }
}
