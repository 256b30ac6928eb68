//! Takes the content of a file and, when its digest was right, gives the file its name or the content to a command.
//!
//! **Invariant:** until the digest was found right the content has no name that anybody looks for, or, in a directory
//! that was empty, none but root can open it and [`UNFINISHED`] says what it is; and no command has seen any of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::process::Stdio;

use aws_lc_rs::digest::{Context, SHA256};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use satellite_proto::wire::backup::v1::Member;
use tokio_util::sync::CancellationToken;

use super::super::command;
use super::super::profile::DumpCommand;
use super::place::{Place, TAKEN};
use super::{RestoreError, attributes, label, malformed};

/// Blocks in which a file has room, or a hole.
const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];
/// The mode of a file that has its name and not yet its content: rights for nobody, and a bit that means nothing on files.
pub(super) const UNFINISHED: u32 = 0o1000;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Content {
    file: File,
    to: To,
    hash: Context2,
    written: u64,
    overwrite: bool,
}

#[derive(Debug)]
enum To {
    File(Unfinished),
    Command(DumpCommand),
}

/// Removed again unless its content was found right.
#[derive(Debug)]
struct Unfinished {
    place: Place,
    /// Another name than that of its place.
    temporary: Option<OsString>,
    kept: bool,
}

struct Context2(Context);

impl std::fmt::Debug for Context2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256")
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            let name = self.temporary.as_deref();
            self.place.remove(name.unwrap_or(&self.place.name));
        }
    }
}

impl Content {
    /// A file under a name that nobody looks for.
    pub(super) fn for_file(member: &Member, place: Place, overwrite: bool) -> Result<Self, RestoreError> {
        let opened = std::cell::RefCell::new(None);
        let made = place.temporary(|name| {
            *opened.borrow_mut() = Some(place.create(name, 0o600)?);
            Ok(())
        });
        let failed = |source| RestoreError::Write {
            label: label(member),
            source,
        };
        let name = made.map_err(|reason| failed(io::Error::other(reason)))?;
        let file = opened
            .into_inner()
            .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let unfinished = Unfinished {
            place,
            temporary: Some(name),
            kept: false,
        };
        Ok(Self::new(file, To::File(unfinished), overwrite))
    }

    /// A file under its own name in a directory that was empty: a rename for each would take a fifth of a restore. None if
    /// its file system does not keep modes. The inner error says why the file is refused.
    pub(super) fn in_new_directory(
        member: &Member,
        place: &Place,
    ) -> Result<Result<Option<Self>, String>, RestoreError> {
        let failed = |errno: Errno| RestoreError::Write {
            label: label(member),
            source: errno.into(),
        };
        let file = match place.create(&place.name, UNFINISHED) {
            Err(Errno::EEXIST) => return Ok(Err(TAKEN.to_owned())),
            made => made.map_err(failed)?,
        };
        let unfinished = Unfinished {
            place: place.clone(),
            temporary: None,
            kept: false,
        };
        let is_marked = fstat(&file).map_err(failed)?.st_mode & 0o7777 == UNFINISHED;
        Ok(Ok(is_marked.then(|| Self::new(file, To::File(unfinished), false))))
    }

    pub(super) fn for_command(member: &Member, command: DumpCommand) -> Result<Self, RestoreError> {
        let flags = OFlag::O_RDWR | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
        let fd = open("/var/tmp", flags, Mode::from_bits_truncate(0o600)).map_err(|errno| {
            RestoreError::Write {
                label: label(member),
                source: errno.into(),
            }
        })?;
        Ok(Self::new(File::from(fd), To::Command(command), false))
    }

    fn new(file: File, to: To, overwrite: bool) -> Self {
        Self {
            file,
            to,
            hash: Context2(Context::new(&SHA256)),
            written: 0,
            overwrite,
        }
    }

    pub(super) fn write(&mut self, member: &Member, data: &[u8]) -> Result<(), RestoreError> {
        self.written += data.len() as u64;
        if !member.size_unknown && self.written > member.size_bytes {
            return Err(malformed(&format!(
                "`{}` is longer than announced",
                label(member)
            )));
        }
        self.hash.0.update(data);
        let done = if member.sparse {
            self.put_with_holes(data)
        } else {
            self.file.write_all(data)
        };
        satellite_host::fail_point("restore.writing");
        done.map_err(|source| RestoreError::Write {
            label: label(member),
            source,
        })
    }

    /// Writes what is not zero, block by block: what is passed over in a new file is zero, and takes no room.
    fn put_with_holes(&mut self, data: &[u8]) -> io::Result<()> {
        let begins = usize::try_from((self.written - data.len() as u64) % BLOCK as u64).unwrap_or_default();
        let first = data.len().min(BLOCK - begins);
        let blocks = std::iter::once(&data[..first]).chain(data[first..].chunks(BLOCK));
        // What is to be passed over, and what is to be written then.
        let (mut hole, mut from, mut at) = (0, 0, 0);
        for block in blocks {
            at += block.len();
            if *block == ZEROS[..block.len()] {
                self.file.write_all(&data[from..at - block.len()])?;
                hole += block.len();
                from = at;
            } else if hole > 0 {
                self.pass_over(hole)?;
                hole = 0;
            }
        }
        self.pass_over(hole)?;
        self.file.write_all(&data[from..])
    }

    fn pass_over(&mut self, bytes: usize) -> io::Result<()> {
        let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
        self.file.seek(SeekFrom::Current(bytes)).map(drop)
    }

    /// The inner error says why the file is refused; the inner value what could not be set on it.
    pub(super) fn finish(
        mut self,
        member: &Member,
        sha256: &[u8],
        cancel: &CancellationToken,
    ) -> Result<Result<Vec<String>, String>, RestoreError> {
        if !member.size_unknown && self.written != member.size_bytes {
            return Err(malformed(&format!(
                "`{}` is shorter than announced",
                label(member)
            )));
        }
        if self.hash.0.clone().finish().as_ref() != sha256 {
            return Err(RestoreError::Digest { label: label(member) });
        }
        let failed = |source| RestoreError::Write {
            label: label(member),
            source,
        };
        if member.sparse {
            // It may end with a hole.
            self.file.set_len(self.written).map_err(failed)?;
        }
        match self.to {
            To::File(mut unfinished) => {
                let problems = attributes::set(&self.file, member);
                if self.overwrite {
                    self.file.sync_data().map_err(failed)?;
                }
                unfinished.kept = true;
                let put = match &unfinished.temporary {
                    Some(name) => unfinished.place.put(name, self.overwrite),
                    None => Ok(()),
                };
                Ok(put.map(|()| problems))
            }
            To::Command(command) => {
                self.file.rewind().map_err(failed)?;
                command::start(
                    &command.restore,
                    Stdio::from(self.file),
                    Stdio::null(),
                    command.deadline,
                    cancel,
                )
                .and_then(command::Running::finish)
                .map_err(|source| RestoreError::Command {
                    label: label(member),
                    source,
                })?;
                Ok(Ok(Vec::new()))
            }
        }
    }
}
