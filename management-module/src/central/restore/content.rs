//! Takes the content of a file and, when its digest was right, gives the file its name or the content to a command.
//!
//! **Invariant:** until the digest was found right the content has no name that anybody looks for, and no command
//! has seen any of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::process::Stdio;

use aws_lc_rs::digest::{Context, SHA256};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use satellite_proto::wire::backup::v1::Member;
use tokio_util::sync::CancellationToken;

use super::super::command;
use super::super::profile::DumpCommand;
use super::place::Place;
use super::{RestoreError, attributes, label, malformed};

/// Blocks in which a file has room, or a hole.
const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

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
    File { place: Place, temporary: Temporary },
    Command(DumpCommand),
}

/// Removed again unless it got its name.
#[derive(Debug)]
struct Temporary {
    name: OsString,
    place: Place,
    kept: bool,
}

struct Context2(Context);

impl std::fmt::Debug for Context2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            self.place.remove(&self.name);
        }
    }
}

impl Content {
    pub(super) fn for_file(member: &Member, place: Place, overwrite: bool) -> Result<Self, RestoreError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = std::cell::RefCell::new(None);
        let made = place.temporary(|name| {
            let fd = openat(
                place.parent.as_ref(),
                name,
                flags,
                Mode::from_bits_truncate(0o600),
            )?;
            *opened.borrow_mut() = Some(File::from(fd));
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
        let in_same = Place {
            parent: place.parent.clone(),
            name: place.name.clone(),
            path: place.path.clone(),
            prefix: place.prefix.clone(),
        };
        let temporary = Temporary {
            name,
            place: in_same,
            kept: false,
        };
        Ok(Self::new(file, To::File { place, temporary }, overwrite))
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
        self.file.set_len(self.written).map_err(failed)?;
        match self.to {
            To::File { place, mut temporary } => {
                let problems = attributes::set(&self.file, member);
                if self.overwrite {
                    self.file.sync_data().map_err(failed)?;
                }
                let put = place.put(&temporary.name, self.overwrite);
                temporary.kept = true;
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
