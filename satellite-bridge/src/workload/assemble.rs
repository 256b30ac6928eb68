//! From chunks to the files of a version, and back again: what lies on the disk is what was signed.
//!
//! **Invariant:** a file is written and checked through one descriptor, in a directory that did not exist before;
//! nothing but plain files with mode 0644 or 0755 comes out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use satellite_host::disk;
use satellite_host::files::{self, Beneath, FileError};
use satellite_proto::bundle::{BundleError, Digest, FileEntry, Hasher, Manifest, Unpacker, unpack_chunk};

use tonic::Code;

use super::record::{Fault, chain};
use super::state::MARGIN;
use crate::update::ChunkStore;

/// Why a version cannot be put together, or is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The disk.
    #[error("the files of the version cannot be written")]
    File(#[source] FileError),
    /// The same, for a file that is open.
    #[error("`{path}` cannot be written or read")]
    Open {
        /// Which, as in the manifest.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A chunk is not there.
    #[error("chunk {0} is missing: push the bundle again")]
    Missing(Digest),
    /// A chunk is damaged; it was thrown away.
    #[error("a stored chunk was damaged and thrown away: push the bundle again")]
    Damaged(#[source] BundleError),
    /// A file is not what the manifest says.
    #[error("`{path}` is not what was signed: {fault}")]
    Differs {
        /// Which, as in the manifest.
        path: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
}

/// Writes the files of `manifest` to the new directory `part`, from the chunks in `store`. They are on the disk when this
/// returns. `progress` is told the bytes written, and says whether to go on.
///
/// # Errors
///
/// [`AssembleError`]; the directory may then be there, incomplete.
pub(crate) fn assemble(
    manifest: &Manifest,
    store: &ChunkStore,
    part: &Path,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<(), AssembleError> {
    files::remove_tree(part).map_err(AssembleError::File)?;
    files::create_dir(part, 0o755).map_err(AssembleError::File)?;
    let top = Beneath::open(part).map_err(AssembleError::File)?;
    let mut done = 0;
    for entry in &manifest.files {
        if let Err(err) = write_file(manifest, entry, store, &top) {
            if matches!(err, AssembleError::Damaged(_)) {
                discard_damaged(manifest, store)?;
            }
            return Err(err);
        }
        done += entry.size;
        if !progress(done) {
            return Err(AssembleError::Stopped);
        }
    }
    files::sync_file_system(part).map_err(AssembleError::File)
}

/// Throws away every damaged chunk of `manifest`: after a power cut there may be many, and one push is to bring them all.
pub(crate) fn discard_damaged(manifest: &Manifest, store: &ChunkStore) -> Result<(), AssembleError> {
    for chunk in &manifest.chunks {
        let frame = store.read(chunk.digest).map_err(AssembleError::File)?;
        if frame.is_some_and(|frame| unpack_chunk(chunk, &frame).is_err()) {
            store.remove(chunk.digest).map_err(AssembleError::File)?;
        }
    }
    Ok(())
}

fn write_file(
    manifest: &Manifest,
    entry: &FileEntry,
    store: &ChunkStore,
    top: &Beneath,
) -> Result<(), AssembleError> {
    let path = Path::new(&entry.path);
    let differs = |fault| AssembleError::Differs {
        path: entry.path.clone(),
        fault,
    };
    if !matches!(entry.mode, 0o644 | 0o755) {
        return Err(differs("its mode is not allowed"));
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        top.create_dirs(parent, 0o755).map_err(AssembleError::File)?;
    }
    let mut file = top.create_file(path, entry.mode).map_err(AssembleError::File)?;
    let mut unpacker = Unpacker::new().map_err(AssembleError::Damaged)?;
    let mut hasher = Hasher::default();
    let mut size = 0_u64;
    for index in &entry.chunks {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        let chunk = manifest
            .chunks
            .get(index)
            .ok_or_else(|| differs("it has a chunk that is not listed"))?;
        let frame = store.read(chunk.digest).map_err(AssembleError::File)?;
        let frame = frame.ok_or(AssembleError::Missing(chunk.digest))?;
        let bytes = match unpacker.unpack(chunk, &frame) {
            Ok(bytes) => bytes,
            Err(err) => {
                store.remove(chunk.digest).map_err(AssembleError::File)?;
                return Err(AssembleError::Damaged(err));
            }
        };
        hasher.update(bytes);
        size = size.saturating_add(u64::from(chunk.size));
        file.write_all(bytes).map_err(|source| AssembleError::Open {
            path: entry.path.clone(),
            source,
        })?;
    }
    check_size_and_digest(entry, size, hasher)
}

/// Reads all files of a version and compares them with `manifest`: content, modes, and that there are no others.
///
/// # Errors
///
/// [`AssembleError::Differs`] with the first difference; [`AssembleError::Open`], [`AssembleError::File`].
pub(crate) fn verify(manifest: &Manifest, version: &Path) -> Result<(), AssembleError> {
    let top = Beneath::open(version).map_err(AssembleError::File)?;
    let mut buffer = vec![0; 256 * 1024];
    for entry in &manifest.files {
        let file = match top.open_file(Path::new(&entry.path)) {
            Ok(file) => file,
            Err(err) if err.is_missing() => {
                return Err(AssembleError::Differs {
                    path: entry.path.clone(),
                    fault: "it is missing",
                });
            }
            Err(err) => return Err(AssembleError::File(err)),
        };
        verify_file(entry, file, &mut buffer)?;
    }
    let listed: BTreeSet<&Path> = manifest.files.iter().map(|file| Path::new(&file.path)).collect();
    let found = list(version).map_err(|source| AssembleError::Open {
        path: ".".to_owned(),
        source,
    })?;
    match found.iter().find(|path| !listed.contains(path.as_path())) {
        Some(path) => Err(AssembleError::Differs {
            path: path.to_string_lossy().into_owned(),
            fault: "nobody signed it",
        }),
        None => Ok(()),
    }
}

fn verify_file(entry: &FileEntry, mut file: File, buffer: &mut [u8]) -> Result<(), AssembleError> {
    let failed = |source| AssembleError::Open {
        path: entry.path.clone(),
        source,
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode != entry.mode {
        return Err(AssembleError::Differs {
            path: entry.path.clone(),
            fault: "its mode is another",
        });
    }
    let mut hasher = Hasher::default();
    let mut size = 0_u64;
    loop {
        let read = match file.read(buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(failed(err)),
        };
        hasher.update(&buffer[..read]);
        size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    check_size_and_digest(entry, size, hasher)
}

fn check_size_and_digest(entry: &FileEntry, size: u64, hasher: Hasher) -> Result<(), AssembleError> {
    let differs = |fault| AssembleError::Differs {
        path: entry.path.clone(),
        fault,
    };
    if size != entry.size {
        return Err(differs("its size is another"));
    }
    if hasher.finish() != entry.digest {
        return Err(differs("its digest is another"));
    }
    Ok(())
}

/// Everything below `top` that is not a directory, by relative path.
fn list(top: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(top.join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                todo.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether a version of `needed` bytes can be put together where `place` lies, with something left.
pub(crate) fn check_space(place: &Path, needed: u64) -> Result<(), Fault> {
    let free = disk::space(place)
        .map_err(|err| Fault::of("the free space is not known", &err))?
        .free;
    if free < needed.saturating_add(MARGIN) {
        let text =
            format!("{needed} bytes are needed to put the version together, {free} are free: make room");
        return Err(Fault::new(Code::ResourceExhausted, text));
    }
    Ok(())
}

/// Chunks that are damaged or lost are sent again; everything else is the disk's.
pub(crate) fn fault_of(error: &AssembleError) -> Fault {
    match error {
        AssembleError::Stopped => Fault::cancelled(),
        AssembleError::Missing(_) | AssembleError::Damaged(_) => Fault::new(Code::Aborted, chain(error)),
        AssembleError::File(cause) if cause.is_full() => Fault::new(Code::ResourceExhausted, chain(error)),
        _ => Fault::of("the version cannot be put together", error),
    }
}
