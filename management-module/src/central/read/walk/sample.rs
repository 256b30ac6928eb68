//! Tells from a few pieces of the data how much smaller it becomes in an archive.
//!
//! **Invariant:** a few MiB are read of each GiB and a few are kept, however much there is; what cannot be read is passed over.

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::plan::space::Shrunk;

/// Bytes of a piece.
const PIECE: u64 = 64 << 10;
/// Pieces that are kept at most: together a frame of an archive.
const PIECES: usize = 64;
/// What an archive knows of a member, compressed: header and line of the index.
const MEMBER: u64 = 150;

/// Takes pieces at equal distances of all that is there, from several files where they are small. How much there is nobody knows
/// before: when there are too many pieces, every other one goes and the distance doubles.
#[derive(Default)]
pub(super) struct Sampler {
    /// Pieces begin `PIECE << doublings` apart.
    doublings: u32,
    passed: u64,
    /// What could be read of each piece, in order.
    pieces: Vec<Vec<u8>>,
    /// Bytes that the last piece still lacks.
    lacking: u64,
}

impl Sampler {
    /// Where the next piece begins, counted from the beginning of all.
    fn next(&self) -> u64 {
        (self.pieces.len() as u64).saturating_mul(PIECE << self.doublings)
    }

    pub(super) fn found(&mut self, entry: &Entry<'_>) {
        let begin = self.passed;
        self.passed = begin.saturating_add(file::size(&entry.stat));
        if self.lacking == 0 && self.next() >= self.passed {
            return;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = openat(entry.parent, entry.name, flags, Mode::empty()).map(File::from);
        let mut at = begin;
        while at < self.passed {
            if self.lacking == 0 {
                self.thin_out();
                at = self.next();
                if at >= self.passed {
                    break;
                }
                self.pieces.push(Vec::new());
                self.lacking = PIECE;
            }
            let length = self.lacking.min(self.passed - at);
            if let (Ok(file), Some(piece)) = (&opened, self.pieces.last_mut()) {
                let start = piece.len();
                piece.resize(start + usize::try_from(length).unwrap_or_default(), 0);
                let read = file.read_at(&mut piece[start..], at - begin);
                piece.truncate(start + read.unwrap_or_default());
            }
            self.lacking -= length;
            at += length;
        }
    }

    fn thin_out(&mut self) {
        if self.pieces.len() == PIECES {
            let mut is_kept = false;
            self.pieces.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.doublings += 1;
        }
    }

    /// What the data sets, of which pieces were taken, become.
    pub(super) fn shrunk(self, files: u64, bytes: u64) -> Shrunk {
        let pieces = self.pieces.concat();
        let taken = pieces.len() as u64;
        let compressed = zstd::bulk::compress(&pieces, 1);
        let compressed = compressed.map_or(taken, |compressed| compressed.len() as u64);
        let content = Shrunk {
            from: taken,
            to: compressed,
        };
        Shrunk {
            from: bytes,
            to: content.of(bytes) + files * MEMBER,
        }
    }
}
