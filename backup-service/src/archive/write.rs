//! Writes an archive from members that come in order.
//!
//! **Invariant:** what was accepted is consistent: sizes are exact, hard links point backwards, no member comes twice or
//! lies below a symbolic link. Anything else is an error, and the file is then worthless. Digests are written as they were
//! given: whoever keeps the archive verifies it first.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use aws_lc_rs::digest::SHA256;

use super::frames::FrameWriter;
pub use super::frames::Written;
use super::index::{Entry, Head, LeftOut, Spool, Totals, Type};
use super::manifest::Manifest;
use super::member::{BadMember, Kind, Member, Origin};
use super::names::escape;
use super::{CHECKSUMS, MANIFEST, MAX_MANIFEST, MAX_MEMBERS, padding, pax};

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The sender broke the rules of the stream.
    #[error("`{name}`: {fault}")]
    Refused {
        /// The member, or what else.
        name: String,
        /// What is wrong.
        fault: Fault,
    },
    /// There is too little space.
    #[error("only {free} bytes are free, {needed} are needed: delete archives or make the disk larger")]
    Space {
        /// Bytes free, without the reserve.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// The disk, or a thread.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a sender did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A field of the member.
    #[error("{0}")]
    Member(#[from] BadMember),
    /// Content or an end without a beginning, or the reverse.
    #[error("the items come in the wrong order")]
    Order,
    /// It came before.
    #[error("it comes twice")]
    Twice,
    /// Its data set was not announced, or comes out of order.
    #[error("its data set was not announced, or comes after a later one")]
    DataSet,
    /// The target of a hard link did not come before.
    #[error("the file that this hard link names did not come before it")]
    LinkTarget,
    /// Something above it is a symbolic link.
    #[error("it lies below a symbolic link")]
    BelowLink,
    /// Content of another length than announced.
    #[error("{announced} bytes were announced, {came} came")]
    Size {
        /// What the sender said.
        announced: u64,
        /// What it sent, as far as it was read.
        came: u64,
    },
    /// The content is not what the sender read.
    #[error(
        "the content does not have the digest that its reader found: it was changed on the way, send it again"
    )]
    Digest,
    /// More members than the format holds.
    #[error("an archive holds at most 4,000,000 members")]
    TooMany,
    /// The trailer counts something else than what came.
    #[error("the trailer counts {announced}, {came} came")]
    Trailer {
        /// What the sender said.
        announced: u64,
        /// What came.
        came: u64,
    },
}

fn refused(name: &[u8], fault: impl Into<Fault>) -> WriteError {
    WriteError::Refused {
        name: escape(name),
        fault: fault.into(),
    }
}

fn io(what: &'static str) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError::Io { what, source }
}

const WRITE: &str = "write the archive";
const SPOOL: &str = "keep the output of a command until its size is known";

/// Where an archive grows.
#[derive(Debug, Clone)]
pub struct Room {
    /// The file system's directory; spools are made in it.
    pub directory: PathBuf,
    /// Bytes that stay free.
    pub reserve: u64,
}

impl Room {
    /// Bytes that may be used.
    ///
    /// # Errors
    /// What the system said.
    pub fn free(&self) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.directory)?;
        Ok((stat.blocks_available() as u64 * stat.fragment_size() as u64).saturating_sub(self.reserve))
    }

    /// Checks that this much may be written.
    ///
    /// # Errors
    /// [`WriteError::Space`] if not.
    pub fn check(&self, needed: u64) -> Result<(), WriteError> {
        let free = self.free().map_err(io("ask for the free space"))?;
        if free < needed {
            Err(WriteError::Space { free, needed })
        } else {
            Ok(())
        }
    }

    /// A file without a name: it is gone when it is closed, whatever happens.
    pub(crate) fn spool(&self) -> io::Result<File> {
        let path = self.directory.join(format!("{}.part", uuid::Uuid::new_v4()));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

struct Open {
    member: Member,
    came: u64,
    /// Holds the content if the size is not known yet.
    spool: Option<File>,
}

/// Writes an archive.
pub struct ArchiveWriter {
    frames: FrameWriter,
    index: Spool,
    room: Room,
    unchecked: u64,
    open: Option<Open>,
    totals: Vec<Totals>,
    current: usize,
    seen: Seen,
    left_out: LeftOut,
}

impl std::fmt::Debug for ArchiveWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveWriter")
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

impl ArchiveWriter {
    /// Begins an archive in an empty file.
    ///
    /// # Errors
    /// [`WriteError::Io`], or [`WriteError::Refused`] for a manifest that is too big.
    pub fn create(file: File, room: Room, manifest: &Manifest, threads: usize) -> Result<Self, WriteError> {
        let text = serde_json::to_vec_pretty(manifest).map_err(|e| io(WRITE)(e.into()))?;
        if text.len() as u64 > MAX_MANIFEST {
            let fault = Fault::Size {
                announced: MAX_MANIFEST,
                came: text.len() as u64,
            };
            return Err(refused(MANIFEST.as_bytes(), fault));
        }
        let index = Spool::new(room.spool().map_err(io("make a temporary file"))?);
        let frames = FrameWriter::start(file, threads).map_err(io("start the threads that compress"))?;
        let totals = manifest.data_sets.iter().cloned();
        let totals = totals
            .map(|name| Totals {
                name,
                members: 0,
                size: 0,
            })
            .collect();
        let (open, current, seen) = (None, 0, Seen::default());
        let mut writer = Self {
            frames,
            index,
            room,
            unchecked: 0,
            open,
            totals,
            current,
            seen,
            left_out: LeftOut::default(),
        };
        let sha256 = super::read::hex(aws_lc_rs::digest::digest(&SHA256, &text).as_ref());
        let size = text.len() as u64;
        let path = MANIFEST.to_owned();
        writer.list(&Entry {
            path,
            kind: Type::File,
            size,
            sha256: Some(sha256),
            offset: 0,
            origin: None,
        })?;
        let header = pax::own_file(MANIFEST, size, manifest.create_time.as_second());
        writer.put(&header)?;
        writer.put(&text)?;
        writer.pad(size)?;
        Ok(writer)
    }

    /// Begins a member. A file is then followed by [`Self::content`] and [`Self::end`]; `size_unknown` says that its
    /// size is what comes.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn begin(&mut self, member: Member, size_unknown: bool) -> Result<(), WriteError> {
        let name = member.tar_name();
        if self.open.is_some() {
            return Err(refused(&name, Fault::Order));
        }
        member.check().map_err(|bad| refused(&name, bad))?;
        let later = self.totals[self.current.min(self.totals.len())..]
            .iter()
            .position(|t| t.name == member.data_set);
        self.current += later.ok_or_else(|| refused(&name, Fault::DataSet))?;
        if self.totals.iter().map(|t| t.members).sum::<u64>() >= MAX_MEMBERS {
            return Err(refused(&name, Fault::TooMany));
        }
        self.seen.admit(&member).map_err(|fault| refused(&name, fault))?;
        self.totals[self.current].members += 1;
        if !matches!(member.kind, Kind::File(_)) {
            let offset = self.header(&member)?;
            return self.list(&entry(&member, &name, offset, None));
        }
        let spool = if size_unknown {
            Some(self.room.spool().map_err(io(SPOOL))?)
        } else {
            None
        };
        self.open = Some(Open {
            member,
            came: 0,
            spool,
        });
        Ok(())
    }

    /// Adds content to the file that was begun.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn content(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let Some(mut open) = self.open.take() else {
            return Err(refused(b"content", Fault::Order));
        };
        if bytes.is_empty() {
            self.open = Some(open);
            return Ok(());
        }
        let announced = open.member.size();
        let first = open.came == 0;
        open.came += bytes.len() as u64;
        self.unchecked += bytes.len() as u64;
        if self.unchecked >= 64 << 20 {
            self.room.check(self.unchecked)?;
            self.unchecked = 0;
        }
        if let Some(spool) = &mut open.spool {
            spool.write_all(bytes).map_err(io(SPOOL))?;
        } else if open.came > announced {
            let came = open.came;
            return Err(refused(&open.member.tar_name(), Fault::Size { announced, came }));
        } else {
            if first {
                self.offset_of(&open.member)?;
            }
            self.put(bytes)?;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Ends the file that was begun, with the digest that its reader found. The content is compared with it when the
    /// archive is read back, so that it is hashed once: see [`super::verify::Report::only_content_differs`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn end(&mut self, sha256: &[u8]) -> Result<(), WriteError> {
        let Some(mut open) = self.open.take() else {
            return Err(refused(b"end", Fault::Order));
        };
        let name = open.member.tar_name();
        if sha256.len() != 32 {
            return Err(refused(&name, Fault::Digest));
        }
        let size = open.came;
        let offset = if let Some(spool) = open.spool.take() {
            open.member.kind = Kind::File(size);
            let offset = self.header(&open.member)?;
            self.copy(spool, size)?;
            offset
        } else if open.member.size() != size {
            return Err(refused(
                &name,
                Fault::Size {
                    announced: open.member.size(),
                    came: size,
                },
            ));
        } else if size == 0 {
            self.header(&open.member)?
        } else {
            self.seen.offset
        };
        self.pad(size)?;
        self.totals[self.current].size += size;
        self.list(&entry(
            &open.member,
            &name,
            offset,
            Some(super::read::hex(sha256)),
        ))
    }

    /// Notes what will not come.
    pub fn leave_out(&mut self, left_out: LeftOut) {
        self.left_out = left_out;
    }

    /// Ends the archive: index, end of the tar, seal and seek table; everything is then on disk.
    ///
    /// # Errors
    /// [`WriteError`], also if the sender counted something else.
    pub fn finish(mut self, members: u64, content: u64) -> Result<(Written, Vec<Totals>), WriteError> {
        if let Some(open) = &self.open {
            return Err(refused(&open.member.tar_name(), Fault::Order));
        }
        let came = self.totals.iter().map(|t| t.members).sum();
        let came_bytes = self.totals.iter().map(|t| t.size).sum();
        for (announced, came) in [(members, came), (content, came_bytes)] {
            if announced != came {
                return Err(refused(b"trailer", Fault::Trailer { announced, came }));
            }
        }
        let head = Head {
            format: 1,
            data_sets: self.totals.clone(),
            members: came,
            left_out: self.left_out.clone(),
            entries: Vec::new(),
        };
        let index = std::mem::replace(&mut self.index, Spool::new(self.room.spool().map_err(io(WRITE))?));
        let (first, lines, length, last) = index.finish(&head).map_err(io(WRITE))?;
        let size = (first.len() + last.len()) as u64 + length;
        self.frames.boundary(size).map_err(io(WRITE))?;
        let at = self.frames.offset();
        self.put(&pax::own_file(CHECKSUMS, size, 0))?;
        self.put(&first)?;
        self.copy(lines, length)?;
        self.put(last)?;
        self.pad(size)?;
        self.frames.pad(2 * super::BLOCK).map_err(io(WRITE))?;
        let written = self.frames.finish(at).map_err(io(WRITE))?;
        Ok((written, self.totals))
    }

    fn header(&mut self, member: &Member) -> Result<u64, WriteError> {
        self.frames
            .boundary(member.size().saturating_add(1024))
            .map_err(io(WRITE))?;
        let offset = self.frames.offset();
        self.put(&pax::encode(member))?;
        Ok(offset)
    }

    /// Writes the header of a file whose content begins, and remembers where.
    fn offset_of(&mut self, member: &Member) -> Result<(), WriteError> {
        self.seen.offset = self.header(member)?;
        Ok(())
    }

    fn copy(&mut self, mut from: File, size: u64) -> Result<(), WriteError> {
        from.seek(SeekFrom::Start(0)).map_err(io(SPOOL))?;
        let mut buffer = vec![0; 64 << 10];
        let mut left = size;
        while left > 0 {
            let most = left.min(buffer.len() as u64) as usize;
            from.read_exact(&mut buffer[..most]).map_err(io(SPOOL))?;
            self.put(&buffer[..most])?;
            left -= most as u64;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.frames.push(bytes).map_err(io(WRITE))
    }

    fn pad(&mut self, size: u64) -> Result<(), WriteError> {
        self.frames.pad(padding(size)).map_err(io(WRITE))
    }

    fn list(&mut self, entry: &Entry) -> Result<(), WriteError> {
        self.index.add(entry).map_err(io(WRITE))
    }
}

fn entry(member: &Member, name: &[u8], offset: u64, sha256: Option<String>) -> Entry {
    Entry {
        path: escape(name),
        kind: Type::from(&member.kind),
        size: member.size(),
        sha256,
        offset,
        origin: (member.origin == Origin::Command).then(|| "command".to_owned()),
    }
}

/// What came before, as keyed hashes: 16 bytes a member at most.
#[derive(Default)]
struct Seen {
    keys: RandomState,
    members: HashSet<u64>,
    links: HashSet<u64>,
    /// Where the header of the open file is.
    offset: u64,
}

impl Seen {
    /// The lowest bit says whether it is a file, to which hard links may point.
    fn key(&self, set: &str, path: &[u8]) -> u64 {
        self.keys.hash_one((set, path)) & !1
    }

    fn admit(&mut self, member: &Member) -> Result<(), Fault> {
        let set = member.data_set.as_str();
        let key = self.key(set, member.path.as_bytes());
        if self.members.contains(&key) || self.members.contains(&(key | 1)) {
            return Err(Fault::Twice);
        }
        let linked = |parent| self.links.contains(&self.key(set, parent));
        if !self.links.is_empty() && member.path.parents().any(linked) {
            return Err(Fault::BelowLink);
        }
        let is_file = match &member.kind {
            Kind::File(_) => 1,
            Kind::HardLink(target) => {
                let target = self.key(set, target.as_bytes()) | 1;
                if !self.members.contains(&target) {
                    return Err(Fault::LinkTarget);
                }
                1
            }
            Kind::Symlink(_) => {
                self.links.insert(key);
                0
            }
            Kind::Directory => 0,
        };
        self.members.insert(key | is_file);
        Ok(())
    }
}
