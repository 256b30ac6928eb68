//! The archive from which a new one copies what has not changed since.
//!
//! **Invariant:** what is copied is content only, found by the index and checked against the header that lies there. A whole
//! file has the digest that its reader knows in the index there; of a part, what it becomes is compared as if it had been sent.
//! Frames are taken as they are where headers too are the same byte for byte.

use std::hash::{BuildHasher as _, RandomState};

use satellite_proto::wire::backup::v1::CopiedContent;
use tonic::Status;

use super::{catalog_status, id};
use crate::archive::member::{Kind, Member, tar_name};
use crate::archive::names::{DataSet, MemberPath, escape};
use crate::archive::read::{Archive, ReadError, hex, member};
use crate::archive::reuse::{Last, Reuse};
use crate::archive::stream::TarStream;
use crate::archive::write::{ArchiveWriter, Before, WriteError};
use crate::catalog::{Catalog, Reading};

/// Most members of an archive that is copied from: of more the places would take too much memory.
const MOST: u64 = 500_000;

/// The archive.
pub(super) struct Base {
    // It is not deleted meanwhile.
    _reading: Reading,
    archive: Archive,
    last: Last,
    stream: TarStream,
    keys: RandomState,
    /// By the keys of their names.
    places: Vec<Place>,
    open: Option<Open>,
}

/// A member of it.
struct Place {
    /// Of its name.
    key: u64,
    /// Where its header lies.
    at: u64,
    /// Key of its digest, in hexadecimal digits.
    digest: u64,
}

/// A whole file of it that was copied: the key of its digest.
#[derive(Clone, Copy)]
pub(super) struct Whole(u64);

/// A file of it.
struct Open {
    name: Vec<u8>,
    content_at: u64,
    size: u64,
    digest: u64,
}

/// Why nothing is copied.
pub(super) enum Fault {
    /// It has not what is asked for, or cannot be read: everything must be sent.
    Base(Status),
    /// The new archive cannot be written.
    Write(WriteError),
}

fn useless(why: impl std::fmt::Display) -> Status {
    Status::failed_precondition(format!(
        "nothing can be copied from the archive before: {why}; send everything"
    ))
}

fn unreadable(error: ReadError) -> Status {
    useless(super::chain(&error))
}

impl Base {
    pub(super) fn open(catalog: &Catalog, archive: &str) -> Result<Self, Status> {
        let reading = catalog
            .read(id(archive)?)
            .map_err(|error| useless(catalog_status(error).message()))?;
        let archive = Archive::open(&reading.path).map_err(unreadable)?;
        let mut index = archive.index().map_err(unreadable)?;
        let members = index.head().map_err(unreadable)?.members;
        if members > MOST {
            return Err(useless("it has too many members"));
        }
        // One more is the manifest.
        let (keys, mut places) = (RandomState::new(), Vec::with_capacity(members as usize + 1));
        while let Some(entry) = index.entry().map_err(unreadable)? {
            places.push(Place {
                key: keys.hash_one(&entry.path),
                at: entry.offset,
                digest: keys.hash_one(entry.sha256.unwrap_or_default()),
            });
        }
        places.sort_unstable_by_key(|place| place.key);
        let last = Last::default();
        Ok(Self {
            stream: archive.past_cache(last.clone()).map_err(unreadable)?,
            archive,
            last,
            _reading: reading,
            keys,
            places,
            open: None,
        })
    }

    /// Its frames, for an archive that is written from it.
    pub(super) fn reuse(&self) -> Reuse {
        Reuse::new(&self.archive, self.last.clone())
    }

    /// The header that lies there of the member with this name, if there is one.
    pub(super) fn header(&mut self, member: &Member) -> Result<Option<Before>, Status> {
        let name = member.tar_name();
        let Some(at) = self.find(name)? else {
            return Ok(None);
        };
        let mut header = vec![0; (self.stream.offset() - at) as usize];
        self.stream.seek(at).map_err(unreadable)?;
        self.stream.read_exact(&mut header).map_err(unreadable)?;
        Ok(Some(Before { at, header }))
    }

    /// Copies a part of a file into the one that was begun. Answers whether it is a whole one.
    pub(super) fn copy(
        &mut self,
        data_set: &DataSet,
        part: CopiedContent,
        writer: &mut ArchiveWriter,
    ) -> Result<Option<Whole>, Fault> {
        let path = MemberPath::new(part.path).map_err(|bad| Fault::Base(useless(bad)))?;
        let name = tar_name(data_set, &path);
        if self.open.as_ref().is_none_or(|open| open.name != name) {
            let found = self.find(name).map_err(Fault::Base)?;
            found.ok_or_else(|| Fault::Base(useless("a file is not in it")))?;
        }
        let Some(open) = &self.open else {
            return Err(Fault::Base(useless("a file is not where its index says")));
        };
        let is_inside = part
            .offset
            .checked_add(part.length)
            .is_some_and(|end| end <= open.size);
        if !is_inside {
            return Err(Fault::Base(useless("a file in it is shorter")));
        }
        let is_whole = part.offset == 0 && part.length == open.size && writer.takes_whole(part.length);
        let whole = is_whole.then_some(Whole(open.digest));
        let failed = |error| Fault::Base(unreadable(error));
        self.stream.seek(open.content_at + part.offset).map_err(failed)?;
        let mut left = part.length;
        while left > 0 {
            let from = self.stream.offset();
            let here = self.stream.fill().map_err(failed)?;
            let count = here.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(Fault::Base(useless("it ends too early")));
            }
            writer
                .content_from(here.get(..count).unwrap_or_default(), from)
                .map_err(Fault::Write)?;
            self.stream.consume(count);
            left -= count as u64;
        }
        Ok(whole)
    }

    /// Whether the file that was copied whole has the digest that its reader says.
    pub(super) fn check(&self, whole: Whole, sha256: &[u8]) -> Result<(), Status> {
        if self.keys.hash_one(hex(sha256)) == whole.0 {
            Ok(())
        } else {
            Err(useless("a file in it has another digest"))
        }
    }

    /// Finds a member by its name and reads its header. Answers where that lies; a file is then open.
    fn find(&mut self, name: Vec<u8>) -> Result<Option<u64>, Status> {
        self.open = None;
        let key = self.keys.hash_one(escape(&name));
        let place = self.places.binary_search_by_key(&key, |place| place.key);
        let Some(&Place { at, digest, .. }) = place.ok().and_then(|number| self.places.get(number)) else {
            return Ok(None);
        };
        self.stream.seek(at).map_err(unreadable)?;
        let found = member(&mut self.stream).map_err(unreadable)?;
        if found.tar_name() != name {
            return Ok(None);
        }
        if let Kind::File(size) = found.kind {
            let content_at = self.stream.offset();
            self.open = Some(Open {
                name,
                content_at,
                size,
                digest,
            });
        }
        Ok(Some(at))
    }
}
