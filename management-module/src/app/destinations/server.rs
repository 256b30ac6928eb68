//! A directory of the server itself as a destination: the archive is brought here and read back.
//!
//! **Invariant:** a file has its name only after it was flushed, read back and found to be what was sent.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use satellite_proto::wire::backup::v1 as pb;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::app::AppError;
use crate::files;
use crate::plan::space::Room;
use crate::store::CopyRow;

/// How temporaries begin. What a run leaves that was cut is removed by the next one into that directory.
const PART: &str = ".part-";

/// Most bytes of a file on FAT.
const FAT_MOST: u64 = u32::MAX as u64;

/// Why a copy is not there.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("cannot {doing} {}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the archive did not come whole: {0}")]
    Cut(String),
    #[error("what was read back from {} is not what was sent: check the disk", path.display())]
    Differs { path: PathBuf },
}

fn failed<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> KeepError + 'p {
    move |source| KeepError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Writes the pieces of an archive's file into a directory under its name. Answers what is there then.
///
/// # Errors
/// [`AppError::Machine`]; nothing has the archive's name then.
pub(in crate::app) async fn keep_at_server(
    directory: PathBuf,
    archive: pb::Archive,
    pieces: mpsc::Receiver<Result<Bytes, String>>,
) -> Result<pb::CopyDone, AppError> {
    let doing = format!("copy the archive into {}", directory.display());
    let kept = tokio::task::spawn_blocking(move || keep(&directory, &archive, pieces)).await;
    kept.map_err(|error| AppError::machine(doing.clone(), error))?
        .map_err(|error| AppError::machine(doing, error))
}

fn keep(
    directory: &Path,
    archive: &pb::Archive,
    mut pieces: mpsc::Receiver<Result<Bytes, String>>,
) -> Result<pb::CopyDone, KeepError> {
    files::make_directory(directory, 0o700).map_err(failed("make the directory", directory))?;
    sweep(directory).map_err(failed("tidy the directory", directory))?;
    let path = directory.join(&archive.file_name);
    let done = |existed| pb::CopyDone {
        path: path.display().to_string(),
        size_bytes: archive.size_bytes,
        sha256: archive.sha256.clone(),
        existed,
        not_read_back: false,
    };
    let is_it = |path: &Path| is_that(path, archive.size_bytes, &archive.sha256);
    if path.exists() && is_it(&path).map_err(failed("read", &path))? {
        return Ok(done(true));
    }
    let part = directory.join(format!("{PART}{}", Uuid::new_v4()));
    let written = write(&part, archive, &mut pieces).and_then(|()| {
        std::fs::rename(&part, &path).map_err(failed("name", &path))?;
        files::sync_directory(directory).map_err(failed("flush", directory))
    });
    if written.is_err() {
        // It is swept by the next copy, if not now.
        let _gone = std::fs::remove_file(&part);
    }
    written.map(|()| done(false))
}

fn write(
    part: &Path,
    archive: &pb::Archive,
    pieces: &mut mpsc::Receiver<Result<Bytes, String>>,
) -> Result<(), KeepError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(part)
        .map_err(failed("make", part))?;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece.map_err(KeepError::Cut)?)
            .map_err(failed("write", part))?;
    }
    file.sync_all().map_err(failed("flush", part))?;
    let size = file.metadata().map_err(failed("look at", part))?.len();
    if size < archive.size_bytes {
        return Err(KeepError::Cut(format!("{size} of {} bytes", archive.size_bytes)));
    }
    if is_that(part, archive.size_bytes, &archive.sha256).map_err(failed("read back", part))? {
        Ok(())
    } else {
        Err(KeepError::Differs {
            path: part.to_owned(),
        })
    }
}

/// What is wrong with a copy in a directory of the server, read whole; empty if nothing is.
///
/// # Errors
/// [`AppError::Machine`] if it cannot be read.
pub(in crate::app) async fn is_kept_at_server(copy: &CopyRow) -> Result<String, AppError> {
    let (path, size, sha256) = (PathBuf::from(&copy.path), copy.size_bytes, copy.sha256.clone());
    let doing = format!("read {}", copy.path);
    let read = tokio::task::spawn_blocking(move || is_that(&path, size, &sha256)).await;
    match read.map_err(|error| AppError::machine(doing.clone(), error))? {
        Ok(true) => Ok(String::new()),
        Ok(false) => Ok("its content is not what was written".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("it is not there any more".to_owned()),
        Err(error) => Err(AppError::machine(doing, error)),
    }
}

/// Whether a file has that size and digest, read whole.
fn is_that(path: &Path, size: u64, sha256: &str) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    // The disk is asked, not what memory holds of it.
    let _unheeded =
        nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        digest.update(read);
    }
    let hex: String = digest
        .finish()
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(hex.eq_ignore_ascii_case(sha256))
}

/// Removes what copies left that were cut.
fn sweep(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(PART.as_bytes()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes, reads back and removes a small file.
pub(super) async fn try_it(directory: PathBuf) -> Result<pb::TestDestinationResponse, AppError> {
    let tried = tokio::task::spawn_blocking(move || steps(&directory)).await;
    tried.map_err(|error| AppError::machine("try the directory", error))
}

fn steps(directory: &Path) -> pb::TestDestinationResponse {
    let path = directory.join(format!("{PART}{}", Uuid::new_v4()));
    let content = Uuid::new_v4().into_bytes();
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&content)?;
        file.sync_all()
    };
    let read_back = || match std::fs::read(&path)? == content {
        true => Ok(()),
        false => Err(io::Error::other("what was read back is not what was written")),
    };
    let all: [(pb::TestStepName, &dyn Fn() -> io::Result<()>); 4] = [
        (pb::TestStepName::Directory, &|| {
            files::make_directory(directory, 0o700)
        }),
        (pb::TestStepName::Write, &write),
        (pb::TestStepName::ReadBack, &read_back),
        (pb::TestStepName::Remove, &|| std::fs::remove_file(&path)),
    ];
    let mut found = pb::TestDestinationResponse::default();
    for (name, step) in all {
        let ended = step();
        found.steps.push(pb::TestStep {
            name: name.into(),
            ok: ended.is_ok(),
            message: ended.as_ref().err().map(ToString::to_string).unwrap_or_default(),
            fault: None,
        });
        if ended.is_err() {
            return found;
        }
    }
    let room = room_at(directory).unwrap_or_default();
    (found.free_bytes, found.most_bytes) = (room.free, room.most);
    found
}

/// What a directory takes, or the one above it that is there already.
///
/// # Errors
/// What the system says.
pub(in crate::app) fn room_at(directory: &Path) -> io::Result<Room> {
    let there = directory.ancestors().find(|path| path.exists());
    let there = there.unwrap_or(directory);
    let space = nix::sys::statvfs::statvfs(there)?;
    let is_fat = nix::sys::statfs::statfs(there)?.filesystem_type() == nix::sys::statfs::MSDOS_SUPER_MAGIC;
    Ok(Room {
        free: Some(space.blocks_available() * space.fragment_size()),
        most: is_fat.then_some(FAT_MOST),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(content: &[u8]) -> pb::Archive {
        let digest = aws_lc_rs::digest::digest(&SHA256, content);
        pb::Archive {
            file_name: "a.sar".into(),
            size_bytes: content.len() as u64,
            sha256: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            ..pb::Archive::default()
        }
    }

    async fn kept(
        directory: &Path,
        archive: &pb::Archive,
        pieces: &[Result<&'static [u8], &str>],
    ) -> Result<pb::CopyDone, AppError> {
        let (sender, receiver) = mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            sender
                .send(piece.map(Bytes::from_static).map_err(str::to_owned))
                .await
                .unwrap();
        }
        drop(sender);
        keep_at_server(directory.to_owned(), archive.clone(), receiver).await
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_copy_has_its_name_only_when_it_is_whole_and_right() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("starface-backup/nightly");
        let archive = archive(b"hello world");
        let check = async |pieces: &[Result<&'static [u8], &str>], wanted: &str| {
            let error = kept(&place, &archive, pieces).await.unwrap_err();
            let said = crate::error_chain(&error);
            assert!(said.contains(wanted), "{said}");
            assert_eq!(names(&place), [""; 0]);
        };
        check(&[Ok(b"hello ")], "6 of 11 bytes").await;
        check(&[Ok(b"hello "), Err("the line was cut")], "the line was cut").await;
        check(&[Ok(b"hello w"), Ok(b"orle")], "not what was sent").await;
        File::create(place.join(format!("{PART}left"))).unwrap();
        let done = kept(&place, &archive, &[Ok(b"hello "), Ok(b"world")])
            .await
            .unwrap();
        assert!(!done.existed);
        assert_eq!(names(&place), ["a.sar"]);
        let again = kept(&place, &archive, &[]).await.unwrap();
        assert!(again.existed);
        // A damaged one is written again.
        OpenOptions::new()
            .write(true)
            .open(place.join("a.sar"))
            .unwrap()
            .write_all(b"J")
            .unwrap();
        assert!(kept(&place, &archive, &[]).await.is_err());
        assert!(
            !kept(&place, &archive, &[Ok(b"hello world")])
                .await
                .unwrap()
                .existed
        );
    }

    #[tokio::test]
    async fn a_directory_is_tried_step_by_step() {
        let dir = tempfile::tempdir().unwrap();
        let found = try_it(dir.path().join("new")).await.unwrap();
        assert!(found.steps.len() == 4 && found.steps.iter().all(|step| step.ok));
        assert!(found.free_bytes.unwrap() > 0);
        File::create(dir.path().join("file")).unwrap();
        let found = try_it(dir.path().join("file")).await.unwrap();
        assert!(found.steps.len() < 4 && !found.steps.last().unwrap().ok);
        assert!(!found.steps.last().unwrap().message.is_empty());
    }
}
