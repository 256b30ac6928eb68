//! Bundles: taken in only with the signatures that the configuration asks for, and kept by digest.
//!
//! **Invariant:** a row means that its file is whole and on disk. The satellite checks everything again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use satellite_proto::bundle::{self, BundleError, BundleReader, Digest, TrustAnchors, unpack_chunk};
use tokio::sync::mpsc;

use super::{App, AppError, trust};
use crate::config::Config;
use crate::files;
use crate::store::{BundleRow, StoreError};

/// The largest file that is taken in, in bytes.
const FILE_MOST: u64 = 4 * 1024 * 1024 * 1024;

/// Where a bundle lies.
#[must_use]
pub fn path_of(config: &Config, digest: &Digest) -> PathBuf {
    config.bundles().join(format!("{digest}.bundle"))
}

/// A bundle was taken in.
#[derive(Debug)]
pub struct Added {
    /// The bundle.
    pub bundle: BundleRow,
    /// It was there before.
    pub known: bool,
}

/// Takes a bundle in, piece by piece; the end of the queue is the end of the file. One that is new and that is to be held
/// comes to satellites by a rollout or a push only.
///
/// # Errors
/// It is no whole bundle, or not signed by enough trusted keys, or there is no space.
pub async fn add(
    app: &App,
    pieces: mpsc::Receiver<Result<Bytes, AppError>>,
    hold: bool,
) -> Result<Added, AppError> {
    let config = app.config.clone();
    let keys = trust::release_keys(app).await?;
    let taken = tokio::task::spawn_blocking(move || take(&config, &keys, pieces))
        .await
        .map_err(|error| AppError::machine("take the bundle in", error))?;
    let (row, draft) = taken?;
    let row = BundleRow { held: hold, ..row };
    let place = path_of(&app.config, &row.manifest_digest);
    let failed = |source: io::Error| AppError::machine(format!("store {}", place.display()), source);
    fs::rename(&draft.0, &place).map_err(failed)?;
    files::sync_directory(&app.config.bundles()).map_err(failed)?;
    // The file of one that is known is replaced as well: it may have been lost or damaged.
    if let Some(bundle) = app.store.bundle(&row.manifest_digest).await? {
        app.reconciler.wake_all();
        return Ok(Added { bundle, known: true });
    }
    match app.store.add_bundle(&row).await {
        Ok(()) => {}
        // Another call took the same file in.
        Err(StoreError::Exists(_)) => {
            return Ok(Added {
                bundle: row,
                known: true,
            });
        }
        Err(error) => return Err(error.into()),
    }
    app.reconciler.wake_all();
    Ok(Added {
        bundle: row,
        known: false,
    })
}

/// Removes what an interrupted process left behind.
///
/// # Errors
/// What the operating system says.
pub fn clean(config: &Config) -> io::Result<()> {
    for entry in fs::read_dir(config.bundles())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "part") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A file that is removed unless it was moved away.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn take(
    config: &Config,
    keys: &TrustAnchors,
    mut pieces: mpsc::Receiver<Result<Bytes, AppError>>,
) -> Result<(BundleRow, Draft), AppError> {
    let draft = Draft(config.bundles().join(format!("{}.part", uuid::Uuid::now_v7())));
    let failed = |source: io::Error| AppError::machine(format!("write {}", draft.0.display()), source);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft.0)
        .map_err(failed)?;
    let mut size_bytes = 0_u64;
    while let Some(piece) = pieces.blocking_recv() {
        let piece = piece?;
        size_bytes += piece.len() as u64;
        if size_bytes > FILE_MOST {
            return Err(AppError::Invalid(format!(
                "the file is larger than {FILE_MOST} bytes: this is no bundle"
            )));
        }
        file.write_all(&piece).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    let row = check(&draft.0, keys, size_bytes).map_err(refused)?;
    Ok((row, draft))
}

/// Reads a bundle from its first to its last byte.
fn check(path: &Path, anchors: &TrustAnchors, size_bytes: u64) -> Result<BundleRow, BundleError> {
    let io = |source| BundleError::Io {
        doing: "open the file",
        source,
    };
    let file = BufReader::with_capacity(256 * 1024, File::open(path).map_err(io)?);
    let reader = BundleReader::open(file)?;
    let bytes = reader.manifest_bytes().clone();
    let signatures = reader.signatures().to_vec();
    let manifest = bundle::verify(&bytes, &signatures, anchors)?;
    for chunk in reader.chunks(&manifest) {
        let (entry, frame) = chunk?;
        unpack_chunk(&entry, &frame)?;
    }
    let key_ids = anchors
        .valid(&bytes, &signatures)
        .into_iter()
        .filter_map(bundle::key_id)
        .collect();
    Ok(BundleRow {
        manifest_digest: bundle::digest_of_manifest(&bytes),
        workload: manifest.workload.clone(),
        version: manifest.version.clone(),
        release: manifest.release,
        channel: manifest.channel.clone(),
        architecture: manifest.architecture.clone(),
        size_bytes,
        payload_bytes: manifest.payload_bytes(),
        key_ids,
        manifest: bytes.to_vec(),
        added_at: Timestamp::now(),
        held: false,
    })
}

fn refused(error: BundleError) -> AppError {
    match error {
        BundleError::Io { .. } => AppError::machine("read the bundle", error),
        BundleError::Untrusted { .. } => AppError::Refused(crate::error_chain(&error)),
        _ => AppError::Invalid(crate::error_chain(&error)),
    }
}
