//! Uploads on disk: a directory each, named by the digest of its manifest.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use bytes::Bytes;
use jiff::Timestamp;
use satellite_host::clock;
use satellite_host::files::{self, FileError};
use satellite_proto::bundle::{self, Digest, MANIFEST_MOST, Manifest, SIGNATURE_MOST, SIGNATURES_MOST};
use satellite_proto::wire::bridge::v1::Update;
use serde::{Deserialize, Serialize};

use super::{ChunkStore, UpdateError};
use crate::workload::Places;

/// An upload that was begun.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
    pub(super) signatures: Vec<Bytes>,
    created: Timestamp,
}

/// What lies beside the manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    created: Timestamp,
    signatures: Vec<String>,
}

impl Upload {
    /// Records a new upload, whose manifest and signatures have been verified.
    pub(super) fn create(
        places: &Places,
        digest: Digest,
        manifest: &[u8],
        signatures: &[Bytes],
    ) -> Result<(), UpdateError> {
        let dir = places.update(digest);
        let part = dir.with_extension("part");
        let beside = Beside {
            created: clock::now(),
            signatures: signatures
                .iter()
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect(),
        };
        let beside = serde_json::to_vec(&beside).map_err(|err| {
            UpdateError::File(FileError {
                action: "write",
                path: dir.clone(),
                source: err.into(),
            })
        })?;
        let written = files::remove_tree(&part)
            .and_then(|_| files::create_dir(&part, 0o700))
            .and_then(|()| files::write_atomic(&part.join("manifest.json"), manifest, 0o600))
            .and_then(|()| files::write_atomic(&part.join("signatures.json"), &beside, 0o600))
            .and_then(|()| files::rename(&part, &dir));
        written.map_err(|err| {
            // What is left is removed when the next upload begins.
            let _ = files::remove_tree(&part);
            UpdateError::File(err)
        })
    }

    /// The upload that `digest` names. One that cannot be read is as good as none.
    pub(super) fn read(places: &Places, digest: Digest) -> Result<Option<Self>, UpdateError> {
        let dir = places.update(digest);
        let most = u64::try_from(MANIFEST_MOST).unwrap_or(u64::MAX);
        let bytes = files::read(&dir.join("manifest.json"), most).map_err(UpdateError::File)?;
        let most = u64::try_from(SIGNATURE_MOST * SIGNATURES_MOST * 4).unwrap_or(u64::MAX);
        let beside = files::read(&dir.join("signatures.json"), most).map_err(UpdateError::File)?;
        let (Some(bytes), Some(beside)) = (bytes, beside) else {
            return Ok(None);
        };
        if bundle::digest_of_manifest(&bytes) != digest {
            return Ok(None);
        }
        let (Ok(manifest), Ok(beside)) = (Manifest::parse(&bytes), serde_json::from_slice::<Beside>(&beside))
        else {
            return Ok(None);
        };
        let signatures = beside.signatures.into_iter().map(Bytes::from).collect();
        Ok(Some(Self {
            digest,
            bytes,
            manifest,
            signatures,
            created: beside.created,
        }))
    }

    /// All uploads, oldest first.
    pub(super) fn all(places: &Places) -> Result<Vec<Self>, UpdateError> {
        let mut uploads = Vec::new();
        for (_, digest) in Self::entries(places)? {
            if let Some(digest) = digest {
                uploads.extend(Self::read(places, digest)?);
            }
        }
        uploads.sort_by_key(|upload| upload.created);
        Ok(uploads)
    }

    /// Removes what is no upload. Only for whoever makes uploads: one that is being made looks like none.
    pub(super) fn tidy(places: &Places) -> Result<(), UpdateError> {
        for (path, digest) in Self::entries(places)? {
            let upload = match digest {
                Some(digest) => Self::read(places, digest)?,
                None => None,
            };
            if upload.is_none() {
                files::remove_tree(&path).map_err(UpdateError::File)?;
            }
        }
        Ok(())
    }

    /// What lies among the uploads, with the digest that names it, if one does.
    fn entries(places: &Places) -> Result<Vec<(PathBuf, Option<Digest>)>, UpdateError> {
        let dir = places.updates();
        let failed = |source| {
            UpdateError::File(FileError {
                action: "read",
                path: dir.clone(),
                source,
            })
        };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(failed(err)),
        };
        let named = entries.map(|entry| {
            let entry = entry.map_err(failed)?;
            let digest = entry.file_name().to_str().and_then(|name| name.parse().ok());
            Ok((entry.path(), digest))
        });
        named.collect()
    }

    pub(super) fn describe(&self, store: &ChunkStore) -> Update {
        let chunks = &self.manifest.chunks;
        let sum = |sum: u64, size: u32| sum.saturating_add(size.into());
        let present = chunks.iter().filter(|chunk| store.has(chunk.digest));
        Update {
            manifest_digest: self.digest.to_string(),
            workload: self.manifest.workload.to_string(),
            version: self.manifest.version.to_string(),
            total_bytes: chunks.iter().map(|chunk| chunk.size).fold(0, sum),
            present_bytes: present.map(|chunk| chunk.size).fold(0, sum),
            create_time: Some(crate::workload::timestamp(self.created)),
        }
    }
}
