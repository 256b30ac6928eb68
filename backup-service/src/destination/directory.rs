//! A directory of this machine, also that of a disk that was mounted for the time of a call.
//!
//! **Invariants:** the directory itself is never made: one that is missing may be a disk that is not mounted; links in
//! place of our files and directories are not followed.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use nix::libc::O_NOFOLLOW;

use super::fault::Fault;
use super::path::PlacePath;
use super::place::{Entry, Place};

/// How long a disk may take for one step. Flushing gigabytes to a slow stick is one step.
const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// Most bytes of a file on FAT.
const FAT_MOST: u64 = u32::MAX as u64;

/// The type that the system calls FAT.
const FAT: i64 = 0x4d44;

/// The directory.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// The disk that must be mounted there, for a person; none: it is any directory.
    disk: Option<String>,
    writing: Option<File>,
    reading: Option<(PlacePath, File)>,
}

impl Directory {
    /// Looks whether it is there.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn open(root: PathBuf) -> Result<Self, Fault> {
        Self::new(root, None).await
    }

    /// The same for a disk that must be mounted there: else it would be written beside the disk.
    ///
    /// # Errors
    /// [`Fault::NotPluggedIn`], and other [`Fault`]s.
    pub async fn of_disk(root: PathBuf, disk: String) -> Result<Self, Fault> {
        Self::new(root, Some(disk)).await
    }

    async fn new(root: PathBuf, disk: Option<String>) -> Result<Self, Fault> {
        let mut place = Self {
            root,
            disk,
            writing: None,
            reading: None,
        };
        place.again().await?;
        Ok(place)
    }

    fn is_mounted(root: &Path) -> io::Result<bool> {
        let above = root.parent().unwrap_or(root);
        Ok(std::fs::metadata(root)?.dev() != std::fs::metadata(above)?.dev())
    }

    fn at(&self, path: &PlacePath) -> PathBuf {
        path.parts().fold(self.root.clone(), |at, part| at.join(part))
    }
}

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(io::Error::other("the work stopped")),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "the disk did not answer for {}",
                humantime::format_duration(DEADLINE)
            ),
        )),
    }
}

/// What an error of the system means.
fn fault(what: &str, path: &Path, error: &io::Error) -> Fault {
    let shown = format!("`{}`", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full {
            needed: 1,
            available: 0,
        },
        io::ErrorKind::FileTooLarge => Fault::TooLarge {
            at: shown,
            needed: FAT_MOST + 1,
            most: FAT_MOST,
        },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Fault::Denied {
            what: format!("{what} {shown}"),
            why: error.to_string(),
        },
        io::ErrorKind::NotFound => Fault::NoPlace { what: shown },
        _ => Fault::Other {
            at: shown,
            what: what.to_owned(),
            why: error.to_string(),
        },
    }
}

#[tonic::async_trait]
impl Place for Directory {
    async fn again(&mut self) -> Result<(), Fault> {
        (self.writing, self.reading) = (None, None);
        let root = self.root.clone();
        if let Some(disk) = &self.disk {
            let root = root.clone();
            return match blocking(move || Self::is_mounted(&root)).await {
                Ok(true) => Ok(()),
                Ok(false) | Err(_) => Err(Fault::NotPluggedIn { what: disk.clone() }),
            };
        }
        let found = blocking(move || std::fs::metadata(&root)).await;
        match found {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(Fault::NoPlace {
                what: format!("the directory `{}`", self.root.display()),
            }),
            Err(error) => Err(fault("use", &self.root, &error)),
        }
    }

    async fn close(&mut self) {}

    async fn free(&mut self) -> Result<Option<u64>, Fault> {
        let root = self.root.clone();
        let stat = blocking(move || Ok(nix::sys::statvfs::statvfs(&root)?)).await;
        let stat = stat.map_err(|error| fault("ask for the space of", &self.root, &error))?;
        Ok(Some(stat.blocks_available() as u64 * stat.fragment_size() as u64))
    }

    async fn most(&mut self) -> Result<Option<u64>, Fault> {
        let root = self.root.clone();
        let stat = blocking(move || Ok(nix::sys::statfs::statfs(&root)?)).await;
        let stat = stat.map_err(|error| fault("ask for the kind of", &self.root, &error))?;
        Ok((stat.filesystem_type().0 as i64 == FAT).then_some(FAT_MOST))
    }

    async fn make_directory(&mut self, path: &PlacePath) -> Result<(), Fault> {
        let at = self.at(path);
        let wanted = at.clone();
        let made = blocking(move || match std::fs::symlink_metadata(&wanted) {
            Ok(there) if there.is_dir() => Ok(()),
            Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o750).create(&wanted)?;
                sync_parent(&wanted)
            }
            Err(error) => Err(error),
        });
        made.await
            .map_err(|error| fault("make the directory", &at, &error))
    }

    async fn list(&mut self, path: &PlacePath) -> Result<Vec<Entry>, Fault> {
        let at = self.at(path);
        let wanted = at.clone();
        let found = blocking(move || entries(&wanted)).await;
        found.map_err(|error| fault("list", &at, &error))
    }

    async fn size(&mut self, path: &PlacePath) -> Result<Option<u64>, Fault> {
        let at = self.at(path);
        let wanted = at.clone();
        match blocking(move || std::fs::symlink_metadata(&wanted)).await {
            Ok(there) if there.is_file() => Ok(Some(there.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("look at", &at, &error)),
        }
    }

    async fn begin(&mut self, path: &PlacePath, offset: u64, _total: u64) -> Result<(), Fault> {
        self.reading = None;
        let at = self.at(path);
        let wanted = at.clone();
        let opened = blocking(move || {
            use std::io::Seek as _;
            let mut options = File::options();
            let options = options
                .write(true)
                .create(true)
                .mode(0o640)
                .custom_flags(O_NOFOLLOW);
            let mut file = options.open(&wanted)?;
            file.set_len(offset)?;
            file.seek(io::SeekFrom::Start(offset))?;
            Ok(file)
        });
        self.writing = Some(opened.await.map_err(|error| fault("write", &at, &error))?);
        Ok(())
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), Fault> {
        let written = match self.writing.take() {
            None => Err(io::Error::other("nothing was begun")),
            Some(mut file) => {
                blocking(move || {
                    file.write_all(&piece)?;
                    Ok(file)
                })
                .await
            }
        };
        self.writing = Some(written.map_err(|error| fault("write below", &self.root, &error))?);
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Fault> {
        let Some(file) = self.writing.take() else {
            return Ok(());
        };
        let synced = blocking(move || {
            file.sync_all()?;
            // What is read back now comes from the disk, as far as the kernel can be asked.
            let all = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            Ok(nix::fcntl::posix_fadvise(&file, 0, 0, all)?)
        });
        synced
            .await
            .map_err(|error| fault("write below", &self.root, &error))
    }

    async fn rename(&mut self, from: &PlacePath, to: &PlacePath) -> Result<(), Fault> {
        self.reading = None;
        let (from, to) = (self.at(from), self.at(to));
        let shown = to.clone();
        let renamed = blocking(move || crate::durable::rename(&from, &to)).await;
        renamed.map_err(|error| fault("give a name to", &shown, &error))
    }

    async fn get(&mut self, path: &PlacePath, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let at = self.at(path);
        let open = self.reading.take().filter(|(open, _)| open == path);
        let wanted = at.clone();
        let read = blocking(move || {
            let file = match open {
                Some((_, file)) => file,
                None => File::options()
                    .read(true)
                    .custom_flags(O_NOFOLLOW)
                    .open(&wanted)?,
            };
            let mut piece = BytesMut::zeroed(length);
            let length = file.read_at(&mut piece, offset)?;
            piece.truncate(length);
            Ok((file, piece.freeze()))
        });
        let (file, piece) = read.await.map_err(|error| fault("read", &at, &error))?;
        self.reading = Some((path.clone(), file));
        Ok(piece)
    }

    async fn remove(&mut self, path: &PlacePath) -> Result<(), Fault> {
        self.reading = None;
        let at = self.at(path);
        let wanted = at.clone();
        match blocking(move || crate::durable::remove(&wanted)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault("remove", &at, &error)),
            _ => Ok(()),
        }
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let read = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        read => read?,
    };
    for entry in read.take(super::MOST_ENTRIES) {
        let entry = entry?;
        let (Ok(name), metadata) = (entry.file_name().into_string(), entry.metadata()?) else {
            continue;
        };
        if metadata.is_dir() || metadata.is_file() {
            found.push(Entry {
                name,
                is_directory: metadata.is_dir(),
                size: metadata.len(),
                modified: metadata
                    .modified()
                    .ok()
                    .and_then(|at| Timestamp::try_from(at).ok()),
            });
        }
    }
    Ok(found)
}
