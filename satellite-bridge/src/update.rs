//! Uploads of bundles and their chunks.
//!
//! **Invariants:** nothing of an upload touches the disk before enough trusted signatures hold; a chunk is stored only if the
//! manifest lists it and its content matches; how much can lie here is bounded.

mod permit;
mod receive;
mod store;
mod uploads;

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use satellite_host::disk;
use satellite_host::files::{self, FileError};
use satellite_proto::bundle::{self, BundleError, Digest, Manifest, Signed};
use satellite_proto::pushback;
use satellite_proto::wire::bridge::v1::{Operation, Update};
use tonic::{Code, Status};

pub use self::receive::{IN_MEMORY, Piece, STREAMS};
pub use self::store::ChunkStore;
use self::uploads::Upload;
use crate::base::{Base, Part};
use crate::journal::JournalError;
use crate::trust::{TrustError, Truster, code_of};
use crate::workload::record::chain;
use crate::workload::{Places, Staged, WorkloadError, Workloads};

/// Uploads that are kept at once; the oldest goes when there is one more.
const UPLOADS_MOST: usize = 4;
/// Space that an upload leaves free, in bytes.
const MARGIN: u64 = 64 * 1024 * 1024;
/// When one who is sent away because others send chunks may come again.
const TURN: Duration = Duration::from_secs(10);

/// What this satellite is, for a bundle that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// As `uname -m` gives it.
    pub architecture: String,
    /// The bridge's own version.
    pub bridge: semver::Version,
}

impl Platform {
    /// This machine, and this program.
    #[must_use]
    pub fn here() -> Self {
        let bridge = env!("CARGO_PKG_VERSION")
            .parse()
            .unwrap_or(semver::Version::new(0, 0, 0));
        Self {
            architecture: std::env::consts::ARCH.to_owned(),
            bridge,
        }
    }
}

/// Why an upload is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The bundle itself.
    #[error("the bundle is refused")]
    Bundle(#[source] BundleError),
    /// It is not for this satellite, or not now.
    #[error("{0}")]
    Policy(String),
    /// There is too little space.
    #[error("{needed} bytes are needed for the bundle and {free} are free: make room on the satellite")]
    Space {
        /// For payload and chunks, with a margin.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// There is no such upload.
    #[error("there is no upload {0}: begin it")]
    Unknown(Digest),
    /// A chunk was sent that does not belong to it.
    #[error("chunk {0} does not belong to the upload")]
    Foreign(Digest),
    /// A chunk was sent that no bundle can have.
    #[error("a chunk of {bytes} bytes is larger than any that a bundle can have")]
    LargeChunk {
        /// Its size, packed.
        bytes: usize,
    },
    /// Others send chunks already.
    #[error("{STREAMS} uploads are under way already: try again when one has ended")]
    TooMany,
    /// Chunks are missing.
    #[error("{missing} chunks of the upload are missing: send them, then install it")]
    Incomplete {
        /// How many.
        missing: usize,
    },
    /// It is being installed.
    #[error("the upload is being installed: wait for its end")]
    Installing,
    /// Who is trusted.
    #[error(transparent)]
    Trust(TrustError),
    /// The permit to go back that came with it.
    #[error("the permit to go back cannot be kept: check the disk of the satellite")]
    Permit(#[source] JournalError),
    /// The disk.
    #[error("the upload cannot be stored{}", remedy(.0))]
    File(#[source] FileError),
    /// The workload.
    #[error(transparent)]
    Workload(WorkloadError),
    /// The bridge itself.
    #[error("the bridge stopped by a fault of its own: see its log")]
    Fault(#[source] tokio::task::JoinError),
}

/// What a person can do about a disk that does not take an upload.
fn remedy(error: &FileError) -> &'static str {
    if error.is_full() {
        ", the disk of the satellite is full. Make room on it: what has arrived is kept and is not sent again"
    } else if error.is_read_only() {
        ", the disk of the satellite takes no writes. Restart the satellite, and replace its disk if that does not help: what \
         has arrived is kept and is not sent again"
    } else {
        ""
    }
}

/// What the bundle itself is to blame for is INVALID_ARGUMENT or FAILED_PRECONDITION: sending it again cannot help. A
/// server goes by that when it decides whether to try again, so nothing else may be either of them.
impl From<UpdateError> for Status {
    fn from(error: UpdateError) -> Self {
        let code = match error {
            UpdateError::Workload(error) => return error.into(),
            UpdateError::Trust(error) => return error.into(),
            UpdateError::Bundle(ref error) => code_of(error),
            UpdateError::Policy(_) => Code::FailedPrecondition,
            UpdateError::Permit(_) | UpdateError::Fault(_) => Code::Internal,
            UpdateError::Foreign(_) | UpdateError::LargeChunk { .. } => Code::InvalidArgument,
            UpdateError::Incomplete { .. } | UpdateError::Installing => Code::Aborted,
            UpdateError::Space { .. } | UpdateError::TooMany => Code::ResourceExhausted,
            UpdateError::File(ref err) if err.is_full() => Code::ResourceExhausted,
            UpdateError::Unknown(_) => Code::NotFound,
            UpdateError::File(_) => Code::Internal,
        };
        let status = Self::new(code, chain(&error));
        match error {
            UpdateError::TooMany => pushback::come_after(status, TURN),
            _ => status,
        }
    }
}

/// All uploads of a satellite. A cheap handle.
#[derive(Debug, Clone)]
pub struct Updates {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    places: Places,
    platform: Platform,
    workloads: Workloads,
    /// What bundles of the satellite itself go to; none: it takes none.
    base: Option<Base>,
    truster: Arc<Truster>,
    store: ChunkStore,
    bounds: receive::Bounds,
    /// Held while uploads come and go; never across an await.
    turn: Mutex<()>,
}

impl Updates {
    /// Takes uploads for `workloads`. Nothing is read yet.
    #[must_use]
    pub fn new(workloads: Workloads, base: Option<Base>, truster: Arc<Truster>, platform: Platform) -> Self {
        let places = workloads.places().clone();
        let store = workloads.chunks().clone();
        let inner = Inner {
            places,
            platform,
            workloads,
            base,
            truster,
            store,
            bounds: receive::Bounds::default(),
            turn: Mutex::new(()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Opens an upload, or goes on with one that was cut. Answers it with the digests of the chunks that are missing.
    ///
    /// Reads and writes files: call it where that may wait.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: nothing of it is then on the disk.
    pub fn begin(&self, manifest: &[u8], signatures: &[Bytes]) -> Result<(Update, Vec<Digest>), UpdateError> {
        self.begin_permitted(manifest, signatures, None)
    }

    /// As [`Updates::begin`], with the permit to go back to the release, if there is one.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn begin_permitted(
        &self,
        manifest: &[u8],
        signatures: &[Bytes],
        permit: Option<&Signed>,
    ) -> Result<(Update, Vec<Digest>), UpdateError> {
        let inner = &self.inner;
        let parsed = inner.believe(manifest, signatures)?;
        let digest = bundle::digest_of_manifest(manifest);
        inner.check_policy(&parsed)?;
        inner.check_release(digest, &parsed, permit)?;
        let _turn = inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = inner.missing(&parsed);
        if Upload::read(&inner.places, digest)?.is_none() {
            inner.make_room(UPLOADS_MOST.saturating_sub(1))?;
            inner.check_space(&parsed, &missing)?;
            Upload::create(&inner.places, digest, manifest, signatures)?;
        } else {
            inner.check_space(&parsed, &missing)?;
        }
        if let Some(permit) = permit {
            permit::keep(&inner.places, digest, permit)?;
        }
        let missing = inner.missing(&parsed);
        let upload = Upload::read(&inner.places, digest)?.ok_or(UpdateError::Unknown(digest))?;
        Ok((upload.describe(&inner.store), missing))
    }

    /// Installs an upload all of whose chunks are here.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Unknown`], [`UpdateError::Incomplete`], [`UpdateError::Bundle`] if it is no longer trusted,
    /// [`UpdateError::Workload`].
    pub fn install(&self, digest: Digest, key: &str, enable: bool) -> Result<Operation, UpdateError> {
        self.install_and_be_reached(digest, key, enable, 0)
    }

    /// As [`Updates::install`]; the version stays only if the server reaches the satellite within `contact_seconds` after
    /// it was healthy, unless they are 0.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn install_and_be_reached(
        &self,
        digest: Digest,
        key: &str,
        enable: bool,
        contact_seconds: u32,
    ) -> Result<Operation, UpdateError> {
        let inner = &self.inner;
        let begun = inner.workloads.begun_before("install", key);
        let Some(upload) = Upload::read(&inner.places, digest)? else {
            // It is gone when it was installed; the same call gets the same answer.
            return begun.ok_or(UpdateError::Unknown(digest));
        };
        if let Some(operation) =
            begun.filter(|operation| operation.subject == upload.manifest.workload.as_str())
        {
            return Ok(operation);
        }
        let manifest = inner.believe(&upload.bytes, &upload.signatures)?;
        inner.check_policy(&manifest)?;
        let permit = permit::of_upload(&inner.places, digest)?;
        let permit = inner.check_release(digest, &manifest, permit.as_ref())?;
        let missing = inner.missing(&manifest).len();
        if missing > 0 {
            return Err(UpdateError::Incomplete { missing });
        }
        let staged = Staged {
            digest,
            manifest,
            bytes: upload.bytes,
            store: inner.store.clone(),
            permit,
            contact_seconds,
        };
        let begun = match &inner.base {
            Some(base) if staged.manifest.kind.is_some() => base.install(staged, key),
            _ => inner.workloads.install(staged, key, enable),
        };
        begun.map_err(UpdateError::Workload)
    }

    /// Uploads that have not been installed, newest first.
    ///
    /// # Errors
    ///
    /// [`UpdateError::File`].
    pub fn list(&self) -> Result<Vec<Update>, UpdateError> {
        let uploads = Upload::all(&self.inner.places)?;
        Ok(uploads
            .iter()
            .rev()
            .map(|upload| upload.describe(&self.inner.store))
            .collect())
    }

    /// Forgets an upload and those of its chunks that nothing else needs.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Unknown`], [`UpdateError::Installing`].
    pub fn abort(&self, digest: Digest) -> Result<(), UpdateError> {
        let inner = &self.inner;
        if inner.is_installing(digest) {
            return Err(UpdateError::Installing);
        }
        let _turn = inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !files::remove_tree(&inner.places.update(digest)).map_err(UpdateError::File)? {
            return Err(UpdateError::Unknown(digest));
        }
        sweep(&inner.places, &inner.store)
            .map(drop)
            .map_err(UpdateError::File)
    }
}

impl Inner {
    fn believe(&self, manifest: &[u8], signatures: &[Bytes]) -> Result<Manifest, UpdateError> {
        let keys = self.truster.release_keys().map_err(UpdateError::Trust)?;
        bundle::verify(manifest, signatures, &keys).map_err(UpdateError::Bundle)
    }

    fn check_policy(&self, manifest: &Manifest) -> Result<(), UpdateError> {
        let refused = |text: String| Err(UpdateError::Policy(text));
        let here = &self.platform;
        if manifest.architecture != here.architecture {
            let theirs = &manifest.architecture;
            return refused(format!(
                "the bundle is for {theirs}, this satellite is {}",
                here.architecture
            ));
        }
        if manifest.least_bridge > here.bridge {
            let least = &manifest.least_bridge;
            return refused(format!(
                "the bundle needs bridge {least}, this is {}: update the satellite first",
                here.bridge
            ));
        }
        match &self.base {
            Some(base) => base.check(manifest).map_err(UpdateError::Policy),
            None if manifest.kind.is_some() => {
                refused("this satellite itself is not updated by bundles".to_owned())
            }
            None => Ok(()),
        }
    }

    fn is_installing(&self, digest: Digest) -> bool {
        let base = self.base.as_ref();
        self.workloads.is_installing(digest) || base.is_some_and(|base| base.is_installing(digest))
    }

    /// The chunks that are not here, in the manifest's order.
    fn missing(&self, manifest: &Manifest) -> Vec<Digest> {
        let chunks = manifest.chunks.iter().map(|chunk| chunk.digest);
        chunks.filter(|digest| !self.store.has(*digest)).collect()
    }

    fn check_space(&self, manifest: &Manifest, missing: &[Digest]) -> Result<(), UpdateError> {
        let wanted: HashSet<&Digest> = missing.iter().collect();
        let chunks = manifest
            .chunks
            .iter()
            .filter(|chunk| wanted.contains(&chunk.digest));
        let chunks = chunks.fold(0_u64, |sum, chunk| sum.saturating_add(chunk.size.into()));
        let needed = manifest
            .payload_bytes()
            .saturating_add(chunks)
            .saturating_add(MARGIN);
        let dir = self.places.workloads();
        let space = disk::space(&dir);
        let free = space
            .map_err(|source| {
                UpdateError::File(FileError {
                    action: "examine",
                    path: dir,
                    source,
                })
            })?
            .free;
        if needed > free {
            Err(UpdateError::Space { needed, free })
        } else {
            Ok(())
        }
    }

    /// Drops the oldest uploads until at most `most` are left.
    fn make_room(&self, most: usize) -> Result<(), UpdateError> {
        Upload::tidy(&self.places)?;
        let uploads = Upload::all(&self.places)?;
        let mut surplus = uploads.len().saturating_sub(most);
        for upload in uploads.iter().filter(|upload| !self.is_installing(upload.digest)) {
            if surplus == 0 {
                break;
            }
            files::remove_tree(&self.places.update(upload.digest)).map_err(UpdateError::File)?;
            surplus -= 1;
        }
        sweep(&self.places, &self.store)
            .map(drop)
            .map_err(UpdateError::File)
    }
}

/// Removes the chunks that neither an upload nor an installed version needs.
///
/// # Errors
///
/// If a directory or an upload cannot be read: then nothing is removed, for it may be needed.
pub(crate) fn sweep(places: &Places, store: &ChunkStore) -> Result<usize, FileError> {
    let mut kept = HashSet::new();
    let mut keep = |manifest: &Manifest| kept.extend(manifest.chunks.iter().map(|chunk| chunk.digest));
    match Upload::all(places) {
        Ok(uploads) => uploads.iter().for_each(|upload| keep(&upload.manifest)),
        Err(UpdateError::File(err)) => return Err(err),
        Err(_) => return Ok(0),
    }
    let mut homes = vec![places.base(Part::Bridge), places.base(Part::System)];
    let names = fs::read_dir(places.workloads()).into_iter().flatten();
    for name in names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
        homes.push(places.home(&name));
    }
    for home in homes {
        for digest in home.manifests() {
            home.manifest(digest).iter().for_each(&mut keep);
        }
    }
    store.sweep(&kept)
}

#[cfg(test)]
mod tests;
