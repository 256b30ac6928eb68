//! Writes an archive from members that come in order.
//!
//! **Invariant:** what was accepted is consistent: sizes are exact, hard links point backwards, no member comes twice or
//! lies below a symbolic link. Anything else is an error, and the file is then worthless. Digests are written as they were
//! given; that contents are those that were read is seen by the checksums that come with them, or when the archive is verified,
//! which whoever keeps it does first.

mod fault;
mod seen;

use std::fs::File;
use std::hash::Hasher as _;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use aws_lc_rs::digest::SHA256;
use twox_hash::XxHash3_64;

pub use self::fault::{Fault, WriteError};
use self::fault::{io, refused};
use self::seen::Seen;
use super::frames::FrameWriter;
pub use super::frames::Written;
use super::index::{Entry, Head, LeftOut, Spool, Totals, Type};
use super::manifest::Manifest;
use super::member::{Kind, Member, Origin};
use super::names::escape;
use super::reuse::Reuse;
use super::{CHECKSUMS, MANIFEST, MAX_MANIFEST, MAX_MEMBERS, padding, pax};

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

/// The header of a member as it lies in the archive before.
#[derive(Debug)]
pub(crate) struct Before {
    /// Where in the content it begins.
    pub(crate) at: u64,
    /// Its bytes.
    pub(crate) header: Vec<u8>,
}

struct Open {
    member: Member,
    came: u64,
    /// Holds the content if the size is not known yet.
    spool: Option<File>,
    before: Option<Before>,
    /// Where in the archive before the rest of the file lies, as long as it is the same there.
    rest: Option<u64>,
    /// Of what came; none if that is known to be a whole file of the archive before.
    checksum: Option<XxHash3_64>,
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
    /// Whether each file was compared with a checksum or is known.
    is_compared: bool,
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
        Self::after(None, file, room, manifest, threads)
    }

    /// As [`Self::create`]: what comes again of an archive before is taken from there as it is compressed.
    pub(crate) fn after(
        reuse: Option<Reuse>,
        file: File,
        room: Room,
        manifest: &Manifest,
        threads: usize,
    ) -> Result<Self, WriteError> {
        let text = serde_json::to_vec_pretty(manifest).map_err(|e| io(WRITE)(e.into()))?;
        if text.len() as u64 > MAX_MANIFEST {
            let fault = Fault::Size {
                announced: MAX_MANIFEST,
                came: text.len() as u64,
            };
            return Err(refused(MANIFEST.as_bytes(), fault));
        }
        let index = Spool::new(room.spool().map_err(io("make a temporary file"))?);
        let frames =
            FrameWriter::start(file, reuse, threads).map_err(io("start the threads that compress"))?;
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
            is_compared: true,
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
        writer.put(&header, None)?;
        writer.put(&text, None)?;
        writer.pad(size, None)?;
        Ok(writer)
    }

    /// Begins a member. A file is then followed by [`Self::content`] and [`Self::end`]; `size_unknown` says that its
    /// size is what comes.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn begin(&mut self, member: Member, size_unknown: bool) -> Result<(), WriteError> {
        self.begin_again(member, size_unknown, None)
    }

    /// As [`Self::begin`], of a member that the archive before may have too.
    pub(crate) fn begin_again(
        &mut self,
        member: Member,
        size_unknown: bool,
        before: Option<Before>,
    ) -> Result<(), WriteError> {
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
            let (offset, _) = self.header(&member, before.as_ref())?;
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
            before,
            rest: None,
            checksum: Some(XxHash3_64::new()),
        });
        Ok(())
    }

    /// Adds content to the file that was begun.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn content(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.add(bytes, None)
    }

    /// As [`Self::content`], of bytes that were read from the archive before: `from` is where they lie in its content.
    pub(crate) fn content_from(&mut self, bytes: &[u8], from: u64) -> Result<(), WriteError> {
        self.add(bytes, Some(from))
    }

    /// Whether so many bytes of the archive before, which the caller knows by their digest, are all of the file that was begun.
    /// It is then compared with nothing else.
    pub(crate) fn takes_whole(&mut self, length: u64) -> bool {
        let Some(open) = &mut self.open else { return false };
        let is_all = open.spool.is_none() && open.came == 0 && open.member.size() == length;
        open.checksum = open.checksum.take().filter(|_| !is_all);
        is_all
    }

    fn add(&mut self, bytes: &[u8], from: Option<u64>) -> Result<(), WriteError> {
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
                (self.seen.offset, open.rest) = self.header(&open.member, open.before.as_ref())?;
            }
            if let Some(checksum) = &mut open.checksum {
                checksum.write(bytes);
            }
            self.put(bytes, from)?;
            open.rest = open.rest.filter(|rest| from == Some(*rest));
            open.rest = open.rest.map(|rest| rest + bytes.len() as u64);
        }
        self.open = Some(open);
        Ok(())
    }

    /// Ends the file that was begun, with the digest that its reader found, and its XXH3 with 64 bits, with which what came is
    /// compared at once. Without it, the content is compared with the digest when the archive is read back: see
    /// [`super::verify::Report::only_content_differs`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn end(&mut self, sha256: &[u8], xxh3: Option<u64>) -> Result<(), WriteError> {
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
            let (offset, _) = self.header(&open.member, None)?;
            // Its checksum is that of what comes out of the spool.
            self.copy(spool, size, open.checksum.as_mut())?;
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
            self.header(&open.member, open.before.as_ref())?.0
        } else {
            self.seen.offset
        };
        if let Some(checksum) = &open.checksum {
            if xxh3.is_some_and(|expected| expected != checksum.finish()) {
                return Err(refused(&name, Fault::Digest));
            }
            self.is_compared &= xxh3.is_some();
        }
        self.pad(size, open.rest)?;
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
        self.put(&pax::own_file(CHECKSUMS, size, 0), None)?;
        self.put(&first, None)?;
        self.copy(lines, length, None)?;
        self.put(last, None)?;
        self.pad(size, None)?;
        self.frames.pad(2 * super::BLOCK, None).map_err(io(WRITE))?;
        let mut written = self.frames.finish(at).map_err(io(WRITE))?;
        written.is_compared = self.is_compared;
        Ok((written, self.totals))
    }

    /// Writes a header. Answers where, and where in the archive before the content lies if it has the same header.
    fn header(&mut self, member: &Member, before: Option<&Before>) -> Result<(u64, Option<u64>), WriteError> {
        let header = pax::encode(member);
        let from = before
            .filter(|before| before.header == header)
            .map(|before| before.at);
        self.frames
            .boundary(member.size().saturating_add(1024))
            .map_err(io(WRITE))?;
        let offset = self.frames.offset();
        self.put(&header, from)?;
        Ok((offset, from.map(|at| at + header.len() as u64)))
    }

    fn copy(
        &mut self,
        mut from: File,
        size: u64,
        mut checksum: Option<&mut XxHash3_64>,
    ) -> Result<(), WriteError> {
        from.seek(SeekFrom::Start(0)).map_err(io(SPOOL))?;
        let mut buffer = vec![0; 64 << 10];
        let mut left = size;
        while left > 0 {
            let most = left.min(buffer.len() as u64) as usize;
            from.read_exact(&mut buffer[..most]).map_err(io(SPOOL))?;
            if let Some(checksum) = &mut checksum {
                checksum.write(&buffer[..most]);
            }
            self.put(&buffer[..most], None)?;
            left -= most as u64;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], from: Option<u64>) -> Result<(), WriteError> {
        self.frames.push(bytes, from).map_err(io(WRITE))
    }

    fn pad(&mut self, size: u64, from: Option<u64>) -> Result<(), WriteError> {
        self.frames.pad(padding(size), from).map_err(io(WRITE))
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
