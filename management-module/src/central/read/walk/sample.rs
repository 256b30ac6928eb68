//! Tells from a few pieces of the data how much smaller it becomes in an archive.
//!
//! **Invariant:** a few MiB are read however much there is; what cannot be read is passed over.

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::plan::space::Shrunk;

/// Bytes of a piece, and pieces: together a frame of an archive.
const PIECE: u64 = 64 << 10;
const PIECES: u64 = 64;
/// What an archive knows of a member, compressed: header and line of the index.
const MEMBER: u64 = 150;

/// What the data sets, which were measured, become, as far as a sample tells.
#[must_use]
pub fn sample(sets: &[DataSet], measured: &Measured) -> Shrunk {
    let mut sampler = Sampler {
        every: (measured.bytes / PIECES).max(PIECE),
        passed: 0,
        next: 0,
        pieces: Vec::new(),
    };
    for set in sets {
        // A sampler never stops a walk.
        drop(walk(&mut sampler, set));
    }
    let taken = sampler.pieces.len() as u64;
    let compressed = zstd::bulk::compress(&sampler.pieces, 1);
    let compressed = compressed.map_or(taken, |compressed| compressed.len() as u64);
    let content = Shrunk {
        from: taken,
        to: compressed,
    };
    Shrunk {
        from: measured.bytes,
        to: content.of(measured.bytes) + measured.files * MEMBER,
    }
}

/// Takes a piece at equal distances of all that is there.
struct Sampler {
    every: u64,
    passed: u64,
    next: u64,
    pieces: Vec<u8>,
}

impl Visitor for Sampler {
    fn notice(&mut self, _: String) -> Result<(), ReadError> {
        Ok(())
    }

    fn found(&mut self, entry: &Entry<'_>) -> Result<(), ReadError> {
        if kind(&entry.stat) != SFlag::S_IFREG {
            return Ok(());
        }
        let size = file::size(&entry.stat);
        let (begin, end) = (self.passed, self.passed.saturating_add(size));
        self.passed = end;
        if self.next >= end || self.pieces.len() as u64 >= PIECE * PIECES {
            return Ok(());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = openat(entry.parent, entry.name, flags, Mode::empty()).map(File::from);
        while self.next < end {
            if let Ok(file) = &opened {
                self.take(file, self.next.saturating_sub(begin), size);
            }
            self.next = self.next.saturating_add(self.every);
        }
        Ok(())
    }
}

impl Sampler {
    fn take(&mut self, file: &File, at: u64, size: u64) {
        let at = at.min(size.saturating_sub(PIECE));
        let mut piece = vec![0; usize::try_from(PIECE.min(size)).unwrap_or_default()];
        if let Ok(count) = file.read_at(&mut piece, at) {
            piece.truncate(count);
            self.pieces.append(&mut piece);
        }
    }
}
